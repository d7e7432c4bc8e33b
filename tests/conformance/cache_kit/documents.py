"""Documents that checks put, and reading them back by every way a hit offers."""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from datetime import UTC, datetime

from adapters.contract import MAX_CHUNK, Descriptor, Digest, Span
from adapters.errors import AdapterError
from gateway.cache import Broken, Cache, Hit, Key, Record, Ticket

SOURCE, LOCATOR = "letters", "2021/smith-4711.pdf"
KEY = Key(SOURCE, "epoch-1", LOCATOR)

Before = Callable[[int], Awaitable[None]]


class Blob:
    """A document as `put` reads it. `before` is awaited with the offset of each read; `size` may lie."""

    def __init__(self, data: bytes, *, size: int | None = None, before: Before | None = None) -> None:
        self.data = data
        self.size = len(data) if size is None else size
        self._before = before

    async def read(self, offset: int, length: int) -> bytes:
        if self._before is not None:
            await self._before(offset)
        return self.data[offset : offset + length]


def document(size: int, seed: object = 0) -> bytes:
    """`size` bytes that no compression shortens; another seed gives others."""
    return random.Random(f"{size} {seed}").randbytes(size)


def record(size: int, **differing: object) -> Record:
    """A record in which everything is said."""
    facts = {
        "size": size,
        "media_type": "application/pdf",
        "modified": datetime(2020, 2, 29, 12, 30, 15, 123457, tzinfo=UTC),
        "digest": Digest("sha256", bytes(range(32))),
        "title": "Discharge letter of Ms Canary-Title",
        "version": f"{size:x}-16f0c5f2",
        "validator": "fd01-4711-canary-validator",
    }
    return Record(Descriptor(**(facts | differing)), "image/tiff", time.time())  # type: ignore[arg-type]


async def ticket_for(cache: Cache, key: Key) -> Ticket | None:
    """What a look hands out; its hit is let go."""
    found = await cache.look(key)
    if found.hit is not None:
        found.hit.close()
    return found.ticket


async def put(cache: Cache, key: Key, data: bytes) -> bool:
    """Look, as whoever asks the archive does first, and put under that ticket."""
    return await cache.put(key, await ticket_for(cache, key), record(len(data)), Blob(data))


async def kept(cache: Cache, key: Key, data: bytes) -> None:
    """Put, and be sure that it is there."""
    assert await put(cache, key, data), "`put` did not keep a document that fits"
    assert await look(cache, key) == data, "what was put is not found, or is something else"


async def look(cache: Cache, key: Key) -> bytes | None:
    """The whole document under `key`; None for a miss. An entry that breaks has no excuse here."""
    try:
        return await read(cache, key)
    except (Broken, AdapterError) as error:
        raise AssertionError("an entry broke to which nothing was done") from error


async def look_again(cache: Cache, key: Key) -> bytes | None:
    """As `look`, where an entry may break: None, too."""
    try:
        return await read(cache, key)
    except (Broken, AdapterError):
        return None


async def read(cache: Cache, key: Key) -> bytes | None:
    """As `look`. Raises `Broken` and what `LocalFile` raises."""
    hit = (await cache.look(key)).hit
    if hit is None:
        return None
    try:
        return await whole(hit)
    finally:
        hit.close()


async def whole(hit: Hit) -> bytes:
    """All bytes by every way that the hit offers, which must agree. Raises `Broken` and what `LocalFile` raises."""
    size = hit.record.size
    data = await part(hit, Span(0, size))
    assert len(data) == size, "the pieces of a whole document do not add up to its size"
    if hit.whole is not None:
        assert hit.whole == data, "`whole` and `chunks` differ"
    if hit.file is not None:
        read = await hit.file.read(0, size) if size else b""
        hit.file.check()
        assert read == data, "`file` and `chunks` differ"
        now = hit.file.read_now(0, size)
        assert now is None or now == data, "`file.read_now` and `chunks` differ"
    return data


async def part(hit: Hit, span: Span) -> bytes:
    """The bytes of a span, its pieces held against the contract."""
    pieces = []
    async with aclosing(hit.chunks(span)) as chunks:
        async for piece in chunks:
            assert type(piece) is bytes, "a piece is not bytes"
            assert 0 < len(piece) <= MAX_CHUNK, "a piece is empty or larger than 1 MiB"
            pieces.append(piece)
    return b"".join(pieces)
