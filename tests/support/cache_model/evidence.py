"""What stands behind a complaint: everything that happened around one answer, on one clock, so that the cause can be told.

Pure: words out of what the judge, the archive and the gateways' logs have recorded. Times are seconds after the question.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tests.support.cache_model.truth import Paper, Read, Truth

BEFORE = 3.0
"""Seconds before the question from which on things are told."""

IDS = "x-request-id"


def evidence(
    truth: Truth,
    paper: Paper,
    read: Read,
    *,
    answers: Iterable[tuple[float, str]] = (),
    happened: Iterable[tuple[float, str]] = (),
    lines: Sequence[Mapping[str, Any]] = (),
) -> list[str]:
    """The story in order of time. `answers` are the archive's, `happened` what was done to servers and networks."""
    told = [(read.begun, f"asked, request {read.answer.fields.get(IDS, 'unknown')}"), (read.ended, "answered")]
    for version in paper.versions:
        told += [
            (version.begun, f"written: version {version.number}"),
            (version.ended, f"over: version {version.number}"),
        ]
    for absence in paper.absences:
        told += [(absence[0], "deleted"), (absence[1], "there again")]
    for acknowledged, began in paper.purged.all():
        told += [(began, "purge asked for"), (acknowledged, "purge acknowledged")]
    for begun, ended in truth.troubles:
        told += [(begun, "trouble begins"), (ended, "trouble is over, its consequences too")]
    told += [(when, f"the archive answered {words}") for when, words in answers]
    told += happened
    story = [
        f"{when - read.begun:+.4f} {words}"
        for when, words in sorted(told)
        if read.begun - BEFORE <= when <= read.ended and math.isfinite(when)
    ]
    return story + [f"its line in the log: {dict(line)}" for line in lines]
