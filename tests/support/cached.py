"""Documents for tests of caches that meet trouble: keys, records, and putting and reading them in one line."""

from __future__ import annotations

import random
import time
from dataclasses import replace

from adapters.contract import Descriptor, Span
from gateway.cache import Broken, Cache, Key, Record
from tests.support.redis import Bytes

KEY = Key("letters", "epoch", "2021/smith-4711.pdf")


def key(locator: str) -> Key:
    """Another document of the same source."""
    return replace(KEY, locator=locator)


def document(size: int, seed: object = 0) -> bytes:
    """`size` bytes that no compression shortens; another seed gives others."""
    return random.Random(f"{size} {seed}").randbytes(size)


def record(size: int) -> Record:
    return Record(Descriptor(size, "application/pdf", version=f"v{size}"), None, time.time())


async def put(cache: Cache, key: Key, data: bytes) -> bool:
    """Look, and put under that ticket."""
    return await cache.put(key, (await cache.look(key)).ticket, record(len(data)), Bytes(data))


async def kept(cache: Cache, key: Key, data: bytes) -> None:
    """Put, and be sure that it is there."""
    assert await put(cache, key, data), f"not kept: {cache.counts}"
    assert await look(cache, key) == data, f"not found: {cache.counts}"


async def whole(cache: Cache, key: Key) -> bytes | None:
    """The document under `key`, None for a miss. Raises `Broken`."""
    hit = (await cache.look(key)).hit
    if hit is None:
        return None
    try:
        return b"".join([piece async for piece in hit.chunks(Span(0, hit.record.size))])
    finally:
        hit.close()


async def look(cache: Cache, key: Key) -> bytes | None:
    """The document under `key`; None for a miss and for an entry that breaks."""
    try:
        return await whole(cache, key)
    except Broken:
        return None
