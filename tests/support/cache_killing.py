"""Processes that are killed while they put documents into a disk cache.

As a program: `line MODE` obeys lines "NUMBER DIRECTORY" on standard input. Each is a process of its own, forked from
this one, which puts one document and dies by SIGKILL at the NUMBERth line of the cache's code that any of its threads
comes to; the answer is "killed", or "whole" when there are fewer lines than that. `steady MODE DIRECTORY` puts documents
without end and says "putting" when it begins. `moment MODE` does so for each line "DIRECTORY" in a process of its own, which
the next line kills, whatever it holds; then the answer is "killed". As a module: what is put, and the cache that puts it.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import os
import random
import signal
import sys
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any

from adapters.contract import Descriptor
from gateway.cache import Key, Limits, Record
from gateway.cache.disk import DiskCache
from gateway.cache.sealing import CacheKey, Keyring

KEYS = [Key("letters", "1", f"letter-{number}") for number in range(5)]
SIZES = (40, 5000, 262_064, 400_000, 900_000)
TRACED = f"{os.sep}gateway{os.sep}cache{os.sep}disk"


def cache_at(directory: Path, mode: str) -> DiskCache:
    """The cache of these tests; `mode` is sealed or plain."""
    ring = Keyring([CacheKey("k1", bytes(range(32)))] if mode == "sealed" else ())
    return DiskCache(Limits(), ring, directory, max_bytes=64 << 20)


def self_proving(size: int, seed: object) -> bytes:
    """A document that says itself whether it is whole: it begins with the digest of the rest."""
    rest = random.Random(str(seed)).randbytes(size - 32)
    return hashlib.sha256(rest).digest() + rest


def proves(data: bytes) -> bool:
    """Whether this is the whole of a `self_proving` document."""
    return hashlib.sha256(data[32:]).digest() == data[:32]


class Blob:
    def __init__(self, data: bytes) -> None:
        self.data, self.size = data, len(data)

    async def read(self, offset: int, length: int) -> bytes:
        return self.data[offset : offset + length]


async def put(cache: DiskCache, key: Key, data: bytes) -> bool:
    found = await cache.look(key)
    if found.hit is not None:
        found.hit.close()
    facts = Record(Descriptor(len(data), "application/pdf", version="1"), None, time.time())
    return await cache.put(key, found.ticket, facts, Blob(data))


class DyingAt:
    """Kills this process at the `number`th line of the cache's code after `armed` was set."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.armed = False
        self._lines = itertools.count(1)

    def trace(self, frame: FrameType, event: str, argument: Any) -> Any:
        if TRACED not in frame.f_code.co_filename:
            return None
        if self.armed and event == "line" and next(self._lines) == self.number:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.trace


async def _dying(number: int, mode: str, directory: Path) -> None:
    death = DyingAt(number)
    threading.settrace(death.trace)
    sys.settrace(death.trace)
    async with cache_at(directory, mode) as cache:
        death.armed = True
        await put(cache, KEYS[0], self_proving(SIZES[number % len(SIZES)], "new"))
        death.armed = False


def _line_by_line(mode: str) -> None:
    for order in sys.stdin:
        number, directory = order.split()
        child = os.fork()
        if not child:
            asyncio.run(_dying(int(number), mode, Path(directory)))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print("killed" if os.WIFSIGNALED(status) else "whole" if not status else "failed", flush=True)


async def _steadily(mode: str, directory: Path) -> None:
    parent = os.getppid()
    async with cache_at(directory, mode) as cache:
        print("putting", flush=True)
        for number in itertools.takewhile(lambda _: os.getppid() == parent, itertools.count()):
            puts = (put(cache, key, self_proving(random.choice(SIZES), (number, key))) for key in KEYS)
            await asyncio.gather(*puts)


def _moment_by_moment(mode: str) -> None:
    for order in sys.stdin:
        child = os.fork()
        if not child:
            asyncio.run(_steadily(mode, Path(order.strip())))
            os._exit(0)
        sys.stdin.readline()
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        print("killed", flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "line":
        _line_by_line(sys.argv[2])
    elif sys.argv[1] == "moment":
        _moment_by_moment(sys.argv[2])
    else:
        asyncio.run(_steadily(sys.argv[2], Path(sys.argv[3])))
