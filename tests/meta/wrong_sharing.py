"""Caches and shared reads that are wrong on purpose, for the model of `tests.support.cache_model` to find out.

Rules of this module: no tests. Each is put in the place of what it derives from, or changes it, while its context lasts.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from adapters.contract import Descriptor
from adapters.errors import AdapterError, NotFound
from gateway import shared
from gateway.cache import Body, Key, Look, Record, Scope
from gateway.cache.memory import MemoryCache
from gateway.mended import MendedRead
from gateway.missing import Missing
from gateway.opened import Opened
from gateway.protocol import cache_status


class IgnoresTickets(MemoryCache):
    """Stores what was read before a purge."""

    async def put(self, key: Key, ticket: Any, record: Record, body: Body) -> bool:
        return await super().put(key, self._purges.ticket, record, body)


class ForgetsToPurgeSources(MemoryCache):
    """Purges documents only."""

    async def purge(self, scope: Scope) -> None:
        if scope.locator is not None:
            await super().purge(scope)


class MixesUpDocuments(MemoryCache):
    """Finds another document now and then."""

    looks = 0

    async def look(self, key: Key) -> Look:
        self.looks += 1
        if not self.looks % 50 and (names := self._ledger.names()):
            return await super().look(names[-1])
        return await super().look(key)


class KeepsNewestForever(MemoryCache):
    """Says that everything was stored just now."""

    async def look(self, key: Key) -> Look:
        found = await super().look(key)
        if found.hit is not None:
            found.hit.record = Record(found.hit.record.descriptor, found.hit.record.sniffed, shared.time.time())
        return found


@contextmanager
def mends_without_comparing(patch: pytest.MonkeyPatch) -> Iterator[None]:
    """Takes the rest from whatever the archive has by then."""

    async def rest(self: MendedRead, content: Opened, position: int, done: int) -> AsyncGenerator[bytes, None]:
        async for chunk in content.chunks:
            start, position = position, position + len(chunk)
            if position > done:
                yield chunk[max(0, done - start) :]

    patch.setattr(MendedRead, "_rest", rest)
    patch.setattr(MendedRead, "_expect_same", lambda self, now: None)
    yield


@contextmanager
def serves_what_is_gone(patch: pytest.MonkeyPatch) -> Iterator[None]:
    """Takes "not found" for a failure, which an older copy excuses."""

    async def validated(
        self: shared.SharedReads, key: Key, record: Record, known: Descriptor | None, *more: Any
    ) -> cache_status.CacheStatus | None:
        try:
            return await right(self, key, record, known, *more)
        except NotFound:
            return cache_status.stale(0)

    right = shared.SharedReads._validated
    patch.setattr(shared.SharedReads, "_validated", validated)
    yield


@contextmanager
def keeps_a_copy_of_what_is_gone(patch: pytest.MonkeyPatch) -> Iterator[None]:
    """Passes "not found" on, and serves the copy when the archive is away next."""

    async def drop(self: MemoryCache, key: Key) -> None:
        return None

    patch.setattr(MemoryCache, "drop", drop)
    yield


@contextmanager
def asks_nobody(patch: pytest.MonkeyPatch) -> Iterator[None]:
    """Uses a copy as long as it is fresh, also where the archive could be asked."""

    async def validated(
        self: shared.SharedReads, key: Key, record: Record, known: Descriptor | None, freshness: Any, ttl: float
    ) -> cache_status.CacheStatus | None:
        return cache_status.hit(ttl)

    patch.setattr(shared.SharedReads, "_validated", validated)
    yield


@contextmanager
def joins_reads_from_before(patch: pytest.MonkeyPatch) -> Iterator[None]:
    """Lets readers follow a read that began before they asked, whatever the archive has by now."""

    async def current(self: shared.SharedReads, *_: Any) -> bool:
        return True

    patch.setattr(shared.SharedReads, "_current", current)
    yield


@contextmanager
def ends_early(patch: pytest.MonkeyPatch) -> Iterator[None]:
    """Takes a break for the end."""

    async def pulled(self: MendedRead, *, mended: bool) -> AsyncGenerator[bytes, None]:
        try:
            async for chunk in right(self, mended=mended):
                yield chunk
        except AdapterError:
            if not self._held.size:
                raise

    right = MendedRead._pulled
    patch.setattr(MendedRead, "_pulled", pulled)
    yield


@contextmanager
def remembers_what_was_purged(patch: pytest.MonkeyPatch) -> Iterator[None]:
    """Believes an old "not found" after a purge, too."""
    remember, refuse = Missing.remember, Missing.refuse
    patch.setattr(Missing, "remember", lambda self, key, error, asked: remember(self, key[0], error, asked))
    patch.setattr(Missing, "refuse", lambda self, key: refuse(self, key[0]))
    patch.setattr(Missing, "forget", lambda self: None)
    yield


@contextmanager
def remembers_for_longer(patch: pytest.MonkeyPatch) -> Iterator[None]:
    """Believes an old "not found" for three tenths of a second more than it may."""
    believed = Missing.believed
    patch.setattr(Missing, "believed", lambda self, asked, now: believed(self, asked + 0.3, now))
    yield


CACHES = [IgnoresTickets, ForgetsToPurgeSources, MixesUpDocuments, KeepsNewestForever]
CHANGES = [
    mends_without_comparing,
    serves_what_is_gone,
    keeps_a_copy_of_what_is_gone,
    asks_nobody,
    joins_reads_from_before,
    ends_early,
    remembers_what_was_purged,
    remembers_for_longer,
]
