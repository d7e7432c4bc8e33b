"""K3: what was purged stays away."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Iterable
from dataclasses import replace

from gateway.cache import Cache, Key, PurgePending, Scope
from tests.conformance.cache_kit.check import check
from tests.conformance.cache_kit.documents import (
    KEY,
    LOCATOR,
    SOURCE,
    Blob,
    document,
    kept,
    look,
    look_again,
    put,
    record,
    ticket_for,
)
from tests.conformance.cache_kit.harness import CacheHarness

SAME = [KEY, replace(KEY, epoch="epoch-2"), replace(KEY, partition="dr-who"), Key(SOURCE, "e", LOCATOR, "dr-no")]
OTHERS = [replace(KEY, locator="2021/smith-4712.pdf"), replace(KEY, locator=LOCATOR + "x")]
ELSEWHERE = [replace(KEY, source="scans"), Key("scans", "e", "other"), replace(KEY, source=SOURCE + "2")]
ALL = [*SAME, *OTHERS, *ELSEWHERE]

SCOPES = (Scope(SOURCE, LOCATOR), Scope(SOURCE), Scope())


async def fill(cache: Cache, keys: Iterable[Key] = ALL) -> None:
    for key in keys:
        await kept(cache, key, document(3000, key))


async def remaining(cache: Cache, keys: Iterable[Key] = ALL) -> list[Key]:
    return [key for key in keys if await look(cache, key) is not None]


@check("K3.1")
async def purging_a_document_takes_all_its_partitions_and_epochs(harness: CacheHarness) -> None:
    async with harness.cache() as cache:
        await fill(cache)
        await cache.purge(Scope(SOURCE, LOCATOR))
        assert await remaining(cache) == [*OTHERS, *ELSEWHERE], "too much or too little is gone"


@check("K3.2")
async def purging_a_source_takes_it_alone(harness: CacheHarness) -> None:
    async with harness.cache() as cache:
        await fill(cache)
        await cache.purge(Scope(SOURCE))
        assert await remaining(cache) == ELSEWHERE, "too much or too little is gone"


@check("K3.3")
async def purging_everything_leaves_nothing(harness: CacheHarness) -> None:
    async with harness.cache() as cache:
        await fill(cache)
        await cache.purge(Scope())
        assert await remaining(cache) == [], "something is left"
        assert (await cache.stats()).entries in (0, None), "something is still counted"


@check("K3.4")
async def an_old_ticket_stores_nothing(harness: CacheHarness) -> None:
    async with harness.cache() as cache:
        for scope in SCOPES:
            ticket = await ticket_for(cache, KEY)
            await cache.purge(scope)
            assert not await cache.put(KEY, ticket, record(10), Blob(document(10))), f"stored after {scope}"
            assert await look(cache, KEY) is None, f"a document from before {scope} is served"
            await kept(cache, KEY, document(3000, scope))


@check("K3.5")
async def a_purge_while_a_document_is_put_wins(harness: CacheHarness) -> None:
    data = document(700_000)
    async with harness.cache() as cache:
        for scope in SCOPES:
            for at in (0, 200_000, 500_000):
                purged = False

                async def purges(offset: int, at: int = at, scope: Scope = scope) -> None:
                    nonlocal purged
                    if offset >= at and not purged:
                        purged = True
                        await cache.purge(scope)

                ticket = await ticket_for(cache, KEY)
                body = Blob(data, before=purges)
                assert not await cache.put(KEY, ticket, record(len(data)), body), f"stored in spite of {scope}"
                assert purged
                assert await look(cache, KEY) is None, f"a document from before {scope} is served"


@check("K3.6")
async def a_hit_s_ticket_is_as_old_as_the_look(harness: CacheHarness) -> None:
    async with harness.cache() as cache:
        await kept(cache, KEY, document(1000))
        found = await cache.look(KEY)
        assert found.hit is not None
        found.hit.close()
        await cache.purge(Scope(SOURCE, LOCATOR))
        stored = await cache.put(KEY, found.ticket, record(10), Blob(document(10)))
        assert not stored, "stored under the ticket of a hit from before"
        assert await look(cache, KEY) is None, "a document from before the purge is served"


@check("K3.7", "shared")
async def a_purge_reaches_every_process(harness: CacheHarness) -> None:
    async with harness.cache() as here, harness.cache() as there:
        for scope in SCOPES:
            await fill(here)
            assert await remaining(there) == ALL, "entries are not shared"
            tickets = {key: await ticket_for(there, replace(key, epoch="new")) for key in ALL}
            await here.purge(scope)
            gone = [key for key in ALL if scope.covers(key)]
            assert await remaining(there, gone) == [], f"the other process still finds what {scope} took"
            for key in gone:
                anew = replace(key, epoch="new")
                stored = await there.put(anew, tickets[key], record(10), Blob(document(10)))
                assert not stored, "the other process stored under a ticket from before"
                assert await look(here, anew) is None, "a document from before the purge is served"


@check("K3.8", "persistent")
async def what_was_purged_does_not_come_back_with_the_next_process(harness: CacheHarness) -> None:
    for scope in SCOPES:
        async with harness.cache() as cache:
            await fill(cache)
        async with harness.cache() as cache:
            assert await remaining(cache) == ALL, "entries did not survive"
            await cache.purge(scope)
        async with harness.cache() as cache:
            assert await remaining(cache) == [key for key in ALL if not scope.covers(key)], f"{scope} did not last"


@check("K3.9", "vanishes")
async def a_purge_that_cannot_be_promised_says_so(harness: CacheHarness) -> None:
    async with harness.cache() as cache:
        await fill(cache)
        said = None
        async with harness.away():
            try:
                await asyncio.wait_for(cache.purge(Scope(SOURCE)), harness.patience)
            except PurgePending as pending:
                said = str(pending)
            if said is None:
                assert await remaining(cache, SAME) == [], "found after a purge"
        if said is None:
            assert await remaining(cache, SAME) == [], "found after a purge, when the place was back"
        else:
            assert said, "the message does not say why"
            assert "smith" not in said, "a locator in a message"


@check("K3.10")
async def purges_among_many_puts_and_looks_hold(harness: CacheHarness) -> None:
    """Each document is the number of purges begun when it was put; whoever looks after purge n finds none from before it."""
    rng = random.Random(7)
    keys = [replace(KEY, locator=f"letter-{number}") for number in range(4)]
    begun = done = 0
    async with harness.cache(budget=16 << 20) as cache:

        async def puts() -> None:
            for _ in range(25):
                key = rng.choice(keys)
                ticket = await ticket_for(cache, key)
                data = (b"%08d" % begun) * rng.choice((10, 40_000))
                await cache.put(key, ticket, record(len(data)), Blob(data, before=_turn))

        async def looks() -> None:
            for _ in range(60):
                before = done
                data = await look_again(cache, rng.choice(keys))
                if data is not None:
                    assert data == data[:8] * (len(data) // 8), "parts of two documents"
                    assert int(data[:8]) >= before, "a document from before a purge that had returned"
                await asyncio.sleep(0)

        async def purges() -> None:
            nonlocal begun, done
            for number in range(1, 13):
                await asyncio.sleep(0.003)
                begun = number
                with contextlib.suppress(PurgePending):  # a disk that others keep busy promises nothing
                    await cache.purge(rng.choice((Scope(), Scope(SOURCE))))
                    done = number

        await asyncio.gather(*(puts() for _ in range(4)), *(looks() for _ in range(4)), purges())
        assert done, "no purge was promised"


async def _turn(_: int) -> None:
    await asyncio.sleep(0)


@check("K3.11")
async def documents_from_after_a_purge_are_kept(harness: CacheHarness) -> None:
    async with harness.cache() as cache:
        for number in range(20):
            await cache.purge(SCOPES[number % 3])
            assert await put(cache, KEY, document(100, number)), "nothing can be put any more"
            assert await look(cache, KEY) == document(100, number), "another document than was put"


@check("K3.12")
async def tickets_are_equal_until_a_purge(harness: CacheHarness) -> None:
    """Whoever holds an equal one may share a read of the archive."""
    async with harness.cache() as cache:
        for scope in SCOPES:
            first = await ticket_for(cache, KEY)
            assert first == await ticket_for(cache, KEY), (
                "two tickets of the same key differ, though nothing was purged"
            )
            await kept(cache, KEY, document(100))
            assert first == await ticket_for(cache, KEY), "the ticket of a hit differs, though nothing was purged"
            assert hash(first) == hash(await ticket_for(cache, KEY)), "equal tickets have other hashes"
            await cache.purge(scope)
            assert first != await ticket_for(cache, KEY), f"a ticket from before {scope} equals one from after"
