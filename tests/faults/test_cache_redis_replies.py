"""Redis that answers wrongly: no reader is ever given another document, and nothing that is wrong is an error."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.cache import Broken, Cache, PurgePending, Scope, redis_link
from gateway.cache.redis_entry import AHEAD_OF_ALL
from tests.support.cached import document, kept, key, look, put, whole
from tests.support.redis import RedisServer, eventually, redis
from tests.support.redis_proxy import (
    Flipped,
    Replayed,
    Strange,
    StrangeInTheMiddle,
    doubled,
    honest,
    reversed_order,
    shifted,
    swapped,
    wrong_answers,
)

DOCUMENTS = {f"letter-{number}": document(9_000 if number % 2 else 600_000, number) for number in range(8)}


@pytest.fixture(autouse=True)
def _given_up_for_a_short_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_link, "PAUSE", 0.05)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with redis(tmp_path) as running:
        yield running


async def read(cache: Cache, name: str) -> str:
    """What a reader sees: "right", "missed" or "broke"."""
    try:
        found = await whole(cache, key(name))
    except Broken:
        return "broke"
    assert found in (None, DOCUMENTS[name]), f"another document than {name}"
    return "missed" if found is None else "right"


@pytest.mark.parametrize(
    "twist",
    [swapped, reversed_order, shifted, doubled, Replayed(), Flipped(1), Strange(1), StrangeInTheMiddle(1)],
    ids=lambda twist: getattr(twist, "__name__", type(twist).__name__),
)
async def test_answers_that_belong_elsewhere_are_never_taken(server: RedisServer, twist: Any) -> None:
    async with wrong_answers(server.port) as proxy:
        url = f"redis://127.0.0.1:{proxy.port}"
        async with server.cache(url=url, connect_timeout="300ms", operation_timeout="300ms") as cache:
            for name, data in DOCUMENTS.items():
                await kept(cache, key(name), data)
            seen = set()
            for _ in range(3):
                proxy.twist = twist
                seen |= set(await asyncio.gather(*(read(cache, name) for name in DOCUMENTS)))
                await put(cache, key("letter-0"), DOCUMENTS["letter-0"])
                await cache.claim(key("letter-0"), 1)
                await cache.stats()
                try:
                    await cache.purge(Scope("letters", "letter-1"))
                except PurgePending:
                    seen.add("pending")
                proxy.twist = honest
                await asyncio.gather(*(put(cache, key(name), data) for name, data in DOCUMENTS.items()))
            assert proxy.twisted
            assert seen - {"right"}, "nothing was noticed"
            assert cache.counts.damaged or cache.counts.faults
            for name, data in DOCUMENTS.items():
                for _ in range(100):
                    if await put(cache, key(name), data):
                        break
                    # Given up for a moment, and looked for again.
                    await asyncio.sleep(0.02)
                assert await read(cache, name) == "right"


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
        b"\x16\x03\x01\x02\x00",
        b"*2\r\n*2\r\n",
        b"*-7\r\n$-9\r\n",
        b":12x\r\n",
        b"\r\n\r\n",
    ],
)
async def test_what_is_no_answer_at_all_is_a_miss(server: RedisServer, said: bytes) -> None:
    async with wrong_answers(server.port) as proxy:
        url = f"redis://127.0.0.1:{proxy.port}"
        async with server.cache(url=url, connect_timeout="300ms", operation_timeout="300ms") as cache:
            await kept(cache, key("a"), b"letter")
            proxy.raw = said
            assert await look(cache, key("a")) is None
            assert not await put(cache, key("b"), b"letter")
            assert cache.counts.faults.total()


async def test_an_answer_without_an_end_is_not_waited_for(server: RedisServer) -> None:
    async with wrong_answers(server.port) as proxy:
        async with server.cache(url=f"redis://127.0.0.1:{proxy.port}") as cache:
            await kept(cache, key("a"), b"letter")
            proxy.raw = b"$99999999999\r\n" + bytes(2 << 20)
            assert await look(cache, key("a")) is None
            assert cache.counts.faults == {"garbage": 1}


async def test_an_answer_that_drips_is_not_waited_for(server: RedisServer) -> None:
    async with wrong_answers(server.port) as proxy:
        url = f"redis://127.0.0.1:{proxy.port}"
        async with server.cache(url=url, connect_timeout="200ms", operation_timeout="200ms") as cache:
            await kept(cache, key("a"), b"letter" * 1000)
            proxy.drip = 0.01
            async with asyncio.timeout(2):
                assert await look(cache, key("a")) is None
                assert await look(cache, key("a")) is None
            assert cache.counts.faults["timeout"] == 1


async def test_a_connection_that_said_too_much_is_not_used_again(server: RedisServer) -> None:
    async with wrong_answers(server.port) as proxy:
        async with server.cache(url=f"redis://127.0.0.1:{proxy.port}") as cache:
            await kept(cache, key("a"), b"letter")
            assert proxy.accepted == 1
            proxy.twist = lambda _, replies: [*replies, b"and more"]
            assert await look(cache, key("a")) == b"letter"
            proxy.twist = honest
            assert await look(cache, key("a")) == b"letter"
            assert proxy.accepted == 2


async def test_answers_that_end_anywhere_are_misses(server: RedisServer) -> None:
    async with wrong_answers(server.port) as proxy:
        async with server.cache(url=f"redis://127.0.0.1:{proxy.port}") as cache:
            await kept(cache, key("letter-0"), DOCUMENTS["letter-0"])
            for cut in (0, 1, 4, 40, 300, 100_000, 262_300, 262_400):
                proxy.cut = cut
                assert await read(cache, "letter-0") in ("missed", "broke")
                proxy.cut = None
                # Two failures in a row would be a reason to leave Redis alone for a moment.
                assert await read(cache, "letter-0") == "right", f"after {cut}: {cache.counts.faults}"


@pytest.mark.parametrize(
    ("said", "word"),
    [
        (b"-LOADING Redis is loading the dataset in memory\r\n", "loading"),
        (b"-READONLY You can't write against a read only replica.\r\n", "read-only"),
        (b"-NOAUTH Authentication required.\r\n", "denied"),
        (b"-NOPERM this user has no permissions to run the 'hmget' command\r\n", "denied"),
        (b"-MOVED 3999 127.0.0.1:1\r\n", "moved"),
        (b"-CLUSTERDOWN The cluster is down\r\n", "cluster-down"),
        (b"-MASTERDOWN Link with MASTER is down\r\n", "no-primary"),
        (b"-OOM command not allowed when used memory > 'maxmemory'.\r\n", "full"),
        (b"-MISCONF Redis is configured to save RDB snapshots\r\n", "full"),
        (b"-BUSY Redis is busy running a script.\r\n", "busy"),
        (b"-ERR what nobody has heard of\r\n", "error"),
    ],
)
async def test_every_refusal_has_its_word(server: RedisServer, said: bytes, word: str) -> None:
    async with wrong_answers(server.port) as proxy:
        async with server.cache(url=f"redis://127.0.0.1:{proxy.port}") as cache:
            await kept(cache, key("a"), b"letter")
            proxy.twist = lambda commands, _: [said] * len(commands)
            proxy.raw = said * 2
            assert await look(cache, key("a")) is None
            assert cache.counts.faults.keys() == {word}
            proxy.raw = None
            proxy.twist = honest
            assert await look(cache, key("a")) == b"letter"
            # After these two the server at the other end may be the wrong one.
            assert proxy.accepted == (2 if word in ("read-only", "denied") else 1)


async def test_ten_thousand_readers_who_leave_disturb_nobody(server: RedisServer) -> None:
    async with server.cache(connections=4) as cache:
        for name, data in DOCUMENTS.items():
            await kept(cache, key(name), data)
        chance = random.Random(4711)
        seen = {"right": 0, "left": 0}

        async def reader() -> None:
            for _ in range(200):
                name = chance.choice(list(DOCUMENTS))
                looking = asyncio.ensure_future(cache.look(key(name)) if chance.random() < 0.9 else read(cache, name))
                for _ in range(chance.randrange(4)):
                    await asyncio.sleep(0)
                if chance.random() < 0.9:
                    looking.cancel()
                try:
                    found = await looking
                except asyncio.CancelledError:
                    seen["left"] += 1
                    continue
                if not isinstance(found, str):
                    assert found.hit is not None
                    if found.hit.whole is not None:
                        assert found.hit.whole == DOCUMENTS[name], "another document"
                seen["right"] += 1

        await asyncio.gather(*(reader() for _ in range(60)))
        assert seen["left"] >= 10_000
        assert seen["right"] >= 500
        assert cache.counts.damaged == 0
        assert not cache.counts.faults, cache.counts.faults
        assert cache._room.left == AHEAD_OF_ALL, "a reader that left took its place along"
        clients = [line for line in server.ask("CLIENT", "LIST").split(b"\n") if b"name=fhir-gateway" in line]
        assert 1 <= len(clients) <= 4, "connections leak"
        for name in DOCUMENTS:
            assert await read(cache, name) == "right"
    eventually(lambda: b"name=fhir-gateway" not in server.ask("CLIENT", "LIST"))
