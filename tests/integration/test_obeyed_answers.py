"""Whatever an archive answers is obeyed, whoever had asked: behind a reader's back, in another process, a moment ago."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from adapters.errors import AccessDenied, AdapterError, Deleted, NotFound, Unavailable
from gateway.cache import Cache, Key, Limits, Scope
from gateway.cache.memory import MemoryCache
from gateway.cache.policy import Policy
from gateway.shared import Sharing
from gateway.source import Limits as SourceLimits
from gateway.upkeep import Upkeep
from tests.support.fragile import ABLE, MUTE, STABLE, Archive
from tests.support.service import Service, service

KIB = 1024
DATA = random.Random(5).randbytes(300 * KIB + 7)
OTHER = random.Random(6).randbytes(300 * KIB + 7)
SMALL = b"%PDF-1.7 a letter"
LOST = Unavailable("the connection was lost", exhausted=True)
SOON = SourceLimits(queue_timeout=0.2, open_timeout=2, idle_timeout=2, repair_timeout=0.5)
QUICK = Policy(ttl=100, stale_while_revalidate=50, stale_if_error=100, patience=0.3, negative=30)
LIMITS = Limits(keep=QUICK.keep, max_document=1 << 20)


@asynccontextmanager
async def serving(archive: Archive, cache: Cache | None = None, **more: Any) -> AsyncIterator[Service]:
    settings: dict[str, Any] = {
        "sharing": Sharing(max_document=1 << 20),
        "limits": SOON,
        "spool_bytes": 64 << 20,
        "policy": QUICK,
        "cache": cache,
    }
    async with service({"letters": archive.make()}, **settings | more) as running:
        yield running


@pytest.fixture
async def cache() -> AsyncIterator[MemoryCache]:
    async with MemoryCache(LIMITS, max_bytes=64 << 20) as made:
        yield made


@pytest.fixture
def ages(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Lets the wall clock of the policy go ahead by so many seconds."""
    ahead = [0.0]
    real = time.time
    monkeypatch.setattr("gateway.shared.time.time", lambda: real() + ahead[0])

    def by(seconds: float) -> None:
        ahead[0] = seconds

    return by


def archive_of(data: bytes = DATA, **more: Any) -> Archive:
    archive = Archive(**more)
    archive.put("a", data)
    return archive


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - nothing tells us
            await asyncio.sleep(0.005)


async def warm(running: Service, cache: Cache) -> None:
    stored = cache.counts.stored
    assert (await running.ask("/R4/Binary/a")).status == 200
    await until(lambda: cache.counts.stored > stored)


# --- asked behind a reader's back ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "status"), [(NotFound("none"), 404), (Deleted("gone"), 410), (AccessDenied("no"), 403)]
)
async def test_what_the_archive_says_while_a_copy_is_served_counts_from_then_on(
    cache: MemoryCache, ages: Callable[[float], None], error: AdapterError, status: int
) -> None:
    archive = archive_of(capabilities=STABLE)
    async with serving(archive, cache) as running:
        await warm(running, cache)
        archive.away = error
        ages(QUICK.ttl + 10)
        assert (await running.ask("/R4/Binary/a")).status == 200
        await until(lambda: archive.opened == 2)
        await running.idle()
        for asked in ({}, {"method": "HEAD"}, {"Range": "bytes=0-9"}):
            assert (await running.ask("/R4/Binary/a", **asked)).status == status


@pytest.mark.parametrize("data", [SMALL, DATA], ids=len)
async def test_an_old_copy_is_replaced_by_one_read(
    cache: MemoryCache, ages: Callable[[float], None], data: bytes
) -> None:
    """The archive is back: what it gave to find out so is what the reader gets."""
    archive = archive_of(capabilities=STABLE)
    async with serving(archive, cache) as running:
        await warm(running, cache)
        archive.put("a", data)
        ages(QUICK.ttl + 60)
        answer = await running.ask("/R4/Binary/a")
        assert answer.body == data
        assert answer.field("Cache-Status") == "fhir-gateway; fwd=stale"
        assert archive.opened == 2
        await until(lambda: cache.counts.stored == 2)
        assert (await running.ask("/R4/Binary/a")).body == data
        assert archive.opened == 2


# --- what is not there -----------------------------------------------------------------------------------------------


async def test_a_document_that_the_archive_has_now_is_not_denied_by_what_it_said_before(cache: MemoryCache) -> None:
    archive = Archive(capabilities=ABLE)
    async with serving(archive, cache) as running:
        assert (await running.ask("/R4/Binary/a")).status == 404
        archive.put("a", DATA)
        assert (await running.ask("/R4/Binary/a", method="HEAD")).status == 200
        part = await running.ask("/R4/Binary/a", Range="bytes=0-9")
        assert (part.status, part.body) == (206, DATA[:10])


# --- a read that began before ----------------------------------------------------------------------------------------


async def test_those_who_cannot_join_an_old_read_share_a_new_one() -> None:
    archive = archive_of(gated=200 * KIB)
    async with serving(archive) as running:
        first = asyncio.ensure_future(running.ask("/R4/Binary/a"))
        await until(lambda: archive.opened == 1)
        archive.put("a", OTHER, "2")
        others = [asyncio.ensure_future(running.ask("/R4/Binary/a")) for _ in range(50)]
        await asyncio.sleep(0.5)
        archive.gate.set()
        assert (await first).body == DATA
        assert {answer.body == OTHER for answer in await asyncio.gather(*others)} == {True}
    assert archive.opened == 2


