"""The connections of one source: few, shared by many documents, made when they are needed and closed when they are not.

Rules of this module: it knows connections and nothing of documents. No lock is held across an await, so that a request
which is cancelled leaves nothing taken. A broken connection is never handed out; one that does not answer in time is asked
with an echo, and ended if it does not answer that either. Errors of `connect` are kept for nobody but who waits.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, TypeVar

from adapters.contract import Log
from adapters.errors import AdapterError
from adapters.smb.failures import Lost, Refused, ends_session
from adapters.smb.session import Target
from adapters.smb.share import Share

Result = TypeVar("Result")

CROWD = 8
"""Documents open on a connection from which on another one is made, if it may be."""

PATIENCE = 1.5
"""Seconds after which an answer is late enough to ask for an echo. With the echo's own deadline it leaves a request whose
idle connection was dropped by a firewall time for a fresh one."""

ECHO_DEADLINE = 1.5
"""Seconds in which a server has to say something, be it the echo or anything else, before it is given up."""

GROWTH_PAUSE = 30.0
"""Seconds without another try after the server did not want one connection more."""


class Pooled:
    """One connection. `asking` counts the questions on their way."""

    __slots__ = ("_pool", "asking", "doubt", "share", "used")

    def __init__(self, pool: Pool, share: Share) -> None:
        self._pool = pool
        self.share = share
        self.asking = 0
        self.used = _now()
        self.doubt: asyncio.Task[None] | None = None

    @property
    def load(self) -> int:
        return self.asking + self.share.open_count

    async def listen(self, answer: Awaitable[Result]) -> Result:
        """What `answer`, an await on this connection, gives; the pool learns from it how the connection is."""
        try:
            return await answer
        except asyncio.CancelledError:
            # Perhaps a deadline: somebody waited for an answer that did not come.
            self._pool.suspect(self)
            raise
        except (Refused, Lost) as error:
            if isinstance(error, Lost) or ends_session(error.status):
                self._pool.retire(self)
            raise


class _Attempt:
    """A connection being made, and how many wait for it."""

    __slots__ = ("task", "waiters")

    def __init__(self, task: asyncio.Task[Pooled]) -> None:
        self.task = task
        self.waiters = 0


class Pool:
    """Connections by target. `connect` raises `AdapterError` or `Refused`; `most` is for each target.

    `idle`, `patience` and `echo_deadline` are in seconds.
    """

    def __init__(
        self,
        connect: Callable[[Target], Awaitable[Share]],
        *,
        most: int,
        idle: float,
        log: Log,
        patience: float = PATIENCE,
        echo_deadline: float = ECHO_DEADLINE,
    ) -> None:
        self._connect = connect
        self._most = most
        self._idle = idle
        self._log = log
        self._patience = patience
        self._echo_deadline = echo_deadline
        self._kept: defaultdict[Target, list[Pooled]] = defaultdict(list)
        self._attempts: dict[Target, _Attempt] = {}
        self._no_growth_until: dict[Target, float] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._sweeping: asyncio.TimerHandle | None = None
        self._closed = False

    async def ask(self, target: Target, question: Callable[[Pooled], Awaitable[Result]]) -> Result:
        """What `question` gets of a connection to `target`.

        A connection that was there before may have died unnoticed: then the question is put once more, to a fresh one.
        Raises `Refused`, `Lost`, and the `AdapterError` of `connect`.
        """
        pooled = self._best(target)
        if pooled is None:
            return await self._asked(await self._made(target), question)
        try:
            return await self._asked(pooled, question)
        except Refused as error:
            if not ends_session(error.status):
                raise
        except Lost:
            pass
        try:
            return await self._asked(self._best(target, full=True) or await self._made(target), question)
        except (Refused, Lost) as error:
            error.again = True
            raise
        except AdapterError as error:
            error.exhausted = True
            raise

    def suspect(self, pooled: Pooled) -> None:
        """Find out in the background whether the server still answers on this connection; end it if not."""
        if pooled.doubt is None and not pooled.share.broken and not self._closed:
            pooled.doubt = self._start(self._question(pooled), "smb-echo")

    def retire(self, pooled: Pooled) -> None:
        """Hand this connection out no more and end it: it is lost, or the server has forgotten its session."""
        pooled.share.sever("the server ended the session")
        self._drop_broken()

    async def aclose(self) -> None:
        """End everything. Idempotent."""
        self._closed = True
        if self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None
        for attempt in self._attempts.values():
            attempt.task.cancel()
            self._track(attempt.task)
        for pooled in [pooled for kept in self._kept.values() for pooled in kept]:
            if pooled.doubt is not None:
                pooled.doubt.cancel()
            self._leave(pooled)
        self._kept.clear()
        while self._tasks:
            await asyncio.wait(self._tasks)

    # --- which connection ------------------------------------------------------------------------------------------

    def _best(self, target: Target, *, full: bool = False) -> Pooled | None:
        """The least loaded live connection; with `full` only where no further one may be made."""
        self._drop_broken()
        kept = self._kept.get(target)
        if not kept or (full and len(kept) < self._most):
            return None
        best = min(kept, key=lambda pooled: pooled.load)
        if best.load >= CROWD and len(kept) < self._most:
            self._grow(target)
        return best

    def _grow(self, target: Target) -> None:
        """Make one more connection in the background: who asks now has one that works."""
        if target not in self._attempts and _now() >= self._no_growth_until.get(target, 0.0):
            self._attempt(target).task.add_done_callback(partial(self._grown, target))

    def _grown(self, target: Target, task: asyncio.Task[Pooled]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._no_growth_until[target] = _now() + GROWTH_PAUSE
            detail = error.detail if isinstance(error, AdapterError) else ""
            self._log.warning("no further connection", error=type(error).__name__, detail=detail)

    # --- making one ------------------------------------------------------------------------------------------------

    async def _made(self, target: Target) -> Pooled:
        """A fresh connection. Many may wait for one attempt; when the last of them is cancelled, so is the attempt."""
        if self._closed:
            raise Lost("this source is closing")
        attempt = self._attempts.get(target) or self._attempt(target)
        attempt.waiters += 1
        try:
            await asyncio.wait({attempt.task})
        finally:
            attempt.waiters -= 1
            if not attempt.waiters and not attempt.task.done():
                attempt.task.cancel()
                self._track(self._attempts.pop(target).task)
        if attempt.task.cancelled():
            raise Lost("this source is closing")
        error = attempt.task.exception()
        if error is not None:
            # The same error goes to all who waited; each begins its own traceback.
            raise error.with_traceback(None)
        return attempt.task.result()

    def _attempt(self, target: Target) -> _Attempt:
        attempt = _Attempt(asyncio.create_task(self._join(target), name="smb-connect"))
        self._attempts[target] = attempt
        attempt.task.add_done_callback(partial(self._ended, target, attempt))
        return attempt

    async def _join(self, target: Target) -> Pooled:
        share = await self._connect(target)
        if self._closed:
            await share.aclose()
            raise Lost("this source is closing")
        pooled = Pooled(self, share)
        self._kept[target].append(pooled)
        if self._sweeping is None:
            self._sweeping = asyncio.get_running_loop().call_later(self._idle, self._sweep)
        return pooled

    def _ended(self, target: Target, attempt: _Attempt, task: asyncio.Task[Pooled]) -> None:
        if self._attempts.get(target) is attempt:
            del self._attempts[target]
        if not task.cancelled():
            task.exception()  # seen, also when nobody waits for it

    # --- asking and doubting ---------------------------------------------------------------------------------------

    async def _asked(self, pooled: Pooled, question: Callable[[Pooled], Awaitable[Result]]) -> Result:
        late = asyncio.get_running_loop().call_later(self._patience, self.suspect, pooled)
        pooled.asking += 1
        try:
            return await pooled.listen(question(pooled))
        finally:
            late.cancel()
            pooled.asking -= 1
            pooled.used = _now()

    async def _question(self, pooled: Pooled) -> None:
        echo = asyncio.ensure_future(pooled.share.echo())
        try:
            began = _now()
            while not (await asyncio.wait({echo}, timeout=self._echo_deadline))[0]:
                # On a slow line the echo's answer stands behind documents that are being sent: each byte of them counts.
                if pooled.share.heard <= began:
                    pooled.share.sever("the server does not answer")
                    break
                began = _now()
        finally:
            pooled.doubt = None
            echo.cancel()
            await asyncio.wait({echo})
            if not echo.cancelled() and echo.exception() is not None:
                pooled.share.sever("the server did not answer an echo")
            self._drop_broken()

    # --- letting go ------------------------------------------------------------------------------------------------

    def _sweep(self) -> None:
        """Close what was idle for long enough, and come back when the next one may be."""
        self._drop_broken()
        now = _now()
        for kept in self._kept.values():
            for pooled in list(kept):
                if pooled.load:
                    pooled.used = now
                elif now - pooled.used >= self._idle:
                    kept.remove(pooled)
                    self._leave(pooled)
        oldest = min((pooled.used for kept in self._kept.values() for pooled in kept), default=None)
        loop = asyncio.get_running_loop()
        self._sweeping = None if oldest is None else loop.call_at(oldest + self._idle, self._sweep)

    def _drop_broken(self) -> None:
        for kept in self._kept.values():
            for pooled in [pooled for pooled in kept if pooled.share.broken]:
                kept.remove(pooled)
                self._leave(pooled)

    def _leave(self, pooled: Pooled) -> None:
        self._start(pooled.share.aclose(), "smb-leave")

    def _start(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        self._track(task)
        return task

    def _track(self, task: asyncio.Task[Any]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _now() -> float:
    return asyncio.get_running_loop().time()
