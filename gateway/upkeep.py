"""What an operator does with the cache of a running gateway: look at it, purge, warm.

The admin listener and the command line are two doors to the same three acts; nothing here knows HTTP or a terminal. Ids are
resolved as for a reader, so that whatever an id leads to today is what is purged or warmed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from adapters.errors import AdapterError
from gateway.cache import Cache, Scope
from gateway.documents import Documents
from gateway.fills import Fills
from gateway.routing import Location, Router, Withdrawn
from gateway.shared_document import FilledDocument


class UnknownSource(Exception):
    """There is no source of this name; its text is the name."""


class Upkeep:
    """The cache of one process and what is on its way there."""

    def __init__(
        self, router: Router, documents: Documents, cache: Cache, fills: Fills, sources: Mapping[str, object]
    ) -> None:
        self._router = router
        self._documents = documents
        self._cache = cache
        self._fills = fills
        self._sources = sources

    async def state(self) -> dict[str, Any]:
        """How much is kept and what came of it, as plain values. Holds no id and no locator."""
        stats = await self._cache.stats()
        counts = self._cache.counts
        # `asdict` would count the pairs of a Counter.
        since = {one.name: getattr(counts, one.name) for one in fields(counts)} | {"faults": dict(counts.faults)}
        return asdict(stats) | {"since_start": since, "reading": self._fills.running}

    async def purge_all(self) -> None:
        """Forget everything. Raises `PurgePending`."""
        await self._purge(Scope())

    async def purge_source(self, name: str) -> None:
        """Forget one source. Raises `PurgePending`, `UnknownSource`."""
        if name not in self._sources:
            raise UnknownSource(name)
        await self._purge(Scope(name))

    async def purge_id(self, id: str) -> None:
        """Forget one document. Raises `PurgePending`, and what the router raises for an id that leads nowhere."""
        location = await self._located(id)
        await self._purge(Scope(location.source, location.locator))

    async def warm(self, id: str) -> str:
        """Read one document into the cache: `stored`, `kept` when it was there, `not kept` when it cannot be.

        Raises what reading the document raises.
        """
        location = await self._router.locate(id)
        shared = self._documents.sharing(location)
        if shared is None or not shared.keeps:
            return "not kept"
        async with self._documents.open(location) as document:
            if not isinstance(document, FilledDocument):
                return "kept"
            fill = document.reader.fill
            fill.wanted = True
        if fill.task is not None:
            await asyncio.wait({fill.task})
        if isinstance(fill.failure, AdapterError) and not fill.tethered:
            raise fill.failure
        return "stored" if fill.stored else "not kept"

    async def _located(self, id: str) -> Location:
        try:
            return await self._router.locate(id)
        except Withdrawn as withdrawn:
            if not withdrawn.location.locator:
                raise
            return withdrawn.location

    async def _purge(self, scope: Scope) -> None:
        self._documents.forget_missing()
        await self._cache.purge(scope)
        # Reads under no ticket, as where nothing is kept, are not told apart by what was purged.
        self._fills.retire()


def described(error: AdapterError) -> str:
    """What an operator is told of a document that could not be read; holds no patient data (C12)."""
    return error.detail or type(error).__name__
