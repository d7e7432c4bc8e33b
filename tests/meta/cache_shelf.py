"""A small cache that is right: what `wrong_caches` breaks in one place each.

Rules of this module: no tests. Everything that the kit can look at is there, so that every check applies: entries lie
outside the cache, encrypted, in parts; several caches share them; the place can go away.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from adapters.contract import Span
from gateway.cache import NOTHING, Body, Broken, Cache, Hit, Key, Limits, Look, PurgePending, Record, Scope, Stats
from gateway.cache.sealing import CHUNK, CacheKey, Keyring, Sealer, chunk_count
from gateway.cache.tickets import Purges
from tests.conformance.cache_kit import BUDGET, KEYS, CacheHarness

OVERHEAD = 1024


@dataclass
class Place:
    """Where entries lie, for all caches of one harness. What was used least recently comes first."""

    parts: OrderedDict[str, dict[str, bytes]] = field(default_factory=OrderedDict)
    about: dict[str, tuple[Key, int, float]] = field(default_factory=dict)
    purges: Purges = field(default_factory=Purges)
    claims: dict[Key, tuple[object, float]] = field(default_factory=dict)
    gone: bool = False

    def forget(self, name: str) -> bool:
        self.about.pop(name, None)
        return self.parts.pop(name, None) is not None

    @property
    def used(self) -> int:
        return sum(weight for _, weight, _ in self.about.values())


class ShelfHit(Hit):
    def __init__(self, cache: ShelfCache, name: str, record: Record, sealer: Sealer) -> None:
        self.cache, self.name, self.record, self.sealer = cache, name, record, sealer
        self.parts = dict(cache.place.parts[name])
        self.closed = False

    async def chunks(self, span: Span) -> AsyncGenerator[bytes, None]:
        position, stop = span.start, span.stop or 0
        while position < stop:
            number, start = divmod(position, CHUNK)
            data = self.opened(number)
            yield data[start : stop - number * CHUNK]
            position = (number + 1) * CHUNK

    def opened(self, number: int) -> bytes:
        if self.closed:
            raise Broken("closed")
        try:
            return self.sealer.open(number, self.parts[str(number)])
        except (Broken, KeyError):
            self.cache.damaged(self.name)
            raise Broken("damaged") from None

    def close(self) -> None:
        self.closed = True


class ShelfCache(Cache):
    backend = "shelf"
    shared = True

    def __init__(self, place: Place, limits: Limits, budget: int, keys: Sequence[CacheKey]) -> None:
        super().__init__(limits)
        self.place = place
        self.budget = budget
        self.ring = Keyring(keys)
        self.open = False

    async def __aenter__(self) -> Self:
        self.open = True
        self.expire()
        self.evict(self.budget)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.open = False

    def names(self, key: Key) -> list[str]:
        return self.ring.names(key)

    def expire(self) -> None:
        for name, (_, _, ends) in list(self.place.about.items()):
            if ends <= time.time():
                self.place.forget(name)

    def evict(self, room: int) -> None:
        while self.place.used > room and self.place.parts:
            self.place.forget(next(iter(self.place.parts)))

    def damaged(self, name: str) -> None:
        self.counts.damaged += 1
        self.place.forget(name)

    def away(self) -> bool:
        if self.place.gone:
            self.counts.faults["away"] += 1
        return self.place.gone

    def ticket(self) -> Any:
        return self.place.purges.ticket

    async def look(self, key: Key) -> Look:
        if not self.open or self.away():
            return NOTHING
        self.expire()
        ticket = self.ticket()
        for name in self.names(key):
            if name in self.place.parts:
                try:
                    record, _, sealer = self.ring.open(name, self.place.parts[name].get("head", b""))
                    hit = self.hit(name, record, sealer)
                except Broken:
                    self.damaged(name)
                    continue
                self.use(name)
                self.counts.hits += 1
                return Look(hit, ticket)
        self.counts.misses += 1
        return Look(None, ticket)

    def use(self, name: str) -> None:
        self.place.parts.move_to_end(name)

    def hit(self, name: str, record: Record, sealer: Sealer) -> Hit:
        return ShelfHit(self, name, record, sealer)

    def fits(self, record: Record, body: Body) -> bool:
        return record.descriptor.size == body.size <= self.limits.max_document and body.size + OVERHEAD <= self.budget

    def refuses(self, ticket: Any, key: Key) -> bool:
        return self.place.purges.refuse(ticket, key)

    async def put(self, key: Key, ticket: Any, record: Record, body: Body) -> bool:
        if not self.open or self.away() or not self.fits(record, body) or self.refuses(ticket, key):
            return False
        name = self.names(key)[0]
        sealer = self.ring.sealer(name, body.size)
        try:
            parts = await self.sealed(sealer, body)
        except Exception as error:
            self.counts.faults[type(error).__name__] += 1
            return False
        if self.refuses(ticket, key):
            return False
        self.keep(key, name, {"head": sealer.head(record, {}), **parts}, body.size + OVERHEAD)
        return True

    async def sealed(self, sealer: Sealer, body: Body) -> dict[str, bytes]:
        parts = {}
        for number in range(chunk_count(body.size)):
            data = await body.read(number * CHUNK, CHUNK)
            if len(data) != min(CHUNK, body.size - number * CHUNK):
                raise EOFError
            parts[str(number)] = sealer.seal(number, data)
        return parts

    def keep(self, key: Key, name: str, parts: dict[str, bytes], weight: int) -> None:
        self.place.forget(name)
        self.evict(self.budget - weight)
        self.place.parts[name] = parts
        self.place.about[name] = key, weight, time.time() + self.limits.keep
        self.counts.stored += 1

    async def drop(self, key: Key) -> None:
        if self.away():
            return
        for name in self.names(key):
            self.counts.dropped += self.place.forget(name)

    async def purge(self, scope: Scope) -> None:
        if self.place.gone:
            raise PurgePending("the shelf is away")
        self.place.purges.note(scope)
        for name, (key, _, _) in list(self.place.about.items()):
            if self.covers(scope, key):
                self.place.forget(name)

    def covers(self, scope: Scope, key: Key) -> bool:
        return scope.covers(key)

    async def claim(self, key: Key, seconds: float) -> bool:
        owner, ends = self.place.claims.get(key, (self, 0.0))
        if owner is not self and ends > time.monotonic():
            return False
        self.place.claims[key] = self, time.monotonic() + seconds
        return True

    async def release(self, key: Key) -> None:
        if self.place.claims.get(key, (None, 0.0))[0] is self:
            del self.place.claims[key]

    async def stats(self) -> Stats:
        self.expire()
        return Stats(self.backend, len(self.place.parts), self.place.used, self.budget)


class ShelfHarness(CacheHarness):
    shared = persistent = at_rest = encrypted = vanishes = True
    overhead = OVERHEAD
    patience, recovery = 0.5, 0.5
    cache_class: type[ShelfCache] = ShelfCache

    def __init__(self) -> None:
        self.place = Place()

    def cache(
        self, *, limits: Limits | None = None, budget: int = BUDGET, keys: Sequence[CacheKey] = KEYS
    ) -> ShelfCache:
        return self.cache_class(self.place, limits or Limits(), budget, keys)

    async def entries(self) -> Mapping[str, Mapping[str, bytes]]:
        return {name: dict(parts) for name, parts in self.place.parts.items()}

    async def lay(self, entry: str, part: str, data: bytes | None) -> None:
        if data is None:
            del self.place.parts[entry][part]
        else:
            self.place.parts[entry][part] = data

    @asynccontextmanager
    async def away(self) -> AsyncIterator[None]:
        self.place.gone = True
        try:
            yield
        finally:
            self.place.gone = False
