"""The rest of a large answer, taken from its connection without a parser between.

Rules of this module: it counts bytes and looks at none. aiohttp reads the head and whatever of the body came with it; where the
head says how long the body is, nothing is left to parse, and what aiohttp would do with each piece is to copy it twice. The
connection goes back to aiohttp when its answer is let go of, and aiohttp is told of all that becomes of it before. A body in
chunks stays aiohttp's: how far its parser is within a chunk it does not say.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import cast

import aiohttp

PIECE = 336 << 10
"""Bytes taken from a connection at a time: a stalled reader costs three or four such pieces. A multiple of 3 and 4: base64 in
either direction seldom carries."""

LARGE_PIECE = 3 * PIECE
"""The same for an answer that goes on quickly: a third of the messages and wake-ups, and two thirds of the processor time."""

PROVEN = 16 << 20
BRISK = 1.0
"""An answer goes on quickly when so many bytes of it were taken in so many seconds: more than the kernel's buffers take for a
reader that has stopped, and more than 100 Mbit/s. It is looked at again after each such part of it."""

GENEROUS = 24
"""Answers of one room that are taken in large pieces at a time: should all their readers stop, they hold 120 MiB."""

WORTH_WHILE = 256 << 10
"""Bytes of a rest below which it is left to aiohttp."""


class Room:
    """The memory that the connections of one source receive into, in turns: each takes its bytes out before it returns."""

    def __init__(self) -> None:
        self._memory: memoryview | None = None
        self.generous = GENEROUS
        """How many more answers may be taken in large pieces."""

    def upto(self, size: int) -> memoryview:
        """At most `size` bytes of it."""
        if self._memory is None or len(self._memory) < size:
            self._memory = memoryview(bytearray(size))
        return self._memory[:size]


def rest(response: aiohttp.ClientResponse, room: Room) -> Rest | None:
    """The rest of the body, if it is long and of known length; None leaves it to `response.content`, which must be empty."""
    content, connection = response.content, response.connection
    stated = response.headers.get("Content-Length", "")
    if connection is None or content.is_eof() or content.exception() is not None:
        return None
    if "Transfer-Encoding" in response.headers or not (stated.isascii() and stated.isdigit()):
        return None
    left, transport, theirs = int(stated) - content.total_bytes, connection.transport, connection.protocol
    if left < WORTH_WHILE or transport is None or transport.is_closing() or theirs is None:
        return None
    return Rest(response, transport, theirs, left, room)


class Rest(asyncio.BufferedProtocol):
    """Takes the connection over when it is made, for `left` bytes. `surplus`: more than those have come."""

    def __init__(
        self,
        response: aiohttp.ClientResponse,
        transport: asyncio.BaseTransport,
        theirs: asyncio.Protocol,
        left: int,
        room: Room,
    ) -> None:
        self._response = response
        self._transport = cast(asyncio.Transport, transport)
        self._theirs = theirs
        self._left = left
        self._room = room
        self._large = False
        self._taken = 0
        self._since = asyncio.get_running_loop().time()
        self._given_back = False
        self.surplus = False
        self._ready: deque[bytes] = deque()
        self._held = 0
        self._paused = False
        self._lost = False
        self._waiter: asyncio.Future[None] | None = None
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._hand_to(self)

    async def read(self, seconds: float) -> bytes:
        """The next bytes, b"" after the last. Raises `TimeoutError` when none come for `seconds`, and as aiohttp does."""
        if not self._ready:
            if not self._left:
                return b""
            if self._lost:
                raise self._response.content.exception() or aiohttp.ClientPayloadError("the connection was lost")
            await self._arrival(seconds)
            return await self.read(seconds)
        piece = self._ready.popleft() if len(self._ready) == 1 else b"".join(self._ready)
        self._ready.clear()
        self._held = 0
        self._taken += len(piece)
        if self._taken >= PROVEN:
            self._judge_pace()
        if self._paused:
            self._paused = False
            if not self._transport.is_closing():
                self._transport.resume_reading()
        return piece

    def _judge_pace(self) -> None:
        now = asyncio.get_running_loop().time()
        brisk = now - self._since < BRISK and not self._given_back
        self._taken, self._since = 0, now
        if brisk and not self._large and self._room.generous:
            self._room.generous -= 1
            self._large = True
        elif not brisk:
            self._be_modest()

    def _be_modest(self) -> None:
        if self._large:
            self._room.generous += 1
            self._large = False

    async def _arrival(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        self._due = loop.time() + seconds
        if self._timer is None:
            self._timer = loop.call_at(self._due, self._look, loop)
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """One timer looks after all waits of a body: one for each would cost more than what is waited for."""
        self._timer = None
        if self._waiter is None or self._waiter.done():
            return
        if loop.time() < self._due:
            self._timer = loop.call_at(self._due, self._look, loop)
        else:
            self._waiter.set_exception(TimeoutError())

    def give_back(self) -> None:
        """Let aiohttp keep the connection for another request, when all of the body has arrived and no more.

        Otherwise nothing on it can be believed, and closing it is for the response.
        """
        self._stop_timer()
        self._given_back = True
        self._be_modest()
        if not self._left and not self.surplus and not self._lost and not self._transport.is_closing():
            self._hand_to(self._theirs)
            self._response.content.feed_eof()

    # --- what the event loop calls ---

    def get_buffer(self, sizehint: int) -> memoryview:
        # What is joined in the end is one piece, and no larger than a chunk may be.
        return self._room.upto(max((LARGE_PIECE if self._large else PIECE) - self._held, 1))

    def buffer_updated(self, nbytes: int) -> None:
        size = min(nbytes, self._left)
        if nbytes > size:
            self.surplus = True
            self._transport.pause_reading()
        if not size:
            return
        self._ready.append(bytes(self._room.upto(size)))
        self._held += size
        self._left -= size
        if not self._left:
            self._stop_timer()
        elif self._held >= WORTH_WHILE:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> None:
        self._theirs.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        self._stop_timer()
        self._theirs.connection_lost(exc)
        self._wake()

    def pause_writing(self) -> None:
        self._theirs.pause_writing()

    def resume_writing(self) -> None:
        self._theirs.resume_writing()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _hand_to(self, protocol: asyncio.BaseProtocol) -> None:
        # An event loop may look at the kind of protocol only when it begins to read.
        self._transport.pause_reading()
        self._transport.set_protocol(protocol)
        self._transport.resume_reading()
