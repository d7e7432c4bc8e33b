"""An HTTP client that hides nothing: bytes out, bytes in, and how the connection ended.

Ordinary clients repair, retry and pool; the rules of delivery are about what they would hide. Parsing is strict
(RFC 9112): one framing per answer, digits only, CRLF only, no bytes left over. Works beside a server in the same loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import json
import re
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

CRLF = b"\r\n"
PIECE = 1 << 18
"""Bytes asked of the kernel at a time."""

STATUS_LINE = re.compile(rb"HTTP/(1\.[01]) ([1-5][0-9]{2}) ([\t \x21-\x7e\x80-\xff]*)")
FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*?)[ \t]*")
WITHOUT_BODY = frozenset({204, 304})


class Malformed(Exception):
    """What came is not HTTP/1.x as RFC 9112 writes it, or an answer stands where none was asked for."""


class Ending(enum.Enum):
    """How the peer's side of a connection stands."""

    OPEN = "open"
    CLOSED = "closed"
    """An orderly end (FIN)."""
    RESET = "reset"
    """An abort (RST): nobody can take what came for the whole."""
    TORN = "torn"
    """Under TLS: an end (FIN) without the close_notify that vouches for it (RFC 8446 6.1)."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer. `body` is decoded from its framing; `complete` says whether the framing's end was reached.

    `framing` is "length", "chunked", "close" (until the connection ends, where an abort is the only sign of loss) or
    "none" (HEAD, 204, 304).
    """

    version: str
    status: int
    reason: str
    fields: tuple[tuple[str, str], ...]
    body: bytes
    framing: str
    complete: bool
    ending: Ending

    def field(self, name: str) -> str | None:
        """The one value of a header field, None when absent. Raises `Malformed` when it stands twice."""
        values = [value for key, value in self.fields if key.lower() == name.lower()]
        if len(values) > 1:
            raise Malformed(f"{name} stands {len(values)} times")
        return values[0] if values else None

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


def request(
    target: str,
    *,
    method: str = "GET",
    host: str = "gateway.test",
    fields: tuple[tuple[str, str], ...] = (),
    version: str = "1.1",
    body: bytes = b"",
) -> bytes:
    """A request as bytes; nothing is escaped or added but Host."""
    lines = [f"{method} {target} HTTP/{version}", f"Host: {host}", *(f"{name}: {value}" for name, value in fields)]
    return "\r\n".join(lines).encode("latin-1") + CRLF + CRLF + body


class Connection:
    """One TCP connection; answers are taken off it in order."""

    def __init__(self, raw: socket.socket) -> None:
        self._socket = raw
        self._received = bytearray()
        self.ending = Ending.OPEN

    @property
    def waiting(self) -> bytes:
        """What was received and belongs to no answer yet."""
        return bytes(self._received)

    async def send(self, data: bytes) -> None:
        """Send all of it; several requests in one call are a pipeline."""
        await asyncio.get_running_loop().sock_sendall(self._socket, data)

    def finish(self) -> None:
        """End our side only (half-close)."""
        self._socket.shutdown(socket.SHUT_WR)

    async def receive(self) -> bytes:
        """The next bytes as they come, without taking them apart; empty at the end (see `ending`)."""
        if not self._received:
            await self._more()
        data = bytes(self._received)
        self._received.clear()
        return data

    def sip(self, count: int) -> None:
        """Take at most this many bytes off the kernel's hands, if any are there."""
        with contextlib.suppress(BlockingIOError, ConnectionResetError):
            self._received += self._socket.recv(count)

    async def rest(self) -> bytes:
        """Everything that still comes, until the connection ends (see `ending`)."""
        while await self._more():
            pass
        data = bytes(self._received)
        self._received.clear()
        return data

    async def answer(self, method: str = "GET") -> Answer:
        """The next answer, to a request of this method.

        A body that breaks off gives an answer with `complete` false; a head that breaks off raises `Malformed`.
        """
        head = await self._until(CRLF + CRLF)
        if head is None:
            raise Malformed(f"the connection was {self.ending.value} inside a head: {bytes(self._received[:200])!r}")
        version, status, reason, fields = _head(head)
        framing, length = _framing(fields, method, status)
        match framing:
            case "length":
                body, complete = await self._exactly(length)
            case "chunked":
                body, complete = await self._chunks()
            case "close":
                body = await self.rest()
                complete = self.ending is Ending.CLOSED
            case _:
                body, complete = b"", True
        return Answer(version, status, reason, fields, body, framing, complete, self.ending)

    async def _more(self) -> bool:
        if self.ending is not Ending.OPEN:
            return False
        try:
            data = await asyncio.get_running_loop().sock_recv(self._socket, PIECE)
        except ConnectionResetError:
            self.ending = Ending.RESET
            return False
        if not data:
            self.ending = Ending.CLOSED
        self._received += data
        return bool(data)

    async def _until(self, mark: bytes) -> bytes | None:
        searched = 0
        while (at := self._received.find(mark, searched)) < 0:
            searched = max(0, len(self._received) - len(mark))
            if not await self._more():
                return None
        return self._take(at + len(mark))[: -len(mark)]

    async def _exactly(self, length: int) -> tuple[bytes, bool]:
        while len(self._received) < length:
            if not await self._more():
                return self._take(len(self._received)), False
        return self._take(length), True

    async def _chunks(self) -> tuple[bytes, bool]:
        body = bytearray()
        while True:
            line = await self._until(CRLF)
            if line is None:
                return bytes(body), False
            if not re.fullmatch(rb"[0-9A-Fa-f]{1,16}", line):
                raise Malformed(f"not the size of a chunk: {line[:80]!r}")
            size = int(line, 16)
            piece, complete = await self._exactly(size + len(CRLF))
            body += piece[:size]
            if not complete:
                return bytes(body), False
            if piece[size:] != CRLF:
                raise Malformed(f"no line end after a chunk of {size} bytes, but {piece[size:]!r}")
            if size == 0:
                return bytes(body), True

    def _take(self, length: int) -> bytes:
        taken = bytes(self._received[:length])
        del self._received[:length]
        return taken


