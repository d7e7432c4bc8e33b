"""The memory cache: what it counts is what it takes, and a look-up never waits. Its contract is in tests/conformance."""

from __future__ import annotations

import asyncio
import tracemalloc
from dataclasses import replace

import pytest

from adapters.contract import Span
from gateway.cache import Limits, Scope
from gateway.cache.memory import OVERHEAD, PIECE, MemoryCache
from tests.conformance.cache_kit.documents import KEY, Blob, document, kept, put, record, ticket_for


async def test_a_look_up_never_suspends() -> None:
    async with MemoryCache(Limits(), max_bytes=8 << 20) as cache:
        await kept(cache, KEY, document(PIECE * 3))
        for key in (KEY, replace(KEY, locator="other")):
            with pytest.raises(StopIteration) as ended:
                cache.look(key).send(None)
            assert (ended.value.value.hit is not None) is (key is KEY)


async def test_what_is_counted_covers_what_is_taken() -> None:
    count, size = 3000, 100
    async with MemoryCache(Limits(), max_bytes=64 << 20) as cache:
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        for number in range(count):
            key = replace(KEY, locator=f"2021/some/folder/of/letters/letter-{number:08}.pdf", partition=f"p-{number}")
            facts = record(size, version=f"{number:x}-16f0c5f2", validator=f"fd01-{number}-16f0c5f2a3b4c5d6")
            assert await cache.put(key, await ticket_for(cache, key), facts, Blob(document(size, number)))
        taken = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
        counted = (await cache.stats()).bytes or 0
    assert counted == count * (size + OVERHEAD)
    assert counted / 2 < taken <= counted, f"{taken / count:.0f} bytes an entry, counted as {OVERHEAD + size}"


async def test_documents_on_their_way_keep_to_the_budget() -> None:
    size = PIECE * 4
    async with MemoryCache(Limits(), max_bytes=3 * (size + OVERHEAD)) as cache:
        arrived, going_on = [], asyncio.Event()

        async def waits(offset: int) -> None:
            if offset == 0:
                arrived.append(offset)
                await going_on.wait()

        keys = [replace(KEY, locator=f"letter-{number}") for number in range(5)]
        tickets = [await ticket_for(cache, key) for key in keys]
        puts = [
            asyncio.ensure_future(cache.put(key, ticket, record(size), Blob(document(size), before=waits)))
            for key, ticket in zip(keys, tickets, strict=True)
        ]
        await asyncio.sleep(0.01)
        assert len(arrived) == 3, "more documents are on their way than there is room for"
        going_on.set()
        assert await asyncio.gather(*puts) == [True, True, True, False, False]
        assert (await cache.stats()).bytes == cache.max_bytes


async def test_a_small_document_comes_as_one_object_and_a_large_one_in_shared_pieces() -> None:
    async with MemoryCache(Limits(), max_bytes=8 << 20) as cache:
        await kept(cache, KEY, document(PIECE))
        first, second = (await cache.look(KEY)).hit, (await cache.look(KEY)).hit
        assert first is not None
        assert second is not None
        assert first.whole is not None
        assert first.whole is second.whole, "each reader costs a copy"
        large = document(PIECE * 2 + 5)
        await kept(cache, KEY, large)
        hits = [(await cache.look(KEY)).hit for _ in range(2)]
        whole = Span(0, len(large))
        one, other = [[piece async for piece in hit.chunks(whole)] for hit in hits if hit is not None]
        assert [len(piece) for piece in one] == [PIECE, PIECE, 5]
        assert all(mine is yours for mine, yours in zip(one, other, strict=True)), "each reader costs a copy"
        assert hits[0] is not None
        assert hits[0].whole is None


async def test_a_purge_of_another_document_does_not_stop_a_put() -> None:
    async with MemoryCache(Limits(), max_bytes=8 << 20) as cache:
        ticket = await ticket_for(cache, KEY)
        await cache.purge(Scope(KEY.source, "another"))
        await cache.purge(Scope("scans"))
        assert await cache.put(KEY, ticket, record(10), Blob(document(10)))


async def test_nothing_is_left_of_a_cache_that_was_left() -> None:
    cache = MemoryCache(Limits(), max_bytes=8 << 20)
    async with cache:
        await put(cache, KEY, document(1000))
    assert (await cache.stats()).bytes == 0


async def test_a_large_document_lets_others_have_their_turns() -> None:
    """Its body never waits: between any two pieces the loop belongs to everybody."""
    count, turns = 100, 0
    async with MemoryCache(Limits(max_document=64 << 20), max_bytes=64 << 20) as cache:
        ticket = await ticket_for(cache, KEY)
        putting = asyncio.ensure_future(cache.put(KEY, ticket, record(PIECE * count), Blob(document(PIECE * count))))
        while not putting.done():
            await asyncio.sleep(0)
            turns += 1
        assert await putting
    assert turns >= count
