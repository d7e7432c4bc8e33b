"""How fast readers take what they are sent: who stalls, and who has to make room when others wait.

A reader is slow, not gone, while it acknowledges bytes: the socket counts as writable only when a third of the kernel's queue
is free, which takes a slow line minutes. So the kernel's count of acknowledged bytes decides, and nothing that the reader says.
A place in an archive that nobody waits for is a stalled reader's until its deadline; one that somebody waits for is taken from
the reader that has stalled longest. Nothing here knows
documents or answers.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
import struct
import sys
import termios
from collections.abc import Awaitable, Iterable
from typing import Protocol, cast

from gateway.deadline import started

RESET = struct.pack("ii", 1, 0)

LOOKS = 4
"""How often within its deadline a reader is judged."""

SLOWEST = 1024
"""Bytes a second; a reader that takes less for the whole of its deadline counts as one that takes nothing."""

GLANCE = 0.25
"""Seconds between two looks at whether somebody waits for a reader's place."""

CROWDED_SECONDS = 1.0
"""For so long a reader may stall where others wait for its place: less than they are let wait (`limits.queue_timeout`)."""

CROWDED_SLOWEST = 16 * 1024
"""Bytes a second; who takes less while others wait counts as stalled."""

ACKNOWLEDGED = slice(120, 128)
"""Where `tcpi_bytes_acked` stands in Linux's `struct tcp_info` (include/uapi/linux/tcp.h, since 4.1)."""


class ReaderGone(Exception):
    """The reader hung up, or took next to nothing for too long (`stalled`)."""

    def __init__(self, *, stalled: bool = False) -> None:
        super().__init__()
        self.stalled = stalled


class Place(Protocol):
    """What a reader holds and others may want: one of the documents that an archive has open at once."""

    @property
    def wanted(self) -> int:
        """How many wait for one."""


class Asked(Protocol):
    """A request that is being answered."""

    @property
    def transport(self) -> asyncio.Transport | None:
        """Its connection; None once that is over."""


class Pacing:
    """The readers that are being waited for. `timeout` in seconds is how long one may take less than `SLOWEST` allows."""

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._slow: set[_Wait] = set()

    async def taken(self, request: Asked, writing: Awaitable[None], place: Place | None = None) -> None:
        """Wait until the connection takes more. Raises `ReaderGone` when the reader does not, and what `writing` raises."""
        rest = started(writing)
        if rest is None:
            return
        wait = _Wait(place, acknowledged(request.transport), self._timeout / LOOKS)
        self._slow.add(wait)
        try:
            while not (await asyncio.wait({rest}, timeout=min(GLANCE, wait.step)))[0]:
                wait.look(acknowledged(request.transport))
                if wait.looks == LOOKS or self._must_go(wait):
                    raise ReaderGone(stalled=True)
            rest.result()
        finally:
            self._slow.discard(wait)
            rest.cancel()

    def _must_go(self, wait: _Wait) -> bool:
        """Whether somebody waits for the place of this reader, and no other one has stalled for longer."""
        if wait.place is None or wait.stalled < CROWDED_SECONDS or not wait.place.wanted:
            return False
        longer = sum(other.place is wait.place and other.moved < wait.moved for other in self._slow)
        return longer < wait.place.wanted


class _Wait:
    """One reader that is waited for, as the looks at it have seen it."""

    __slots__ = ("_began", "_last", "_seen", "_taken", "looks", "moved", "place", "step")

    def __init__(self, place: Place | None, taken: int, step: float) -> None:
        self.place = place
        self.step = step
        self.looks = 0
        """How many judgements in a row found too little."""
        self.moved = self._began = self._seen = asyncio.get_running_loop().time()
        self._taken = self._last = taken

    @property
    def stalled(self) -> float:
        """For how many seconds it has taken next to nothing."""
        return self._seen - self.moved

    def look(self, taken: int) -> None:
        now = asyncio.get_running_loop().time()
        if taken - self._last >= max(1, int(CROWDED_SLOWEST * (now - self._seen))):
            self.moved = now
        self._last, self._seen = taken, now
        due = self.step * (self.looks + 1)
        if now - self._began < due:
            return
        if taken - self._taken >= max(1, int(SLOWEST * due)):
            self._began, self._taken, self.looks = now, taken, 0
        else:
            self.looks += 1


class Leftovers:
    """What answers left on their connection when they were done: bytes that wait for a reader that may never take them.

    No request waits for these any more, and a connection that is closed stays open until they are gone, which a reader that
    merely stops puts off for ever. So somebody has to look from time to time.
    """

    def __init__(self, timeout: float) -> None:
        """`timeout` in seconds is how long a reader may take less than `SLOWEST` allows."""
        self.timeout = timeout
        self._seen: dict[asyncio.BaseTransport, tuple[float, int]] = {}

    def overdue(self, transports: Iterable[asyncio.BaseTransport]) -> list[asyncio.BaseTransport]:
        """Those of these connections, on which no request is being answered, whose reader has stopped."""
        now = asyncio.get_running_loop().time()
        before, self._seen = self._seen, {}
        found = []
        for transport in transports:
            try:
                if not unsent_on(transport):
                    continue
                taken = acknowledged_on(transport)
            except (OSError, ValueError):
                continue
            since, had = before.get(transport, (now, taken))
            if now - since < self.timeout:
                self._seen[transport] = since, had
            elif taken - had >= SLOWEST * (now - since):
                self._seen[transport] = now, taken
            else:
                found.append(transport)
        return found


def acknowledged(transport: asyncio.BaseTransport | None) -> int:
    """Bytes that the reader's side has acknowledged, TLS's own among them. Only the difference of two looks counts.

    Raises `ReaderGone` when the connection is closed.
    """
    if transport is None or transport.is_closing():
        raise ReaderGone
    return acknowledged_on(transport)


def acknowledged_on(transport: asyncio.BaseTransport) -> int:
    """The same, of a connection that may be closing."""
    connection = transport.get_extra_info("socket")
    if connection.family != socket.AF_UNIX:
        state = _tcp_state(connection.fileno())
        return int.from_bytes(state[ACKNOWLEDGED], sys.byteorder)
    # A Unix socket says only what waits in it and before it.
    return -unsent_on(transport)


def unsent_on(transport: asyncio.BaseTransport) -> int:
    """Bytes that the reader's side has not acknowledged: what waits here, and in the kernel."""
    here = cast(asyncio.WriteTransport, transport).get_write_buffer_size()
    return queued(transport.get_extra_info("socket").fileno()) + here


def queued(descriptor: int) -> int:
    """Bytes in the kernel that the reader's side of this socket has not acknowledged."""
    return int.from_bytes(fcntl.ioctl(descriptor, termios.TIOCOUTQ, bytes(4)), sys.byteorder)


def _tcp_state(descriptor: int) -> bytes:
    """The kernel's `struct tcp_info` of a connection."""
    with socket.socket(fileno=os.dup(descriptor)) as twin:
        return twin.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, ACKNOWLEDGED.stop)


def reset(transport: asyncio.BaseTransport | None) -> None:
    """End the connection so that no reader can take the body for whole: a TCP reset, unsent bytes discarded."""
    if transport is None:
        return
    connection = transport.get_extra_info("socket")
    if connection is not None:
        ends_by_reset(connection)
    cast(asyncio.WriteTransport, transport).abort()


def ends_by_reset(connection: socket.socket) -> None:
    """Let whoever closes this connection last reset it."""
    if connection.family != socket.AF_UNIX:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
