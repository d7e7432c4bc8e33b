"""What crashed processes left: told once, by the next process that begins a file, and then part of the chain.

A file without `closed` whose lock is free belongs to a process that was killed. Its acts that began and did not end become
`unknown`, and `recovered` says where its chain ended, so that nothing can be cut off it later unnoticed. The file itself is
not touched. Both stand at the beginning of the new file, behind `opened`, so that few files have to be read in full. Blocking.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from gateway.audit import record
from gateway.audit.segments import Broken, Reading, Segment, alive

_LONGEST_END = 4096
"""Bytes within which the last line of a closed file lies."""

FIRST_EVENTS = ("opened", "unknown", "recovered")
"""What a file may begin with."""


def recovered(directory: Path, segments: Sequence[Segment], *, under_way: Collection[str] = ()) -> Iterator[bytes]:
    """The records to write about those of `segments` whose process was killed and that were not written about yet.

    `under_way` are acts of this process: it may have given a file up and go on. The directory's lock must be held. Raises
    `OSError`.
    """
    left = [one for one in segments if not ends_closed(directory, one) and not alive(directory, one)]
    if not left:
        return
    told = {name for segment in segments for name in _told(directory, segment)}
    found = [_Left(directory, segment) for segment in left if segment.name not in told]
    # A process that was killed while it changed files leaves two, and what began in one may have ended in the other.
    over = {act for one in found for act in one.over} | set(under_way)
    for one in found:
        unknown = {act: text for act, text in one.acts.items() if act not in over}
        over |= unknown.keys()
        for text in unknown.values():
            yield record.unknown(text)
        yield record.own("recovered", **one.facts, unknown=len(unknown))


def ends_closed(directory: Path, segment: Segment) -> bool:
    """Whether the last line says that the file was closed."""
    with segment.path(directory).open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _LONGEST_END))
        *_, last, rest = (b"", b"", *file.read().split(b"\n"))
    return not rest and b'"event":"closed"' in last


def _told(directory: Path, segment: Segment) -> Iterator[str]:
    """The files that this one begins with writing about."""
    with suppress(Broken):
        for line in Reading(directory, segment).lines():
            if line.event not in FIRST_EVENTS:
                return
            if line.event == "recovered":
                yield str(line.fields.get("segment"))


class _Left:
    """What one file of a killed process holds: the acts that began in it, those that ended, where its chain ends."""

    def __init__(self, directory: Path, segment: Segment) -> None:
        reading = Reading(directory, segment)
        self.acts: dict[str, bytes] = {}
        self.over: set[str] = set()
        broken = {}
        try:
            for line in reading.lines():
                event = line.event
                if event == "intended":
                    self.acts[str(line.fields.get("act"))] = line.text
                elif event in record.ENDINGS:
                    self.over.add(str(line.fields.get("act")))
        except Broken as reason:
            broken["broken"] = str(reason)
        ends = {"last": reading.number - 1, "head": reading.head, "torn": reading.torn}
        self.facts: dict[str, Any] = {"segment": segment.name} | ends | broken
