"""One connection to Redis that many callers share: commands go out as they come, replies come back in that order.

What lives here: calls, the order in which they are answered, and when a connection is no longer believed. A caller that
leaves changes nothing on the connection, its reply is read and thrown away, so that no reply can reach another caller.
A connection is never put in order again: at the first doubt it is closed and everything that waits on it fails.

`redis-py` sets connections up; from then on the transport is this module's, since its own way of reading costs ten times
as much for each small reply. What arrives is taken apart by `redis_replies`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import hiredis

from gateway.cache import redis_faults
from gateway.cache.redis_faults import Fault
from gateway.cache.redis_replies import Garbled, Replies
from gateway.resilience import Permit

LARGEST_REPLY = 1 << 20
"""Bytes that may arrive without completing a reply: four times the largest that is ever asked for."""

SLOWEST = 4 << 20
"""Bytes in a second: while at least as much arrives, a reply that has to wait for others is not late."""

LONGEST = 4
"""Times the timeout that a call may take while anything arrives at all."""

IDLE = 15.0
"""Seconds of silence after which a connection is tried out, so that no reader is the first to find it dead."""

Command = tuple[Any, ...]
"""A command and its arguments: text, bytes or numbers."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Commands as they go out, and how many they are. May be sent again and again."""

    packed: bytes
    count: int


def packed(*commands: Command) -> Batch:
    """Commands that are to be sent together."""
    return Batch(b"".join([hiredis.pack_command(command) for command in commands]), len(commands))


@dataclass(frozen=True, slots=True)
class Connected:
    """A connection that was set up. `run` is the server's run id; `keep` has to live as long as the transport."""

    transport: asyncio.Transport
    run: str
    keep: object = None


_PING = packed(("PING",))


class Call:
    """Commands that are sent together, and where their replies go.

    `weight` counts what is expected back or sent, in units of a small reply. The future is given the call itself.
    """

    __slots__ = ("fault", "future", "left", "packed", "permit", "received", "replies", "run", "since", "weight")

    def __init__(
        self,
        batch: Batch,
        weight: int = 1,
        permit: Permit | None = None,
        future: asyncio.Future[Call] | None = None,
    ) -> None:
        self.packed = batch.packed
        self.left = batch.count
        self.weight = weight
        self.permit = permit
        self.future = future
        self.replies: list[Any] = []
        self.run = ""
        """The run id of the server that answered: another one after each of its starts."""
        self.fault: Fault | None = None
        self.since = 0.0
        self.received = 0

    def end(self, fault: Fault | None) -> None:
        """Tell the caller, if it still waits, and the breaker."""
        if self.permit is not None:
            if fault is None or fault.kind in redis_faults.HARMLESS:
                self.permit.succeeded()
            else:
                self.permit.failed(certain=fault.certain)
        # The future keeps the call; would the call keep the future, replies stayed until the next collection.
        future, self.future = self.future, None
        if future is None or future.done():
            return
        if fault is None:
            future.set_result(self)
        else:
            future.set_exception(fault)


class Lane(asyncio.BufferedProtocol):
    """A connection in use. `timeout` is in seconds; `room` is called when calls were answered, `gone` once at the end."""

    def __init__(
        self,
        connected: Connected,
        *,
        timeout: float,
        room: Callable[[], None],
        gone: Callable[[Lane], None],
    ) -> None:
        self.load = 0
        self._connected = connected
        self._transport = connected.transport
        self._run = connected.run
        self._timeout = timeout
        self._room = room
        self._gone = gone
        self._loop = asyncio.get_running_loop()
        self._replies = Replies()
        self._waiting: deque[Call] = deque()
        self._received = 0
        self._closed = False
        self._transport.set_protocol(self)
        self._heard = self._alarm_at = self._loop.time()
        self._alarm = self._loop.call_later(0, self._look_at_the_clock)

    def send(self, calls: list[Call]) -> None:
        """Put these calls on the wire. Each is answered or fails within about the timeout."""
        now = self._loop.time()
        if self._alarm_at > now + self._timeout:
            self._set_alarm(now, self._timeout)
        for call in calls:
            call.since, call.received = now, self._received
            self.load += call.weight
        self._waiting.extend(calls)
        self._transport.write(b"".join([call.packed for call in calls]))
        for call in calls:
            call.packed = b""

    def close(self, kind: str) -> None:
        """End the connection at once; what waits on it fails with a fault of this kind."""
        if self._closed:
            return
        self._closed = True
        self._alarm.cancel()
        self._transport.abort()
        waiting, self._waiting = self._waiting, deque()
        self._gone(self)
        for call in waiting:
            call.end(Fault(kind))

    # --- what asyncio calls ----------------------------------------------------------------------------------------

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._replies.room()

    def buffer_updated(self, count: int) -> None:
        self._received += count
        self._heard = self._loop.time()
        try:
            for reply in self._replies.take(count):
                self._take(reply)
        except Garbled:
            self.close(redis_faults.GARBAGE)
            return
        if self._replies.incomplete > LARGEST_REPLY:
            self.close(redis_faults.GARBAGE)
        elif not self._closed:
            self._room()

    def eof_received(self) -> None:
        return None

    def connection_lost(self, error: Exception | None) -> None:
        self.close(redis_faults.LOST)

    # --- replies and time ------------------------------------------------------------------------------------------

    def _take(self, reply: Any) -> None:
        if not self._waiting:
            # A reply that nobody asked for.
            raise Garbled
        call = self._waiting[0]
        call.replies.append(reply)
        if type(reply) is hiredis.ReplyError and call.fault is None:
            call.fault = redis_faults.of_reply(str(reply))
        call.left -= 1
        if call.left:
            return
        self._waiting.popleft()
        self.load -= call.weight
        call.run = self._run
        call.end(call.fault)
        if call.fault is not None and call.fault.kind in redis_faults.RECONNECT:
            self.close(call.fault.kind)

    def _set_alarm(self, now: float, seconds: float) -> None:
        self._alarm.cancel()
        self._alarm_at = now + seconds
        self._alarm = self._loop.call_at(self._alarm_at, self._look_at_the_clock)

    def _look_at_the_clock(self) -> None:
        now = self._loop.time()
        if not self._waiting:
            silence = now - self._heard
            if silence >= IDLE:
                self.send([Call(_PING, weight=0)])
                silence = 0.0
            # Soon after work there will be more of it, and an alarm that stands early enough costs nothing to keep.
            self._set_alarm(now, self._timeout if silence < self._timeout else IDLE - silence)
            return
        oldest = self._waiting[0]
        due = oldest.since + self._timeout + (self._received - oldest.received) / SLOWEST
        # A process that stood still reads what has arrived meanwhile piece by piece: that is not Redis' delay.
        due = max(due, min(self._heard + self._timeout / 2, oldest.since + LONGEST * self._timeout))
        if due > now:
            self._set_alarm(now, due - now)
        else:
            self.close(redis_faults.TIMEOUT)
