"""What readers get out of a cache: when a copy is used, when it must not be, and what happens when the cache fails."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from adapters.contract import Span
from adapters.errors import AccessDenied, AdapterError, Busy, Corrupt, Deleted, NotFound, TimedOut, Unavailable
from gateway.cache import NOTHING, Broken, Cache, Hit, Key, Limits, Look, Record, Scope
from gateway.cache.disk import DiskCache
from gateway.cache.memory import MemoryCache
from gateway.cache.policy import Policy
from gateway.cache.sealing import CacheKey, Keyring
from gateway.shared import Sharing
from gateway.source import Limits as SourceLimits
from tests.support.fragile import ABLE, MUTE, STABLE, Archive
from tests.support.raw_http import Ending
from tests.support.service import Service, service

KIB = 1024
DATA = random.Random(5).randbytes(1000 * KIB + 7)
OTHER = random.Random(6).randbytes(1000 * KIB + 7)
SMALL = b"%PDF-1.7 a letter"
SOON = SourceLimits(queue_timeout=0.2, open_timeout=2, idle_timeout=2, repair_timeout=0.5)
LOST = Unavailable("the connection was lost", exhausted=True)
QUICK = Policy(ttl=100, stale_while_revalidate=50, stale_if_error=100, patience=0.2, negative=0.3)

DEPENDABLE = {"able": ABLE, "stable": STABLE}
every_dependable = pytest.mark.parametrize("able", DEPENDABLE.values(), ids=DEPENDABLE)


@pytest.fixture(params=["memory", "disk", "disk, plain"])
async def cache(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Cache]:
    limits = Limits(keep=QUICK.keep, max_document=2 << 20)
    keys = [] if "plain" in request.param else [CacheKey("k1", bytes(32))]
    if request.param == "memory":
        made: Cache = MemoryCache(limits, max_bytes=64 << 20)
    else:
        made = DiskCache(limits, Keyring(keys), tmp_path / "cache", max_bytes=64 << 20)
    async with made:
        yield made


@asynccontextmanager
async def serving(archive: Archive, cache: Cache, **more: Any) -> AsyncIterator[Service]:
    settings: dict[str, Any] = {
        "sharing": Sharing(max_document=cache.limits.max_document),
        "limits": SOON,
        "spool_bytes": 64 << 20,
        "policy": QUICK,
    }
    async with service({"letters": archive.make()}, cache=cache, **settings | more) as running:
        yield running


def archive_of(data: bytes = DATA, **more: Any) -> Archive:
    archive = Archive(**more)
    archive.put("a", data)
    return archive


async def warm(running: Service, cache: Cache, times: int = 1) -> None:
    """Read the document and wait until it is stored."""
    stored = cache.counts.stored
    answer = await running.ask("/R4/Binary/a")
    assert answer.status == 200
    async with asyncio.timeout(5):
        while cache.counts.stored < stored + times:  # noqa: ASYNC110 - nothing tells us
            await asyncio.sleep(0.005)


@pytest.fixture
def ages(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Lets the wall clock of the policy go ahead by so many seconds."""
    ahead = [0.0]
    real = time.time
    monkeypatch.setattr("gateway.shared.time.time", lambda: real() + ahead[0])

    def by(seconds: float) -> None:
        ahead[0] = seconds

    return by


# --- a copy is used --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [SMALL, DATA, DATA[: 256 * KIB], DATA[: 256 * KIB + 1], b"x"], ids=len)
@every_dependable
async def test_the_second_reader_gets_the_copy(cache: Cache, able: Any, data: bytes) -> None:
    archive = archive_of(data, capabilities=able)
    async with serving(archive, cache) as running:
        first = await running.ask("/R4/Binary/a")
        assert first.field("Cache-Status") == "fhir-gateway; fwd=uri-miss"
        while not cache.counts.stored:  # noqa: ASYNC110 - nothing tells us
            await asyncio.sleep(0.005)
        whole = await running.ask("/R4/Binary/a")
        part = await running.ask("/R4/Binary/a", Range="bytes=0-4")
        head = await running.ask("/STU3/Binary/a", method="HEAD")
        envelope = await running.ask("/R4/Binary/a", Accept="application/fhir+json")
        assert archive.opened == 1
        assert whole.body == data
        assert (whole.field("Content-Type"), whole.field("ETag")) == (first.field("Content-Type"), first.field("ETag"))
        assert part.body == data[:5]
        assert head.field("Content-Length") == str(len(data))
        assert envelope.status == 200
        for answer in (whole, part, head, envelope):
            assert str(answer.field("Cache-Status")).startswith("fhir-gateway; hit; ttl=")
        lines = await running.lines(5)
        assert [line["cache"] for line in lines] == ["miss", "hit", "hit", "hit", "hit"]


