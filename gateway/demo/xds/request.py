"""HTTP/1.1 requests, read byte for byte (RFC 9112).

Rules of this module: it reads and hides nothing; what a request means is for others. A request that is not HTTP raises
`BadRequest`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

LARGEST_HEAD = 1 << 16
LARGEST_BODY = 4 << 20
"""Bytes. Requests of this protocol have a few thousand."""

_LINE = re.compile(rb"([A-Z]+) (\S+) HTTP/1\.([01])")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*?)[ \t]*")


class BadRequest(Exception):
    """What came is not a request that a server must answer; the text says why."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request. `head` is as it came, with its empty line; `body` is free of its framing."""

    method: str
    target: str
    fields: tuple[tuple[str, str], ...]
    head: bytes
    body: bytes
    version: str = "1.1"

    def field(self, name: str) -> str | None:
        """The first value of a header field; None when it is absent."""
        return next((value for key, value in self.fields if key.lower() == name.lower()), None)

    @property
    def keeps_alive(self) -> bool:
        """Whether the client wants the connection afterwards."""
        said = (self.field("Connection") or "").lower()
        return said != "close" if self.version == "1.1" else said == "keep-alive"


class Incoming:
    """The reading side of one connection."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self._early = b""

    async def request(self, proceed: Callable[[Request], Awaitable[None]]) -> Request | None:
        """The next request; None when the client is done. `proceed` gets the head where it waits for 100 Continue.

        Raises `BadRequest`, `OSError`.
        """
        try:
            head = self._early + await self._reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            if error.partial or self._early:
                raise BadRequest("the head breaks off") from None
            return None
        except asyncio.LimitOverrunError:
            raise BadRequest("the head is too large") from None
        self._early = b""
        bare = _parsed(head)
        if (bare.field("Expect") or "").lower() == "100-continue":
            await proceed(bare)
        try:
            body = await self._body(bare)
        except asyncio.IncompleteReadError:
            raise BadRequest("the body breaks off") from None
        return Request(bare.method, bare.target, bare.fields, head, body, bare.version)

    async def left(self) -> None:
        """Returns when the client ends its side; a request that comes early is kept, and the end is no longer seen."""
        self._early += await self._reader.read(1)
        if self._early:
            await asyncio.get_running_loop().create_future()

    async def _body(self, request: Request) -> bytes:
        if (request.field("Transfer-Encoding") or "").lower() == "chunked":
            return await self._chunks()
        length = request.field("Content-Length") or "0"
        if not length.isdigit() or int(length) > LARGEST_BODY:
            raise BadRequest("the length is not one")
        return await self._reader.readexactly(int(length))

    async def _chunks(self) -> bytes:
        body = bytearray()
        while True:
            line = await self._reader.readline()
            try:
                size = int(line.split(b";")[0].strip(), 16)
            except ValueError:
                raise BadRequest("a chunk without a size") from None
            if len(body) + size > LARGEST_BODY:
                raise BadRequest("the body is too large")
            chunk = await self._reader.readexactly(size + 2) if size else b"\r\n"
            if not chunk.endswith(b"\r\n"):
                raise BadRequest("a chunk of another size")
            body += chunk[:-2]
            if not size:
                while (await self._reader.readline()) not in (b"\r\n", b""):
                    pass
                return bytes(body)


def _parsed(head: bytes) -> Request:
    first, *lines = head[:-4].split(b"\r\n")
    line = _LINE.fullmatch(first)
    if line is None:
        raise BadRequest("not a request line")
    fields = []
    for one in lines:
        found = _FIELD.fullmatch(one)
        if found is None:
            raise BadRequest("not a header field")
        fields.append((found[1].decode(), found[2].decode("latin-1")))
    method, target, minor = (group.decode("latin-1") for group in line.groups())
    return Request(method, target, tuple(fields), head, b"", f"1.{minor}")
