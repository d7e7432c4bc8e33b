"""A response that is known as a whole: its head and its body leave in one write.

aiohttp's own response decides anew what was decided before (length, framing, type) and takes a fifth of the time of a small
document for that. Only how such a response is written belongs here; what it says is decided by `reply`, and when it is sent
by `delivery`. For GET with a body of known length, never for HEAD, 304 or a stream.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from aiohttp import HttpVersion10, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.client_exceptions import ClientConnectionResetError
from aiohttp.helpers import rfc822_formatted_time
from aiohttp.http_writer import StreamWriter, _serialize_headers
from multidict import CIMultiDict


class Whole(web.StreamResponse):
    """`headers` say everything but `Date` and `Connection` (RFC 9110 6.6.1, RFC 9112 9.3), and `Content-Length` is `body`'s."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        super().__init__(status=status)
        self._said = headers
        self._whole = body

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Fix the head. Nothing is sent: `write_eof` does."""
        if self._eof_sent or self._payload_writer is not None:
            return self._payload_writer
        if self._keep_alive is None:
            self._keep_alive = request.keep_alive
        self._req = request
        self._payload_writer = request._payload_writer
        return self._payload_writer

    async def write_eof(self, data: bytes = b"") -> None:
        """Send head and body, and wait while the connection takes no more. Raises `ConnectionError` when it is gone."""
        if self._eof_sent:
            return
        request, writer = self._req, cast(StreamWriter, self._payload_writer)
        assert request is not None
        transport = writer.transport
        if transport is None or transport.is_closing():
            raise ClientConnectionResetError("Cannot write to closing transport")
        whole = self._head(request) + self._whole
        self._eof_sent = True
        transport.write(whole)
        await writer.drain()

    def _head(self, request: web.BaseRequest) -> bytes:
        version = request.version
        fields = {**self._said, "Date": rfc822_formatted_time()}
        if "Connection" not in fields:
            if self._keep_alive and version == HttpVersion10:
                fields["Connection"] = "keep-alive"
            elif not self._keep_alive and version != HttpVersion10:
                fields["Connection"] = "close"
        line = f"HTTP/{version.major}.{version.minor} {self._status} {self._reason}"
        # Refuses what could begin another line (CR, LF, NUL).
        return _serialize_headers(line, cast("CIMultiDict[str]", fields))