async def test_not_modified_comes_from_the_copy(cache: Cache) -> None:
    archive = archive_of()
    async with serving(archive, cache) as running:
        await warm(running, cache)
        etag = str((await running.ask("/R4/Binary/a")).field("ETag"))
        answer = await running.ask("/R4/Binary/a", If_None_Match=etag)
        assert (answer.status, archive.opened) == (304, 1)


async def test_parts_from_anywhere_in_a_copy(cache: Cache) -> None:
    archive = archive_of()
    chance = random.Random(8)
    async with serving(archive, cache) as running:
        await warm(running, cache)
        for _ in range(40):
            start = chance.randrange(len(DATA))
            stop = chance.randrange(start, len(DATA))
            answer = await running.ask("/R4/Binary/a", Range=f"bytes={start}-{stop}")
            assert (answer.status, answer.body) == (206, DATA[start : stop + 1])
        assert archive.opened == 1


async def test_an_archive_that_tells_nothing_is_not_cached_unasked(cache: Cache) -> None:
    archive = archive_of(capabilities=MUTE)
    async with serving(archive, cache) as running:
        for _ in range(2):
            answer = await running.ask("/R4/Binary/a")
            assert answer.field("Cache-Status") is None
        assert (archive.opened, cache.counts.stored) == (2, 0)


async def test_it_is_cached_when_the_operator_says_so(cache: Cache) -> None:
    archive = archive_of(capabilities=MUTE)
    sharing = Sharing(keeps=True, max_document=cache.limits.max_document)
    async with serving(archive, cache, sharing=sharing) as running:
        await warm(running, cache)
        assert (await running.ask("/R4/Binary/a")).body == DATA
        assert archive.opened == 1


async def test_a_document_above_the_limit_is_not_stored(cache: Cache) -> None:
    archive = archive_of(random.Random(1).randbytes(3 << 20))
    async with serving(archive, cache) as running:
        answer = await running.ask("/R4/Binary/a")
        assert answer.body == archive.papers["a"].data
        await running.idle()
    assert cache.counts.stored == 0


# --- a copy must not be used -----------------------------------------------------------------------------------------


async def test_a_copy_of_what_was_there_before_is_not_used(cache: Cache) -> None:
    archive = archive_of()
    async with serving(archive, cache) as running:
        await warm(running, cache)
        archive.put("a", OTHER, "2")
        answer = await running.ask("/R4/Binary/a")
        assert answer.body == OTHER
        assert answer.field("Cache-Status") == "fhir-gateway; fwd=stale"


@pytest.mark.parametrize(("error", "status"), [(NotFound("none"), 404), (Deleted("gone"), 410)])
async def test_what_is_gone_is_gone(cache: Cache, error: AdapterError, status: int) -> None:
    archive = archive_of()
    async with serving(archive, cache) as running:
        await warm(running, cache)
        archive.away = error
        assert (await running.ask("/R4/Binary/a")).status == status
        archive.away = LOST
        assert (await running.ask("/R4/Binary/a")).status == 503, "the copy was not dropped"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@every_dependable
async def test_what_is_gone_stays_gone_when_an_older_read_of_it_ends(cache: Cache, able: Any, method: str) -> None:
    archive = archive_of(capabilities=able, gated=500 * KIB)
    async with serving(archive, cache) as running:
        before = asyncio.ensure_future(running.ask("/R4/Binary/a"))
        while not archive.opened:  # noqa: ASYNC110 - nothing tells us
            await asyncio.sleep(0.005)
        del archive.papers["a"]
        await cache.purge(Scope("letters", "b"))  # whoever asks from now on has another ticket
        assert (await running.ask("/R4/Binary/a", method=method)).status == 404
        archive.gate.set()
        assert (await before).body == DATA
        await running.idle()
        archive.away = LOST
        assert (await running.ask("/R4/Binary/a")).status in (404, 503)
        assert (await cache.stats()).entries == 0


