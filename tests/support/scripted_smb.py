"""The server's end of an SMB connection that is set up already, played by the test: requests are seen, answers are written.

Its bytes are put together here with `struct`, independently of the product's own codec. Neither signed nor encrypted.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from dataclasses import dataclass

from adapters.smb.native.connection import Connection, take_over
from adapters.smb.wire import Credits, Protection

SESSION, TREE = 7, 3
CREATE, CLOSE, READ, ECHO = 5, 6, 8, 13
PENDING, END_OF_FILE, NOT_FOUND = 0x103, 0xC0000011, 0xC0000034

_HEADER = struct.Struct("<4sHHIHHIIQQQ16s")


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as the server sees it. `offset` and `length` are of a READ."""

    command: int
    message_id: int
    charge: int
    credits: int
    flags: int
    body: bytes

    @property
    def offset(self) -> int:
        return int(struct.unpack_from("<Q", self.body, 8)[0])

    @property
    def length(self) -> int:
        return int(struct.unpack_from("<I", self.body, 4)[0])


class ScriptedServer:
    """Reads requests one by one and answers what the test says."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._unread: list[Asked] = []

    async def asked(self, patience: float = 5.0) -> Asked:
        """The next request; the members of a chain come one by one. Raises `TimeoutError`."""
        if not self._unread:
            async with asyncio.timeout(patience):
                length = int.from_bytes(await self._reader.readexactly(4))
                frame = await self._reader.readexactly(length)
            while frame:
                fields = _HEADER.unpack_from(frame)
                after = fields[7] or len(frame)
                self._unread.append(Asked(fields[4], fields[8], fields[2], fields[5], fields[6], frame[64:after]))
                frame = frame[after:]
        return self._unread.pop(0)

    async def silent(self, seconds: float = 0.05) -> bool:
        """Whether no request comes within `seconds`."""
        try:
            self._unread.insert(0, await self.asked(seconds))
        except TimeoutError:
            return True
        return False

    def answer(
        self, asked: Asked, body: bytes = b"", *, status: int = 0, credits: int | None = None, interim: bool = False
    ) -> None:
        """Answer one request. An error without a body gets an ERROR response's."""
        granted = asked.charge if credits is None else credits
        flags = 0x01 | (0x02 if interim else 0)
        mixed = 99 if interim else TREE << 32
        header = _HEADER.pack(
            b"\xfeSMB",
            64,
            asked.charge,
            status,
            asked.command,
            granted,
            flags,
            0,
            asked.message_id,
            mixed,
            SESSION,
            b"",
        )
        self.raw(header + (body or struct.pack("<HBxI1x", 9, 0, 0)))

    def read(self, asked: Asked, data: bytes, *, credits: int | None = None) -> None:
        """Answer a READ with `data`."""
        self.answer(asked, struct.pack("<HBxIII", 17, 80, len(data), 0, 0) + data, credits=credits)

    def created(self, asked: Asked, size: int, *, file_id: bytes = b"F" * 16) -> None:
        """Answer a CREATE: an ordinary file of `size` bytes."""
        times = struct.pack("<QQQQ", *[134_000_000_000_000_000] * 4)
        self.answer(
            asked, struct.pack("<HBxI", 89, 0, 1) + times + struct.pack("<QQI4x16sII", size, size, 128, file_id, 0, 0)
        )

    def closed(self, asked: Asked, size: int) -> None:
        """Answer a CLOSE, with facts."""
        times = struct.pack("<QQQQ", *[134_000_000_000_000_000] * 4)
        self.answer(asked, struct.pack("<HH4x", 60, 1) + times + struct.pack("<QQI", size, size, 128))

    def raw(self, message: bytes) -> None:
        """Send `message` as one frame."""
        self._writer.write(struct.pack(">I", len(message)) + message)

    def bare(self, sent: bytes) -> None:
        """Send bytes as they are."""
        self._writer.write(sent)

    async def aclose(self) -> None:
        self._writer.close()
        await asyncio.gather(self._writer.wait_closed(), return_exceptions=True)


async def connected(*, credits: int = 512, limit: int = 1024) -> tuple[Connection, ScriptedServer]:
    """A connection of the product and the server's end of it. The first message id is 5."""
    ours, theirs = socket.socketpair()
    protection = Protection(
        SESSION, signing=None, signing_key=b"", cipher=None, seal_key=b"", open_key=b"", required=False
    )
    connection = Connection(protection, Credits(5, credits, limit), session_id=SESSION, tree_id=TREE, multi_credit=True)
    reader, writer = await asyncio.open_connection(sock=theirs, limit=1 << 22)
    await take_over(ours, connection)
    return connection, ScriptedServer(reader, writer)
