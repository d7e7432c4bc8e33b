"""No reader is told that a document is missing because of an answer from too long ago: it may be there by now.

An archive's "not found" is believed for `negative` seconds from the moment on at which it was asked. How long the answer took
to arrive, and what the gateway had to do before it could pass it on, only shortens that.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from adapters.contract import Descriptor
from gateway.cache import NOTHING, Cache, Key, Limits, Look
from gateway.cache.memory import MemoryCache
from gateway.cache.policy import Policy
from gateway.shared import Sharing
from gateway.source import Limits as SourceLimits
from tests.support.fragile import ABLE, MUTE, STABLE, Archive
from tests.support.redis import redis
from tests.support.service import Service, service

DATA = b"%PDF-1.7 a letter that is there"
SOON = SourceLimits(queue_timeout=0.5, open_timeout=10, idle_timeout=10, repair_timeout=0.5)
AT_ONCE = Policy(ttl=100, stale_while_revalidate=50, stale_if_error=100, patience=5, negative=0)
LIMITS = Limits(keep=AT_ONCE.keep, max_document=1 << 20)

silent = pytest.mark.parametrize("able", [STABLE, MUTE], ids=["immutable", "mute"])
"""Archives that cannot be asked cheaply whether a document is still, or by now, there."""


@asynccontextmanager
async def serving(archive: Archive, cache: Cache, policy: Policy) -> AsyncIterator[Service]:
    sharing = Sharing(keeps=True, max_document=1 << 20)
    async with service(
        {"letters": archive.make()}, sharing=sharing, limits=SOON, policy=policy, cache=cache, spool_bytes=64 << 20
    ) as running:
        yield running


@pytest.fixture
async def cache() -> AsyncIterator[MemoryCache]:
    async with MemoryCache(LIMITS, max_bytes=64 << 20) as made:
        yield made


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - nothing tells us
            await asyncio.sleep(0.002)


async def in_flight(running: Service, count: int) -> None:
    """Wait until so many requests are being answered, and wait for their documents."""
    await until(lambda: running.pipeline.in_flight == count)
    for _ in range(5):
        await asyncio.sleep(0)


def decided(archive: Archive, locator: str = "a") -> int:
    """How many answers about a document the archive has decided so far."""
    return len(archive.answers.get(locator, ()))


# --- an answer that is under way -------------------------------------------------------------------------------------


@silent
@pytest.mark.parametrize("asked", [{}, {"method": "HEAD"}, {"Range": "bytes=0-9"}], ids=str)
async def test_whoever_comes_after_the_archive_had_answered_is_not_given_that_answer(
    cache: MemoryCache, able: Any, asked: dict[str, str]
) -> None:
    """The network holds an answer back; meanwhile the document is put there, and somebody else asks for it."""
    archive = Archive(capabilities=able, held_back=asyncio.Event())
    async with serving(archive, cache, AT_ONCE) as running:
        before = asyncio.ensure_future(running.ask("/R4/Binary/a"))
        await until(lambda: decided(archive) == 1)
        archive.put("a", DATA)
        after = asyncio.ensure_future(running.ask("/R4/Binary/a", **asked))
        await in_flight(running, 2)
        assert archive.held_back is not None
        archive.held_back.set()
        assert (await before).status == 404
        assert (await after).status in (200, 206), "told to be missing by an answer from before it asked"


@silent
async def test_an_answer_that_is_a_moment_old_is_shared_as_long_as_it_is_believed(
    cache: MemoryCache, able: Any
) -> None:
    archive = Archive(capabilities=able, held_back=asyncio.Event())
    async with serving(archive, cache, replace(AT_ONCE, negative=60)) as running:
        asking = [asyncio.ensure_future(running.ask("/R4/Binary/a"))]
        await until(lambda: decided(archive) == 1)
        asking += [asyncio.ensure_future(running.ask("/R4/Binary/a")) for _ in range(20)]
        await in_flight(running, 21)
        assert archive.held_back is not None
        archive.held_back.set()
        assert {answer.status for answer in await asyncio.gather(*asking)} == {404}
        assert (await running.ask("/R4/Binary/a")).status == 404
    assert archive.opened == 1


async def test_what_was_looked_up_for_this_very_request_beats_an_answer_that_is_under_way(cache: MemoryCache) -> None:
    archive = Archive(capabilities=ABLE, held_back=asyncio.Event())
    async with serving(archive, cache, replace(AT_ONCE, negative=60)) as running:
        before = asyncio.ensure_future(running.ask("/R4/Binary/a"))
        await until(lambda: decided(archive) == 1)
        archive.put("a", DATA)
        shared = running.shared["letters"]
        known = Descriptor(len(DATA), version="1")
        key = shared.key("a")
        after = asyncio.ensure_future(shared.filled(key, await shared.look(key), known))
        await asyncio.sleep(0)
        assert archive.held_back is not None
        archive.held_back.set()
        assert (await before).status == 404
        reader, _ = await after
        assert await reader.whole() == DATA
        reader.leave()


async def test_behind_an_old_copy_too_the_archive_is_asked_anew(
    cache: MemoryCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy served, and a question in the background whose answer is late: the next reader waits for it."""
    archive = Archive(capabilities=STABLE)
    archive.put("a", DATA)
    async with serving(archive, cache, replace(AT_ONCE, patience=0.1)) as running:
        assert (await running.ask("/R4/Binary/a")).status == 200
        await until(lambda: cache.counts.stored == 1)
        real = time.time
        monkeypatch.setattr("gateway.shared.time.time", lambda: real() + AT_ONCE.ttl + 60)
        archive.papers.clear()
        archive.held_back = asyncio.Event()
        copy = await running.ask("/R4/Binary/a")
        assert "detail=archive-away" in str(copy.field("Cache-Status"))
        assert decided(archive) == 2
        archive.put("a", DATA, "2")
        shared = running.shared["letters"]
        shared.policy = AT_ONCE
        after = asyncio.ensure_future(running.ask("/R4/Binary/a"))
        await in_flight(running, 1)
        archive.held_back.set()
        answer = await after
        assert (answer.status, answer.body) == (200, DATA)


