"""What tests of the SMB engines have in common: a connected share, documents in it, and a look at the source's threads."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Protocol

from adapters.contract import MAX_CHUNK, Services
from adapters.smb.session import Demands, Login, Target
from adapters.smb.share import OpenFile, Share
from adapters.testing.harness import RecordingLog
from tests.support.samba import Samba

THREADS = 6
FIRST = 256 << 10
"""Bytes that the adapter asks for as it opens."""

PATIENCE = 10.0
"""Seconds after which something that takes milliseconds will not come any more."""


class Join(Protocol):
    """Connects to the share `letters`; `port` may be that of somebody in between."""

    def __call__(
        self,
        engine: ModuleType,
        server: Samba,
        *,
        port: int | None = None,
        encryption: bool = False,
        signing: bool = True,
    ) -> Awaitable[Share]: ...


@contextlib.contextmanager
def lent(threads: int = THREADS) -> Iterator[Services]:
    """What the gateway lends to an adapter."""
    with ThreadPoolExecutor(threads, thread_name_prefix="smb") as executor:
        yield Services(executor=executor, log=RecordingLog(), clock=time.monotonic)


@contextlib.asynccontextmanager
async def joining(services: Services) -> AsyncIterator[Join]:
    """All that was joined is left in the end."""
    joined: list[Share] = []

    async def join(
        engine: ModuleType,
        server: Samba,
        *,
        port: int | None = None,
        encryption: bool = False,
        signing: bool = True,
    ) -> Share:
        target = Target(server.host, port or server.port, "letters")
        share = await engine.connect(target, login(server), Demands(encryption=encryption, signing=signing), services)
        joined.append(share)
        return joined[-1]

    try:
        yield join
    finally:
        for share in joined:
            await share.aclose()


def login(server: Samba) -> Login:
    return Login("ntlm", server.user, server.password)


def put(server: Samba, name: str, data: bytes, share: str = "letters") -> Path:
    """Behind the server's back."""
    path = server.folder(share) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def content(size: int) -> bytes:
    return random.Random(size).randbytes(size)


async def read(file: OpenFile, start: int, stop: int) -> bytes:
    pieces = [piece async for piece in file.pieces(start, stop)]
    assert all(0 < len(piece) <= MAX_CHUNK for piece in pieces)
    return b"".join(pieces)


async def whole(share: Share, name: str) -> bytes:
    file = await share.open(name, 0, FIRST)
    try:
        return await read(file, 0, file.facts.size)
    finally:
        file.abandon()


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something has come to pass."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - nothing tells us
            await asyncio.sleep(0.01)


async def all_threads_are_free(services: Services) -> bool:
    """Whether every thread of the source would begin a call now."""
    return await asyncio.to_thread(_meet, services)


def _meet(services: Services) -> bool:
    barrier = threading.Barrier(THREADS + 1)
    for _ in range(THREADS):
        services.executor.submit(barrier.wait, PATIENCE)
    try:
        barrier.wait(PATIENCE)
    except threading.BrokenBarrierError:
        return False
    return True
