"""Writing bodies: the only place that sends a document's bytes.

Once the first byte has left, nothing may turn an error into a second response: a status line would be written into the
document, and a short body on a kept-alive connection would swallow the next patient's answer. So here a failure before the
first byte is raised as it is, and a failure after it resets the connection (SO_LINGER 0), always: with an unknown length a
plain close looks like a good end to an HTTP/1.0 reader.

The two waits of every loop are the border of blame. What the pull raises is the archive's; what the write raises, and a
reader that takes nothing for `reader_timeout` seconds, is the reader's. Bytes are copied, never sent by reference
(`sendfile`): a page that waits in a socket would change with the file.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
import struct
import sys
import termios
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import cast

from aiohttp import HttpVersion11, web
from aiohttp.http import StreamWriter

from adapters.errors import AdapterError, Changed, Corrupt
from gateway import errors
from gateway.deadline import started
from gateway.document import Document
from gateway.errors import Problem
from gateway.fhir.binary import Base64Stream, Envelope
from gateway.reply import Reply
from gateway.spool import Spool, SpoolFull
from gateway.whole import Whole

RESET = struct.pack("ii", 1, 0)

LOOKS = 4
"""How often within its deadline a reader is looked at."""

SLOWEST = 1024
"""Bytes a second; a reader that takes less for the whole of its deadline counts as one that takes nothing."""

ACKNOWLEDGED = slice(120, 128)
"""Where `tcpi_bytes_acked` stands in Linux's `struct tcp_info` (include/uapi/linux/tcp.h, since 4.1)."""


class Aborted(Exception):
    """The body broke after its first byte; the connection was reset. `entry` says whose fault it was."""

    def __init__(self, entry: errors.Abort, sent: int, detail: str = "") -> None:
        super().__init__(entry.code)
        self.entry = entry
        self.sent = sent
        self.detail = detail


class Interrupted(asyncio.CancelledError):
    """The request was cancelled after `sent` bytes of its body: the reader left, or the process stops."""

    def __init__(self, sent: int) -> None:
        super().__init__()
        self.sent = sent


class _ReaderGone(Exception):
    """The reader hung up, or took nothing for the reader's deadline (`stalled`)."""

    def __init__(self, *, stalled: bool = False) -> None:
        super().__init__()
        self.stalled = stalled


class _Body(web.StreamResponse):
    """A response whose headers leave together with its first bytes."""

    _send_headers_immediately = False


def _untold() -> None:
    """Nobody asks when the first byte leaves."""


class Delivery:
    """Sends replies. `reader_timeout` in seconds is how long a reader may take less than `SLOWEST` allows."""

    def __init__(self, spool: Spool, *, reader_timeout: float) -> None:
        self._spool = spool
        self._reader_timeout = reader_timeout

    async def send(
        self, request: web.BaseRequest, reply: Reply, document: Document, sending: Callable[[], None] = _untold
    ) -> tuple[web.StreamResponse, int]:
        """Send the body and return the finished response and its body's bytes. `sending` is called before its first byte.

        Raises `AdapterError` or `Problem` while the response has not started, `Aborted` after.
        """
        if reply.envelope is not None and not reply.envelope.carries_content:
            body = reply.envelope.prefix + reply.envelope.suffix
            return web.Response(status=reply.status, headers=reply.headers, body=body), len(body)
        data = await document.small()
        if data is not None:
            body = _small(data, reply)
            return Whole(reply.status, reply.headers, body), len(body)
        envelope = reply.envelope
        pieces = document.chunks(reply.span) if envelope is None else _encoded(document.chunks(), envelope)
        async with aclosing(pieces):
            if reply.length is None and request.version < HttpVersion11:
                return await self._send_spooled(request, reply, pieces, sending)
            return await self._send_pieces(request, reply, pieces, sending)

    async def _send_pieces(
        self,
        request: web.BaseRequest,
        reply: Reply,
        pieces: AsyncGenerator[bytes, None],
        sending: Callable[[], None],
    ) -> tuple[web.StreamResponse, int]:
        response = _Body(status=reply.status, headers=reply.headers)
        # The head is made before there is anything to send, and leaves with the first byte.
        writer = cast(StreamWriter, await response.prepare(request))
        try:
            piece: bytes | None = await anext(pieces, None)
        except BaseException:
            # Nothing was sent: whatever is answered instead has a length.
            writer.chunked = False
            raise
        sent = 0
        sending()
        try:
            while piece is not None:
                try:
                    await writer.write(piece, drain=False)
                    if request.protocol.writing_paused:
                        # The loop gives the kernel what it can before it goes on; mostly there is nothing left to wait for.
                        await asyncio.sleep(0)
                    await self._taken(request, writer.drain())
                except ConnectionError:
                    raise _ReaderGone from None
                sent += len(piece)
                piece = await anext(pieces, None)
            if reply.length is not None and sent != reply.length:
                raise Corrupt("the body has another length than was announced")
            await self._end(request, response)
        except BaseException as failure:
            raise _aborted(request, failure, sent) from failure
        return response, sent

    async def finish(self, request: web.BaseRequest, response: web.StreamResponse) -> None:
        """Send what is left of `response`: all of a small one, nothing of one that `send` streamed. Raises `Aborted`."""
        try:
            await response.prepare(request)
            await self._end(request, response)
        except BaseException as failure:
            raise _aborted(request, failure, 0) from failure

    async def _end(self, request: web.BaseRequest, response: web.StreamResponse) -> None:
        try:
            await self._taken(request, response.write_eof())
        except ConnectionError:
            raise _ReaderGone from None

    async def _taken(self, request: web.BaseRequest, writing: Awaitable[None]) -> None:
        """Wait until the connection takes more. Raises `_ReaderGone` when the reader took next to nothing for the deadline.

        A reader is slow, not gone, while it acknowledges bytes: the socket counts as writable only when a third of the
        kernel's queue is free, which takes a slow line minutes.
        """
        rest = started(writing)
        if rest is None:
            return
        step = self._reader_timeout / LOOKS
        taken, looks = _taken_from(request.transport), 0
        try:
            while not (await asyncio.wait({rest}, timeout=step))[0]:
                looks += 1
                now = _taken_from(request.transport)
                if now - taken >= max(1, int(SLOWEST * step * looks)):
                    taken, looks = now, 0
                elif looks == LOOKS:
                    raise _ReaderGone(stalled=True)
            rest.result()
        finally:
            rest.cancel()

    async def _send_spooled(
        self,
        request: web.BaseRequest,
        reply: Reply,
        pieces: AsyncGenerator[bytes, None],
        sending: Callable[[], None],
    ) -> tuple[web.StreamResponse, int]:
        """To an HTTP/1.0 reader a body of unknown length is sent only when its length is known (RFC 9112 6.3)."""
        async with self._spool.entry() as entry:
            try:
                async for piece in pieces:
                    await entry.write(piece)
            except SpoolFull as full:
                raise Problem(errors.UNSIZED_DOCUMENT, detail=str(full)) from full
            headers = reply.headers | {"Content-Length": str(entry.size)}
            known = Reply(reply.status, headers, entry.size, True, reply.span, reply.envelope)
            async with aclosing(entry.chunks()) as spooled:
                return await self._send_pieces(request, known, spooled, sending)


