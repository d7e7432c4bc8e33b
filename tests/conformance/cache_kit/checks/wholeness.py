"""K2: an entry is whole or it is not there."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from adapters.contract import Span
from gateway.cache.sealing import CHUNK
from tests.conformance.cache_kit.check import check
from tests.conformance.cache_kit.documents import (
    KEY,
    Blob,
    document,
    kept,
    look,
    look_again,
    part,
    put,
    record,
    ticket_for,
    whole,
)
from tests.conformance.cache_kit.harness import CacheHarness

PIECE = 256 * 1024

SIZES = sorted(
    {0, 1, 4095, 4096, 4097, 1 << 20, (1 << 20) + 17}
    | {edge + near for edge in (CHUNK, 2 * CHUNK, PIECE, 2 * PIECE) for near in (-1, 0, 1)}
)


@check("K2.1")
async def every_size_comes_back_with_its_record(harness: CacheHarness) -> None:
    async with harness.cache(budget=16 << 20) as cache:
        for size in SIZES:
            key, data, facts = replace(KEY, locator=f"letter-{size}"), document(size), record(size)
            ticket = await ticket_for(cache, key)
            assert await cache.put(key, ticket, facts, Blob(data)), f"{size} bytes were not kept"
            hit = (await cache.look(key)).hit
            assert hit is not None, f"{size} bytes were not found"
            assert await whole(hit) == data, f"{size} bytes came back as others"
            wanted = replace(facts, descriptor=replace(facts.descriptor, title=None))
            assert hit.record == wanted, "the record came back as another"
            hit.close()
        assert cache.counts.stored == cache.counts.hits == len(SIZES), "what was stored and found is counted"
        assert cache.counts.faults.total() == cache.counts.damaged == 0, "nothing went wrong, and it is counted"


@check("K2.2")
async def a_record_that_says_little_comes_back_as_it_was(harness: CacheHarness) -> None:
    little = record(10, media_type=None, modified=None, digest=None, title=None, version=None, validator=None)
    async with harness.cache() as cache:
        facts = replace(little, sniffed=None)
        ticket = await ticket_for(cache, KEY)
        assert await cache.put(KEY, ticket, facts, Blob(document(10))), "it was not kept"
        hit = (await cache.look(KEY)).hit
        assert hit is not None, "it was not found"
        assert hit.record == facts, "the record came back as another"
        hit.close()


@check("K2.3")
async def a_body_that_ends_early_is_not_stored(harness: CacheHarness) -> None:
    async with harness.cache() as cache:
        for size, missing in ((1000, 1), (1000, 1000), (CHUNK, 1), (CHUNK + 1, 1), (700_000, 400_000)):
            ticket = await ticket_for(cache, KEY)
            body = Blob(document(size - missing), size=size)
            assert not await cache.put(KEY, ticket, record(size), body), "stored, it says"
            assert await look(cache, KEY) is None, "a document that ended early is served"


@check("K2.4")
async def a_body_of_another_size_than_its_record_is_not_stored(harness: CacheHarness) -> None:
    async with harness.cache() as cache:
        for size, said in ((1000, 999), (1000, 1001), (0, 1), (1, 0), (700_000, 400_000), (400_000, 700_000)):
            ticket = await ticket_for(cache, KEY)
            assert not await cache.put(KEY, ticket, record(said), Blob(document(size))), "stored, it says"
            assert await look(cache, KEY) is None, "a document of another size is served"


@check("K2.5")
async def an_entry_is_invisible_until_its_last_byte_was_read(harness: CacheHarness) -> None:
    async with harness.cache() as cache:
        seen = []

        async def looks(offset: int) -> None:
            found = await cache.look(KEY)
            if found.hit is not None:
                seen.append(offset)
                found.hit.close()

        data = document(1_000_000)
        ticket = await ticket_for(cache, KEY)
        stored = await cache.put(KEY, ticket, record(len(data)), Blob(data, before=looks))
        assert not seen, f"visible when {seen} bytes were read"
        assert stored, "it was not kept"
        assert cache.counts.faults.total() == 0, "a look while an entry is written went wrong"
        assert await look(cache, KEY) == data, "it was not found"


@check("K2.6")
async def an_entry_stays_until_the_next_one_is_whole(harness: CacheHarness) -> None:
    async with harness.cache() as cache:
        old, new = document(900_000, "old"), document(900_000, "new")
        await kept(cache, KEY, old)
        seen = []

        async def looks(_: int) -> None:
            seen.append(await look_again(cache, KEY) == old)

        ticket = await ticket_for(cache, KEY)
        stored = await cache.put(KEY, ticket, record(len(new)), Blob(new, before=looks))
        assert all(seen), "while another is put, an entry is gone or has other bytes"
        assert stored, "it was not kept"
        assert await look(cache, KEY) == new, "the newer entry is not found"


@check("K2.7")
async def a_put_that_is_cancelled_anywhere_leaves_nothing(harness: CacheHarness) -> None:
    async with harness.cache(budget=64 << 20) as cache:
        data = document(700_000)
        for turns in [*range(12), 20, 40, 80]:
            ticket = await ticket_for(cache, KEY)
            putting = asyncio.ensure_future(cache.put(KEY, ticket, record(len(data)), Blob(data, before=_turn)))
            for _ in range(turns):
                await asyncio.sleep(0)
            putting.cancel()
            await asyncio.wait({putting})
            assert await look(cache, KEY) in (None, data), "a part of a document"
            if not putting.cancelled():
                assert putting.result() is True, "it was neither cancelled nor kept"
            await cache.drop(KEY)
        await kept(cache, KEY, data)


async def _turn(_: int) -> None:
    await asyncio.sleep(0)


@check("K2.8")
async def puts_of_the_same_key_at_once_leave_one_of_them(harness: CacheHarness) -> None:
    async with harness.cache() as cache:
        documents = [document(300_000 + number, number) for number in range(6)]
        await asyncio.gather(*(put(cache, KEY, data) for data in documents))
        assert await look(cache, KEY) in documents, "nothing, or parts of several"
        stats = await cache.stats()
        assert stats.entries in (1, None), f"{stats.entries} entries of one key"


@check("K2.9")
async def any_span_is_the_slice_of_the_document(harness: CacheHarness) -> None:
    size = 2 * CHUNK + 1000
    data = document(size)
    edges = sorted({0, 1, CHUNK - 1, CHUNK, CHUNK + 1, PIECE, 2 * CHUNK - 1, 2 * CHUNK, 2 * CHUNK + 1, size - 1, size})
    async with harness.cache() as cache:
        await kept(cache, KEY, data)
        hit = (await cache.look(KEY)).hit
        assert hit is not None, "it was not found"
        for start in edges:
            for stop in edges:
                if start <= stop:
                    assert await part(hit, Span(start, stop)) == data[start:stop], f"{start}..{stop} is another slice"
        hit.close()
