"""L: opening, leaving, and what a cache says of itself."""

from __future__ import annotations

from gateway.cache import Look, Scope
from tests.conformance.cache_kit.check import check
from tests.conformance.cache_kit.documents import KEY, Blob, document, kept, look, record, ticket_for
from tests.conformance.cache_kit.harness import BUDGET, CacheHarness


@check("L.1")
async def a_cache_that_was_left_keeps_quiet(harness: CacheHarness) -> None:
    cache = harness.cache()
    async with cache:
        await kept(cache, KEY, document(1000))
        ticket = await ticket_for(cache, KEY)
    found: Look = await cache.look(KEY)
    assert found.hit is None, "a cache that was left has a hit"
    assert not await cache.put(KEY, ticket, record(10), Blob(document(10))), "a cache that was left stores"
    await cache.drop(KEY)
    await cache.release(KEY)


@check("L.2")
async def leaving_twice_or_without_entering_is_no_error(harness: CacheHarness) -> None:
    cache = harness.cache()
    await cache.__aexit__(None, None, None)
    async with harness.cache() as cache:
        await kept(cache, KEY, document(1000))
    await cache.__aexit__(None, None, None)


@check("L.3", "persistent")
async def the_next_process_finds_what_was_put(harness: CacheHarness) -> None:
    for size in (0, 1000, 700_000):
        async with harness.cache() as cache:
            await kept(cache, KEY, document(size))
        async with harness.cache() as cache:
            assert await look(cache, KEY) == document(size), "it was not found"


@check("L.4")
async def a_cache_says_how_much_it_keeps(harness: CacheHarness) -> None:
    async with harness.cache() as cache:
        empty = await cache.stats()
        assert empty.backend == cache.backend, "the name of another backend"
        assert empty.state == "ok", "not ok, although the place is there"
        assert empty.entries in (0, None), "entries, where none was put"
        await kept(cache, KEY, document(100_000))
        stats = await cache.stats()
        assert stats.entries in (1, None), f"{stats.entries} entries, where one was put"
        if stats.bytes is not None and harness.evicts:
            assert 100_000 <= stats.bytes <= 100_000 + harness.overhead, f"{stats.bytes} bytes for 100000"
            assert stats.limit == BUDGET, "another limit than was configured"
        await cache.purge(Scope())
        if harness.evicts:
            assert (await cache.stats()).bytes == 0, "bytes, where nothing is"
