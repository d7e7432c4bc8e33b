"""A worker as its supervisor sees it: a process that is started, asked, told to end, and found dead."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from gateway.supervision.orders import CONNECT, READY, Orders

ASK_SECONDS = 2.0
"""How long an answer of a worker is waited for where nobody says otherwise."""

COMMAND = (sys.executable, "-m", "gateway", "worker")


class NoAnswer(Exception):
    """A worker ended, or hangs."""


@dataclass(frozen=True, slots=True)
class Said:
    """What a worker's admin side answered."""

    status: int
    content_type: str
    body: bytes

    def json(self) -> dict[str, Any]:
        """The body as JSON; empty when it is none."""
        with suppress(ValueError):
            found = json.loads(self.body)
            if isinstance(found, dict):
                return found
        return {}


class Worker:
    """One process. `number` is its place, from 1; `text` is the configuration that it was started with."""

    def __init__(self, number: int, text: str | None) -> None:
        self.number = number
        self.text = text
        self.ready = asyncio.Event()
        self.ended = asyncio.Event()
        self.began = self.heard = time.monotonic()
        self.leaving = False
        """Whether it was told to end."""
        self.waiting: asyncio.Task[int] | None = None
        """Who waits for its end already."""
        self._process: asyncio.subprocess.Process | None = None
        self._channel, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._channel.setblocking(False)

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    @property
    def code(self) -> int | None:
        """The exit code; negative for the signal that ended it, None while it runs."""
        return None if self._process is None else self._process.returncode

    @property
    def serving(self) -> bool:
        """Whether it takes connections."""
        return self.ready.is_set() and not self.ended.is_set() and not self.leaving

    async def start(self, listening: Sequence[socket.socket], config: str | None, workers: int, log_key: str) -> None:
        """Begin the process. Raises `OSError`."""
        descriptors = tuple(one.fileno() for one in listening)
        orders = Orders(self.number, workers, config, self.text, log_key, descriptors, self._theirs.fileno())
        self._process = await asyncio.create_subprocess_exec(
            *COMMAND, stdin=asyncio.subprocess.PIPE, pass_fds=(*descriptors, self._theirs.fileno())
        )
        self._theirs.close()
        asyncio.get_running_loop().add_reader(self._channel, self._read)
        assert self._process.stdin is not None
        with suppress(ConnectionError):
            self._process.stdin.write(orders.written())
            await self._process.stdin.drain()
        self._process.stdin.close()

    async def wait(self) -> int:
        """Wait for its end; the exit code."""
        assert self._process is not None
        code = await self._process.wait()
        self._hang_up()
        self.ended.set()
        return code

    def tell(self, word: bytes) -> None:
        """Give an order; to one that is gone, none."""
        with suppress(OSError):
            self._channel.send(word)

    def kill(self) -> None:
        """End it now (SIGKILL)."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.kill()

    async def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        seconds: float = ASK_SECONDS,
    ) -> Said:
        """What its admin side answers. Raises `NoAnswer` when it does not within `seconds`."""
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                socket.send_fds(self._channel, [CONNECT], [theirs.fileno()])
        except OSError as error:
            ours.close()
            raise NoAnswer(type(error).__name__) from None
        ours.setblocking(False)
        try:
            async with asyncio.timeout(seconds):
                return await _exchanged(ours, _request(method, path, body, headers or {}))
        except (OSError, TimeoutError, EOFError, ValueError) as error:
            raise NoAnswer(type(error).__name__) from None

    def _read(self) -> None:
        try:
            word = self._channel.recv(16)
        except BlockingIOError:
            return
        except OSError:
            word = b""
        if word == READY:
            self.ready.set()
        elif not word:
            self._hang_up()

    def _hang_up(self) -> None:
        if self._channel.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._channel)
            self._channel.close()


def _request(method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> bytes:
    fields = {"Host": "worker", "Connection": "close", **headers}
    if body is not None:
        fields |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode("ascii") + (body or b"")


async def _exchanged(connection: socket.socket, request: bytes) -> Said:
    """Send a request, and read the answer to the end of the connection."""
    reader, writer = await asyncio.open_unix_connection(sock=connection, limit=1 << 20)
    try:
        writer.write(request)
        await writer.drain()
        head = await reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = fields.get("content-length")
        body = await (reader.read() if length is None else reader.readexactly(int(length)))
        return Said(int(first.split(" ")[1]), fields.get("content-type", ""), body)
    finally:
        writer.close()
