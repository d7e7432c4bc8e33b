"""Writing bodies: the only place that sends a document's bytes.

Once the first byte has left, nothing may turn an error into a second response: a status line would be written into the
document, and a short body on a kept-alive connection would swallow the next patient's answer. So here a failure before the
first byte is raised as it is, and a failure after it resets the connection (SO_LINGER 0), always: with an unknown length a
plain close looks like a good end to an HTTP/1.0 reader.

The two waits of every loop are the border of blame. What the pull raises is the archive's; what the write raises, and a
reader that takes nothing for `reader_timeout` seconds, is the reader's. Bytes are copied, never sent by reference
(`sendfile`): a page that waits in a socket would change with the file. A large local file goes past the transport (`copying`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import cast

from aiohttp import HttpVersion11, web
from aiohttp.http import StreamWriter

from adapters.contract import WHOLE
from adapters.errors import AdapterError, Changed, Corrupt
from gateway import errors
from gateway.copying import Copying, Outlet
from gateway.deadline import in_time
from gateway.document import DirectDocument, Document
from gateway.errors import Problem
from gateway.fhir.binary import Base64Stream, Envelope
from gateway.pacing import Pacing, Place, ReaderGone, reset, unsent_on
from gateway.reply import Reply
from gateway.spool import Spool, SpoolFull
from gateway.whole import Headed, Whole

FAIR = 1024 * 1024
"""Bytes that are written to a reader that takes everything before others have their turn."""


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


class _Body(web.StreamResponse):
    """A response whose headers leave together with its first bytes."""

    _send_headers_immediately = False


def _untold() -> None:
    """Nobody asks when the first byte leaves."""


class Delivery:
    """Sends replies. `reader_timeout` in seconds is how long a reader may take next to nothing (`pacing.SLOWEST`)."""

    def __init__(self, spool: Spool, *, reader_timeout: float) -> None:
        self._spool = spool
        self._pacing = Pacing(reader_timeout)

    async def send(
        self, request: web.BaseRequest, reply: Reply, document: Document, sending: Callable[[], None] = _untold
    ) -> tuple[web.StreamResponse, int]:
        """Send the body and return the finished response and its body's bytes. `sending` is called before its first byte.

        Raises `AdapterError` or `Problem` while the response has not started, `Aborted` after.
        """
        if reply.envelope is not None and not reply.envelope.carries_content:
            body = reply.envelope.prefix + reply.envelope.suffix
            return web.Response(status=reply.status, headers=reply.headers, body=body), len(body)
        data = document.at_once()
        if data is None:
            data = await in_time(document.small())
        if data is not None:
            body = _small(data, reply)
            return Whole(reply.status, reply.headers, body), len(body)
        envelope = reply.envelope
        if isinstance(document, DirectDocument) and document.at_hand:
            outlet = Outlet.of(request.transport)
            if outlet is not None:
                return await self._send_copied(request, reply, document, sending, outlet)
        pieces = document.chunks(reply.span) if envelope is None else _encoded(document.chunks(), envelope)
        async with aclosing(pieces):
            if reply.length is None and request.version < HttpVersion11:
                return await self._send_spooled(request, reply, pieces, sending)
            return await self._send_pieces(request, reply, pieces, sending, document.place)

    async def _send_pieces(
        self,
        request: web.BaseRequest,
        reply: Reply,
        pieces: AsyncGenerator[bytes, None],
        sending: Callable[[], None],
        place: Place | None,
    ) -> tuple[web.StreamResponse, int]:
        response = _Body(status=reply.status, headers=reply.headers)
        # The head is made before there is anything to send, and leaves with the first byte.
        writer = cast(StreamWriter, await response.prepare(request))
        try:
            piece: bytes | None = await in_time(anext(pieces, None))
        except BaseException:
            # Nothing was sent: whatever is answered instead has a length.
            writer.chunked = False
            raise
        sent = written = 0
        sending()
        try:
            while piece is not None:
                written += len(piece)
                try:
                    await writer.write(piece, drain=False)
                    if request.protocol.writing_paused:
                        # The loop gives the kernel what it can before it goes on; mostly there is nothing left to wait for.
                        await asyncio.sleep(0)
                    await self._pacing.taken(request, writer.drain(), place)
                except ConnectionError:
                    raise ReaderGone from None
                sent = written
                piece = await anext(pieces, None)
            if reply.length is not None and sent != reply.length:
                raise Corrupt("the body has another length than was announced")
            await self._end(request, response, place)
        except BaseException as failure:
            raise _aborted(request, failure, sent, written) from failure
        return response, sent

    async def _send_copied(
        self,
        request: web.BaseRequest,
        reply: Reply,
        document: DirectDocument,
        sending: Callable[[], None],
        outlet: Outlet,
    ) -> tuple[web.StreamResponse, int]:
        """A local file, written past the transport: nothing of it is held while its reader is waited for."""
        response = Headed(reply.status, reply.headers)
        with outlet:
            head = response.head(request)
            body = _copying(document, reply, head)
            if body.length - len(head) != reply.length:
                raise Corrupt("the body has another length than was announced")
            if body.at(0) is None:
                await in_time(body.fetch(0))
            sending()
            await self._copied(request, body, outlet, len(head), document.place)
        response.ended()
        return response, body.length - len(head)

    async def _copied(
        self, request: web.BaseRequest, body: Copying, outlet: Outlet, head: int, place: Place | None
    ) -> None:
        """Write all of `body`, which begins with `head` bytes of the head. Raises `Aborted`."""
        position = yielded = 0
        try:
            while position < body.length:
                parts = body.at(position)
                if parts is None:
                    await body.fetch(position)
                    continue
                taken = outlet.write(parts)
                position += taken
                if taken < sum(map(len, parts)):
                    del parts
                    body.let_go()
                    await self._pacing.taken(request, outlet.writable(), place)
                    yielded = position
                elif position - yielded >= FAIR:
                    await asyncio.sleep(0)
                    yielded = position
        except BaseException as error:
            failure = ReaderGone() if isinstance(error, ConnectionError) else error
            sent = max(0, position - head - outlet.unsent)
            outlet.reset()
            raise _aborted(request, failure, sent, sent) from failure

    async def finish(self, request: web.BaseRequest, response: web.StreamResponse) -> None:
        """Send what is left of `response`: all of a small one, nothing of one that `send` streamed. Raises `Aborted`."""
        written = 0
        try:
            if isinstance(response, Whole):
                if response.send(request):
                    return
                written = response.written
            else:
                await response.prepare(request)
                written = response.content_length or 0
            await self._end(request, response)
        except BaseException as failure:
            raise _aborted(request, failure, 0, written) from failure

    async def _end(self, request: web.BaseRequest, response: web.StreamResponse, place: Place | None = None) -> None:
        try:
            await self._pacing.taken(request, response.write_eof(), place)
        except ConnectionError:
            raise ReaderGone from None

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
                return await self._send_pieces(request, known, spooled, sending, None)


def _copying(document: DirectDocument, reply: Reply, head: bytes) -> Copying:
    """What is written of an open local file, from the first byte of the head to the last of the body."""
    span, envelope = (reply.span or WHOLE).within(document.facts.size or 0), reply.envelope
    if envelope is None:
        return Copying(document, span, before=head)
    return Copying(document, span, before=head + envelope.prefix, after=envelope.suffix, encoded=True)


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


def _aborted(request: web.BaseRequest, failure: BaseException, sent: int, written: int) -> BaseException:
    """Reset the connection and say whose fault it was: whatever happened, a body that was begun must not look finished.

    Of `written` bytes at least `sent` were taken.
    """
    sent = _disclosed(request.transport, sent, written)
    reset(request.transport)
    if isinstance(failure, ReaderGone):
        return Aborted(errors.ENDED_BY_STALL if failure.stalled else errors.ENDED_BY_READER, sent)
    if isinstance(failure, AdapterError):
        entry = errors.ENDED_BY_CHANGE if isinstance(failure, Changed) else errors.ENDED_BY_SOURCE
        return Aborted(entry, sent, f"{type(failure).__name__}: {failure.detail}")
    if isinstance(failure, Exception):
        return Aborted(errors.ENDED_BY_FAULT, sent, type(failure).__name__)
    return Interrupted(sent) if isinstance(failure, asyncio.CancelledError) else failure


def _disclosed(transport: asyncio.BaseTransport | None, sent: int, written: int) -> int:
    """How many of `written` bytes the reader's side has: what was read of a letter was read, though its end never came."""
    if transport is None or written <= sent:
        return sent
    try:
        return max(sent, written - unsent_on(transport))
    except OSError:
        return sent
