"""A window of READs for one reader: enough are on their way that the next piece is there when it is wanted.

Rules of this module: arithmetic of windows and the order of pieces; messages are `connection`'s. Answers come in any order
(the server reads asynchronously) and are handed out in order. A piece may come in parts, when the server answers a READ
with fewer bytes than asked, which it may. What is read ahead is bounded by the window, whatever the reader does: it begins
at `BASE` and grows only for a reader that waits for a server which is far away, and shrinks when the reader falls behind.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass

from adapters.contract import MAX_CHUNK
from adapters.smb.failures import Lost, Refused
from adapters.smb.native.connection import Connection, Request
from adapters.smb.wire import READ, Header, charge, is_error, read, read_data

PIECE = 256 << 10
"""Bytes of one READ near the server: larger ones cost memory and gain nothing there."""

BASE = 4 * PIECE
"""Bytes read ahead of every reader, and all that a reader which stalls from the start holds."""

FAR = 0.001
"""Seconds of a round trip from which on a larger window pays: below, `BASE` fills a 10 Gbit/s line."""


@dataclass(slots=True)
class Surplus:
    """What the readers of one connection may hold together beyond `BASE` each, in bytes."""

    left: int

    def take(self, count: int) -> int:
        taken = min(count, self.left)
        self.left -= taken
        return taken

    def give(self, count: int) -> None:
        self.left += count


class _Slot:
    """One piece of the file on its way. `parts` are in order; `missing` bytes are still to come."""

    __slots__ = ("error", "missing", "offset", "parts")

    def __init__(self, offset: int, length: int) -> None:
        self.offset = offset
        self.missing = length
        self.parts: list[bytes] = []
        self.error: Exception | None = None

    @property
    def done(self) -> bool:
        return self.missing == 0 or self.error is not None


class Reading:
    """The bytes [start, stop) of one open file, as an asynchronous iterator. `close` drops what is on its way."""

    def __init__(
        self,
        connection: Connection,
        file_id: bytes,
        start: int,
        stop: int,
        *,
        head: bytes,
        limit: int,
        max_read: int,
        surplus: Surplus,
        far: bool,
    ) -> None:
        self._connection = connection
        self._file_id = file_id
        self._next = start + len(head)
        self._stop = stop
        self._head = head
        self._limit = max(limit, BASE)
        self._max_read = min(max_read, MAX_CHUNK)
        self._surplus = surplus
        self._far = far
        self._window = BASE
        self._held = 0
        self._slots: deque[_Slot] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._closed = False
        if self._next < stop:
            self._ask_ahead()

    def __aiter__(self) -> Reading:
        return self

    async def __anext__(self) -> bytes:
        if self._head:
            head, self._head = self._head, b""
            return head
        if not self._slots:
            self.close()
            raise StopAsyncIteration
        slot = self._slots[0]
        if slot.done:
            self._narrow()
        else:
            self._widen()
            while not slot.done:
                self._waiter = asyncio.get_running_loop().create_future()
                await self._waiter
        if slot.error is not None:
            raise slot.error
        self._slots.popleft()
        data = slot.parts[0] if len(slot.parts) == 1 else b"".join(slot.parts)
        self._held -= len(data)
        self._ask_ahead()
        return data

    def close(self) -> None:
        """Forget what is on its way; answers that still come are dropped. Idempotent."""
        if not self._closed:
            self._closed = True
            self._slots.clear()
            self._surplus.give(self._window - BASE)
            self._window = BASE

    # --- the window ------------------------------------------------------------------------------------------------

    def _widen(self) -> None:
        """The reader waits: where that is the line's length and not the server's speed, read further ahead."""
        if self._far and self._window < self._limit and self._held >= self._window:
            self._window += self._surplus.take(min(self._window, self._limit - self._window))
            self._ask_ahead()

    def _narrow(self) -> None:
        """The reader is behind: it needs less."""
        if self._window > BASE and all(slot.done for slot in self._slots):
            given = (self._window - BASE + 1) // 2
            self._window -= given
            self._surplus.give(given)

    def _ask_ahead(self) -> None:
        size = PIECE if self._window == BASE else MAX_CHUNK
        while self._next < self._stop and self._held < self._window and not self._closed:
            length = min(size, self._max_read, self._stop - self._next, max(self._window - self._held, PIECE))
            slot = _Slot(self._next, length)
            self._slots.append(slot)
            self._next += length
            self._held += length
            self._ask(slot)

    def _ask(self, slot: _Slot) -> None:
        """Ask for what is missing of `slot`."""
        length = slot.missing
        cost = charge(length)

        def failed(error: Lost) -> None:
            self._failed(slot, error)

        def answered(header: Header, message: memoryview) -> None:
            self._answered(slot, length, header, message)

        def send() -> None:
            if not self._closed:
                body = read(self._file_id, slot.offset, length)
                self._connection.send_now([Request(READ, body, cost, answered)], failed)

        self._connection.submit(cost, send, failed)

    def _answered(self, slot: _Slot, asked: int, header: Header, message: memoryview) -> None:
        if self._closed:
            return
        if is_error(header):
            self._failed(slot, Refused(header.status, "could not read the document"))
            return
        data = bytes(read_data(message, asked))
        slot.parts.append(data)
        slot.offset += len(data)
        slot.missing -= len(data)
        if slot.missing:
            self._ask(slot)
        else:
            self._wake()

    def _failed(self, slot: _Slot, error: Exception) -> None:
        slot.error = error
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
