"""Everything that one Redis server is asked: connections on demand, commands of one turn of the loop in one write, and
giving up for a moment on a server that does not answer.

What lives here: which connection takes which call, and when there is another one. A call is answered, or fails with a
`Fault`, within the time to connect and the time for an operation; while the server is given up it fails without waiting,
and a single connection attempt at a time finds out whether it is back. No reader waits for that attempt.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from gateway.cache import redis_faults
from gateway.cache.redis_faults import Fault
from gateway.cache.redis_lane import Batch, Call, Command, Connected, Lane, packed
from gateway.resilience import Breaker, Circuit, Permit

FAILURES = 3
"""Failures in a row after which a server is given up; one is enough when it does not answer in time."""

PAUSE = 1.0
"""Seconds for which it is given up."""

CROWDED = 16
"""Weight on a connection from which on another one is opened."""

FULL = 64
"""Weight on a connection from which on nothing more is sent to it."""

QUEUE = 512
"""Calls that wait for room; what comes on top is refused."""


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds to connect, log-on included, and for one operation."""

    connect: float
    operation: float


class Link:
    """One server. `connect` sets a connection up and raises whatever it likes; `lanes` is how many there may be."""

    def __init__(self, connect: Callable[[], Awaitable[Connected]], *, deadlines: Deadlines, lanes: int) -> None:
        self._connect = connect
        self._deadlines = deadlines
        self._most = lanes
        self._lanes: list[Lane] = []
        self._pending: deque[Call] = deque()
        self._flushing = False
        self._growing: asyncio.Task[None] | None = None
        self._expiry: asyncio.TimerHandle | None = None
        self._closed = False
        self._breaker = Breaker(failures=FAILURES, pause=PAUSE, clock=time.monotonic)

    @property
    def away(self) -> bool:
        """Whether the server is given up for now."""
        return self._breaker.circuit is not Circuit.CLOSED

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._lanes)

    def call(self, *commands: Command, weight: int = 1) -> asyncio.Future[Call]:
        """Send commands one after the other on one connection. Raises `Fault` at once, or its future does later.

        The first error reply of the server is a fault, too. Cancelling the future is always safe.
        """
        return self.send(packed(*commands), weight)

    def send(self, batch: Batch, weight: int = 1) -> asyncio.Future[Call]:
        """The same for commands that are packed already."""
        if self._closed:
            raise Fault(redis_faults.CLOSED)
        permit = self._breaker.admit()
        if permit is None:
            raise Fault(redis_faults.OPEN)
        if permit.probe:
            self._find_out(permit)
            raise Fault(redis_faults.OPEN)
        if len(self._pending) >= QUEUE:
            raise Fault(redis_faults.BUSY)
        loop = asyncio.get_running_loop()
        call = Call(batch, weight, permit, loop.create_future())
        self._pending.append(call)
        if not self._flushing:
            self._flushing = True
            loop.call_soon(self._flush)
        return call.future  # type: ignore[return-value]

    async def warm(self) -> None:
        """Wait for the first connection, or for the failure to get one."""
        if not self._lanes:
            self._grow()
        if self._growing is not None:
            await asyncio.wait([self._growing])

    async def close(self) -> None:
        """Reset all connections; what waits fails."""
        self._closed = True
        if self._growing is not None:
            self._growing.cancel()
            await asyncio.wait([self._growing])
        self._fail(redis_faults.CLOSED)
        for lane in tuple(self._lanes):
            lane.close(redis_faults.CLOSED)
        # The loop closes a socket in its next turn.
        await asyncio.sleep(0)

    # --- sending ---------------------------------------------------------------------------------------------------

    def _flush(self) -> None:
        """Hand what waits to the connections that have room, in order."""
        self._flushing = False
        batches: dict[Lane, list[Call]] = {}
        load = {lane: lane.load for lane in self._lanes}
        while self._pending:
            call = self._pending[0]
            if call.future is not None and call.future.done():
                # Its caller left before anything was sent.
                self._pending.popleft()
                if call.permit is not None:
                    call.permit.abandoned()
                continue
            lane = min(load, key=load.__getitem__, default=None)
            if lane is None or load[lane] >= CROWDED:
                self._grow()
            if lane is None or load[lane] >= FULL:
                break
            self._pending.popleft()
            load[lane] += call.weight
            batches.setdefault(lane, []).append(call)
        for lane, calls in batches.items():
            lane.send(calls)
        if self._pending and self._expiry is None:
            self._expect()

    def _room(self) -> None:
        if self._pending and not self._flushing:
            self._flush()

    def _gone(self, lane: Lane) -> None:
        self._lanes.remove(lane)
        if self._pending and not self._closed:
            self._grow()

    # --- waiting for room ------------------------------------------------------------------------------------------

    def _expect(self) -> None:
        """See to it that nothing waits for longer than connecting and an operation may take."""
        loop = asyncio.get_running_loop()
        for call in self._pending:
            call.since = call.since or loop.time()
        patience = self._deadlines.connect + self._deadlines.operation
        self._expiry = loop.call_at(self._pending[0].since + patience, self._expire)

    def _expire(self) -> None:
        self._expiry = None
        now = asyncio.get_running_loop().time()
        patience = self._deadlines.connect + self._deadlines.operation
        while self._pending and self._pending[0].since and self._pending[0].since + patience <= now:
            self._pending.popleft().end(Fault(redis_faults.BUSY))
        if self._pending:
            self._expect()

    def _fail(self, kind: str) -> None:
        pending, self._pending = self._pending, deque()
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        for call in pending:
            call.end(Fault(kind))

    # --- connecting ------------------------------------------------------------------------------------------------

    def _grow(self) -> None:
        if self._growing is not None or self._closed or len(self._lanes) >= self._most:
            return
        permit = self._breaker.admit()
        if permit is None:
            self._fail(redis_faults.OPEN)
        else:
            self._growing = asyncio.get_running_loop().create_task(self._open(permit))

    def _find_out(self, permit: Permit) -> None:
        """Whether the server is back, on a new connection: the old ones may be half dead."""
        if self._growing is None:
            self._growing = asyncio.get_running_loop().create_task(self._open(permit))
        else:
            permit.abandoned()

    async def _open(self, permit: Permit) -> None:
        try:
            async with asyncio.timeout(self._deadlines.connect):
                connected = await self._connect()
        except Exception as error:
            self._growing = None
            fault = redis_faults.of_error(error)
            permit.failed(certain=fault.certain)
            if not self._lanes:
                self._fail(fault.kind)
            return
        except BaseException:
            self._growing = None
            permit.abandoned()
            raise
        self._growing = None
        permit.succeeded()
        if permit.probe:
            for lane in tuple(self._lanes):
                lane.close(redis_faults.LOST)
        self._lanes.append(
            Lane(connected, timeout=self._deadlines.operation, room=self._room, gone=self._gone),
        )
        self._flush()
