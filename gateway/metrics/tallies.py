"""The numbers that requests add to: plain integers and lists, made for the path that every request takes.

A label is looked up here by the objects at hand (a source's name, a word of the log line, a status), never by text put
together for the purpose; what it is called outside is decided when somebody asks. For the event loop's thread alone.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter
from typing import TYPE_CHECKING, Any

from adapters.errors import AdapterError, InvalidLocator, NotFound, SpanNotSatisfiable
from gateway import errors
from gateway.metrics.catalogue import BUCKETS
from gateway.protocol.interactions import Kind

if TYPE_CHECKING:
    from gateway.calls import Call

_OF_A_DOCUMENT = (Kind.READ, Kind.VREAD)

_BUCKETS = len(BUCKETS) + 1


class Histogram:
    """Seconds by the buckets of the catalogue; the last count is of those above all of them."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * _BUCKETS
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(BUCKETS, seconds)] += 1
        self.total += seconds


class Answers:
    """The answers of one source that one word of the cache's stands for."""

    __slots__ = ("bytes", "documents", "duration", "first_byte")

    def __init__(self) -> None:
        self.documents = 0
        self.bytes = 0
        self.duration = Histogram()
        self.first_byte = Histogram()


class Requests:
    """What came of the requests of the public listener."""

    def __init__(self) -> None:
        self.counts: dict[tuple[str | None, str, Kind | None, int], int] = {}
        """By source, method, interaction (None for what was no request) and status (0 for none)."""
        self.answers: dict[tuple[str | None, str | None], Answers] = {}
        """By source and the cache's word."""
        self.aborted: Counter[tuple[str | None, str]] = Counter()
        """By source and the code of the reason."""

    def ended(self, call: Call) -> None:
        """A request is over."""
        kind = call.interaction.kind
        source = call.source if kind in _OF_A_DOCUMENT else None
        key = (source, call.known_method, kind, call.status)
        counts = self.counts
        counts[key] = counts.get(key, 0) + 1
        answers = self.answers.get((source, call.cache))
        if answers is None:
            answers = self.answers[source, call.cache] = Answers()
        answers.documents += 1
        answers.bytes += call.sent
        answers.duration.observe(call.duration)
        first_byte = call.first_byte
        if first_byte is not None:
            answers.first_byte.observe(first_byte)
        if isinstance(call.entry, errors.Abort):
            self.aborted[source, call.entry.code] += 1

    def unparsed(self, status: int) -> None:
        """Bytes that were no request, or a connection too many, were answered with `status`."""
        key = (None, "", None, status)
        self.counts[key] = self.counts.get(key, 0) + 1


ANSWERS = (NotFound, InvalidLocator, SpanNotSatisfiable)
"""What an archive says of a document is an answer, not a failure."""


class SourceMeter:
    """What came of the operations of one archive. Kept by name: it outlives the source that a reload replaces."""

    __slots__ = ("_log", "errors", "filled", "operations")

    def __init__(self, log: Any = None) -> None:
        """`log` is told of every failure, at the level debug."""
        self._log = log
        self.operations: dict[str, Histogram] = {}
        self.errors: Counter[type[BaseException]] = Counter()
        self.filled = 0
        """Bytes read for all who ask."""

    def ended(self, operation: str, began: float, error: BaseException | None) -> None:
        """An operation that began at `began` (`time.perf_counter`) is over. One that was cancelled says nothing."""
        if error is None or isinstance(error, ANSWERS):
            self.answered(operation, time.perf_counter() - began)
        elif isinstance(error, Exception):
            self.failed(error, operation)

    def timed(self, operation: str) -> Timed:
        """A context that is one operation."""
        return Timed(self, operation)

    def answered(self, operation: str, seconds: float) -> None:
        """The archive did what it was asked, or said that it has no such document."""
        found = self.operations.get(operation)
        if found is None:
            found = self.operations[operation] = Histogram()
        found.observe(seconds)

    def failed(self, error: BaseException, operation: str = "read") -> None:
        """An operation of the archive failed, whatever became of the request that it was for."""
        self.errors[type(error)] += 1
        if self._log is not None and isinstance(error, AdapterError):
            self._log.debug(
                "archive operation failed", operation=operation, error=type(error).__name__, detail=error.detail
            )


class Timed:
    """One operation of an archive, from entering to leaving."""

    __slots__ = ("_began", "_meter", "_operation")

    def __init__(self, meter: SourceMeter, operation: str) -> None:
        self._meter = meter
        self._operation = operation

    def __enter__(self) -> None:
        self._began = time.perf_counter()

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._meter.ended(self._operation, self._began, error)


class Meters:
    """The meters of all sources of a process."""

    def __init__(self, log: Any = None) -> None:
        self._log = log
        self.requests = Requests()
        self._sources: dict[str, SourceMeter] = {}

    def of(self, source: str) -> SourceMeter:
        """The meter of the source of this name."""
        meter = self._sources.get(source)
        if meter is None:
            meter = self._sources[source] = SourceMeter(
                None if self._log is None else self._log.bind(component="source", source=source)
            )
        return meter
