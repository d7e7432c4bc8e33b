"""Blocking calls of one connection, one at a time and in the order of asking, on threads that others use too.

Rules of this module: no SMB. A connection that many threads use at once runs out of credits, and smbprotocol then fails
instead of waiting; so at most one thread works for it. Who waits for a turn occupies none. A thread cannot be cancelled:
what it brings for a caller who has gone is given to `undo`.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from adapters.smb.failures import Lost

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class _Job:
    """One call, and who gets its result.

    `always`: it is made also when nobody waits any more; `surely`: also when the executor takes no more.
    """

    work: Callable[[], Any]
    waiter: asyncio.Future[Any]
    undo: Callable[[Any], object] | None = None
    always: bool = False
    surely: bool = False


class Turns:
    """The calls of one connection. `overdue` is called on the loop when one of them has lasted `patience` seconds."""

    def __init__(self, executor: Executor, *, patience: float, overdue: Callable[[], None]) -> None:
        self._executor = executor
        self._patience = patience
        self._overdue = overdue
        self._queue: deque[_Job] = deque()
        self._running: _Job | None = None
        self._loop = asyncio.get_running_loop()

    async def call(
        self,
        work: Callable[..., Result],
        *arguments: Any,
        undo: Callable[[Result], object] | None = None,
        always: bool = False,
    ) -> Result:
        """What `work(*arguments)` returns or raises. Cancelling abandons the wait, and the call when it did not begin."""
        waiter = self._add(_Job(partial(work, *arguments), self._loop.create_future(), undo, always))
        try:
            return await waiter  # type: ignore[no-any-return]
        except asyncio.CancelledError:
            # Cancelled in the moment between the result and its waiter's turn on the loop.
            if not waiter.cancelled() and waiter.exception() is None and undo is not None:
                undo(waiter.result())
            raise

    def later(self, work: Callable[..., object], *arguments: Any) -> None:
        """Make a call in its turn whose outcome nobody wants to know."""
        self._add(_Job(partial(work, *arguments), self._loop.create_future(), always=True)).cancel()

    def fail(self, error: Lost) -> None:
        """Tell all who wait, and drop the calls that did not begin."""
        waiting = [*self._queue, *([self._running] if self._running else [])]
        self._queue.clear()
        for job in waiting:
            if not job.waiter.done():
                job.waiter.set_exception(error)

    def last(self, work: Callable[[], None]) -> asyncio.Future[None]:
        """Make this call in its turn, also when the executor takes no more."""
        return self._add(_Job(work, self._loop.create_future(), always=True, surely=True))

    def _add(self, job: _Job) -> asyncio.Future[Any]:
        self._queue.append(job)
        self._begin()
        return job.waiter

    def _begin(self) -> None:
        while self._queue and self._running is None:
            job = self._queue.popleft()
            if job.always or not job.waiter.done():
                self._start(job)

    def _start(self, job: _Job) -> None:
        try:
            running = self._executor.submit(job.work)
        except RuntimeError:  # the executor was shut down
            if not job.surely:
                if not job.waiter.done():
                    job.waiter.set_exception(Lost("this source is closing"))
                return
            running = _apart(job.work)
        self._running = job
        timer = self._loop.call_later(self._patience, self._overdue)
        asyncio.wrap_future(running, loop=self._loop).add_done_callback(partial(self._finished, job, timer))

    def _finished(self, job: _Job, timer: asyncio.TimerHandle, made: asyncio.Future[Any]) -> None:
        self._running = None
        timer.cancel()
        error = made.exception()
        if not job.waiter.done():
            if error is None:
                job.waiter.set_result(made.result())
            else:
                job.waiter.set_exception(error)
        elif error is None and job.undo is not None:
            job.undo(made.result())
        self._begin()


def _apart(work: Callable[[], Any]) -> Future[Any]:
    """Make a call on a thread of its own."""
    made: Future[Any] = Future()

    def run() -> None:
        try:
            made.set_result(work())
        except BaseException as error:
            made.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return made
