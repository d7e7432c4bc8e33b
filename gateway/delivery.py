"""Writing bodies: the only place that sends a document's bytes.

Once the first byte has left, nothing may turn an error into a second response: a status line would be written into the
document, and a short body on a kept-alive connection would swallow the next patient's answer. So here a failure before the
first byte is raised as it is, and a failure after it resets the connection (SO_LINGER 0), always: with an unknown length a
plain close looks like a good end to an HTTP/1.0 reader.

The two waits of every loop are the border of blame. What the pull raises is the archive's; what the write raises, or does
not finish in `reader_timeout` seconds, is the reader's.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import cast

from aiohttp import HttpVersion11, web

from adapters.contract import LocalFile, Span
from adapters.errors import AdapterError, Changed, Corrupt, Unavailable
from gateway import errors
from gateway.blame import blamed
from gateway.deadline import within
from gateway.documents import SMALL, Document
from gateway.errors import Problem
from gateway.fhir.binary import Base64Stream, Envelope
from gateway.opened import read_file
from gateway.reply import Reply
from gateway.spool import Spool, SpoolFull

SLICE = 1 << 20
"""Bytes handed to one `sendfile` call; the loop serves others in between."""

COLD_SLICE = 256 * 1024
"""Bytes read at a time when they have to come from the disk."""

RESET = struct.pack("ii", 1, 0)


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


class Delivery:
    """Sends replies. `reader_timeout` in seconds is how long a reader may take nothing at all."""

    def __init__(self, spool: Spool, *, reader_timeout: float) -> None:
        self._spool = spool
        self._reader_timeout = reader_timeout

    async def send(self, request: web.BaseRequest, reply: Reply, document: Document) -> tuple[web.StreamResponse, int]:
        """Send the body and return the finished response and its body's bytes.

        Raises `AdapterError` or `Problem` while the response has not started, `Aborted` after.
        """
        if reply.envelope is not None and not reply.envelope.carries_content:
            body = reply.envelope.prefix + reply.envelope.suffix
            return web.Response(status=reply.status, headers=reply.headers, body=body), len(body)
        file, size = document.content.file, document.facts.size
        if file is not None and size is not None:
            if size <= SMALL:
                body = _small(await document.read_small(), reply)
                return web.Response(status=reply.status, headers=reply.headers, body=body), len(body)
            if reply.envelope is None and _plain_socket(request):
                return await self._send_file(request, reply, document, file)
        envelope = reply.envelope
        pieces = document.chunks(reply.span) if envelope is None else _encoded(document.chunks(), envelope)
        async with aclosing(pieces):
            if reply.length is None and request.version < HttpVersion11:
                return await self._send_spooled(request, reply, pieces)
            return await self._send_pieces(request, reply, pieces)

    async def _send_pieces(
        self, request: web.BaseRequest, reply: Reply, pieces: AsyncGenerator[bytes, None]
    ) -> tuple[web.StreamResponse, int]:
        piece: bytes | None = await anext(pieces, None)
        response = _Body(status=reply.status, headers=reply.headers)
        await response.prepare(request)
        sent = 0
        try:
            while piece is not None:
                await self._write(response, piece)
                sent += len(piece)
                piece = await anext(pieces, None)
            if reply.length is not None and sent != reply.length:
                raise Corrupt("the body has another length than was announced")
            await self._finish(response)
        except BaseException as failure:
            raise _aborted(request, failure, sent) from failure
        return response, sent

    async def _write(self, response: web.StreamResponse, piece: bytes) -> None:
        try:
            await within(self._reader_timeout, response.write(piece))
        except TimeoutError:
            raise _ReaderGone(stalled=True) from None
        except ConnectionError:
            raise _ReaderGone from None

    async def _finish(self, response: web.StreamResponse) -> None:
        try:
            await within(self._reader_timeout, response.write_eof())
        except TimeoutError:
            raise _ReaderGone(stalled=True) from None
        except ConnectionError:
            raise _ReaderGone from None

    async def _send_spooled(
        self, request: web.BaseRequest, reply: Reply, pieces: AsyncGenerator[bytes, None]
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
            async with aclosing(cast(AsyncGenerator[bytes, None], entry.chunks())) as spooled:
                return await self._send_pieces(request, known, spooled)

    async def _send_file(
        self, request: web.BaseRequest, reply: Reply, document: Document, file: LocalFile
    ) -> tuple[web.StreamResponse, int]:
        """A large local file by `sendfile(2)`: no copy, and no more memory than the kernel's own socket buffer."""
        assert reply.length is not None
        span = reply.span or Span(0, reply.length)
        document.check()
        response = _Body(status=reply.status, headers=reply.headers)
        writer = await response.prepare(request)
        assert writer is not None
        progress = _Progress(span.start)
        try:
            try:
                writer.send_headers()
                await self._copy(request, document, file, span, progress)
            except ConnectionError:
                raise _ReaderGone from None
            await self._finish(response)
        except BaseException as failure:
            raise _aborted(request, failure, progress.position - span.start) from failure
        return response, reply.length

    async def _copy(
        self, request: web.BaseRequest, document: Document, file: LocalFile, span: Span, progress: _Progress
    ) -> None:
        transport = request.transport
        if transport is None or transport.is_closing():
            raise _ReaderGone
        # A duplicate, because the event loop refuses to watch a descriptor that its own transport owns.
        out = os.dup(transport.get_extra_info("socket").fileno())
        try:
            while transport.get_write_buffer_size():
                # The headers go first. They leave with the loop's next turn unless the reader takes nothing.
                await asyncio.sleep(0)
                if transport.get_write_buffer_size():
                    await self._writable(out)
            stop = cast(int, span.stop)
            while progress.position < stop:
                count = min(SLICE, stop - progress.position)
                if not _cached(file, progress.position, count):
                    count = min(COLD_SLICE, count)
                    await self._send_read(out, document, file, progress, count, last=progress.position + count == stop)
                    continue
                if progress.position + count == stop:
                    # The last piece goes out only when the file is still what was opened.
                    document.check()
                try:
                    progress.position += _sendfile(document, file, out, progress.position, count)
                except BlockingIOError:
                    await self._writable(out)
                else:
                    await asyncio.sleep(0)
        finally:
            os.close(out)

    async def _send_read(
        self, out: int, document: Document, file: LocalFile, progress: _Progress, count: int, *, last: bool
    ) -> None:
        """A slice that waits for the disk: read on the source's threads, written from here.

        `sendfile` itself never runs on a thread: cancelled, it could outlive the descriptors that it was given.
        """
        data = memoryview(await read_file(file, progress.position, count, source=document.source))
        if last:
            document.check()
        while data:
            try:
                written = os.write(out, data)
            except BlockingIOError:
                await self._writable(out)
            else:
                progress.position += written
                data = data[written:]

    async def _writable(self, descriptor: int) -> None:
        """Wait until the reader took something. Raises `_ReaderGone` after the reader's deadline."""
        loop = asyncio.get_running_loop()
        ready = loop.create_future()
        loop.add_writer(descriptor, _set, ready)
        try:
            async with asyncio.timeout(self._reader_timeout):
                await ready
        except TimeoutError:
            raise _ReaderGone(stalled=True) from None
        finally:
            loop.remove_writer(descriptor)


class _Progress:
    """How far into the file a copy has come."""

    __slots__ = ("position",)

    def __init__(self, position: int) -> None:
        self.position = position


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _cached(file: LocalFile, offset: int, count: int) -> bool:
    """Whether the page cache seems to hold the slice: its first and its last byte can be had at once."""
    return file.read_now(offset, 1) is not None and file.read_now(offset + count - 1, 1) is not None


def _sendfile(document: Document, file: LocalFile, out: int, offset: int, count: int) -> int:
    try:
        sent = os.sendfile(out, file.fd, offset, count)
    except (BlockingIOError, ConnectionError):
        raise
    except OSError as error:
        raise blamed(Unavailable(f"the file could not be read (errno {error.errno})"), document.source.name) from error
    if sent == 0:
        raise blamed(Changed("the file became shorter while it was read"), document.source.name)
    return sent


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


def _plain_socket(request: web.BaseRequest) -> bool:
    transport = request.transport
    return transport is not None and transport.get_extra_info("sslcontext") is None


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
