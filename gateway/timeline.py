"""What happened when during one request, for whoever makes a trace of it; nothing of that is known here.

A `Timeline` exists only where traces are made: everywhere else its place is None, and a request pays one look for it. It is
found by the tasks that work for a request, a shared read among them, through `current`. No library of traces here.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from gateway.calls import Call


class Stage(NamedTuple):
    """A part of a request; moments are those of `time.perf_counter`. `error` is the class of what it failed with."""

    name: str
    began: float
    ended: float
    error: str | None


class Timeline:
    """One request in the making. `trace_id` is for its log line, `traceparent` for services that are asked on its behalf."""

    __slots__ = ("stages", "trace_id", "traceparent")

    def __init__(self, trace_id: str, traceparent: str) -> None:
        self.trace_id = trace_id
        self.traceparent = traceparent
        self.stages: list[Stage] = []

    def add(self, name: str, began: float, error: BaseException | None = None) -> None:
        """A stage that began at `began` is over."""
        failed = None if error is None else type(error).__name__
        self.stages.append(Stage(name, began, time.perf_counter(), failed))


class Tracing(Protocol):
    """What makes traces."""

    def begin(self, headers: Mapping[str, str], peer: object) -> Timeline:
        """A request has come. `peer` is the name of the socket at the other end."""

    def end(self, call: Call, timeline: Timeline) -> None:
        """It is over."""


current: ContextVar[Timeline | None] = ContextVar("timeline", default=None)
"""That of the request for which the running task works."""


def traceparent() -> str | None:
    """The header (https://www.w3.org/TR/trace-context/) for a service that is asked now; None where there is no trace."""
    timeline = current.get()
    return None if timeline is None else timeline.traceparent


def stage(name: str) -> AbstractContextManager[None]:
    """A context that is one stage of the request for which the running task works; nothing where there is no trace."""
    timeline = current.get()
    return _UNSEEN if timeline is None else _Stage(timeline, name)


class _Stage:
    __slots__ = ("_began", "_name", "_timeline")

    def __init__(self, timeline: Timeline, name: str) -> None:
        self._timeline = timeline
        self._name = name

    def __enter__(self) -> None:
        self._began = time.perf_counter()

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._timeline.add(self._name, self._began, error)


_UNSEEN = nullcontext()
