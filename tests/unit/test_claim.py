"""A claim spares the archive, and whatever becomes of its holder, nobody waits long for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from adapters.contract import Descriptor
from gateway.cache import Key, Limits, Record
from gateway.cache.memory import MemoryCache
from gateway.claim import CLAIM_SECONDS, FOLLOW_SECONDS, Claim

KEY = Key("letters", "epoch", "a")


class Body:
    size = 3

    async def read(self, offset: int, length: int) -> bytes:
        return b"abc"[offset : offset + length]


class Claimed(MemoryCache):
    """Somebody else holds the claim while `taken`."""

    shared = True

    def __init__(self) -> None:
        super().__init__(Limits(), max_bytes=1 << 20)
        self.taken = False
        self.claims = 0
        self.releases = 0

    async def claim(self, key: Key, seconds: float) -> bool:
        self.claims += 1
        return not self.taken

    async def release(self, key: Key) -> None:
        self.releases += 1

    async def store(self, at: float) -> Record:
        record = Record(Descriptor(3, version="1"), None, at)
        assert await self.put(KEY, (await self.look(KEY)).ticket, record, Body())
        return record


@pytest.fixture
async def cache() -> AsyncIterator[Claimed]:
    async with Claimed() as made:
        yield made


async def test_whoever_gets_the_claim_asks_at_once(cache: Claimed) -> None:
    assert not await Claim(cache, KEY, None).elsewhere()
    assert cache.claims == 1


async def test_the_others_wait_for_what_is_stored(cache: Claimed) -> None:
    cache.taken = True
    waiting = asyncio.ensure_future(Claim(cache, KEY, None).elsewhere())
    await asyncio.sleep(0.1)
    assert not waiting.done()
    await cache.store(1.0)
    assert await waiting


async def test_what_was_there_before_is_not_what_they_wait_for(cache: Claimed) -> None:
    cache.taken = True
    old = await cache.store(1.0)
    waiting = asyncio.ensure_future(Claim(cache, KEY, old).elsewhere())
    await asyncio.sleep(0.15)
    assert not waiting.done()
    await cache.store(2.0)
    assert await waiting


async def test_a_holder_that_died_is_waited_for_no_longer_than_a_second(cache: Claimed) -> None:
    cache.taken = True
    began = time.monotonic()
    assert not await Claim(cache, KEY, None).elsewhere()
    assert FOLLOW_SECONDS <= time.monotonic() - began < FOLLOW_SECONDS + 0.5
    assert FOLLOW_SECONDS < CLAIM_SECONDS


async def test_a_holder_that_gave_up_is_followed_at_once(cache: Claimed) -> None:
    cache.taken = True
    waiting = asyncio.ensure_future(Claim(cache, KEY, None).elsewhere())
    await asyncio.sleep(0.1)
    cache.taken = False
    began = time.monotonic()
    assert not await waiting
    assert time.monotonic() - began < 0.5


async def test_only_a_claim_that_is_held_is_renewed_and_given_back(
    cache: Claimed, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.taken = True
    follower = Claim(cache, KEY, None)
    assert not await follower.elsewhere()
    asked = cache.claims
    await follower.renew()
    await follower.release()
    assert (cache.claims, cache.releases) == (asked, 0)
    cache.taken = False
    holder = Claim(cache, KEY, None)
    assert not await holder.elsewhere()
    asked = cache.claims
    await holder.renew()
    assert cache.claims == asked, "renewed with every piece"
    now = time.monotonic()
    monkeypatch.setattr("gateway.claim.time.monotonic", lambda: now + CLAIM_SECONDS / 2)
    await holder.renew()
    assert cache.claims == asked + 1
    await holder.release()
    await holder.release()
    await holder.renew()
    assert (cache.claims, cache.releases) == (asked + 1, 1)


async def test_a_hit_that_was_found_while_waiting_is_closed(cache: Claimed, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = []
    monkeypatch.setattr("gateway.cache.memory._MemoryHit.close", lambda self: closed.append(self))
    cache.taken = True
    record = await cache.store(1.0)
    assert not await Claim(cache, KEY, record).elsewhere()
    assert closed
    assert len(closed) <= cache.claims
    await cache.store(2.0)
    before = len(closed)
    assert await Claim(cache, KEY, record).elsewhere()
    assert len(closed) == before + 1
