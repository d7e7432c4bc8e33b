"""Waiting under a deadline that costs nothing when there is nothing to wait for.

A read of a small local document never suspends, yet a timer around it takes longer than the read itself. `within` takes
the first step of an awaitable by hand (PEP 492); only when that step has to wait is a timer set for the rest.

A request has one deadline of its own (`limit`), which goes with its task: every wait on its way takes what is `remaining` of
it, if that is less than its own. Work that belongs to nobody's request says so (`unlimited`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Generator
from contextvars import ContextVar
from typing import Any, TypeVar, cast

from adapters.errors import TimedOut

Result = TypeVar("Result")

OVER = "the time that the request had was over"


_due: ContextVar[float | None] = ContextVar("due", default=None)
"""When the request of this task has to be answered, by `time.monotonic`; None where nothing says so."""


def limit(*seconds: float | None) -> None:
    """From now on this task works for a request that has to be answered within the least of `seconds`, None for no limit."""
    given = [one for one in seconds if one is not None]
    _due.set(time.monotonic() + min(given) if given else None)


def unlimited() -> None:
    """This task works for nobody's request, whoever started it."""
    _due.set(None)


def remaining(most: float) -> float:
    """Seconds that a wait may take which by itself may take `most`; none or less when the request's time is over."""
    due = _due.get()
    return most if due is None else min(most, due - time.monotonic())


async def in_time(awaitable: Awaitable[Result]) -> Result:
    """The result of `awaitable`. Raises `TimedOut` when the time of this task's request is over before."""
    due = _due.get()
    if due is None:
        return await awaitable
    try:
        return await within(max(0.0, due - time.monotonic()), awaitable)
    except TimeoutError:
        if time.monotonic() < due:
            raise
        raise TimedOut(OVER) from None


async def within(seconds: float, awaitable: Awaitable[Result]) -> Result:
    """The result of `awaitable`. Raises `TimeoutError` when it is not there after `seconds`, and what it raises."""
    steps = awaitable.__await__()
    try:
        waited_for = next(steps)
    except StopIteration as done:
        return cast(Result, done.value)
    async with asyncio.timeout(seconds):
        return cast(Result, await _Rest(steps, waited_for))


def started(awaitable: Awaitable[None]) -> asyncio.Future[None] | None:
    """Take the first step of `awaitable`: None when that was all, else its rest, which can be waited for in turns."""
    steps = awaitable.__await__()
    try:
        waited_for = next(steps)
    except StopIteration:
        return None
    return asyncio.ensure_future(_Rest(steps, waited_for))


class _Rest:
    """What is left of an awaitable whose first step was taken and now waits."""

    __slots__ = ("_steps", "_waited_for")

    def __init__(self, steps: Generator[Any, Any, Any], waited_for: Any) -> None:
        self._steps = steps
        self._waited_for = waited_for

    def __await__(self) -> Generator[Any, Any, Any]:
        steps, waited_for = self._steps, self._waited_for
        while True:
            try:
                try:
                    value = yield waited_for
                except BaseException as error:
                    waited_for = steps.throw(error)
                else:
                    waited_for = steps.send(value)
            except StopIteration as done:
                return done.value
