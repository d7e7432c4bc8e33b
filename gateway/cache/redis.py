"""Documents in Redis, for all replicas together: the cache contract over everything in the modules `redis_*` beside this one.

`redis_servers` knows where Redis is, `redis_link` and `redis_lane` how it is asked, `redis_entry` how a document lies in it,
`redis_generations` what was purged. Here they become a cache: every fault is a miss with a counter, never an error (K1).
Redis sees sealed bytes and names that say nothing (`sealing`), and its answers are believed only as far as they open.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from gateway.cache import (
    NOTHING,
    Body,
    Broken,
    Cache,
    Key,
    Limits,
    Look,
    Record,
    Scope,
    Stats,
    Ticket,
)
from gateway.cache import redis_faults as faults
from gateway.cache.redis_diagnosis import Diagnosis, diagnosed
from gateway.cache.redis_entry import Draft, Place, RedisHit, Room, clear, expiry, write
from gateway.cache.redis_faults import Fault
from gateway.cache.redis_generations import Generations, Tokens, found
from gateway.cache.redis_link import Deadlines, Link
from gateway.cache.redis_questions import LookUp, LookUps
from gateway.cache.redis_scripts import CLAIM, RELEASE
from gateway.cache.redis_servers import Cluster, Dialler, OneServer, Servers, dialler, facts
from gateway.cache.sealing import Keyring, chunk_count

if TYPE_CHECKING:
    from gateway.settings.caching import RedisCaching

WRITERS = 4
"""Documents that are written at the same time, each with less than 1 MiB on its way."""

PATIENCE = 2.0
"""Seconds that a document waits for its turn to be written; then it is not stored."""

TOGETHER = 100
"""Entries that are removed in one go."""

COUNTED = 10
"""Steps of the search that counts entries: about ten thousand keys of a server."""


@dataclass(frozen=True, slots=True)
class _Ticket:
    tokens: Tokens


class RedisCache(Cache):
    """The backend `redis`."""

    backend = "redis"
    shared = True

    def __init__(self, limits: Limits, keyring: Keyring, settings: RedisCaching) -> None:
        super().__init__(limits)
        self._settings = settings
        self._keyring = keyring
        self._namespace = settings.namespace
        self._holder = secrets.token_hex(16)
        self._turns = asyncio.Semaphore(WRITERS)
        self._room = Room()
        self._look_ups = LookUps(self._look_up)
        self._opened = False
        self._dialler: Dialler
        self._servers: Servers
        self._generations: Generations

    async def __aenter__(self) -> Self:
        """Open. Redis may be away. Raises `OSError`, `ValueError` when the password or a certificate cannot be read."""
        settings = self._settings
        self._dialler = await asyncio.to_thread(dialler, settings)
        deadlines = Deadlines(settings.connect_timeout, settings.operation_timeout)
        kind = Cluster if settings.cluster else OneServer
        self._servers = kind(self._dialler, deadlines, settings.connections)
        self._generations = Generations(self._servers, self._namespace, self._note)
        self._opened = True
        await self._servers.warm()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._opened:
            await self._generations.close()
            await self._servers.close()

    async def diagnose(self) -> Diagnosis:
        """What is wrong with Redis or with how it is set up, each with its cure. Writes and removes one small key."""
        return await diagnosed(self._settings, self._dialler, self._namespace)

    @property
    def away(self) -> bool:
        try:
            return any(link.away for link in self._servers.links())
        except Fault:
            return True

    # --- reading ---------------------------------------------------------------------------------------------------

    async def look(self, key: Key) -> Look:
        look = NOTHING
        if not self._generations.hides(key):
            try:
                look = await self._look(key)
            except Fault as fault:
                self._note(fault)
        if look.hit is None:
            self.counts.misses += 1
        else:
            self.counts.hits += 1
        return look

    async def _look(self, key: Key) -> Look:
        asked = self._look_ups.about(key)
        try:
            replies, run = await self._servers.ask(asked)
        except Fault as fault:
            if fault.kind == faults.WRONG_TYPE:
                self._damaged(*asked.entries, asked.tokens_at)
            raise
        tokens = self._generations.answer(replies.pop(), run)
        if tokens is None:
            tokens = await self._generations.begin(key, run)
            return Look(None, None if tokens is None else _Ticket(tokens))
        for name, entry, reply in zip(asked.names, asked.entries, replies, strict=True):
            hit = self._hit(name, entry, reply, tokens)
            if hit is not None:
                return Look(hit, _Ticket(tokens))
        return Look(None, _Ticket(tokens))

    def _look_up(self, key: Key) -> LookUp:
        names = self._keyring.names(key)
        return LookUp(names, [self._entry(name) for name in names], self._generations.question(key))

    def _hit(self, name: str, entry: str, reply: Any, tokens: Tokens) -> RedisHit | None:
        """The entry in a reply, if there is one and it counts."""
        try:
            head, sealed = reply
            if head is None:
                return None
            record, extra, sealer = self._keyring.open(name, head)
            if not tokens.made(extra) or time.time() > float(extra["until"]):
                return None
            first = sealer.open(0, sealed) if chunk_count(record.size) else b""
        except (Broken, TypeError, ValueError, KeyError):
            self._damaged(entry)
            return None
        place = Place(self._servers.link(entry), entry, head)
        return RedisHit(
            record, sealer, place, first, self._room, damaged=partial(self._damaged, entry), fault=self._note
        )

    # --- writing ---------------------------------------------------------------------------------------------------

    async def put(self, key: Key, ticket: Ticket, record: Record, body: Body) -> bool:
        if not isinstance(ticket, _Ticket) or body.size > self.limits.max_document or body.size != record.size:
            return False
        try:
            async with asyncio.timeout(PATIENCE):
                await self._turns.acquire()
        except TimeoutError:
            self._note(Fault(faults.BUSY))
            return False
        try:
            stored = not self._generations.hides(key) and await self._put(key, ticket.tokens, record, body)
        except Fault as fault:
            self._note(fault)
            return False
        except Exception:
            self.counts.faults["body"] += 1
            return False
        finally:
            self._turns.release()
        self.counts.stored += stored
        return stored

    async def _put(self, key: Key, tokens: Tokens, record: Record, body: Body) -> bool:
        name = self._keyring.names(key)[0]
        entry = self._entry(name)
        sealer = self._keyring.sealer(name, record.size)
        head = sealer.head(record, {**tokens.as_extra(), "until": expiry(self.limits.keep)})
        link = self._servers.link(entry)
        if not await write(Draft(link, entry, head, sealer, self.limits.keep), body):
            return False
        if await self._generations.current(key) == tokens:
            return True
        # Purged while it was read and written: it counts for nobody.
        clear(link, entry)
        return False

    async def drop(self, key: Key) -> None:
        for name in self._keyring.names(key):
            entry = self._entry(name)
            with self._forgiving():
                call = await self._servers.link(entry).call(("UNLINK", entry))
                self.counts.dropped += call.replies[0] == 1

    async def purge(self, scope: Scope) -> None:
        await self._generations.purge(scope)
        if scope == Scope():
            # Nothing of it counts any more; what is left is only room that Redis may have back.
            with self._forgiving():
                for link in self._servers.links():
                    names = sorted(await found(link, self._entry("*")))
                    for at in range(0, len(names), TOGETHER):
                        await link.call(*(("UNLINK", name) for name in names[at : at + TOGETHER]))

    # --- claims ----------------------------------------------------------------------------------------------------

    async def claim(self, key: Key, seconds: float) -> bool:
        name = self._claim(key)
        try:
            arguments = (self._holder, max(1, int(seconds * 1000)))
            call = await CLAIM.run(self._servers.link(name), (name,), arguments)
        except Fault as fault:
            # Nobody can tell who asks, so everybody may.
            self._note(fault)
            return True
        return bool(call.replies[-1] != 0)

    async def release(self, key: Key) -> None:
        name = self._claim(key)
        with self._forgiving():
            await RELEASE.run(self._servers.link(name), (name,), (self._holder,))

    # --- numbers ---------------------------------------------------------------------------------------------------

    async def stats(self) -> Stats:
        """Entries by searching; where there are very many, the searched part stands for all."""
        entries, used, limit = 0, 0, 0
        try:
            for link in self._servers.links():
                entries += await self._entries(link)
                memory = facts((await link.call(("INFO", "memory"))).replies[0])
                used += int(memory.get("used_memory", 0))
                limit += int(memory.get("maxmemory", 0))
        except (Fault, ValueError, TypeError) as error:
            self._note(error if isinstance(error, Fault) else Fault(faults.GARBAGE))
            return Stats(self.backend, None, None, None, "away")
        return Stats(self.backend, entries, used, limit or None)

    async def _entries(self, link: Link) -> int:
        keys = int((await link.call(("DBSIZE",))).replies[0])
        names = await found(link, self._entry("*"), steps=COUNTED)
        searched = COUNTED * 1000
        return len(names) if keys <= searched else len(names) * keys // searched

    # --- what goes wrong -------------------------------------------------------------------------------------------

    def _note(self, fault: Fault) -> None:
        self.counts.faults[fault.kind] += 1
        self._servers.doubt(fault)

    @contextmanager
    def _forgiving(self) -> Iterator[None]:
        """For steps whose fault is counted and has no other consequence."""
        try:
            yield
        except Fault as fault:
            self._note(fault)

    def _damaged(self, *keys: str) -> None:
        """Count damage, and have what is damaged removed."""
        self.counts.damaged += 1
        for key in keys:
            with suppress(Fault):
                clear(self._servers.link(key), key)

    def _entry(self, name: str) -> str:
        return f"{self._namespace}:{{{name}}}:d"

    def _claim(self, key: Key) -> str:
        return f"{self._namespace}:{{{self._keyring.names(key)[0]}}}:c"