def _taken_from(transport: asyncio.BaseTransport | None) -> int:
    """Bytes that the reader's side has acknowledged, TLS's own among them. Only the difference of two looks counts."""
    if transport is None or transport.is_closing():
        raise _ReaderGone
    connection = transport.get_extra_info("socket")
    if connection.family != socket.AF_UNIX:
        state = _tcp_state(connection.fileno())
        return int.from_bytes(state[ACKNOWLEDGED], sys.byteorder)
    # A Unix socket says only what waits in it and before it.
    waiting = fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4))
    return -int.from_bytes(waiting, sys.byteorder) - cast(asyncio.WriteTransport, transport).get_write_buffer_size()


def _tcp_state(descriptor: int) -> bytes:
    """The kernel's `struct tcp_info` of a connection."""
    with socket.socket(fileno=os.dup(descriptor)) as twin:
        return twin.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, ACKNOWLEDGED.stop)


def _small(data: bytes, reply: Reply) -> bytes:
    if reply.envelope is not None:
        stream = Base64Stream()
        return b"".join((reply.envelope.prefix, stream.feed(data), stream.finish(), reply.envelope.suffix))
    return data if reply.span is None else data[reply.span.start : reply.span.stop]


async def _encoded(chunks: AsyncGenerator[bytes, None], envelope: Envelope) -> AsyncGenerator[bytes, None]:
    """The FHIR envelope around `chunks`. Its end is sent only after the chunks have ended well."""
    stream = Base64Stream()
    start, empty = envelope.prefix, True
    async with aclosing(chunks):
        async for chunk in chunks:
            encoded, empty = stream.feed(chunk), False
            # For as long as the reader takes it, the encoded piece alone is held.
            del chunk
            if start:
                encoded, start = start + encoded, b""
            if encoded:
                yield encoded
    if not empty:
        yield start + stream.finish() + envelope.suffix
    elif envelope.without_content is None:
        raise Problem(errors.EMPTY_DOCUMENT)
    else:
        yield envelope.without_content


def _aborted(request: web.BaseRequest, failure: BaseException, sent: int) -> BaseException:
    """Reset the connection and say whose fault it was: whatever happened, a body that was begun must not look finished."""
    reset(request.transport)
    if isinstance(failure, _ReaderGone):
        return Aborted(errors.ENDED_BY_STALL if failure.stalled else errors.ENDED_BY_READER, sent)
    if isinstance(failure, AdapterError):
        entry = errors.ENDED_BY_CHANGE if isinstance(failure, Changed) else errors.ENDED_BY_SOURCE
        return Aborted(entry, sent, f"{type(failure).__name__}: {failure.detail}")
    if isinstance(failure, Exception):
        return Aborted(errors.ENDED_BY_FAULT, sent, type(failure).__name__)
    return Interrupted(sent) if isinstance(failure, asyncio.CancelledError) else failure


def reset(transport: asyncio.BaseTransport | None) -> None:
    """End the connection so that no reader can take the body for whole: a TCP reset, unsent bytes discarded."""
    if transport is None:
        return
    connection = transport.get_extra_info("socket")
    if connection is not None and connection.family != socket.AF_UNIX:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    cast(asyncio.WriteTransport, transport).abort()
