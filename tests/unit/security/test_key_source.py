"""A key set over time: how often it is read, for how long the last good one is believed. The clock is the test's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gateway.security.fetching import Unreadable
from gateway.security.jose import Parts
from gateway.security.key_source import Freshness, KeySource, KeysUnavailable
from tests.support.issuer import Issuer

DAY = 86_400.0


class Rig:
    """A key source whose issuer and clock stand still until they are told."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.issuer = Issuer()
        self.failing = False
        self.reads = 0
        self.lines: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()
        # The background reading is far away: what is read here is read because somebody asked.
        freshness = Freshness(refresh=1e6, cooldown=30.0, keep=DAY)
        self.source = KeySource(("ES256",), self.fetch, self, freshness, lambda: self.now)

    async def fetch(self) -> bytes:
        self.reads += 1
        await self.gate.wait()
        if self.failing:
            raise Unreadable("it cannot be reached")
        return self.issuer.key_set()

    def info(self, event: str, **fields: Any) -> None:
        self.lines.append(event)

    warning = info

    async def find(self, kid: str) -> Any:
        return await self.source.find(Parts({"alg": "ES256", "kid": kid}, {}, b"", b""))


@asynccontextmanager
async def opened() -> AsyncIterator[Rig]:
    rig = Rig()
    async with rig.source:
        yield rig


async def test_a_known_key_costs_no_reading() -> None:
    async with opened() as rig:
        for _ in range(100):
            assert (await rig.find("k1")).id == "k1"
        assert rig.reads == 1


@pytest.mark.requirement("TK-06")
async def test_an_unknown_key_is_looked_for_once_per_cooldown() -> None:
    async with opened() as rig:
        assert [await rig.find(f"x{number}") for number in range(50)] == [None] * 50
        assert rig.reads == 1, "the one at the start was within the cooldown"
        rig.now += 31
        assert [await rig.find(f"y{number}") for number in range(50)] == [None] * 50
        assert rig.reads == 2
        rig.now += 31
        rig.issuer.rotate("k2")
        assert (await rig.find("k2")).id == "k2"
        assert rig.reads == 3


async def test_a_key_that_was_not_found_is_not_looked_for_again_for_a_while() -> None:
    async with opened() as rig:
        rig.now += 31
        assert await rig.find("gone") is None
        assert rig.reads == 2
        rig.now += 31
        assert await rig.find("gone") is None
        assert rig.reads == 2
        rig.now += 300
        assert await rig.find("gone") is None
        assert rig.reads == 3


async def test_memory_of_missing_keys_is_bounded() -> None:
    async with opened() as rig:
        for number in range(1500):
            rig.now += 31
            await rig.find(f"x{number}")
        assert len(rig.source._missing) == 1024


async def test_the_last_good_set_is_believed_for_a_day_and_no_longer() -> None:
    async with opened() as rig:
        rig.failing = True
        rig.now += DAY - 1
        assert (await rig.find("k1")).id == "k1"
        rig.now += 2
        with pytest.raises(KeysUnavailable):
            await rig.find("k1")
        assert rig.reads == 2, "it was tried again before it was given up"
        rig.now += 31
        rig.failing = False
        assert (await rig.find("k1")).id == "k1"


async def test_without_any_set_nothing_can_be_said() -> None:
    rig = Rig()
    rig.failing = True
    async with rig.source:
        with pytest.raises(KeysUnavailable):
            await rig.find("k1")
        assert rig.lines == ["key set could not be read"]


async def test_who_leaves_while_waiting_does_not_end_the_reading_for_others() -> None:
    async with opened() as rig:
        rig.now += 31
        rig.issuer.rotate("k2")
        rig.gate.clear()
        leaving, staying = (asyncio.create_task(rig.find("k2")) for _ in range(2))
        await asyncio.sleep(0.01)
        leaving.cancel()
        rig.gate.set()
        assert (await staying).id == "k2"
        assert rig.reads == 2


async def test_a_changed_set_says_so_and_the_same_set_does_not() -> None:
    async with opened() as rig:
        before = rig.source.generation
        rig.now += 31
        await rig.find("x")
        assert rig.source.generation == before
        rig.issuer.rotate("k2", keep=True)
        rig.now += 331
        await rig.find("y")
        assert rig.source.generation == before + 1
        assert rig.lines == ["key set changed"]
