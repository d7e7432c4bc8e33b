"""A local document from the page cache to a socket, by way of one buffer for all.

Here live the bytes of an answer by their position, and the socket that takes them past its transport. Nothing of a document
is held while its reader is waited for: what the reader did not take is copied again from the page cache when it takes more,
so a thousand stalled readers hold a thousand positions. Bytes are copied to the socket, never sent by reference
(docs/decisions/0002), and the last of the file only when it is still what was opened. No HTTP here, and no waiting that has
a deadline: both are `delivery`'s.
"""

from __future__ import annotations

import asyncio
import mmap
import os
import socket
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from adapters.contract import Span
from gateway.document import DirectDocument
from gateway.fhir.binary import text
from gateway.pacing import ends_by_reset, queued

PIECE = 256 * 1024
"""Bytes copied at a time: what is read is still in the processor's cache when it is written."""

ENCODED_PIECE = 96 * 1024
"""Bytes encoded at a time, a multiple of 3."""

FETCHED = 768 * 1024
"""Bytes that a thread reads at a time where the page cache has none, a multiple of 3."""

HELD = 192 * 1024
"""Bytes that it reads at a time for a reader that had to be waited for, and that are held then: to read them again would cost a
thread each time. A multiple of 3."""

Bytes = bytes | memoryview


class _Buffer:
    """Where the page cache is copied to, used between two awaits; `holder` is whose bytes are in it.

    A mapping, because it begins at a page: the kernel copies faster into such memory.
    """

    def __init__(self) -> None:
        self.view = memoryview(mmap.mmap(-1, PIECE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
        self.holder: object = None


_buffer = _Buffer()


class Copying:
    """`before`, a part of a document that is an open local file, and `after`, by position.

    `encoded`: the part goes out as base64 text, and is all of the document.
    """

    __slots__ = (
        "_after",
        "_ahead",
        "_at",
        "_before",
        "_document",
        "_encoded",
        "_fetched",
        "_kept",
        "_middle",
        "_start",
        "_stop",
        "length",
    )

    def __init__(
        self, document: DirectDocument, span: Span, *, before: bytes, after: bytes = b"", encoded: bool = False
    ) -> None:
        """`span` has two ends."""
        self._document = document
        self._start, self._stop = span.start, span.stop or 0
        self._before, self._after, self._encoded = before, after, encoded
        count = self._stop - self._start
        self._middle = (count + 2) // 3 * 4 if encoded else count
        self.length = len(before) + self._middle + len(after)
        self._kept: Bytes = b""
        self._at = 0
        """Where in the middle `_kept` begins."""
        self._fetched = False
        """Whether `_kept` was read by a thread."""
        self._ahead = FETCHED

    def at(self, position: int) -> Sequence[Bytes] | None:
        """What follows `position`, in pieces that are good until the next await; None when it has to be waited for.

        Raises `Changed` when the file's end is reached and it is no longer what was opened.
        """
        parts: list[Bytes] = []
        middle = position - len(self._before)
        if middle < 0:
            parts.append(memoryview(self._before)[position:])
            middle = 0
        if middle < self._middle:
            piece = self._piece(middle)
            if piece is None:
                return None
            parts.append(piece)
            middle += len(piece)
        if middle >= self._middle:
            parts.append(memoryview(self._after)[middle - self._middle :])
        return parts

    async def fetch(self, position: int) -> None:
        """Wait for what follows `position`; `at` has it then. Raises what reading from an archive raises."""
        middle = max(0, position - len(self._before))
        offset, count = self._span(middle, self._ahead)
        data = await self._document.read_part(offset, count)
        self._keep(middle, offset + count, data)
        self._fetched = True

    def let_go(self) -> None:
        """The reader has to be waited for: hold nothing meanwhile that the page cache has, and little of what it has not."""
        if not self._fetched:
            if self._encoded:
                self._kept = b""
        elif self._ahead > HELD:
            self._kept, self._ahead = b"", HELD

    def _piece(self, middle: int) -> Bytes | None:
        held = middle - self._at
        if 0 <= held < len(self._kept) and (isinstance(self._kept, bytes) or _buffer.holder is self):
            return memoryview(self._kept)[held:]
        file = self._document.content.file
        assert file is not None
        offset, count = self._span(middle, ENCODED_PIECE if self._encoded else PIECE)
        view = _buffer.view[:count]
        _buffer.holder, self._kept = self, b""
        if not file.read_into(view, offset):
            return None
        self._keep(middle, offset + count, view)
        return memoryview(self._kept)[middle - self._at :]

    def _span(self, middle: int, most: int) -> tuple[int, int]:
        """From where in the file how much is read for what follows `middle`."""
        offset = self._start + (middle // 4 * 3 if self._encoded else middle)
        return offset, min(most, self._stop - offset)

    def _keep(self, middle: int, stop: int, data: Bytes) -> None:
        if stop == self._stop:
            self._document.check()
        self._kept, self._at = (text(data), middle // 4 * 4) if self._encoded else (data, middle)
        self._fetched = False


class Outlet:
    """The socket of a connection whose transport has nothing to send; a context. TLS has none.

    A descriptor of its own, so that one which the transport has closed is never written to under somebody else's number.
    """

    __slots__ = ("_descriptor", "_transport")

    def __init__(self, transport: asyncio.Transport, descriptor: int) -> None:
        """`descriptor` is the outlet's to close."""
        self._transport = transport
        self._descriptor = descriptor

    @staticmethod
    def of(transport: asyncio.Transport | None) -> Outlet | None:
        """That of `transport`, None where bytes have to go through it."""
        if transport is None or transport.is_closing() or transport.get_write_buffer_size():
            return None
        connection = transport.get_extra_info("socket")
        if connection is None or transport.get_extra_info("sslcontext") is not None:
            return None
        try:
            return Outlet(transport, os.dup(connection.fileno()))
        except OSError:
            # No descriptor is left (EMFILE): the transport needs none.
            return None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        try:
            # Whoever still waits is told later that it is over: by then the number may be somebody else's.
            asyncio.get_running_loop().remove_writer(descriptor)
        finally:
            os.close(descriptor)

    @property
    def unsent(self) -> int:
        """Bytes that the reader's side has not acknowledged, also when the transport is gone."""
        return queued(self._descriptor)

    def write(self, parts: Sequence[Bytes]) -> int:
        """How many bytes the kernel took. Raises `ConnectionError` when the connection is over."""
        if self._transport.is_closing():
            raise ConnectionResetError
        try:
            return os.writev(self._descriptor, parts)
        except BlockingIOError:
            return 0

    async def writable(self) -> None:
        """Wait until the kernel takes more, or the connection is over."""
        loop = asyncio.get_running_loop()
        free = loop.create_future()
        loop.add_writer(self._descriptor, _done, free)
        try:
            await free
        finally:
            if self._descriptor >= 0:
                loop.remove_writer(self._descriptor)

    def reset(self) -> None:
        """Let the connection end by a reset, also where its transport is gone: then this is the last to close it."""
        connection = socket.socket(fileno=self._descriptor)
        try:
            ends_by_reset(connection)
        finally:
            connection.detach()


def _done(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
