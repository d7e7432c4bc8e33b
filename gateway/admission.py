"""Who is let through to one archive, and what is made of the way a call ends: places and queue, circuit, one retry, deadline.

The order never changes: a call that cannot go out is refused before it waits for anything; then it waits for a place, in a
queue that sheds; then it goes out, and again once when nothing of an answer came and the budget allows it. Counters are plain
numbers. The rules are those of the pure machines in `gateway.resilience`; here they meet tasks, futures and the log.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from adapters.contract import Log
from adapters.errors import AdapterError, Busy, TimedOut
from gateway.asking import ASKING
from gateway.blame import blamed
from gateway.deadline import OVER, remaining, within
from gateway.endpoint import MANNER, Endpoint, Manner
from gateway.errors import Resting
from gateway.resilience import Bulkhead, Permit, RetryBudget
from gateway.source_status import REASONS, EndpointStatus, LastError, Reason

Result = TypeVar("Result")

TARGET = 0.25
"""Seconds that a call may wait for a place while more come than the archive can take."""

RETRY_PAUSE = 0.1
"""Seconds before a call is made again, at most: some part of it, so that those that broke together do not come together."""

LOOKED_BACK = 256
"""Calls of which it is told how long they took."""

QUEUE_FULL = "as many calls as allowed wait for this archive"

COME_BACK = 4.0
"""Over how many seconds, after the first, the return of refused readers is spread."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Times in seconds, the number of documents open at once and of those that wait, and when an archive is given a rest."""

    max_open: int = 64
    max_queued: int = 256
    queue_timeout: float = 2.0
    open_timeout: float = 5.0
    idle_timeout: float = 10.0
    repair_timeout: float = 10.0
    breaker_failures: int = 5
    breaker_pause: float = 5.0


