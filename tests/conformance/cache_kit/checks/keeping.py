"""K5: budgets, what goes first, and what goes by itself."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

from gateway.cache import Cache, Key, Limits
from tests.conformance.cache_kit.check import check
from tests.conformance.cache_kit.documents import KEY, document, kept, look, put
from tests.conformance.cache_kit.harness import BUDGET, CacheHarness

KEEP = 0.6
"""Seconds that entries stay in checks of that: short enough to wait for, long enough for a busy machine."""

SIZE = 100_000


def numbered(number: int) -> Key:
    return replace(KEY, locator=f"letter-{number}")


async def found(cache: Cache, count: int) -> list[int]:
    """Which of the numbered documents are there, without counting as a use of those that are not asked."""
    return [number for number in range(count) if await look(cache, numbered(number)) is not None]


@check("K5.1", "evicts")
async def the_budget_holds(harness: CacheHarness) -> None:
    async with harness.cache() as cache:
        for number in range(100):
            assert await put(cache, numbered(number), document(SIZE, number)), f"document {number} was not kept"
            stats = await cache.stats()
            assert stats.limit == BUDGET, "the budget is not the configured one"
            assert stats.bytes is not None
            assert stats.bytes <= BUDGET, f"{stats.bytes} bytes are kept, {BUDGET} may be"
            if harness.at_rest and number % 20 == 19:
                lying = sum(len(data) for parts in (await harness.entries()).values() for data in parts.values())
                assert lying <= BUDGET, f"{lying} bytes lie at rest, {BUDGET} may"
        kept_now = await found(cache, 100)
        fitting = BUDGET // (SIZE + harness.overhead)
        assert len(kept_now) >= fitting, f"{len(kept_now)} documents are kept where {fitting} fit"
        assert kept_now == list(range(100 - len(kept_now), 100)), "others than the last ones are kept"


@check("K5.2", "evicts")
async def what_was_used_least_recently_goes_first(harness: CacheHarness) -> None:
    async with harness.cache(budget=10 * (SIZE + 8192)) as cache:
        for number in range(8):
            await kept(cache, numbered(number), document(SIZE, number))
        for number in (0, 3):
            assert await look(cache, numbered(number)) is not None, "gone although there is room"
        for number in range(8, 14):
            await kept(cache, numbered(number), document(SIZE, number))
        left = await found(cache, 14)
        assert 0 in left, "a document that was just read went before others"
        assert 3 in left, "a document that was just read went before others"
        assert 1 not in left, "there is no room for all, and the one that nobody read is there"


@check("K5.3")
async def a_document_above_the_limit_is_not_kept(harness: CacheHarness) -> None:
    async with harness.cache(limits=Limits(max_document=SIZE)) as cache:
        assert not await put(cache, KEY, document(SIZE + 1)), "stored, it says"
        assert await look(cache, KEY) is None, "a document above the limit is kept"
        await kept(cache, KEY, document(SIZE))


@check("K5.4", "evicts")
async def a_document_above_the_budget_drives_nothing_out(harness: CacheHarness) -> None:
    async with harness.cache() as cache:
        for number in range(5):
            await kept(cache, numbered(number), document(SIZE, number))
        assert not await put(cache, KEY, document(BUDGET + 1)), "stored, it says"
        assert await look(cache, KEY) is None, "a document above the budget is kept"
        assert await found(cache, 5) == list(range(5)), "it drove others out"


@check("K5.5")
async def an_entry_goes_by_itself(harness: CacheHarness) -> None:
    async with harness.cache(limits=Limits(keep=KEEP)) as cache:
        await kept(cache, KEY, document(SIZE))
        begun = time.monotonic()
        while await look(cache, KEY) is not None:
            assert time.monotonic() - begun < 4 * KEEP, "an entry is served beyond its time, though it is read often"
            await asyncio.sleep(0.02)
        assert time.monotonic() - begun > KEEP / 2, "an entry went before its time"


@check("K5.6")
async def an_entry_goes_though_nobody_asks_for_it(harness: CacheHarness) -> None:
    async with harness.cache(limits=Limits(keep=KEEP)) as cache:
        await kept(cache, KEY, document(SIZE))
        until = time.monotonic() + 6 * KEEP
        while await _anything(harness, cache):
            assert time.monotonic() < until, "an entry lies there beyond its time"
            await asyncio.sleep(0.05)


async def _anything(harness: CacheHarness, cache: Cache) -> bool:
    return bool((await cache.stats()).entries) or (harness.at_rest and bool(await harness.entries()))


@check("K5.7", "persistent")
async def an_entry_goes_when_its_time_passed_while_no_process_ran(harness: CacheHarness) -> None:
    limits = Limits(keep=KEEP)
    async with harness.cache(limits=limits) as cache:
        await kept(cache, KEY, document(SIZE))
    await asyncio.sleep(KEEP * 1.5)
    async with harness.cache(limits=limits) as cache:
        assert await look(cache, KEY) is None, "an entry is served beyond its time"


@check("K5.8")
async def a_dropped_entry_is_gone_and_gives_its_bytes_back(harness: CacheHarness) -> None:
    async with harness.cache() as cache:
        other = numbered(1)
        await kept(cache, other, document(SIZE))
        for number in range(50):
            await kept(cache, KEY, document(SIZE, number))
            if number % 2:
                await cache.drop(KEY)
                assert await look(cache, KEY) is None, "a dropped entry is served"
        assert cache.counts.dropped == 25, "drops are counted"
        await cache.drop(KEY)
        stats = await cache.stats()
        assert stats.entries in (1, None), f"{stats.entries} entries where one is"
        assert (stats.bytes or 0) <= SIZE + harness.overhead, "dropped and replaced entries still count"
        assert await look(cache, other) == document(SIZE), "another entry went with them"


@check("K5.9", "persistent", "evicts")
async def the_next_process_keeps_to_the_budget_too(harness: CacheHarness) -> None:
    async with harness.cache() as cache:
        for number in range(30):
            await kept(cache, numbered(number), document(SIZE, number))
        before = await cache.stats()
    small = BUDGET // 4
    async with harness.cache() as cache:
        assert await cache.stats() == before, "the next process counts otherwise"
    async with harness.cache(budget=small) as cache:
        stats = await cache.stats()
        assert stats.bytes is not None
        assert stats.bytes <= small, "a smaller budget is not kept"
        left = await found(cache, 30)
        assert left, "nothing is left"
        assert left == list(range(30 - len(left), 30)), "others than the last ones are kept"