class _Slow(MemoryCache):
    """Takes a long time to store, before and after what it stores can be found."""

    def __init__(self) -> None:
        super().__init__(Limits(), max_bytes=64 << 20)
        self.asked, self.go_on = asyncio.Event(), asyncio.Event()

    async def put(self, key: Key, ticket: Any, record: Record, body: Any) -> bool:
        self.asked.set()
        await self.go_on.wait()
        stored = await super().put(key, ticket, record, body)
        self.go_on.clear()
        await self.go_on.wait()
        return stored


@every_dependable
async def test_what_is_gone_is_not_found_while_an_older_read_of_it_is_being_stored(able: Any) -> None:
    archive = archive_of(capabilities=able)
    async with _Slow() as cache, serving(archive, cache) as running:
        assert (await running.ask("/R4/Binary/a")).body == DATA
        await cache.asked.wait()
        del archive.papers["a"]
        await cache.purge(Scope("letters", "b"))
        assert (await running.ask("/R4/Binary/a")).status == 404
        cache.go_on.set()
        await asyncio.sleep(0.05)
        archive.away = LOST
        assert (await running.ask("/R4/Binary/a")).status in (404, 503)
        cache.go_on.set()


@pytest.mark.parametrize("error", [AccessDenied("no"), Corrupt("broken")])
async def test_a_refusal_is_no_excuse_for_a_copy(cache: Cache, error: AdapterError) -> None:
    archive = archive_of()
    async with serving(archive, cache) as running:
        await warm(running, cache)
        archive.away = error
        assert (await running.ask("/R4/Binary/a")).status in (403, 502)


async def test_after_a_purge_the_archive_is_asked(cache: Cache) -> None:
    archive = archive_of(capabilities=STABLE)
    async with serving(archive, cache) as running:
        for scope in (Scope("letters", "a"), Scope("letters"), Scope()):
            await warm(running, cache)
            await cache.purge(scope)
            archive.put("a", OTHER)
            assert (await running.ask("/R4/Binary/a")).body == OTHER
            await cache.purge(scope)
            archive.put("a", DATA)


async def test_a_read_from_before_a_purge_is_joined_by_nobody_and_stored_nowhere(cache: Cache) -> None:
    archive = archive_of(capabilities=STABLE, gated=500 * KIB)
    async with serving(archive, cache) as running:
        before = asyncio.ensure_future(running.ask("/R4/Binary/a"))
        while not archive.opened:  # noqa: ASYNC110 - nothing tells us
            await asyncio.sleep(0.005)
        await cache.purge(Scope("letters", "a"))
        archive.put("a", OTHER)
        after = asyncio.ensure_future(running.ask("/R4/Binary/a"))
        while archive.opened < 2:  # noqa: ASYNC110 - nothing tells us
            await asyncio.sleep(0.005)
        archive.gate.set()
        assert (await before).body == DATA
        assert (await after).body == OTHER
        await running.idle()
        for _ in range(3):
            assert (await running.ask("/R4/Binary/a")).body == OTHER


class _Unreachable(MemoryCache):
    """Shared with other processes, and away for this one."""

    shared = True

    async def look(self, key: Key) -> Look:
        return NOTHING


@pytest.mark.parametrize("able", [STABLE, MUTE], ids=["stable", "mute"])
async def test_a_read_is_not_joined_when_nobody_can_say_whether_it_was_purged_elsewhere(able: Any) -> None:
    archive = archive_of(capabilities=able, gated=500 * KIB)
    async with _Unreachable(Limits(), max_bytes=1 << 20) as cache:
        async with serving(archive, cache, sharing=Sharing(keeps=True)) as running:
            before = asyncio.ensure_future(running.ask("/R4/Binary/a"))
            while not archive.opened:  # noqa: ASYNC110 - nothing tells us
                await asyncio.sleep(0.005)
            archive.put("a", OTHER)  # and purged, by another process
            after = asyncio.ensure_future(running.ask("/R4/Binary/a"))
            while archive.opened < 2:  # noqa: ASYNC110 - nothing tells us
                await asyncio.sleep(0.005)
            archive.gate.set()
            assert (await before).body == DATA
            assert (await after).body == OTHER