class Admission:
    """The way to one archive. It outlives the source that it was made for when the configuration is read anew."""

    def __init__(
        self,
        name: str,
        limits: Limits,
        log: Log,
        *,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """`chance` gives numbers from 0 to 1."""
        self.name = name
        self.limits = limits
        self.log = log
        self.clock = clock
        self._chance = chance
        self.reads = self._bulkhead()
        """Places of open documents, for the life of their bodies."""
        self.looks = self._bulkhead()
        """Places of questions about documents, as many again: they are short, and must not wait for slow readers."""
        self.rejected: dict[Reason, int] = dict.fromkeys(REASONS, 0)
        self.calls = self.failures = self.retries = 0
        self.recent: deque[float] = deque(maxlen=LOOKED_BACK)
        """How long the last calls took that were answered, in seconds."""
        self._budget = RetryBudget(lambda: self.calls, clock=clock)
        self._opened = asyncio.Event()
        self._whole = Endpoint(self, "")
        self._named: dict[str, Endpoint] = {}

    def _bulkhead(self) -> Bulkhead:
        limits = self.limits
        return Bulkhead(
            limits.max_open,
            max_queued=limits.max_queued,
            patience=limits.queue_timeout,
            target=TARGET,
            clock=self.clock,
        )

    # --- endpoints -----------------------------------------------------------------------------------------------

    def endpoint(self, name: str) -> Endpoint:
        """The endpoint called `name`; from the first one on the archive as a whole has no circuit of its own."""
        return self._named.setdefault(name, Endpoint(self, name))

    @property
    def endpoints(self) -> tuple[EndpointStatus, ...]:
        return tuple(one.status() for one in self._endpoints)

    @property
    def _endpoints(self) -> tuple[Endpoint, ...]:
        return tuple(self._named.values()) or (self._whole,)

    def refuse_crowding(self, endpoint: Endpoint) -> None:
        """Raise `Busy` when one of several endpoints keeps so many calls waiting that the others would have no places."""
        places = self.reads.places
        if len(self._named) > 1 and endpoint.waiting >= max(1, places - places // 4):
            raise self._busy("queue full", "one endpoint of the archive keeps nearly all places waiting")

    def stopped(self, endpoint: Endpoint) -> None:
        """The circuit of an endpoint is open: whoever waits is told so, unless there are others to ask."""
        self._opened.set()
        if all(one.breaker.refuses for one in self._endpoints):
            for turn in (*self.reads.clear(), *self.looks.clear()):
                if not turn.token.done():
                    turn.token.set_exception(endpoint.resting())

    async def rested(self, most: float) -> None:
        """Wait until it is time to ask the archive whether it is there: for `most` seconds, or until the pause of a circuit
        is over that is open, or opens meanwhile."""
        wait = self._retry_in(most)
        if wait == most:
            self._opened.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(most):
                    await self._opened.wait()
                    wait = self._retry_in(most)
        if wait != most:
            await asyncio.sleep(wait)

    def _retry_in(self, most: float) -> float:
        """Seconds until an endpoint that rests may be asked again, `most` where none rests for less."""
        waits = [wait for one in self._endpoints if (wait := one.breaker.retry_in)]
        return min([most, *waits])

    # --- places --------------------------------------------------------------------------------------------------

    @property
    def resting(self) -> bool:
        """Whether any endpoint is given a rest, or one call finds out whether it is back."""
        if self._named:
            return any(not one.breaker.closed for one in self._named.values())
        return not self._whole.breaker.closed

    def refuse(self, bulkhead: Bulkhead) -> None:
        """Raise what a call would meet now, if that is a refusal: every circuit is open, or the queue for a place full."""
        if self.resting and all(one.breaker.refuses for one in self._endpoints):
            raise self._endpoints[0].resting()
        if bulkhead.full and bulkhead.refuses(ASKING.get()):
            self._shed(bulkhead)
            if bulkhead.refuses(ASKING.get()):
                raise self._busy("queue full", QUEUE_FULL)

    async def queue(self, bulkhead: Bulkhead) -> None:
        """Take a place, after a wait where none is free. Raises as `refuse`, and `Busy` for who waited for too long.

        Whoever has a place must `leave`.
        """
        self.refuse(bulkhead)
        if bulkhead.enter():
            return
        self._shed(bulkhead)
        turn = bulkhead.wait(asyncio.get_running_loop().create_future(), ASKING.get())
        if turn is None:
            raise self._busy("queue full", QUEUE_FULL)
        self._shed(bulkhead)
        try:
            async with asyncio.timeout(remaining(self.limits.queue_timeout)):
                await turn.token
        except BaseException as error:
            handed = turn.token.done() and not turn.token.cancelled() and turn.token.exception() is None
            if handed:
                self.leave(bulkhead)
            else:
                bulkhead.quit(turn)
            if isinstance(error, TimeoutError):
                raise self._waited_too_long() from None
            raise

    def leave(self, bulkhead: Bulkhead) -> None:
        """Give a place back."""
        while (turn := bulkhead.leave()) is not None:
            if not turn.token.done():
                turn.token.set_result(None)
                break
        if bulkhead.queued:
            self._shed(bulkhead)

    def _shed(self, bulkhead: Bulkhead) -> None:
        for turn in bulkhead.overdue():
            if not turn.token.done():
                turn.token.set_exception(self._waited_too_long())

    def _waited_too_long(self) -> Busy:
        return self._busy("queued too long", "as many documents as allowed are open in this archive")

    def _busy(self, reason: Reason, detail: str) -> Busy:
        self.rejected[reason] += 1
        error = Busy(detail, retry_after=1.0 + COME_BACK * self._chance())
        error.source = self.name
        return error

    # --- calls ---------------------------------------------------------------------------------------------------

    async def reach(self, call: Callable[[], Awaitable[Result]]) -> Result:
        """What `call` answers, under the open deadline or what is left of the request's own.

        It is called again, once, when the archive could not be reached and neither budget nor deadline forbid it. Raises
        `AdapterError`: what the call raised, `Resting` when the archive is not asked at all.
        """
        failure: AdapterError | None = None
        limit, clock = self.limits.open_timeout, self.clock
        whole = None if self._named else self._whole
        while True:
            seconds = remaining(limit)
            if seconds <= 0.0:
                raise failure or self._too_late()
            permit = None if whole is None else whole.admit()
            self.calls += 1
            began = clock()
            try:
                answer = await within(seconds, call())
            except Exception as error:
                before, failure = failure, self._failed(error, permit, on_time=seconds >= limit)
                if before is not None and isinstance(failure, Resting):
                    failure = before
                if before is not None or not self._repeatable(failure):
                    raise failure from failure.__cause__
            except BaseException:
                if permit is not None:
                    self._whole.given_up(permit, clock() - began)
                raise
            else:
                if permit is not None and self._whole.breaker.troubled:
                    self._whole.answered(permit)
                self.recent.append(clock() - began)
                return answer
            self.retries += 1
            await asyncio.sleep(RETRY_PAUSE * self._chance())

    async def probe(self, call: Callable[[], Awaitable[None]]) -> None:
        """Ask whether the archive would answer. That it would closes its circuit; raises as `reach`."""
        permit = None if self._named else self._whole.admit()
        before = MANNER.set(Manner(probing=True))
        try:
            async with asyncio.timeout(self.limits.open_timeout):
                await call()
        except Exception as error:
            failure = self._failed(error, permit, on_time=True)
            raise failure from failure.__cause__
        except BaseException:
            if permit is not None:
                permit.abandoned()
            raise
        else:
            if permit is not None:
                self._whole.answered(permit)
        finally:
            MANNER.reset(before)

    def _failed(self, error: Exception, permit: Permit | None, *, on_time: bool) -> AdapterError:
        """`error` as an error of this archive, after it was judged. `on_time`: the deadline was the archive's own."""
        if isinstance(error, TimeoutError) and not on_time:
            if permit is not None:
                permit.abandoned()
            return self._too_late()
        failure = blamed(error, self.name)
        if permit is not None:
            self._whole.judge(permit, failure)
        return failure

    def _repeatable(self, error: AdapterError) -> bool:
        """Whether another attempt may bring more: a deadline that passed was attempt enough."""
        if not (error.transient and error.unhealthy) or isinstance(error, TimedOut):
            return False
        if error.exhausted or error.answered:
            return False
        if not self._named and self._whole.breaker.refuses:
            return False
        return self._budget.spend()

    def _too_late(self) -> TimedOut:
        error = TimedOut(OVER)
        error.source = self.name
        return error

    # --- what is told --------------------------------------------------------------------------------------------

    @property
    def error(self) -> LastError | None:
        """The last failure of any endpoint."""
        return max((one.error for one in self._endpoints if one.error), key=lambda one: one.at, default=None)
