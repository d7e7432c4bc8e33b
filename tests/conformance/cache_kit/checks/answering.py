"""K1: a cache never fails a request."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from dataclasses import replace
from typing import Any

from gateway.cache import Key
from tests.conformance.cache_kit.check import check
from tests.conformance.cache_kit.documents import KEY, Blob, document, kept, look, look_again, put, record, ticket_for
from tests.conformance.cache_kit.harness import CacheHarness


@check("K1.1")
async def an_unknown_key_is_a_miss_with_a_ticket(harness: CacheHarness) -> None:
    async with harness.cache() as cache:
        found = await cache.look(KEY)
        assert found.hit is None, "an entry that nobody put"
        assert found.ticket is not None, "no ticket, although the place is there"
        assert (cache.counts.hits, cache.counts.misses) == (0, 1), "a miss is counted"
        await kept(cache, KEY, document(1000))
        assert (cache.counts.hits, cache.counts.stored) == (1, 1), "a hit and what was stored are counted"


@check("K1.2")
async def a_body_that_fails_is_not_stored_and_counted(harness: CacheHarness) -> None:
    async def fails(offset: int) -> None:
        if offset:
            raise ConnectionResetError

    async with harness.cache() as cache:
        data = document(600_000)
        ticket = await ticket_for(cache, KEY)
        assert not await cache.put(KEY, ticket, record(len(data)), Blob(data, before=fails)), "it was stored"
        assert await look(cache, KEY) is None, "a document whose reading failed is served"
        assert cache.counts.faults.total() == 1, "one fault is counted"
        await kept(cache, KEY, data)


@check("K1.3", "vanishes")
async def a_place_that_is_away_is_a_miss_in_time(harness: CacheHarness) -> None:
    async with harness.cache() as cache:
        await kept(cache, KEY, document(600_000))
        ticket = await ticket_for(cache, replace(KEY, locator="another"))
        async with harness.away():
            data = document(1000, "away")
            assert not await timed(harness, cache.put(KEY, ticket, record(1000), Blob(data))), "stored, it says"
            for _ in range(5):
                assert await timed(harness, look_again(cache, KEY)) in (None, document(600_000)), (
                    "other bytes than were put"
                )
            await timed(harness, cache.drop(KEY))
            await timed(harness, cache.claim(KEY, 1.0))
            await timed(harness, cache.release(KEY))
            await timed(harness, cache.stats())
            assert cache.counts.faults.total() > 0, "nothing is counted"


@check("K1.4", "vanishes")
async def a_place_that_comes_back_is_used_again(harness: CacheHarness) -> None:
    async with harness.cache() as cache:
        await kept(cache, KEY, document(1000))
        async with harness.away():
            await put(cache, KEY, document(1000, "away"))
            await look_again(cache, KEY)
        until = time.monotonic() + harness.recovery
        while not await put(cache, KEY, document(1000, "back")):
            assert time.monotonic() < until, f"not used again after {harness.recovery} seconds"
            await asyncio.sleep(0.05)
        assert await look(cache, KEY) == document(1000, "back"), "what was put is not found"


async def timed(harness: CacheHarness, answer: Awaitable[Any]) -> Any:
    begun = time.monotonic()
    result = await answer
    took = time.monotonic() - begun
    assert took <= harness.patience, f"an answer took {took:.1f} seconds"
    return result


@check("K1.5")
async def being_cancelled_comes_through_and_leaves_the_cache_usable(harness: CacheHarness) -> None:
    async with harness.cache() as cache:
        data = document(1_000_000)
        for _ in range(3):
            reached = asyncio.Event()

            async def waits(offset: int, reached: asyncio.Event = reached) -> None:
                if offset:
                    reached.set()
                    await asyncio.Event().wait()

            ticket = await ticket_for(cache, KEY)
            putting = asyncio.ensure_future(cache.put(KEY, ticket, record(len(data)), Blob(data, before=waits)))
            await reached.wait()
            putting.cancel()
            await asyncio.wait({putting})
            assert putting.cancelled(), "`put` swallowed that it was cancelled"
            assert await look(cache, KEY) is None, "a cancelled `put` left something"
        assert cache.counts.faults.total() == 0, "being cancelled is no fault"
        await kept(cache, KEY, data)


@check("K1.6")
async def any_text_can_be_a_key(harness: CacheHarness) -> None:
    texts = ("a", "../../etc/passwd", "a/b\\c", "ä€𝄞", "caf\udce9", "x" * 4000, " ", "%00", '"', "a\nb", "a:b", "{a}")
    keys = [Key("letters", "e", text, other) for text in texts for other in ("", text)]
    async with harness.cache() as cache:
        for number, key in enumerate(keys):
            await kept(cache, key, document(500, number))
        for number, key in enumerate(keys):
            assert await look(cache, key) == document(500, number), f"{key.locator[:20]!r} was mixed up"


@check("K1.7")
async def a_ticket_that_is_none_or_foreign_stores_nothing(harness: CacheHarness) -> None:
    async with harness.cache() as cache:
        for ticket in (None, object(), 0, "", (1, 2), b"ticket"):
            assert not await cache.put(KEY, ticket, record(10), Blob(document(10))), f"stored under {ticket!r}"
            assert await look(cache, KEY) is None, f"stored under {ticket!r}"


@check("K1.8")
async def each_part_of_a_key_tells_entries_apart(harness: CacheHarness) -> None:
    keys = [
        KEY,
        replace(KEY, source="scans"),
        replace(KEY, epoch="epoch-2"),
        replace(KEY, locator="2021/smith-4711.tif"),
        replace(KEY, partition="dr-who"),
        Key("letters", "epoch-1" + "2021/smith", "-4711.pdf"),
    ]
    async with harness.cache() as cache:
        for number, key in enumerate(keys):
            assert await look(cache, key) is None, "an entry of another key"
            await kept(cache, key, document(500, number))
        for number, key in enumerate(keys):
            assert await look(cache, key) == document(500, number), "an entry of another key"
