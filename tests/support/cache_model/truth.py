"""What was true when, and whether an answer may be so.

Pure values over times that the caller gives, in seconds of one clock. Nothing here sends or receives.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import pybase64

from tests.support.cache_model.reading import Answer

STAMP = 16
"""Bytes at the beginning of a document that no other version of any document has."""

MEMORY = 60.0
"""Seconds for which the bytes of a version that was replaced are kept, to tell what was served."""

DATA_JSON = re.compile(rb'"(?:data|content)" ?: ?"([A-Za-z0-9+/=]*)"')
DATA_XML = re.compile(rb'<(?:data|content) value="([A-Za-z0-9+/=]*)"')


@dataclass(eq=False)
class Version:
    """Bytes that were current from `begun` to `ended`."""

    number: int
    data: bytes
    begun: float
    ended: float = math.inf

    @cached_property
    def encoded(self) -> bytes:
        return pybase64.b64encode(self.data)


@dataclass(frozen=True, slots=True)
class Rules:
    """What a source allows. Seconds, as in the settings of the cache.

    `validated`: the archive is asked at each read. `strict_gone`: once somebody was told that a document is gone, nobody is
    given it, also while the archive is away; not where a cache that cannot be reached may keep what was to be dropped.
    """

    validated: bool
    ttl: float
    stale_while_revalidate: float
    stale_if_error: float
    patience: float
    negative: float
    strict_gone: bool = True
    slack: float = 0.02
    """How far the clock of the policy (wall clock) and that of the model may differ within these times."""


class _Marks:
    """Moments with a value that only grows: of several, the largest before a given moment counts."""

    def __init__(self) -> None:
        self._when: list[float] = []
        self._most: list[float] = []

    def add(self, when: float, value: float) -> None:
        self._when.append(when)
        self._most.append(max(value, self._most[-1] if self._most else -math.inf))

    def all(self) -> Iterator[tuple[float, float]]:
        """Every moment with the largest value up to it."""
        return zip(self._when, self._most, strict=True)

    def before(self, when: float) -> float:
        at = bisect_left(self._when, when)
        return self._most[at - 1] if at else -math.inf


@dataclass(eq=False)
class Paper:
    """One document: all its versions, when there was none, what was purged, what was told to be gone."""

    name: str
    versions: list[Version] = field(default_factory=list)
    absences: list[tuple[float, float]] = field(default_factory=list)
    purged: _Marks = field(default_factory=_Marks)
    told_gone: _Marks = field(default_factory=_Marks)
    by_stamp: dict[bytes, Version] = field(default_factory=dict)

    @property
    def current(self) -> Version | None:
        return self.versions[-1] if self.versions and self.versions[-1].ended == math.inf else None

    def write(self, number: int, data: bytes, before: float, after: float) -> None:
        """A new version, which took the place of the last one some time between two moments."""
        if self.current is not None:
            self.current.ended = after
        elif self.absences:
            self.absences[-1] = self.absences[-1][0], after
        version = Version(number, data, before)
        self.versions.append(version)
        self.by_stamp[data[:STAMP]] = version
        while self.versions[0].ended < before - MEMORY:
            del self.by_stamp[self.versions.pop(0).data[:STAMP]]

    def delete(self, before: float, after: float) -> None:
        if self.current is not None:
            self.current.ended = after
            self.absences.append((before, math.inf))

    def absence(self, begun: float, ended: float) -> tuple[float, float] | None:
        """The earliest time without the document that reaches into these."""
        at = bisect_left(self.absences, begun, key=lambda absence: absence[1])
        if at < len(self.absences) and self.absences[at][0] <= ended:
            return self.absences[at]
        return None


@dataclass(frozen=True, slots=True)
class Read:
    """A question and its answer. `kind`: native, json, xml, range, head or conditional. `etag` is what the condition named."""

    kind: str
    begun: float
    ended: float
    answer: Answer
    span: tuple[int, int] | None = None
    etag: str | None = None


@dataclass
class Truth:
    """The documents of one source, and the judge of what is said of them."""

    name: str
    rules: Rules
    papers: dict[str, Paper] = field(default_factory=dict)
    troubles: list[tuple[float, float]] = field(default_factory=list)
    """When the archive was away, hung or broke off; an end that is not known yet is infinite."""
    counts: Counter[str] = field(default_factory=Counter)
    complaints: list[str] = field(default_factory=list)
    accused: list[tuple[Paper, Read]] = field(default_factory=list)
    """What each complaint is about."""

    def trouble(self, begun: float, ended: float) -> bool:
        return any(start <= ended and stop >= begun for start, stop in reversed(self.troubles[-200:]))

    def judge(self, paper: Paper, read: Read) -> None:
        """Count an answer, and complain when it may not be."""
        answer = read.answer
        complaint = None
        if not answer.status:
            self.counts["no answer"] += 1
            return
        if answer.status in (404, 410):
            complaint = self._gone(paper, read)
            outcome = "gone"
        elif answer.status not in (200, 206, 304):
            outcome = f"status {answer.status}"
        elif not answer.complete:
            outcome = "broken off"
        else:
            outcome = "whole"
            complaint = self._whole(paper, read)
            self.counts[_word(answer)] += 1
        self.counts["reads"] += 1
        self.counts[outcome] += 1
        if complaint:
            status = answer.fields.get("cache-status", "")
            self.complaints.append(f"{self.name}/{paper.name} {read.kind} {answer.status} [{status}]: {complaint}")
            self.accused.append((paper, read))

    def _gone(self, paper: Paper, read: Read) -> str | None:
        # Without slack: how long an answer may be believed counts from before the archive gave it, on a clock that all share.
        absence = paper.absence(read.begun - self.rules.negative, read.ended)
        if absence is None:
            return "told to be gone, and it was there"
        if paper.absence(max(read.begun - self.rules.negative, paper.purged.before(read.begun)), read.ended) is None:
            return "told to be gone, by an answer from before a purge that was acknowledged before this was asked"
        paper.told_gone.add(read.ended, absence[0])
        return None

    def _whole(self, paper: Paper, read: Read) -> str | None:
        complaint = "bytes that were never a version of it"
        for number, version in enumerate(_fitting(paper, read)):
            too_old = self._too_old(paper, version, read)
            if too_old is None:
                return None
            if not number:
                complaint = too_old
        return complaint

    def _too_old(self, paper: Paper, version: Version, read: Read) -> str | None:
        """Why this version may not be served, None when it may."""
        rules = self.rules
        if version.ended <= paper.purged.before(read.begun):
            return f"version {version.number}, replaced before a purge that was acknowledged before this was asked"
        if rules.strict_gone and version.ended <= paper.told_gone.before(read.begun):
            return f"version {version.number}, after a reader was told that it is gone"
        late = 0.0 if rules.validated else rules.ttl + rules.stale_while_revalidate + rules.slack
        if version.ended >= read.begun - late:
            return None
        age = read.begun - version.ended
        if not self._excused(read):
            return f"version {version.number}, replaced {age:.3f} s before this was asked"
        if version.ended >= read.begun - rules.ttl - rules.stale_if_error - rules.slack:
            return None
        return f"version {version.number}, replaced {age:.3f} s before: too old also while the archive is away"

    def _excused(self, read: Read) -> bool:
        """Whether the archive failed, or left the gateway waiting for longer than anybody should."""
        return self.trouble(read.begun, read.ended) or read.ended - read.begun >= self.rules.patience


def _fitting(paper: Paper, read: Read) -> Iterator[Version]:
    """The versions of which this is a true answer, the latest first; bytes are compared with all of a version's."""
    answer = read.answer
    body = answer.body
    if read.kind in ("json", "xml"):
        found = (DATA_JSON if read.kind == "json" else DATA_XML).search(body)
        encoded = found[1] if found else b""
        version = paper.by_stamp.get(_decoded(encoded[:24])[:STAMP])
        if version is not None and version.encoded == encoded:
            yield version
    elif answer.status == 206:
        first, last = read.span or (0, 0)
        total = answer.fields.get("content-range", "").rpartition("/")[2]
        for version in reversed(paper.versions):
            if total in ("*", str(len(version.data))) and version.data[first : last + 1] == body:
                yield version
    elif read.kind == "head" or answer.status == 304:
        yield from (version for version in reversed(paper.versions) if _described(version, read))
    else:
        version = paper.by_stamp.get(body[:STAMP])
        if version is not None and version.data == body:
            yield version


def _described(version: Version, read: Read) -> bool:
    """Whether what was said without a body is true of this version."""
    fields, status = read.answer.fields, read.answer.status
    if status == 304:
        return read.etag == etag_of(version.number)
    length, etag = fields.get("content-length"), fields.get("etag")
    return (length is None or length == str(len(version.data))) and etag in (None, etag_of(version.number))


def etag_of(number: int) -> str:
    return f'W/"{number}"'


def _decoded(text: bytes) -> bytes:
    try:
        return pybase64.b64decode(text)
    except ValueError:
        return b""


def _word(answer: Answer) -> str:
    status = answer.fields.get("cache-status", "")
    if "archive-away" in status:
        return "stale"
    return "hit" if "; hit" in status else "asked the archive"