class TlsConnection(Connection):
    """One TLS connection over TCP, which tells how each of the two ended."""

    def __init__(self, raw: socket.socket, context: ssl.SSLContext, name: str) -> None:
        super().__init__(raw)
        self._arrived, self._leaving = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._arrived, self._leaving, server_hostname=name)

    async def handshake(self) -> None:
        """Raises `ssl.SSLError`, and `ConnectionResetError` where the peer does."""
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                if not await self._arrive():
                    raise ConnectionResetError(self.ending.value) from None
            else:
                await self._flush()
                return

    async def send(self, data: bytes) -> None:
        self.tls.write(data)
        await self._flush()

    async def _flush(self) -> None:
        if self._leaving.pending:
            await asyncio.get_running_loop().sock_sendall(self._socket, self._leaving.read())

    async def _arrive(self) -> bool:
        try:
            data = await asyncio.get_running_loop().sock_recv(self._socket, PIECE)
        except ConnectionResetError:
            self.ending = Ending.RESET
            return False
        if not data:
            self.ending = Ending.TORN
        self._arrived.write(data)
        return bool(data)

    async def _more(self) -> bool:
        while self.ending is Ending.OPEN:
            try:
                data = self.tls.read(PIECE)
            except ssl.SSLWantReadError:
                await self._arrive()
                continue
            except ssl.SSLZeroReturnError:
                data = b""
            if not data:
                self.ending = Ending.CLOSED
            self._received += data
            return bool(data)
        return False


@asynccontextmanager
async def connect_tls(
    host: str,
    port: int,
    context: ssl.SSLContext,
    *,
    name: str | None = None,
    receive_buffer: int | None = None,
    source: str | None = None,
) -> AsyncIterator[TlsConnection]:
    """A TLS connection after its handshake; `name` is the server's, `host` when left out."""
    async with _socket(host, port, receive_buffer, source) as raw:
        connection = TlsConnection(raw, context, name or host)
        await connection.handshake()
        yield connection


@asynccontextmanager
async def connect(
    host: str, port: int, *, receive_buffer: int | None = None, source: str | None = None
) -> AsyncIterator[Connection]:
    """A connection, closed on leaving; a small `receive_buffer` (bytes) makes a reader that stalls the sender.

    `source` is the address to come from.
    """
    async with _socket(host, port, receive_buffer, source) as raw:
        yield Connection(raw)


@asynccontextmanager
async def _socket(host: str, port: int, receive_buffer: int | None, source: str | None) -> AsyncIterator[socket.socket]:
    with socket.socket() as raw:
        raw.setblocking(False)
        if source is not None:
            raw.bind((source, 0))
        if receive_buffer is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        await asyncio.get_running_loop().sock_connect(raw, (host, port))
        yield raw


async def exchange(host: str, port: int, *requests: bytes, methods: tuple[str, ...] = ()) -> list[Answer]:
    """Send these requests in one write and take one answer each; `methods` names theirs where it is not GET.

    Nothing may follow the last answer: bytes that came with it and belong to no answer raise `Malformed`.
    """
    async with connect(host, port) as connection:
        await connection.send(b"".join(requests))
        asked = methods or ("GET",) * len(requests)
        answers = [await connection.answer(method) for method in asked]
        if connection.waiting:
            raise Malformed(f"left over after the last answer: {connection.waiting[:80]!r}")
        return answers


def _head(head: bytes) -> tuple[str, int, str, tuple[tuple[str, str], ...]]:
    first, *lines = head.split(CRLF)
    status_line = STATUS_LINE.fullmatch(first)
    if status_line is None:
        raise Malformed(f"not a status line: {first[:80]!r}")
    fields = []
    for line in lines:
        field = FIELD.fullmatch(line)
        if field is None or b"\r" in line or b"\n" in line or b"\0" in line:
            raise Malformed(f"not a header field: {line[:80]!r}")
        fields.append((field[1].decode("ascii"), field[2].decode("latin-1")))
    version, status, reason = status_line.groups()
    return version.decode(), int(status), reason.decode("latin-1"), tuple(fields)


def _framing(fields: tuple[tuple[str, str], ...], method: str, status: int) -> tuple[str, int]:
    """How the body ends (RFC 9112 section 6.3), stricter: both framings at once are refused."""
    lengths = [value for name, value in fields if name.lower() == "content-length"]
    encodings = [value for name, value in fields if name.lower() == "transfer-encoding"]
    if len(lengths) + len(encodings) > 1:
        raise Malformed(f"more than one framing: {lengths + encodings}")
    if lengths and not re.fullmatch("[0-9]+", lengths[0]):
        raise Malformed(f"not a length: {lengths[0]!r}")
    if encodings and encodings[0].lower() != "chunked":
        raise Malformed(f"not an encoding of this client: {encodings[0]!r}")
    if method == "HEAD" or status in WITHOUT_BODY or status < 200:
        return "none", 0
    if encodings:
        return "chunked", 0
    return ("length", int(lengths[0])) if lengths else ("close", 0)
