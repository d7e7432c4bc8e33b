"""A window of READs for one reader: enough are on their way that the next piece is there when it is wanted.

Rules of this module: arithmetic of windows and the order of pieces; messages are `connection`'s. Answers come in any order
(the server reads asynchronously) and are handed out in order. A piece may come in parts, when the server answers a READ
with fewer bytes than asked, which it may. What is read ahead is bounded by the window, whatever the reader does: it begins
at `BASE`, grows only for a reader that waits for a server, of one nearby after `PROVEN` bytes, and shrinks when the reader
falls behind.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass

from adapters.smb.failures import Lost, Refused
from adapters.smb.native.connection import Connection, Request
from adapters.smb.wire import CREDIT, READ, Header, charge, is_error, read, read_data

PIECE = 300 << 10
"""Bytes of one READ: whole pages, and a multiple of 3 so that base64 never carries. Each READ costs both ends a message and a
wake-up, so smaller ones cost processor time; larger ones would cost memory for every reader that stalls."""

LARGE_PIECE = 1020 << 10
"""The same for a reader that may hold a great deal more than a piece, since it has shown that it keeps up: whole pages, just
below the largest chunk that the contract allows."""

BASE = 2 * PIECE
"""Bytes read ahead of every reader, and all that is read for one which stalls from the start. With the piece on its way to
the reader that is 1 MiB, as FHIR JSON less than 1.5."""

GROWTH = 4
"""How many times as far a reader may be read ahead each time it has drained its window."""

FAR = 0.001
"""Seconds of a round trip from which on a larger window pays: below, `BASE` fills a 10 Gbit/s line."""

PROVEN = 16 << 20
"""Bytes that a reader near the server has taken when it is known to keep up: more than the kernel's buffers take for one that
has stopped. From then on larger pieces save processor time, and no more of them than two are on their way."""

PATIENT = 0.25
"""Seconds from a READ to its answer from which on the line or the server is full: reading further ahead would bring nothing
sooner, and whoever else uses the connection would wait behind it."""


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
    """One piece of the file on its way: `data` is there, `missing` bytes are still to come, and were asked for when `sent`."""

    __slots__ = ("data", "error", "missing", "offset", "sent")

    def __init__(self, offset: int, length: int) -> None:
        self.offset = offset
        self.missing = length
        self.data: bytes | bytearray = b""
        self.sent = 0.0
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
        self._most = max(limit if far else min(limit, 2 * LARGE_PIECE), BASE)
        self._max_read = max_read
        self._surplus = surplus
        self._far = far
        self._window = BASE
        self._drained = 0
        self._bounded = False
        self._full = False
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
        data = bytes(slot.data)
        self._held -= len(data)
        self._drained += len(data)
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
        """The reader waits, and not because the line is full: read further ahead.

        Far away once for each window that it has drained, nearby once it has proven itself: what is widened for a reader that
        stops remains in memory.
        """
        if self._full:
            self._shrink()
        elif self._bounded and self._drained >= (self._window if self._far else PROVEN) and self._window < self._most:
            self._window += self._surplus.take(min(GROWTH * self._window, self._most) - self._window)
            self._drained = 0
            self._ask_ahead()

    def _narrow(self) -> None:
        """The reader is behind: it needs less."""
        if all(slot.done for slot in self._slots):
            self._shrink()

    def _shrink(self) -> None:
        if self._window > BASE:
            beyond = self._window - BASE
            given = beyond if beyond <= PIECE else beyond // 2
            self._window -= given
            self._surplus.give(given)

    def _ask_ahead(self) -> None:
        piece = min(PIECE if self._window < 2 * LARGE_PIECE else LARGE_PIECE, self._max_read)
        self._bounded = False
        while self._next < self._stop and not self._closed:
            length = min(piece, self._stop - self._next)
            if self._held and self._held + length > self._window:
                self._bounded = True
                break
            slot = _Slot(self._next, length)
            self._slots.append(slot)
            self._next += length
            self._held += length
            self._ask(slot)

    def _ask(self, slot: _Slot) -> None:
        """Ask for what is missing of `slot`."""

        def failed(error: Lost) -> None:
            self._failed(slot, error)

        def send(credits: int) -> None:
            if self._closed:
                return
            length = min(slot.missing, credits * CREDIT)

            def answered(header: Header, message: memoryview) -> None:
                self._answered(slot, length, header, message)

            slot.sent = time.monotonic()
            body = read(self._file_id, slot.offset, length)
            self._connection.send_now([Request(READ, body, charge(length), answered)], failed)

        self._connection.submit(charge(slot.missing), send, failed, least=1)

    def _answered(self, slot: _Slot, asked: int, header: Header, message: memoryview) -> None:
        if self._closed:
            return
        if is_error(header):
            self._failed(slot, Refused(header.status, "could not read the document"))
            return
        data = read_data(message, asked)
        if slot.data:
            # A list of parts could cost a great deal more than what is in them.
            slot.data = bytearray(slot.data) if isinstance(slot.data, bytes) else slot.data
            slot.data += data
        else:
            slot.data = bytes(data)
        self._full = time.monotonic() - slot.sent > PATIENT
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
