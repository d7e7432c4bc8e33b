"""Documents in this process's memory: one budget in bytes, what was used least recently goes first.

A look-up never suspends. A document of up to `PIECE` bytes is one object, so that it can be answered in one write; a
larger one is a list of pieces that readers share with the cache, so that what is thrown out costs nobody a copy and is
freed when its last reader has gone. Nothing lies outside the process, so nothing is encrypted.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from dataclasses import replace
from types import TracebackType
from typing import Self

from adapters.contract import Span
from gateway.cache import NOTHING, Body, Broken, Cache, Hit, Key, Limits, Look, Record, Scope, Stats, Ticket
from gateway.cache.bodies import fits, pieces
from gateway.cache.ledger import Item, Ledger
from gateway.cache.sweeping import sweeping
from gateway.cache.tickets import Purges

PIECE = 1 << 18
"""Bytes up to which a document is one object, and of each piece of a larger one."""

OVERHEAD = 2048
"""Bytes that an entry is counted with above its document: its key, record and places in the books."""

SLICE = 500
"""Entries that a purge forgets before others have a turn, about half a millisecond."""

_Kept = tuple[Record, list[bytes]]


class _MemoryHit(Hit):
    """An entry, which stays as it is when the cache forgets it."""

    def __init__(self, kept: _Kept) -> None:
        self.record, self._pieces = kept
        if len(self._pieces) < 2:
            self.whole = self._pieces[0] if self._pieces else b""

    async def chunks(self, span: Span) -> AsyncGenerator[bytes, None]:
        """The bytes of `span`; pieces that it covers are the cache's own objects. Raises `Broken` once closed."""
        position, stop = span.start, span.stop or 0
        while position < stop:
            number, start = divmod(position, PIECE)
            if number >= len(self._pieces):
                raise Broken("closed, or no such part")
            held = self._pieces[number]
            end = min(len(held), stop - number * PIECE)
            yield held if end - start == len(held) else held[start:end]
            position = number * PIECE + end

    def close(self) -> None:
        self._pieces = []
        self.whole = None


class MemoryCache(Cache):
    """Keeps documents in memory, at most `max_bytes` of them."""

    backend = "memory"

    def __init__(self, limits: Limits, *, max_bytes: int) -> None:
        super().__init__(limits)
        self.max_bytes = max_bytes
        self._ledger: Ledger[Key, _Kept] = Ledger()
        self._purges = Purges()
        self._reserved = 0
        self._open = False
        self._sweeper: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._open = True
        self._sweeper = asyncio.create_task(sweeping(self.limits.keep, self._sweep))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open = False
        if self._sweeper is not None:
            self._sweeper.cancel()
        self._ledger.clear()

    async def look(self, key: Key) -> Look:
        if not self._open:
            return NOTHING
        item = self._ledger.find(key, time.monotonic())
        if item is None:
            self.counts.misses += 1
            return Look(None, self._purges.ticket)
        self.counts.hits += 1
        return Look(_MemoryHit(item.kept), self._purges.ticket)

    async def put(self, key: Key, ticket: Ticket, record: Record, body: Body) -> bool:
        weight = body.size + OVERHEAD
        room = self.max_bytes - self._reserved - weight
        if room < 0 or not fits(record, body, self.limits.max_document) or self._refuses(ticket, key):
            return False
        # Room is made before the document is read: entries and what is on its way together keep to the budget.
        self._reserved += weight
        try:
            self._evict(room)
            kept = []
            async for piece in pieces(body, PIECE):
                kept.append(bytes(piece))
                # A spool that has all in the page cache never waits: a large document would hold up everybody.
                await asyncio.sleep(0)
        except Exception as error:
            self.counts.faults[type(error).__name__] += 1
            return False
        finally:
            self._reserved -= weight
        if self._refuses(ticket, key):
            return False
        untitled = replace(record, descriptor=replace(record.descriptor, title=None))
        ends = time.monotonic() + self.limits.keep
        self._ledger.add(key, Item((key.source, key.locator), weight, ends, (untitled, kept)))
        self.counts.stored += 1
        return True

    async def drop(self, key: Key) -> None:
        if self._ledger.pop(key) is not None:
            self.counts.dropped += 1

    async def purge(self, scope: Scope) -> None:
        self._purges.note(scope)
        if scope.source is not None and scope.locator is not None:
            names = self._ledger.group((scope.source, scope.locator))
        else:
            names = [key for key in self._ledger.names() if scope.covers(key)]
        for number, name in enumerate(names, 1):
            self._ledger.pop(name)
            if not number % SLICE:
                await asyncio.sleep(0)

    async def stats(self) -> Stats:
        return Stats(self.backend, len(self._ledger), self._ledger.used, self.max_bytes)

    def _refuses(self, ticket: Ticket, key: Key) -> bool:
        return not self._open or self._purges.refuse(ticket, key)

    def _evict(self, room: int) -> None:
        for name in self._ledger.surplus(room):
            self._ledger.pop(name)

    async def _sweep(self) -> None:
        for name in self._ledger.overdue(time.monotonic()):
            self._ledger.pop(name)