async def test_an_archive_that_states_nothing_to_compare_is_read_once_more_for_all() -> None:
    archive = archive_of(gated=200 * KIB, capabilities=replace(ABLE, strong_versions=False), facts_pause=0.4)
    async with serving(archive) as running:
        first = asyncio.ensure_future(running.ask("/R4/Binary/a"))
        await until(lambda: archive.opened == 1)
        others = [asyncio.ensure_future(running.ask("/R4/Binary/a")) for _ in range(50)]  # all before facts come
        await asyncio.sleep(1.2)  # two questions, the second for all who came during the first
        archive.gate.set()
        answers = await asyncio.gather(first, *others)
        assert {answer.body == DATA for answer in answers} == {True}
    assert archive.opened == 2


async def test_after_a_purge_nobody_joins_a_read_from_before_it_though_nothing_is_kept() -> None:
    """Where there is no cache, or none that works, no ticket tells the reads apart."""
    archive = archive_of(gated=200 * KIB, capabilities=MUTE)
    async with serving(archive) as running:
        before = asyncio.ensure_future(running.ask("/R4/Binary/a"))
        await until(lambda: archive.opened == 1)
        archive.put("a", OTHER)
        handlers = running.pipeline.epoch.handlers
        assert running.fills is not None
        shared = running.shared["letters"]
        upkeep = Upkeep(handlers.router, handlers.documents, shared.cache, running.fills, running.sources)
        await upkeep.purge_all()
        after = asyncio.ensure_future(running.ask("/R4/Binary/a"))
        await until(lambda: archive.opened == 2)
        archive.gate.set()
        assert (await before).body == DATA
        assert (await after).body == OTHER


async def test_what_depends_on_who_asks_is_shared_by_nobody(cache: MemoryCache) -> None:
    archive = archive_of(gated=200 * KIB, capabilities=replace(STABLE, per_caller=True))
    async with serving(archive, cache, sharing=Sharing(keeps=True, always=True)) as running:
        asking = [asyncio.ensure_future(running.ask("/R4/Binary/a")) for _ in range(3)]
        await until(lambda: archive.opened == 3)
        archive.gate.set()
        assert {answer.body == DATA for answer in await asyncio.gather(*asking)} == {True}
        assert cache.counts.stored == 0


# --- two replicas over one cache -------------------------------------------------------------------------------------


class Replicated(MemoryCache):
    """What one of several processes sees of a cache that they share."""

    shared = True

    def __init__(self, name: str, claims: dict[Key, tuple[str, float]]) -> None:
        super().__init__(LIMITS, max_bytes=64 << 20)
        self.name = name
        self.claims = claims

    async def claim(self, key: Key, seconds: float) -> bool:
        owner, until = self.claims.get(key, (self.name, 0.0))
        if owner != self.name and until > time.monotonic():
            return False
        self.claims[key] = self.name, time.monotonic() + seconds
        return True

    async def release(self, key: Key) -> None:
        if self.claims.get(key, ("", 0.0))[0] == self.name:
            del self.claims[key]


@asynccontextmanager
async def replicas(archive: Archive) -> AsyncIterator[tuple[Service, Service, Replicated]]:
    claims: dict[Key, tuple[str, float]] = {}
    one, two = Replicated("one", claims), Replicated("two", claims)
    async with one, two:
        # The same books: what one stores the other finds.
        two._ledger, two._purges = one._ledger, one._purges
        async with serving(archive, one) as first, serving(archive, two) as second:
            yield first, second, one


async def test_one_replica_asks_and_the_other_finds_what_it_stored() -> None:
    archive = archive_of(capabilities=STABLE, gated=200 * KIB)
    async with replicas(archive) as (first, second, _):
        asking = [asyncio.ensure_future(running.ask("/R4/Binary/a")) for running in (first, second)]
        await until(lambda: archive.opened == 1)
        await asyncio.sleep(0.2)
        archive.gate.set()
        assert {answer.body == DATA for answer in await asyncio.gather(*asking)} == {True}
        assert archive.opened == 1


@pytest.mark.parametrize("error", [LOST, NotFound("none")])
async def test_a_replica_that_fails_holds_up_no_other(error: AdapterError) -> None:
    archive = archive_of(capabilities=STABLE)
    archive.refuses = [error]
    async with replicas(archive) as (first, second, _):
        assert (await first.ask("/R4/Binary/a")).status in (404, 503)
        began = time.monotonic()
        assert (await second.ask("/R4/Binary/a")).body == DATA
        assert time.monotonic() - began < 0.5


async def test_an_old_copy_is_not_taken_for_what_another_replica_stored(ages: Callable[[float], None]) -> None:
    """The other one asks the archive and hangs: the copy serves, in time."""
    archive = archive_of(capabilities=STABLE)
    async with replicas(archive) as (first, second, cache):
        await warm(first, cache)
        ages(QUICK.ttl + 60)
        archive.hangs = True
        hanging = asyncio.ensure_future(first.ask("/R4/Binary/a"))
        await until(lambda: archive.opened == 2)
        answer = await second.ask("/R4/Binary/a")
        assert answer.body == DATA
        assert "detail=archive-away" in str(answer.field("Cache-Status"))
        assert archive.opened == 2, "the archive was asked by both"
        assert (await hanging).body == DATA


async def test_a_purge_reaches_reads_that_began_before_it(cache: MemoryCache) -> None:
    archive = archive_of(capabilities=STABLE, gated=200 * KIB)
    async with serving(archive, cache) as running:
        before = asyncio.ensure_future(running.ask("/R4/Binary/a"))
        await until(lambda: archive.opened == 1)
        await cache.purge(Scope("letters", "a"))
        archive.gate.set()
        assert (await before).body == DATA
        await running.idle()
        assert cache.counts.stored == 0
