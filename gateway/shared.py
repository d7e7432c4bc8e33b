"""Reads that many share: out of the cache when what is stored may be used, else by one fill for all who ask.

One object for each source that is not read directly. Before a stored document is used its archive is asked, where that is
cheap, whether it still has it; an archive that fails or hangs is excused for a while by an older copy (`cache.policy`). Every
answer the archive gives is obeyed. Who may read is decided before anything here is called. No HTTP.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

from adapters.contract import Descriptor, Digest
from adapters.errors import AdapterError, NotFound
from gateway.cache import NOTHING, Cache, Hit, Key, Look, PurgePending, Record, Scope, Ticket
from gateway.cache.policy import Freshness, Policy, excuses, same_document, withdraws
from gateway.claim import Claim
from gateway.endpoint import NEARLY
from gateway.fill import Fill, Reader, Terms
from gateway.fills import Fills
from gateway.missing import Missing
from gateway.protocol import cache_status
from gateway.source import Source
from gateway.spool import Spool, SpoolEntry
from gateway.timeline import stage
from gateway.together import Together


@dataclass(frozen=True, slots=True)
class Sharing:
    """How the documents of one source are shared.

    `always` shares also what lies on this machine's own disks. `keeps` is whether documents are stored: None for those of
    archives that tell of changes. `epoch` stands for the source's configuration. `max_document` is in bytes.
    """

    always: bool = False
    keeps: bool | None = None
    epoch: str = ""
    max_document: int = 32 << 20


class SharedReads:
    """The shared reads of one source."""

    def __init__(
        self, source: Source, sharing: Sharing, *, cache: Cache, policy: Policy, fills: Fills, spool: Spool
    ) -> None:
        self.source = source
        self.sharing = sharing
        self.cache = cache
        self.policy = policy
        self._fills = fills
        self._spool = spool
        self._stats: Together[str, Descriptor] = Together(partial(source.stat, patience=policy.patience * NEARLY))
        self._missing = Missing(source.name, policy.negative)

    @property
    def applies(self) -> bool:
        """Whether documents of this source are shared: known once the source was entered."""
        able = self.source.capabilities
        return not able.per_caller and (self.sharing.always or not able.local)

    @property
    def keeps(self) -> bool:
        """Whether documents of this source are stored."""
        if self.cache.backend == "none" or self.sharing.keeps is False:
            return False
        able = self.source.capabilities
        return self.applies and bool(self.sharing.keeps or able.immutable or able.cheap_stat)

    def spools(self, size: int | None) -> bool:
        """Whether a document of `size` bytes is read whole for all who ask."""
        return size is None or size <= self.sharing.max_document

    def key(self, locator: str) -> Key:
        """What the document at `locator` is kept under."""
        return Key(self.source.name, self.sharing.epoch, locator)

    def forget_missing(self) -> None:
        """Believe nothing any more of what archives said they do not have."""
        self._missing.forget()

    # --- stored copies -------------------------------------------------------------------------------------------

    async def look(self, key: Key) -> Look:
        if not self.keeps:
            return NOTHING
        with stage("cache"):
            return await self.cache.look(key)

    async def judged(
        self, key: Key, look: Look, hit: Hit, known: Descriptor | None
    ) -> cache_status.CacheStatus | Reader | None:
        """How `hit` may be used now, None when it may not. Raises the archive's word where that forbids it.

        A reader, when the archive was asked for the document in order to know, and gave it: the reader is the caller's.
        """
        record, now = hit.record, time.time()
        age = now - record.stored
        freshness = self.policy.freshness(record, now)
        if self.source.capabilities.cheap_stat:
            return await self._validated(key, record, known, freshness, self.policy.ttl - age)
        match freshness:
            case Freshness.FRESH:
                return cache_status.hit(self.policy.ttl - age)
            case Freshness.REFRESHED:
                self._refreshing(key, look)
                return cache_status.hit(self.policy.ttl - age)
            case Freshness.KEPT:
                return await self._newer(key, look) or cache_status.stale(self.policy.ttl - age)
        return None

    async def _validated(
        self, key: Key, record: Record, known: Descriptor | None, freshness: Freshness, ttl: float
    ) -> cache_status.CacheStatus | None:
        """Whether the archive still has what is stored; its silence is excused for a while."""
        usable = freshness is not Freshness.OVER
        try:
            if known is None:
                known = await self._stat(key, self.policy.patience if usable else None)
        except TimeoutError:
            return cache_status.stale(ttl)
        except AdapterError as error:
            if usable and excuses(error):
                return cache_status.stale(ttl)
            await self.obey(key, error)
            raise
        if same_document(record.descriptor, known):
            return cache_status.hit(ttl)
        await self.cache.drop(key)
        return None

    async def obey(self, key: Key, answer: AdapterError) -> None:
        """Do what an archive's answer asks for, whoever waited for it: no copy may be used, nor one that is on its way."""
        if not withdraws(answer):
            return
        if self._fills.outdate(key.source, key.locator):
            # Only a purge takes back what is being stored (K3). One that is pending is carried out when the cache is back.
            with suppress(PurgePending):
                await self.cache.purge(Scope(key.source, key.locator))
        elif self.keeps:
            await self.cache.drop(key)

    async def _stat(self, key: Key, patience: float | None) -> Descriptor:
        """Raises `TimeoutError` after `patience` seconds, and what `Source.stat` raises."""
        async with asyncio.timeout(patience):
            return await self._stats.ask(key.locator)

    def _refreshing(self, key: Key, look: Look) -> Fill:
        """A fill of `key` that nobody has to wait for."""
        fill = self._fills.get((key, look.ticket)) or self._start(key, look)
        fill.wanted = True
        return fill

    async def _newer(self, key: Key, look: Look) -> Reader | None:
        """A reader of the document itself. None when the archive fails, or takes longer than anybody with a copy waits."""
        try:
            async with asyncio.timeout(self.policy.patience):
                reader, _ = await self.filled(key, look, None, wanted=True)
        except TimeoutError:
            return None
        except AdapterError as error:
            if excuses(error):
                return None
            raise
        return reader

    # --- fills ---------------------------------------------------------------------------------------------------

    async def filled(
        self, key: Key, look: Look, known: Descriptor | None, *, wanted: bool = False
    ) -> tuple[Reader, bool]:
        """A reader of a fill whose facts are there, and whether somebody else had started it.

        The fill may have `found` the document stored by another process: then there are no bytes to follow. `wanted` lets it
        go on without readers.
        """
        arrived = time.monotonic()
        while True:
            fill = self._fills.get((key, look.ticket)) if self._may_join(look.ticket) else None
            collapsed = fill is not None
            if fill is None:
                # Before anything is made for a read that would be refused: in a crowd that is most of the work.
                self.source.refuse()
            reader = (fill or self._start(key, look)).follow()
            fill = reader.fill
            fill.wanted = fill.wanted or wanted
            try:
                if await self._heard(fill, arrived, known) and (
                    fill.found or fill.began >= arrived or await self._current(fill, known)
                ):
                    return reader, collapsed
            except BaseException:
                reader.leave()
                raise
            # The next one began after this request came: whoever follows it needs to ask nothing more.
            self._fills.retire(fill)
            reader.leave()

    async def _heard(self, fill: Fill, arrived: float, known: Descriptor | None) -> bool:
        """Wait for the facts. Raises the archive's word; False when it says "not found" to what was asked too long ago."""
        try:
            await fill.told_or_failed()
        except NotFound:
            if fill.asked >= arrived or (known is None and self._missing.believed(fill.asked, arrived)):
                raise
            return False
        return True

    def refuse_missing(self, key: Key, look: Look) -> None:
        """Raise `Remembered` when the archive said a moment ago that it does not have the document."""
        self._missing.refuse((key, look.ticket))

    async def _current(self, fill: Fill, known: Descriptor | None) -> bool:
        """Whether the archive still has what a fill began to read before this request came."""
        if not self._asks:
            return True
        return same_document(fill.descriptor, known or await self._stats.ask(fill.locator))

    @property
    def _asks(self) -> bool:
        """Whether a read under way is joined only once the archive was asked if it still has that document."""
        able = self.source.capabilities
        return able.cheap_stat and not able.immutable

    def _may_join(self, ticket: Ticket | None) -> bool:
        """Without a ticket nobody knows whether the document was purged by another process since a read of it began."""
        return ticket is not None or self._asks or not (self.keeps and self.cache.shared)

    def _start(self, key: Key, look: Look) -> Fill:
        asked, ticket = time.time(), look.ticket
        storing = ticket is not None and self.keeps
        seen = None if look.hit is None else look.hit.record
        claim = Claim(self.cache, key, seen) if storing and self.cache.shared else None

        async def keep(descriptor: Descriptor, sniffed: str, entry: SpoolEntry) -> bool:
            return await self._keep(key, ticket, Record(descriptor, sniffed, asked), entry)

        async def over(failure: Exception | None) -> None:
            if isinstance(failure, NotFound) and self._remembers(ticket):
                self._missing.remember((key, ticket), failure, fill.asked)
            if claim is not None:
                await claim.release()
            if isinstance(failure, AdapterError):
                await self.obey(key, failure)

        terms = Terms(
            max_document=self.sharing.max_document,
            keep=keep if storing else None,
            elsewhere=claim.elsewhere if claim else None,
            progress=claim.renew if claim else None,
            over=over,
        )
        fill = Fill(self.source, key.locator, self._spool, terms)
        return self._fills.start((key, ticket), fill)

    def _remembers(self, ticket: Ticket | None) -> bool:
        """Whether "not found" is remembered. Without a ticket nobody knows whether another process has purged since."""
        return self.keeps and (ticket is not None or not self.cache.shared)

    async def _keep(self, key: Key, ticket: Ticket | None, record: Record, entry: SpoolEntry) -> bool:
        """Store a whole document. One without a version gets a digest, so that its rest can be told to be the same."""
        descriptor = record.descriptor
        if ticket is None or record.size > self.cache.limits.max_document:
            return False
        digest = descriptor.digest
        if digest is None and descriptor.version is None:
            try:
                digest = Digest("sha256", (await entry.hashed("sha256")).digest())
            except OSError:
                return False
        kept = replace(record, descriptor=replace(descriptor, digest=digest, title=None))
        return await self.cache.put(key, ticket, kept, entry)
