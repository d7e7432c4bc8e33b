"""A client that costs little: connections that are kept, answers as they came, whole or broken off.

Rules of this module: bytes and framing alone. What an answer may say is judged by `truth`.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Self

SECONDS = 20.0
"""For one answer; no deadline of a gateway in a model run is near it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer. `status` is 0 where not even a head came; `complete` says whether the framing's end was reached."""

    status: int
    fields: dict[str, str]
    body: bytes
    complete: bool


class Client:
    """One connection to a gateway, made anew when it was lost."""

    def __init__(self, host: str, port: int) -> None:
        self._address = host, port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._drop()

    async def ask(self, target: str, *fields: str, method: str = "GET", body: bytes = b"") -> Answer:
        """Send one request, `fields` as header lines. Whatever happens to the connection is an answer too."""
        lines = [f"{method} {target} HTTP/1.1", "Host: model.test", *fields, "", ""]
        request = "\r\n".join(lines).encode() + body
        try:
            async with asyncio.timeout(SECONDS):
                if self._writer is None:
                    self._reader, self._writer = await asyncio.open_connection(*self._address, limit=1 << 20)
                self._writer.write(request)
                return await self._answer(method)
        except (OSError, EOFError, TimeoutError):
            self._drop()
            return Answer(0, {}, b"", False)

    def to(self, port: int) -> None:
        """The gateway listens there from now on."""
        self._drop()
        self._address = self._address[0], port

    def _drop(self) -> None:
        if self._writer is not None:
            self._writer.transport.abort()
        self._reader = self._writer = None

    async def _answer(self, method: str) -> Answer:
        assert self._reader is not None
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status = int(head[9:12])
        lines = (line.partition(":") for line in head.split("\r\n")[1:-2])
        fields = {name.lower(): value.strip() for name, _, value in lines}
        if method == "HEAD" or status == 304:
            return Answer(status, fields, b"", True)
        body = bytearray()
        try:
            complete = await self._body(fields, body)
        except (OSError, EOFError, TimeoutError) as error:
            self._drop()
            body += getattr(error, "partial", b"")
            complete = False
        if fields.get("connection") == "close":
            self._drop()
        return Answer(status, fields, bytes(body), complete)

    async def _body(self, fields: dict[str, str], body: bytearray) -> bool:
        reader = self._reader
        assert reader is not None
        if "content-length" in fields:
            body += await reader.readexactly(int(fields["content-length"]))
            return True
        assert fields.get("transfer-encoding") == "chunked", fields
        while size := int(await reader.readuntil(b"\r\n"), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readexactly(2)
        return True