@pytest.mark.parametrize("able", [STABLE, MUTE], ids=["stable", "mute"])
async def test_a_purge_ends_the_joining_also_where_nothing_is_kept(able: Any) -> None:
    archive = archive_of(capabilities=able, gated=500 * KIB)
    async with service({"letters": archive.make()}, sharing=Sharing(), limits=SOON, spool_bytes=64 << 20) as running:
        before = asyncio.ensure_future(running.ask("/R4/Binary/a"))
        while not archive.opened:  # noqa: ASYNC110 - nothing tells us
            await asyncio.sleep(0.005)
        archive.put("a", OTHER)
        assert running.upkeep is not None
        await running.upkeep.purge_source("letters")
        after = asyncio.ensure_future(running.ask("/R4/Binary/a"))
        while archive.opened < 2:  # noqa: ASYNC110 - nothing tells us
            await asyncio.sleep(0.005)
        archive.gate.set()
        assert (await before).body == DATA
        assert (await after).body == OTHER


# --- an archive that cannot be asked ---------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [LOST, TimedOut("late"), Busy("busy")], ids=lambda error: type(error).__name__)
@every_dependable
async def test_a_copy_excuses_an_archive_that_is_away(cache: Cache, able: Any, error: AdapterError, ages: Any) -> None:
    archive = archive_of(capabilities=able)
    async with serving(archive, cache) as running:
        await warm(running, cache)
        archive.away = error
        ages(QUICK.ttl + 60)  # past ttl and past stale-while-revalidate
        for asked in ({}, {"method": "HEAD"}, {"Range": "bytes=0-9"}):
            answer = await running.ask("/R4/Binary/a", **asked)
            assert answer.status in (200, 206)
            assert "detail=archive-away" in str(answer.field("Cache-Status"))
        ages(QUICK.ttl + 101)
        assert (await running.ask("/R4/Binary/a")).status in (503, 504)


@every_dependable
async def test_a_copy_comes_within_a_second_when_the_archive_hangs(cache: Cache, able: Any, ages: Any) -> None:
    archive = archive_of(capabilities=able)
    async with serving(archive, cache) as running:
        await warm(running, cache)
        archive.hangs = True
        ages(QUICK.ttl + 60)
        began = time.monotonic()
        answer = await running.ask("/R4/Binary/a")
        assert answer.body == DATA
        assert time.monotonic() - began < 1
        assert (await running.lines(2))[-1]["cache"] == "stale"


async def test_a_copy_is_served_while_a_new_one_is_fetched(cache: Cache, ages: Any) -> None:
    archive = archive_of(capabilities=STABLE)
    async with serving(archive, cache) as running:
        await warm(running, cache)
        archive.put("a", OTHER)
        ages(QUICK.ttl + 10)
        assert (await running.ask("/R4/Binary/a")).body == DATA
        while cache.counts.stored < 2:  # noqa: ASYNC110 - nothing tells us
            await asyncio.sleep(0.005)
        assert (await running.ask("/R4/Binary/a")).body == OTHER
        assert archive.opened == 2


# --- what is not there -----------------------------------------------------------------------------------------------


async def test_an_archive_is_not_asked_again_and_again_for_what_it_does_not_have(cache: Cache) -> None:
    archive = Archive(capabilities=STABLE)
    async with serving(archive, cache, policy=replace(QUICK, negative=60)) as running:
        for _ in range(20):
            assert (await running.ask("/R4/Binary/a")).status == 404
        assert archive.opened == 1


async def test_what_was_not_there_is_found_soon_after_it_came(cache: Cache) -> None:
    archive = Archive(capabilities=STABLE)
    async with serving(archive, cache) as running:
        assert (await running.ask("/R4/Binary/a")).status == 404
        archive.put("a", SMALL)
        await asyncio.sleep(QUICK.negative)
        assert (await running.ask("/R4/Binary/a")).body == SMALL


@pytest.mark.parametrize("error", [LOST, AccessDenied("no"), TimedOut("late")])
async def test_other_failures_are_not_remembered(cache: Cache, error: AdapterError) -> None:
    archive = archive_of(SMALL, capabilities=STABLE)
    archive.refuses = [error]
    async with serving(archive, cache) as running:
        assert (await running.ask("/R4/Binary/a")).status != 200
        assert (await running.ask("/R4/Binary/a")).status == 200


# --- a cache that fails ----------------------------------------------------------------------------------------------