# --- an answer that is remembered ------------------------------------------------------------------------------------


async def test_the_way_of_an_answer_counts_towards_how_long_it_is_believed(cache: MemoryCache) -> None:
    archive = Archive(capabilities=STABLE, held_back=asyncio.Event())
    policy = replace(AT_ONCE, negative=0.3)
    async with serving(archive, cache, policy) as running:
        before = asyncio.ensure_future(running.ask("/R4/Binary/a"))
        await until(lambda: decided(archive) == 1)
        archive.put("a", DATA)
        await asyncio.sleep(policy.negative)
        assert archive.held_back is not None
        archive.held_back.set()
        assert (await before).status == 404
        assert (await running.ask("/R4/Binary/a")).status == 200


class _Slow(MemoryCache):
    """One that others share, and that takes its time to give a claim back."""

    shared = True

    def __init__(self) -> None:
        super().__init__(LIMITS, max_bytes=64 << 20)
        self.releasing, self.go_on = asyncio.Event(), asyncio.Event()

    async def release(self, key: Key) -> None:
        self.releasing.set()
        await self.go_on.wait()


async def test_what_the_cache_takes_counts_too() -> None:
    archive = Archive(capabilities=STABLE)
    policy = replace(AT_ONCE, negative=0.3)
    async with _Slow() as cache, serving(archive, cache, policy) as running:
        before = asyncio.ensure_future(running.ask("/R4/Binary/a"))
        await cache.releasing.wait()
        archive.put("a", DATA)
        await asyncio.sleep(policy.negative)
        cache.go_on.set()
        assert (await before).status == 404
        assert (await running.ask("/R4/Binary/a")).status == 200


class _Away(_Slow):
    """One that cannot be reached."""

    async def look(self, key: Key) -> Look:
        return NOTHING

    async def release(self, key: Key) -> None:
        return None


async def test_nothing_is_remembered_while_nobody_knows_what_others_purged() -> None:
    """The cache cannot be reached: another process may have purged the document, and had it acknowledged."""
    archive = Archive(capabilities=STABLE)
    async with _Away() as cache, serving(archive, cache, replace(AT_ONCE, negative=60)) as running:
        assert (await running.ask("/R4/Binary/a")).status == 404
        archive.put("a", DATA)
        assert (await running.ask("/R4/Binary/a")).status == 200


async def test_the_log_says_that_an_answer_was_remembered(cache: MemoryCache) -> None:
    archive = Archive(capabilities=STABLE)
    async with serving(archive, cache, replace(AT_ONCE, negative=60)) as running:
        for _ in range(2):
            answer = await running.ask("/R4/Binary/a")
            assert answer.status == 404
            assert answer.field("Cache-Status") is None, "tells what the archive lacks from what is not shown"
        lines = await running.lines(2)
        assert [line.get("cache") for line in lines] == [None, "remembered"]


# --- a purge ---------------------------------------------------------------------------------------------------------


async def test_a_purge_by_one_replica_ends_what_all_of_them_remember(tmp_path: Path) -> None:
    """Right after the acknowledgement: nobody has to wait for `negative` seconds."""
    archive = Archive(capabilities=STABLE)
    policy = replace(AT_ONCE, negative=600)
    with redis(tmp_path) as server:
        async with server.cache() as one, server.cache() as two:
            async with serving(archive, one, policy) as first, serving(archive, two, policy) as second:
                for running in (first, second):
                    assert (await running.ask("/R4/Binary/a")).status == 404
                archive.put("a", DATA)
                for running in (first, second):
                    assert (await running.ask("/R4/Binary/a")).status == 404, "nothing was remembered"
                assert first.upkeep is not None
                await first.upkeep.purge_id("a")
                for running in (second, first):
                    assert (await running.ask("/R4/Binary/a")).status == 200
                del archive.papers["a"]
                await first.upkeep.purge_source("letters")
                for running in (second, first):
                    assert (await running.ask("/R4/Binary/a")).status == 404
                archive.put("a", DATA)
                await first.upkeep.purge_all()
                for running in (second, first):
                    assert (await running.ask("/R4/Binary/a")).status == 200
