"""Redis that dies, hangs, forgets, is full or fails over: always a miss or the right bytes, never an error, and soon over."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import hiredis
import pytest
import uvloop

from adapters.contract import Span
from gateway.cache import Broken, Hit, PurgePending, Scope, redis_generations, redis_link
from gateway.cache.redis import RedisCache
from tests.support.cached import KEY, document, kept, key, look, put, record, whole
from tests.support.redis import Bytes, RedisServer, cache, eventually, redis, sentinel

SOON = 5.0
"""Seconds within which a cache works again once Redis does."""

SHORT = {"connect_timeout": "250ms", "operation_timeout": "250ms"}
"""The deadlines as they are shipped, where a test waits for them."""


@pytest.fixture(scope="module", autouse=True)
def _libuv() -> None:
    """libuv opens a pipe for its signals once in a process and keeps it: no test left that behind."""
    uvloop.new_event_loop().close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with redis(tmp_path) as running:
        yield running


async def works_again(cache: RedisCache) -> None:
    until = time.monotonic() + SOON
    while not await put(cache, key("again"), b"letter"):
        assert time.monotonic() < until, f"not used again: {cache.counts.faults}"
        await asyncio.sleep(0.05)
    assert await look(cache, key("again")) == b"letter"


async def test_a_redis_that_is_not_there_stops_nothing_and_is_found_when_it_comes(tmp_path: Path) -> None:
    with redis(tmp_path) as server:
        port = server.port
    async with server.cache() as cache:
        assert await look(cache, KEY) is None
        assert (await cache.stats()).state == "away"
        assert cache.counts.faults.keys() <= {"refused", "open"}
        assert await cache.claim(KEY, 5), "nobody may be kept from the archive"
        with redis(tmp_path, port=port):
            await works_again(cache)
            assert (await cache.stats()).state == "ok"


async def test_killed_in_the_middle_of_reads_and_writes(tmp_path: Path) -> None:
    data = document(3_000_000)
    with ExitStack() as stack:
        server = stack.enter_context(redis(tmp_path))
        async with server.cache() as cache:
            await kept(cache, KEY, data)
            hit = (await cache.look(KEY)).hit
            assert hit is not None
            chunks = hit.chunks(Span(0, hit.record.size))
            await anext(chunks)
            ticket = (await cache.look(key("other"))).ticket

            async def killed(offset: int) -> None:
                if offset:
                    server.process.signal(signal.SIGKILL)

            assert not await cache.put(key("other"), ticket, hit.record, Bytes(data, before=killed))
            with pytest.raises(Broken):
                async for _ in chunks:
                    pass
            assert await look(cache, KEY) is None
            assert cache.counts.faults.keys() <= {"lost", "refused", "open"}
            server.process.popen.wait()
            stack.enter_context(redis(tmp_path, port=server.port, name="next"))
            await works_again(cache)
            assert await look(cache, KEY) is None, "the server that was started anew has nothing"


async def test_a_redis_that_hangs_costs_one_wait_and_then_nothing(server: RedisServer) -> None:
    data = document(3_000_000)
    async with server.cache(**SHORT) as cache:
        await kept(cache, KEY, data)
        hit = (await cache.look(KEY)).hit
        assert hit is not None
        chunks = hit.chunks(Span(0, hit.record.size))
        await anext(chunks)
        server.process.signal(signal.SIGSTOP)
        began = time.monotonic()
        found = await asyncio.gather(*(cache.look(KEY) for _ in range(200)))
        assert all(one.hit is None for one in found)
        assert time.monotonic() - began < 2, "everybody waits at the same time, once"
        with pytest.raises(Broken):
            async for _ in chunks:
                pass
        asked = cache.counts.faults["timeout"]
        for _ in range(1000):
            assert (await cache.look(KEY)).hit is None
        assert cache.counts.faults["timeout"] == asked, "a server that hangs is not asked for every reader"
        server.process.signal(signal.SIGCONT)
        await works_again(cache)
        assert await look(cache, KEY) == data, "what it had is still there"


async def test_no_reader_waits_for_the_attempt_that_finds_out(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_link, "PAUSE", 0.05)
    async with server.cache(connect_timeout="600ms", operation_timeout="600ms") as cache:
        await kept(cache, KEY, b"letter")
        server.process.signal(signal.SIGSTOP)
        await cache.look(KEY)
        longest = 0.0
        for _ in range(100):
            began = time.monotonic()
            assert (await cache.look(KEY)).hit is None
            longest = max(longest, time.monotonic() - began)
            await asyncio.sleep(0.002)
        assert longest < 0.5
        assert cache.counts.faults["timeout"] == 1
        server.process.signal(signal.SIGCONT)


async def test_a_process_that_stood_still_itself_does_not_blame_redis(server: RedisServer) -> None:
    async def stood() -> None:
        async with server.cache(operation_timeout="100ms") as cache:
            data = document(1_000_000)
            await kept(cache, KEY, data)
            hit = (await cache.look(KEY)).hit
            assert hit is not None
            server.process.signal(signal.SIGSTOP)
            reading = asyncio.ensure_future(everything(hit))
            for _ in range(5):
                await asyncio.sleep(0)
            # It answers at once, while this process does nothing for three times its patience.
            server.process.signal(signal.SIGCONT)
            stand_still(0.3)
            assert await reading == data
            assert not cache.counts.faults

    await stood()
    await asyncio.to_thread(lambda: uvloop.run(stood()))


async def everything(hit: Hit) -> bytes:
    return b"".join([piece async for piece in hit.chunks(Span(0, hit.record.size))])


def stand_still(seconds: float) -> None:
    time.sleep(seconds)


async def test_flushed_in_the_middle_of_reads_and_writes(server: RedisServer) -> None:
    data = document(3_000_000)
    async with server.cache() as cache:
        await kept(cache, KEY, data)
        hit = (await cache.look(KEY)).hit
        assert hit is not None
        chunks = hit.chunks(Span(0, hit.record.size))
        await anext(chunks)
        ticket = (await cache.look(key("other"))).ticket

        async def flushed(offset: int) -> None:
            if offset > 1_000_000:
                await asyncio.to_thread(server.ask, "FLUSHALL")

        assert not await cache.put(key("other"), ticket, hit.record, Bytes(data, before=flushed)), "half of it is gone"
        with pytest.raises(Broken):
            async for _ in chunks:
                pass
        assert await look(cache, KEY) is None
        assert await look(cache, key("other")) is None
        assert cache.counts.damaged == 0
        assert not cache.counts.faults
        await works_again(cache)


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-lfu", "volatile-ttl", "noeviction"])
async def test_what_is_left_of_three_times_too_much_is_whole(tmp_path: Path, policy: str) -> None:
    size, count = 300_000, 120
    room = ("--maxmemory", "12mb", "--maxmemory-policy", policy, "--maxmemory-samples", "64")
    with redis(tmp_path, *room) as server:
        async with server.cache() as cache:
            for begin in range(0, count, 30):
                if begin and policy == "allkeys-lru":
                    # Redis tells recent use by the second: within one, it takes any key, the tokens among them.
                    await asyncio.sleep(1.05)
                numbers = range(begin, begin + 30)
                await asyncio.gather(*(put(cache, key(str(number)), document(size, number)) for number in numbers))
            found = Counter([(await look(cache, key(str(number)))) for number in range(count)])
            resident = len(server.names("*:d"))
            right = sum(found[document(size, number)] for number in range(count))
            assert right + found[None] == count, "something else than was put"
            assert right >= resident * 0.98, f"{right} of {resident} entries are whole"
            assert right >= 15, f"{found[None]} of {count} are gone"
            assert cache.counts.damaged == 0
            assert set(cache.counts.faults) <= {"full"}
            if policy == "noeviction":
                assert cache.counts.faults["full"], "a full server says so"
                ticket, large = (await cache.look(KEY)).ticket, document(5_000_000)
                for _ in range(10):
                    assert not await cache.put(KEY, ticket, record(len(large)), Bytes(large))
                assert set(cache.counts.faults) == {"full"}
                assert (await cache.stats()).state == "ok", "and is asked all the same"


async def test_a_staging_key_goes_by_itself(server: RedisServer) -> None:
    async with server.cache() as cache:
        ticket = (await cache.look(KEY)).ticket
        data = document(1_000_000)
        seen: list[int] = []

        async def watched(offset: int) -> None:
            await asyncio.sleep(0.02)
            await asyncio.to_thread(looked)

        def looked() -> None:
            with server.raw() as raw:
                seen.extend(raw("PTTL", name) for name in raw("KEYS", "*:d:*"))

        assert await cache.put(KEY, ticket, record(len(data)), Bytes(data, before=watched))
        assert seen
        assert all(0 < left <= 120_000 for left in seen)
        assert 50_000 < server.ask("PTTL", server.names("*:d")[0]) <= 60_000, "an entry stays as long as it is told"
        assert not server.names("*:d:*")


async def test_an_entry_that_redis_forgot_to_remove_has_ended_all_the_same(server: RedisServer) -> None:
    async with server.cache(keep=0.5) as cache:
        await kept(cache, KEY, b"letter")
        (name,) = server.names("*:d")
        server.ask("PERSIST", name)
        await asyncio.sleep(0.6)
        assert server.names("*:d")
        assert await look(cache, KEY) is None
        assert cache.counts.damaged == 0


async def test_an_entry_that_is_replaced_under_its_reader_is_not_called_damaged(server: RedisServer) -> None:
    async with server.cache() as cache:
        await kept(cache, KEY, document(1_000_000, "old"))
        hit = (await cache.look(KEY)).hit
        assert hit is not None
        chunks = hit.chunks(Span(0, hit.record.size))
        await anext(chunks)
        await kept(cache, KEY, document(1_000_000, "new"))
        with pytest.raises(Broken):
            async for _ in chunks:
                pass
        assert cache.counts.damaged == 0
        assert await look(cache, KEY) == document(1_000_000, "new"), "removed, because somebody read the former one"


async def test_what_others_put_under_our_names_is_removed(server: RedisServer) -> None:
    async with server.cache() as cache:
        for pattern in ("*:d", "*:g:*"):
            await kept(cache, KEY, b"letter")
            (name,) = server.names(pattern)
            server.ask("SET", name, "a string where a hash belongs")
            assert await look(cache, KEY) is None
            await asyncio.to_thread(gone, server, pattern)
            until = time.monotonic() + SOON
            while not await put(cache, KEY, b"letter"):
                assert time.monotonic() < until
            assert await look(cache, KEY) == b"letter"
        assert cache.counts.damaged == 2
        assert cache.counts.faults.keys() == {"wrong-type"}


def gone(server: RedisServer, pattern: str) -> None:
    eventually(lambda: not server.names(pattern))


# --- purging ---------------------------------------------------------------------------------------------------------


async def test_a_purge_while_redis_is_away_is_carried_out_before_anything_is_served(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Later than everything else comes back.
    monkeypatch.setattr(redis_generations, "AGAIN", 1.5)
    async with server.cache(**SHORT) as here, server.cache() as there:
        for name in ("a", "b"):
            await kept(here, key(name), b"letter")
        server.process.signal(signal.SIGSTOP)
        # Given up by now, so that not even a command on its way tells Redis.
        assert await look(here, key("a")) is None
        with pytest.raises(PurgePending, match="other replicas"):
            await here.purge(Scope("letters", "a"))
        assert await look(here, key("a")) is None
        server.process.signal(signal.SIGCONT)
        until = time.monotonic() + SOON
        while await look(here, key("b")) is None:
            assert time.monotonic() < until, "nothing is served any more"
            await asyncio.sleep(0.02)
        assert await look(there, key("a")) is None, "served by another replica after the first one serves again"
        assert await look(there, key("b")) == b"letter"


async def test_what_was_purged_does_not_come_back_from_a_snapshot(tmp_path: Path) -> None:
    with redis(tmp_path, name="kept") as server:
        async with server.cache() as cache:
            await kept(cache, KEY, b"withdrawn")
            server.ask("SAVE")
            await cache.purge(Scope("letters", KEY.locator))
            server.process.signal(signal.SIGKILL)
            server.process.popen.wait()
            with redis(tmp_path, name="kept", port=server.port) as again:
                assert again.names("*:d"), "the snapshot has the entry, or this test shows nothing"
                async with again.cache() as other:
                    assert await look(other, KEY) is None
                await works_again(cache)
                assert await look(cache, KEY) is None


async def test_sentinels_name_another_primary(tmp_path: Path) -> None:
    with ExitStack() as stack:
        first = stack.enter_context(redis(tmp_path, name="first"))
        second = stack.enter_context(redis(tmp_path, "--replicaof", "127.0.0.1", str(first.port), name="second"))
        sentinels = [stack.enter_context(sentinel(tmp_path, first.port)) for _ in range(3)]
        eventually(lambda: b"slave0:" in first.ask("INFO", "replication") and all(map(ready, sentinels)), seconds=10)
        addresses = [f"127.0.0.1:{one.port}" for one in sentinels]
        async with cache(**SHORT, sentinel={"master": "letters", "addresses": addresses}) as found:
            await kept(found, KEY, b"letter")
            first.process.signal(signal.SIGSTOP)
            until = time.monotonic() + 15
            while not await put(found, key("after"), b"letter"):
                assert time.monotonic() < until, f"not found: {found.counts.faults}"
                await asyncio.sleep(0.05)
            assert second.names("*:d")
            assert await look(found, KEY) is None, "a replica may not have heard of a purge"
            # The former primary wakes up, still believes in itself, and is not asked.
            first.process.signal(signal.SIGCONT)
            assert await look(found, key("after")) == b"letter"
            assert await whole(found, key("after")) == b"letter"


def ready(one: RedisServer) -> bool:
    try:
        found = one.ask("SENTINEL", "MASTER", "letters")
    except hiredis.ReplyError:
        return False
    facts = dict(zip(found[::2], found[1::2], strict=True))
    return facts[b"num-slaves"] == b"1" and facts[b"num-other-sentinels"] == b"2"