class _Failing(MemoryCache):
    """Breaks every hit after so many bytes."""

    after = 300 * KIB

    async def look(self, key: Key) -> Look:
        look = await super().look(key)
        return look if look.hit is None else replace(look, hit=_Breaking(look.hit, self.after))


class _Breaking(Hit):
    def __init__(self, hit: Hit, after: int) -> None:
        self._hit = hit
        self._after = after
        self.record: Record = hit.record

    async def chunks(self, span: Span) -> AsyncGenerator[bytes, None]:
        left = self._after
        async for chunk in self._hit.chunks(span):
            if len(chunk) > left:
                if left:
                    yield chunk[:left]
                raise Broken("gone")
            left -= len(chunk)
            yield chunk


@pytest.fixture
async def failing() -> AsyncIterator[_Failing]:
    async with _Failing(Limits(), max_bytes=64 << 20) as made:
        yield made


@pytest.mark.parametrize("able", [ABLE, STABLE, MUTE], ids=["able", "stable", "mute"])
@pytest.mark.parametrize("after", [0, 1, 300 * KIB])
async def test_the_archive_gives_the_rest_when_the_cache_fails(failing: _Failing, able: Any, after: int) -> None:
    archive = archive_of(capabilities=able)
    failing.after = after
    async with serving(archive, failing, sharing=Sharing(keeps=True)) as running:
        await warm(running, failing)
        answers = await asyncio.gather(*(running.ask("/R4/Binary/a") for _ in range(5)))
        assert {answer.body == DATA for answer in answers} == {True}
        part = await running.ask("/R4/Binary/a", Range="bytes=1000-900000")
        assert part.body == DATA[1000:900001]


@pytest.mark.parametrize("able", [STABLE, MUTE], ids=["stable", "mute"])
async def test_the_rest_of_another_document_is_not_the_rest(failing: _Failing, able: Any) -> None:
    archive = archive_of(capabilities=able)
    async with serving(archive, failing, sharing=Sharing(keeps=True)) as running:
        await warm(running, failing)
        archive.put("a", OTHER, "2")
        answer = await running.ask("/R4/Binary/a")
        assert (answer.complete, answer.ending) == (False, Ending.RESET)


async def test_the_rest_is_of_the_very_read_that_was_compared(failing: _Failing) -> None:
    """A spool that is full and an archive without versions: a part that was asked by itself could be another document's."""
    archive = archive_of(capabilities=replace(MUTE, spans=True))
    async with serving(archive, failing, sharing=Sharing(keeps=True), spool_bytes=len(DATA) + 1000) as running:
        await warm(running, failing)
        await running.idle()
        assert running.spool is not None
        running.spool.used += 100 * KIB  # somebody else's

        async def replaced() -> None:
            archive.put("a", OTHER)

        archive.on_close = replaced
        answer = await running.ask("/R4/Binary/a")
        running.spool.used -= 100 * KIB
        assert not answer.complete or answer.body in (DATA, OTHER)


# --- two replicas ----------------------------------------------------------------------------------------------------


class _Claimed(MemoryCache):
    """Claims as two replicas see them: `others` holds what the other one must wait for."""

    shared = True

    def __init__(self) -> None:
        super().__init__(Limits(), max_bytes=64 << 20)
        self.others: set[Key] = set()

    async def claim(self, key: Key, seconds: float) -> bool:
        self.others.add(key)
        return True

    async def release(self, key: Key) -> None:
        self.others.discard(key)


@pytest.mark.parametrize("error", [NotFound("none"), AccessDenied("no"), None], ids=["none", "refused", "left"])
async def test_a_read_that_came_to_nothing_holds_up_no_other_replica(error: AdapterError | None) -> None:
    # So large that nobody finishes it for its own sake.
    archive = archive_of(DATA * 8, capabilities=STABLE, gated=500 * KIB if error is None else None)
    async with _Claimed() as cache, serving(archive, cache) as running:
        if error is None:
            reader, writer = await asyncio.open_connection(running.host, running.port)
            writer.write(b"GET /R4/Binary/a HTTP/1.1\r\nHost: a\r\n\r\n")
            await reader.readexactly(1000)
            assert cache.others
            writer.transport.abort()
        else:
            archive.refuses = [error]
            assert (await running.ask("/R4/Binary/a")).status in (403, 404)
        async with asyncio.timeout(2):
            while cache.others:  # noqa: ASYNC110 - nothing tells us
                await asyncio.sleep(0.01)
