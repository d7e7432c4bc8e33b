"""S: long random lives against a model that is obviously right.

The model knows for each key the one document that may be found, or none. A miss is always allowed (a cache may forget)
but wrong bytes never, nor a document that was dropped, purged or put under an old ticket.
"""

from __future__ import annotations

import random
from collections import Counter
from contextlib import AsyncExitStack

from adapters.errors import AdapterError
from gateway.cache import Broken, Cache, Hit, Key, Scope, Ticket
from tests.conformance.cache_kit.check import check
from tests.conformance.cache_kit.documents import Blob, document, look, record, ticket_for, whole
from tests.conformance.cache_kit.harness import CacheHarness

LIVES, STEPS = 12, 70
SIZES = (0, 1, 100, 5000, 70_000, 262_064, 300_000)
KEYS = [
    Key(source, epoch, locator, partition)
    for source in ("letters", "scans")
    for epoch in ("1", "2")
    for locator in ("a", "b", "c")
    for partition in ("", "dr-who")
]


class Life:
    """One random life of the caches of one harness."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.model: dict[Key, bytes] = {}
        self.tickets: list[tuple[Key, Ticket | None, int]] = []
        self.purges: list[Scope] = []
        self.hits: list[tuple[Hit, bytes]] = []
        self.found: Counter[bool] = Counter()
        self.told: list[str] = []

    async def step(self, cache: Cache) -> None:
        name = self.rng.choices(("put", "look", "drop", "purge", "late", "hold", "reopened"), (30, 40, 6, 5, 8, 8, 6))[
            0
        ]
        self.told.append(name)
        await getattr(self, "_" + name)(cache, self.rng.choice(KEYS))

    async def _put(self, cache: Cache, key: Key) -> None:
        await self._write(cache, key, await ticket_for(cache, key))

    async def _write(self, cache: Cache, key: Key, ticket: Ticket | None) -> bool:
        data = document(self.rng.choice(SIZES), self.rng.random())
        stored = await cache.put(key, ticket, record(len(data)), Blob(data))
        if stored:
            self.model[key] = data
        return stored

    async def _look(self, cache: Cache, key: Key) -> None:
        data = await look(cache, key)
        assert data is None or data == self.model.get(key), "bytes that should not be there"
        if key in self.model:
            self.found[data is not None] += 1

    async def _drop(self, cache: Cache, key: Key) -> None:
        await cache.drop(key)
        self.model.pop(key, None)

    async def _purge(self, cache: Cache, key: Key) -> None:
        scope = self.rng.choice((Scope(), Scope(key.source), Scope(key.source, key.locator)))
        await cache.purge(scope)
        self.purges.append(scope)
        self.model = {one: data for one, data in self.model.items() if not scope.covers(one)}

    async def _late(self, cache: Cache, key: Key) -> None:
        """A put whose archive took its time, and a ticket for another."""
        for at, (late, ticket, before) in enumerate(self.tickets):
            del self.tickets[at]
            old = any(scope.covers(late) for scope in self.purges[before:])
            stored = await self._write(cache, late, ticket)
            assert not (old and stored), "stored under a ticket from before a purge"
            break
        self.tickets.append((key, await ticket_for(cache, key), len(self.purges)))

    async def _hold(self, cache: Cache, key: Key) -> None:
        """A reader that takes its time."""
        hit = (await cache.look(key)).hit
        if hit is not None:
            assert key in self.model, "an entry that should not be there"
            self.hits.append((hit, self.model[key]))
        if len(self.hits) > 3:
            await self._finish(*self.hits.pop(0))

    async def _finish(self, hit: Hit, data: bytes) -> None:
        try:
            assert await whole(hit) == data, "a slow reader got other bytes"
        except (Broken, AdapterError):
            pass
        finally:
            hit.close()

    async def _reopened(self, cache: Cache, key: Key) -> None:
        """Nothing: the caller opens another cache."""

    async def end(self) -> None:
        for hit, data in self.hits:
            await self._finish(hit, data)
        self.hits.clear()


async def _live(life: Life, harness: CacheHarness, budget: int) -> None:
    async with AsyncExitStack() as stack:
        caches = [await stack.enter_async_context(harness.cache(budget=budget)) for _ in range(1 + harness.shared)]
        for _ in range(STEPS):
            await life.step(life.rng.choice(caches))
            if life.told[-1] == "reopened" and harness.persistent and not harness.shared:
                await life.end()
                life.tickets.clear()
                await stack.aclose()
                caches = [await stack.enter_async_context(harness.cache(budget=budget))]
        await life.end()
        await caches[0].purge(Scope())
        assert (await caches[0].stats()).entries in (0, None), "something is left after everything was purged"


@check("S.1")
async def a_random_life_never_serves_what_is_not_there(harness: CacheHarness) -> None:
    found: Counter[bool] = Counter()
    for seed in range(LIVES):
        life = Life(seed)
        try:
            await _live(life, harness, 1 << 20 if seed % 2 else 64 << 20)
        except AssertionError as error:
            raise AssertionError(f"life {seed}: {error}, after {' '.join(life.told)}") from error
        found += life.found if seed % 2 == 0 else Counter()
    assert found[True] > found[False] * 20, f"entries get lost although there is room: {found}"
