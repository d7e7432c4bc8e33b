"""What came of reading a configuration again: told to whoever asked, in the log, and kept for whoever asks later."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.problems import Problem


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a reload. `at` in seconds since 1970; `sources` says what became of each: kept, changed, new or removed."""

    at: float
    problems: Sequence[Problem] = ()
    sources: Mapping[str, str] | None = None
    cache: str = "kept"

    @property
    def good(self) -> bool:
        return not self.problems

    def as_dict(self) -> dict[str, Any]:
        """The same facts for a machine."""
        facts: dict[str, Any] = {"status": "applied" if self.good else "refused", "at": self.at}
        if self.good:
            return facts | {"sources": dict(self.sources or {}), "cache": self.cache}
        return facts | {"problems": [problem.as_dict() for problem in self.problems]}


def refused(problems: Sequence[Problem]) -> Outcome:
    """The outcome of a configuration that is not used because of these."""
    return Outcome(time.time(), problems)


class Reloads:
    """What came of all reloads of one process; starting counts as one that was good."""

    def __init__(self) -> None:
        self.last = Outcome(time.time())
        self.applied_at = self.last.at
        self.applied = self.refused = 0

    def note(self, outcome: Outcome) -> Outcome:
        """Keep it in mind."""
        self.last = outcome
        if outcome.good:
            self.applied_at, self.applied = outcome.at, self.applied + 1
        else:
            self.refused += 1
        return outcome

    def state(self) -> dict[str, Any]:
        """As plain values."""
        counts = {"applied": self.applied, "refused": self.refused, "applied_at": self.applied_at}
        return self.last.as_dict() | counts


def tell(outcome: Outcome, log: Any, seconds: float) -> None:
    """Log what came of it: one line for what is used, and one for each problem of what is not."""
    if outcome.good:
        sources = outcome.sources or {}
        words = ", ".join(f"{name} {what}" for name, what in sources.items() if what != "kept") or "no source changed"
        log.info("configuration applied", count=len(sources), detail=words, seconds=round(seconds, 3))
        return
    log.error("configuration refused, the old one stays", count=len(outcome.problems))
    for found in outcome.problems:
        place = {"line": found.line} if found.line is not None else {}
        log.error("configuration problem", key=found.key, cause=found.cause, cure=found.cure, **place)
