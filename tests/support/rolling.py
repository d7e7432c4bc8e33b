"""Replicas that are ended and begun anew, one after the other, under readers that go on: what a rolling restart looks like.

A reader keeps its connection, goes to the other replica when one refuses it, and tells every request that was sent and not
answered whole. `benchmarks/soak_rolling.py` does for minutes what a test does for seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.support.gateway import Gateway, serving
from tests.support.ports import free_port

SMALL = b"a letter"
LARGE = bytes(range(256)) * 98_304
"""24 MiB: more than kernels hold for a reader that is slow, so that the gateway is sending for as long as it reads."""

RECEIVE_BUFFER = 1 << 16


@dataclass
class Seen:
    """What readers saw. `failed` are requests that were sent and not answered whole, with what happened instead."""

    answered: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)
    repeated: int = 0
    """Requests on a kept connection that was closed before an answer: any client sends these again (RFC 9112 9.3.1)."""
    went_elsewhere: int = 0
    """Connections that a replica refused because it had ended to take any."""
    restarts: int = 0
    seconds: float = 0.0
    codes: list[int] = field(default_factory=list)
    took: list[float] = field(default_factory=list)
    """Seconds from SIGTERM to the end of each process."""


@dataclass
class Replica:
    """One address, and the process behind it."""

    directory: Path
    port: int
    settings: dict[str, Any]
    stack: ExitStack = field(default_factory=ExitStack)
    gateway: Gateway | None = None
    generation: int = 0

    def start(self) -> None:
        """Begin a process; blocking."""
        self.generation += 1
        place = self.directory / str(self.generation)
        place.mkdir(parents=True)
        path = place / "gateway.yaml"
        path.write_text(yaml.safe_dump(self.settings))
        self.stack = ExitStack()
        self.gateway = self.stack.enter_context(serving(path, place, environ=_environ(), timeout=60))

    def end(self, seen: Seen, patience: float) -> None:
        """SIGTERM, and wait; blocking."""
        gateway, stack = self.gateway, self.stack
        assert gateway is not None
        began = time.monotonic()
        seen.codes.append(gateway.terminate(patience=patience))
        seen.took.append(time.monotonic() - began)
        stack.close()


def _environ() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY")}


def replicas(directory: Path, *, delay: float, drain: float, workers: int = 1) -> list[Replica]:
    """Two, not started."""
    archive = directory / "archive"
    archive.mkdir()
    (archive / "small.bin").write_bytes(SMALL)
    (archive / "large.bin").write_bytes(LARGE)
    found = []
    for name in ("one", "two"):
        port = free_port()
        limits = {"drain_delay": f"{round(delay * 1000)}ms", "drain": f"{round(drain * 1000)}ms"}
        settings = {
            "server": {"port": port, "workers": workers, "limits": limits},
            "admin": {"port": 0},
            "auth": {"mode": "none"},
            "audit": {"mode": "none"},
            "sources": {
                "letters": {
                    "adapter": "filesystem",
                    "ids": {"scheme": "template", "pattern": "{id}.bin"},
                    "options": {"root": str(archive)},
                    "limits": {"max_open": 512},
                }
            },
        }
        found.append(Replica(directory / name, port, settings))
    return found


class Reader:
    """Asks one replica after the other."""

    def __init__(self, addresses: Sequence[int], seen: Seen, first: int) -> None:
        self._addresses = addresses
        self._seen = seen
        self._at = first % len(addresses)
        self._connection: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def close(self) -> None:
        if self._connection is not None:
            self._connection[1].close()
            with contextlib.suppress(OSError):
                await self._connection[1].wait_closed()
            self._connection = None

    async def ask(self, id: str, whole: bytes, *, seconds: float = 0.0) -> None:
        """One request; its body is read evenly over `seconds`."""
        kept = self._connection is not None
        reader, writer = await self._connected()
        began, head = time.monotonic(), b""
        writer.write(f"GET /R4/Binary/{id} HTTP/1.1\r\nHost: test\r\nAccept: */*\r\n\r\n".encode())
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            status = head.split(b" ", 2)[1].decode()
            fields = head.lower()
            length = int(fields.partition(b"content-length: ")[2].partition(b"\r\n")[0])
            digest, got = hashlib.sha256(), 0
            while got < length:
                piece = await reader.readexactly(min(length - got, 65_536))
                got += len(piece)
                digest.update(piece)
                if seconds:
                    await asyncio.sleep(max(0.0, began + seconds * got / length - time.monotonic()))
        except (OSError, EOFError, ValueError) as error:
            if kept and not head and not getattr(error, "partial", b""):
                self._seen.repeated += 1
                await self.close()
                return await self.ask(id, whole, seconds=seconds)
            self._seen.failed.append(f"{id}: {type(error).__name__} after {time.monotonic() - began:.2f} s")
            await self.close()
            return
        if status != "200" or digest.digest() != hashlib.sha256(whole).digest():
            self._seen.failed.append(f"{id}: status {status}, {length} bytes")
        else:
            self._seen.answered[id] += 1
        if b"connection: close" in fields:
            await self.close()
            self._at = (self._at + 1) % len(self._addresses)

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._connection is not None and self._connection[0].at_eof():
            # As any client looks before it sends another request on a connection that it kept.
            await self.close()
        while self._connection is None:
            try:
                self._connection = await _opened(self._addresses[self._at])
            except OSError:
                self._seen.went_elsewhere += 1
                self._at = (self._at + 1) % len(self._addresses)
                await asyncio.sleep(0.01)
        return self._connection


async def _opened(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    connection = socket.socket()
    try:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", port))
    except OSError:
        connection.close()
        raise
    return await asyncio.open_connection(sock=connection, limit=RECEIVE_BUFFER)


async def roll(
    found: Sequence[Replica],
    *,
    restarts: int,
    every: float,
    rate: float,
    downloads: int,
    download: float,
    patience: float,
) -> Seen:
    """Replace one replica after the other, one every `every` seconds, under `rate` requests a second and slow downloads."""
    seen = Seen()
    addresses = [replica.port for replica in found]
    over = asyncio.Event()

    async def small(number: int, readers: int) -> None:
        reader = Reader(addresses, seen, number)
        turn = time.monotonic() + number / rate
        while not over.is_set():
            await asyncio.sleep(max(0.0, turn - time.monotonic()))
            await reader.ask("small", SMALL)
            turn = max(turn + readers / rate, time.monotonic() - 1)
        await reader.close()

    async def large(number: int) -> None:
        reader = Reader(addresses, seen, number)
        await asyncio.sleep(download * number / max(1, downloads))
        while not over.is_set():
            await reader.ask("large", LARGE, seconds=download)
        await reader.close()

    count = max(2, min(16, round(rate / 10)))
    async with started(found):
        began = time.monotonic()
        readers = [*(small(number, count) for number in range(count)), *(large(number) for number in range(downloads))]
        reading = [asyncio.ensure_future(reader) for reader in readers]
        await _replaced(found, seen, restarts=restarts, every=every, patience=patience)
        await asyncio.sleep(every / 2)
        over.set()
        await asyncio.gather(*reading)
        seen.seconds = time.monotonic() - began
    return seen


async def _replaced(found: Sequence[Replica], seen: Seen, *, restarts: int, every: float, patience: float) -> None:
    """SIGTERM to one after the other; the next process begins as soon as the address is free."""
    ending: list[asyncio.Task[None]] = []
    turn = time.monotonic() + every / 2
    for number in range(restarts):
        await asyncio.sleep(max(0.0, turn - time.monotonic()))
        replica = found[number % len(found)]
        old = Replica(replica.directory, replica.port, replica.settings, replica.stack, replica.gateway)
        ending.append(asyncio.ensure_future(asyncio.to_thread(old.end, seen, patience)))
        await _free(replica.port)
        await asyncio.to_thread(replica.start)
        seen.restarts += 1
        turn = max(turn + every, time.monotonic())
    await asyncio.gather(*ending)


async def _free(port: int) -> None:
    """Wait until nobody listens there."""
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            return
        writer.close()
        await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def started(found: Sequence[Replica]) -> AsyncIterator[None]:
    """All replicas, for as long as the context lasts."""
    try:
        await asyncio.gather(*(asyncio.to_thread(replica.start) for replica in found))
        yield
    finally:
        await asyncio.gather(*(asyncio.to_thread(replica.stack.close) for replica in found))
