"""Responses of known length whose head is put together here: a small one that leaves in one write, one that others write.

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


class Headed(web.StreamResponse):
    """A response that is written by whoever asks for its `head`, and then says that it is `ended`.

    `headers` say everything but `Date` and `Connection` (RFC 9110 6.6.1, RFC 9112 9.3).
    """

    def __init__(self, status: int, headers: Mapping[str, str]) -> None:
        super().__init__(status=status)
        self._said = headers

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Nothing is sent."""
        self._begin(request)
        return self._payload_writer

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing is left to send."""

    def head(self, request: web.BaseRequest) -> bytes:
        """The head in full. Raises `ValueError` for what could begin another line (CR, LF, NUL)."""
        self._begin(request)
        version = request.version
        fields = {**self._said, "Date": rfc822_formatted_time()}
        if "Connection" not in fields:
            if self._keep_alive and version == HttpVersion10:
                fields["Connection"] = "keep-alive"
            elif not self._keep_alive and version != HttpVersion10:
                fields["Connection"] = "close"
        line = f"HTTP/{version.major}.{version.minor} {self._status} {self._reason}"
        return _serialize_headers(line, cast("CIMultiDict[str]", fields))

    def ended(self) -> None:
        """All of it was sent."""
        self._eof_sent = True

    def _begin(self, request: web.BaseRequest) -> None:
        if self._payload_writer is None:
            if self._keep_alive is None:
                self._keep_alive = request.keep_alive
            self._req = request
            self._payload_writer = request._payload_writer


class Whole(Headed):
    """A response whose head and `body` leave in one write."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        super().__init__(status, headers)
        self._whole = body
        self.written = 0
        """Bytes of the body that were handed over."""

    def send(self, request: web.BaseRequest) -> bool:
        """Send head and body, if the connection is there. Whether that was all, and nobody has to wait for the reader."""
        transport = request.transport
        if transport is None or transport.is_closing():
            return False
        transport.write(self.head(request) + self._whole)
        self.ended()
        self.written = len(self._whole)
        return not request.protocol.writing_paused

    async def write_eof(self, data: bytes = b"") -> None:
        """Wait while the connection takes no more of what was sent. Raises `ConnectionError` when nothing was."""
        if not self._eof_sent:
            raise ClientConnectionResetError("Cannot write to closing transport")
        if self._req is not None and self._req.protocol.writing_paused:
            await cast(StreamWriter, self._payload_writer).drain()
