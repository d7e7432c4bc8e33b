"""What lies in Redis and in its files: nothing that can be read, hardly more than was stored; and what readers hold."""

from __future__ import annotations

import asyncio
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest

from adapters.contract import Span
from adapters.testing.proxy import LoopbackProxy
from gateway.cache import Key, redis_lane
from gateway.cache.redis_entry import AHEAD_OF_ALL
from gateway.cache.sealing import CHUNK
from tests.support.cached import KEY, document, kept, key, look, put, record
from tests.support.redis import Bytes, redis

LOCATOR = "canary-locator/smith-4711.pdf"
SECRETS = (
    b"canary-text", b"canary-locator", b"smith-4711", b"Ms Smith".lower(), b"canary-epoch", b"canary-caller", b"canary-title",
    b"canary-version", b"canary-validator", b"application/x-canary",
)  # fmt: skip


async def test_no_word_of_a_document_is_in_memory_files_or_on_the_wire(tmp_path: Path) -> None:
    with redis(tmp_path, "--appendonly", "yes") as server, server.raw() as monitor:
        monitor("MONITOR")
        async with server.cache() as cache:
            secret = Key("letters", "canary-epoch", LOCATOR, "canary-caller")
            text = b"canary-text of Ms Smith, 4711. " * 20_000
            facts = record(len(text))
            facts = replace(
                facts,
                descriptor=replace(
                    facts.descriptor,
                    media_type="application/x-canary",
                    title="canary-title",
                    version="canary-version",
                    validator="canary-validator",
                ),
            )
            ticket = (await cache.look(secret)).ticket
            assert await cache.put(secret, ticket, facts, Bytes(text))
            assert await look(cache, secret) == text
            assert await cache.claim(secret, 5)
        server.ask("SAVE")
        server.ask("ECHO", "the end")
        seen = b""
        while b"the end" not in seen:
            seen += str(monitor.receive()).encode()
        files = {path.name: path.read_bytes() for path in server.directory.rglob("*") if path.is_file()}
        assert any(name.endswith(".rdb") for name in files)
        assert any(name.endswith(".aof") and data for name, data in files.items())
        places = {**files, "keys": b" ".join(name.encode() for name in server.names()), "monitor": seen}
        for name, data in places.items():
            for canary in SECRETS:
                assert canary not in data.lower(), f"{canary!r} in {name}"


async def test_a_document_takes_hardly_more_than_its_size(tmp_path: Path) -> None:
    with redis(tmp_path) as server:
        async with server.cache() as cache:
            for size in (1 << 20, (1 << 20) + 1, 3 * CHUNK, 4 * CHUNK + 1, 10_000_000, 32 << 20):
                await kept(cache, KEY, document(size))
                (name,) = server.names("*:d")
                used = server.ask("MEMORY", "USAGE", name, "SAMPLES", 0)
                assert used <= size * 1.01 + 65_536 * (size % CHUNK != 0), f"{used} bytes for {size}"
                stored = sum(server.ask("HSTRLEN", name, field) for field in server.ask("HKEYS", name))
                assert stored <= size * 1.001


async def test_readers_who_stand_still_hold_a_piece_and_no_connection(tmp_path: Path) -> None:
    readers = 20
    with redis(tmp_path) as server:
        async with server.cache(connections=2) as cache:
            data = document(12 * CHUNK)
            await kept(cache, KEY, data)
            tracemalloc.start()
            try:
                before, _ = tracemalloc.get_traced_memory()
                looks = [await cache.look(KEY) for _ in range(readers)]
                streams = [one.hit.chunks(Span(0, len(data))) for one in looks if one.hit is not None]
                first = [await anext(stream) for stream in streams]
                assert set(first) == {data[:CHUNK]}
                del first
                pieces = [await anext(stream) for stream in streams]
                await asyncio.sleep(0.2)
                held = tracemalloc.get_traced_memory()[0] - before
            finally:
                tracemalloc.stop()
            most = readers * ((256 << 10) + 16_000) + AHEAD_OF_ALL * (256 << 10)
            assert held <= most, f"{held // readers} bytes for a reader"
            for number in range(20):
                await kept(cache, key(str(number)), b"letter")
            for stream, piece in zip(streams, pieces, strict=True):
                assert piece + b"".join([rest async for rest in stream]) == data[CHUNK:]
            assert cache._room.left == AHEAD_OF_ALL
            clients = server.ask("CLIENT", "LIST").count(b"name=fhir-gateway")
            assert 1 <= clients <= 2


async def test_a_connection_that_died_in_silence_is_found_before_a_reader_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_lane, "IDLE", 0.3)
    with redis(tmp_path) as server, LoopbackProxy("127.0.0.1", server.port) as proxy:
        async with server.cache(url=f"redis://{proxy.host}:{proxy.port}", operation_timeout="200ms") as cache:
            await kept(cache, KEY, b"letter")
            with proxy.stall():
                await asyncio.sleep(1)
            assert proxy.accepted == 1
            assert await look(cache, KEY) == b"letter"
            assert proxy.accepted == 2
            assert not cache.counts.faults
            await asyncio.sleep(1)
            assert await look(cache, KEY) == b"letter"
            assert proxy.accepted == 2, "a connection that answers is kept"


async def test_a_redis_far_away_is_used_and_one_that_breaks_off_is_left(tmp_path: Path) -> None:
    data = document(2_000_000)
    with redis(tmp_path) as server, LoopbackProxy("127.0.0.1", server.port) as proxy:
        url = f"redis://{proxy.host}:{proxy.port}"
        async with server.cache(url=url) as cache:
            with proxy.latency(0.02):
                await kept(cache, KEY, data)
                assert not cache.counts.faults
                proxy.forget()
                await put(cache, key("small"), b"letter")
                assert await look(cache, key("small")) == b"letter"
                # Look and put, with a look at the tokens behind it; look and all bytes.
                assert proxy.round_trips == 4
            for count in (1, 1000, 300_000, 1_000_000):
                with proxy.cut_after(count):
                    assert await look(cache, KEY) is None
                await look(cache, KEY)
                assert await look(cache, KEY) == data, f"after {count}: {cache.counts.faults}"
            assert cache.counts.faults.keys() == {"lost"}
            assert cache.counts.damaged == 0
