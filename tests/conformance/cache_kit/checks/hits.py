"""K7: a hit stays readable until it is closed, or breaks."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace

from adapters.contract import Span
from adapters.errors import AdapterError
from gateway.cache import Broken, Cache, Hit, Scope
from tests.conformance.cache_kit.check import check
from tests.conformance.cache_kit.documents import KEY, document, kept, part, put, whole
from tests.conformance.cache_kit.harness import CacheHarness

SIZE = 1_800_000
"""Bytes of a document that comes in several pieces, whatever their size."""


async def opened(cache: Cache, size: int = SIZE) -> Hit:
    await kept(cache, KEY, document(size))
    hit = (await cache.look(KEY)).hit
    assert hit is not None, "it was not found"
    return hit


async def right_or_broken(hit: Hit, size: int = SIZE) -> None:
    """What an entry that is gone may do: give its own bytes to the end, or break."""
    try:
        data = await whole(hit)
    except (Broken, AdapterError):
        return
    assert data == document(size), "an open entry gave other bytes"


@check("K7.1")
async def an_open_entry_gives_its_own_bytes_whatever_becomes_of_it(harness: CacheHarness) -> None:
    for fate in range(4):
        async with harness.cache() as cache:
            hit = await opened(cache)
            if fate == 0:
                await cache.drop(KEY)
            elif fate == 1:
                await cache.purge(Scope())
            elif fate == 2:
                assert await put(cache, KEY, document(SIZE, "another")), "the newer one was not kept"
            else:
                for number in range(12):
                    await put(cache, replace(KEY, locator=f"letter-{number}"), document(SIZE, number))
            await right_or_broken(hit)
            hit.close()
            await cache.purge(Scope())


@check("K7.2")
async def a_change_in_mid_body_gives_its_own_bytes_or_breaks(harness: CacheHarness) -> None:
    for fate in range(3):
        async with harness.cache() as cache:
            hit = await opened(cache)
            pieces = []
            try:
                async with aclosing(hit.chunks(Span(0, SIZE))) as chunks:
                    async for piece in chunks:
                        if not pieces:
                            if fate == 0:
                                await cache.purge(Scope())
                            elif fate == 1:
                                await put(cache, KEY, document(SIZE, "another"))
                            else:
                                await cache.drop(KEY)
                        pieces.append(piece)
                assert b"".join(pieces) == document(SIZE), "a body that was cut or mixed, with a good end"
            except Broken:
                pass
            hit.close()
            await cache.purge(Scope())


@check("K7.3")
async def closing_can_be_repeated_and_ends_reading(harness: CacheHarness) -> None:
    for size in (0, 1000, SIZE):
        async with harness.cache() as cache:
            hit = await opened(cache, size)
            if size:
                chunks = hit.chunks(Span(0, size))
                await anext(chunks)
                hit.close()
                if size == SIZE:
                    await _breaks(anext(chunks))
                await chunks.aclose()
            for _ in range(3):
                hit.close()
            if size:
                await _breaks(part(hit, Span(0, size)))
                if hit.file is not None:
                    await _breaks(hit.file.read(0, 10))
            await cache.purge(Scope())


async def _breaks(reading: object) -> None:
    try:
        await reading  # type: ignore[misc]
    except (Broken, AdapterError):
        return
    raise AssertionError("a hit that was closed can still be read")


@check("K7.4")
async def one_entry_has_many_readers(harness: CacheHarness) -> None:
    async with harness.cache() as cache:
        await kept(cache, KEY, document(SIZE))
        hits = [(await cache.look(KEY)).hit for _ in range(8)]

        async def reads(hit: Hit | None) -> None:
            assert hit is not None, "it was not found"
            for _ in range(2):
                assert await whole(hit) == document(SIZE), "a reader got other bytes"
            hit.close()

        await asyncio.gather(*map(reads, hits))
        assert cache.counts.faults.total() == cache.counts.damaged == 0, "nothing went wrong, and it is counted"


@check("K7.5")
async def readers_that_leave_in_mid_body_hold_nothing(harness: CacheHarness) -> None:
    async with harness.cache() as cache:
        await kept(cache, KEY, document(SIZE))
        for _ in range(40):
            hit = (await cache.look(KEY)).hit
            assert hit is not None, "it was not found"
            async with aclosing(hit.chunks(Span(5, SIZE))) as chunks:
                await anext(chunks)
            hit.close()
        assert cache.counts.faults.total() == cache.counts.damaged == 0, "a reader that leaves is no fault"


@check("K7.6")
async def a_hit_outlives_its_cache_or_breaks(harness: CacheHarness) -> None:
    async with harness.cache() as cache:
        hit = await opened(cache)
    await right_or_broken(hit)
    hit.close()


@check("K7.7")
async def a_reader_that_is_cancelled_leaves_the_entry_usable(harness: CacheHarness) -> None:
    async with harness.cache() as cache:
        await kept(cache, KEY, document(SIZE))
        for turns in range(12):
            reading = asyncio.ensure_future(_reads(cache))
            for _ in range(turns):
                await asyncio.sleep(0)
            reading.cancel()
            await asyncio.wait({reading})
        assert await _reads(cache) == document(SIZE), "cancelled readers took the entry with them"
        assert cache.counts.damaged == 0, "a cancelled reader is no damage"


async def _reads(cache: Cache) -> bytes:
    hit = (await cache.look(KEY)).hit
    assert hit is not None, "it was not found"
    try:
        return await part(hit, Span(0, SIZE))
    finally:
        hit.close()
