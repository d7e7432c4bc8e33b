"""The `manifest` scheme: a CSV file says which id is which document.

Rules of this module:
1. The event loop only waits: SQLite and the CSV file are touched on two threads of the scheme's own, one for look-ups
   and one for imports, so that neither a reload nor a stalled share holds up a look-up, and none of it is in the loop's
   default pool.
2. A look-up sees one index from beginning to end. A new index takes the place of the old one between two look-ups; the
   old one is closed after the last look-up that began with it.
3. A bad new file changes nothing but the log: the index in use stays.
4. Log lines carry counts, line numbers and reasons, never rows or paths (contract rule C12).
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar

from adapters.contract import Log
from adapters.errors import Unavailable
from gateway.following import Follower
from gateway.ids import ManifestError, ManifestIds
from gateway.ids.manifest_import import FileVersion, Report
from gateway.ids.manifest_index import Index, current_version, load
from gateway.routing import Location

RECENT = 1024
"""Locations kept at hand, about 1 MiB: a reader asks for the same document in HEAD, ranges and retries."""

Result = TypeVar("Result")


class ManifestScheme:
    """Locations of one source by a manifest. An asynchronous context: entering reads the manifest."""

    def __init__(
        self, source: str, settings: ManifestIds, log: Log, *, prefix: str = "", progress: Report | None = None
    ) -> None:
        """`log` carries the source's name. `progress` is called on a thread while the manifest is read at the start."""
        self._source = source
        self._settings = settings
        self._log = log
        self._prefix = prefix
        self._progress = progress
        self._index: Index | None = None
        self._look_ups: ThreadPoolExecutor | None = None
        self._imports: ThreadPoolExecutor | None = None
        self._importing: asyncio.Future[Any] | None = None
        self._refreshing = asyncio.Lock()
        self._refused: FileVersion | None = None
        self._warned: object = self
        self._seen: FileVersion | None = None
        self._follower = Follower(
            self._look, lambda: settings.refresh, name=f"manifest of {source}", failed=self._not_looked_at
        )

    async def __aenter__(self) -> Self:
        """Raises `ManifestError` with everything that is wrong with the manifest."""
        self._look_ups = ThreadPoolExecutor(1, thread_name_prefix="manifest-look-ups")
        self._imports = ThreadPoolExecutor(1, thread_name_prefix="manifest-import")
        try:
            self._index = await self._load(self._progress)
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        self._seen = self._index.version
        self._follower.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Idempotent, and works after a failed enter."""
        await self._follower.stop()
        if self._importing is not None:
            await asyncio.wait([self._importing])
        index, self._index = self._index, None
        if index is not None:
            await self._on(self._look_ups, index.close)
        for executor in (self._look_ups, self._imports):
            if executor is not None:
                executor.shutdown(wait=False)

    @property
    def rows(self) -> int:
        """Rows of the index in use."""
        return self._current().rows

    @property
    def knows_patients(self) -> bool:
        """Whether the manifest has a column for whose document each is."""
        return self._current().knows_patients

    async def locate(self, rest: str) -> Location:
        """Raises `NotFound`, `Withdrawn`, and `Unavailable` when the index cannot be read."""
        index = self._current()
        location = index.recent.pop(rest, None)
        if location is None:
            location = await self._on(self._look_ups, index.find, rest)
            if len(index.recent) >= RECENT:
                del index.recent[next(iter(index.recent))]
        index.recent[rest] = location
        return location

    async def sample(self, count: int) -> list[tuple[str, int, Location]]:
        """Up to `count` (id, line, location) of documents that are not withdrawn, evenly spread over the manifest."""
        found = await self._on(self._look_ups, self._current().sample, count)
        return [(self._prefix + rest, line, location) for rest, line, location in found]

    async def refresh(self) -> bool:
        """Read the manifest when it has changed; true when a new index is in use. A bad file is logged, once."""
        async with self._refreshing:
            old = self._current()
            version = await self._on(self._imports, current_version, self._settings.file)
            if version == old.version or (version is not None and version == self._refused):
                return False
            started = time.monotonic()
            try:
                new = await self._load(None, old.version)
            except ManifestError as error:
                self._refuse(version, error)
                return False
            self._index = new
            # Behind every look-up that began with the old index, on the same thread.
            await asyncio.shield(self._on(self._look_ups, old.close))
            self._refused, self._warned = None, self
            self._log.info("manifest read again", rows=new.rows, seconds=round(time.monotonic() - started, 3))
            return True

    def _refuse(self, version: FileVersion | None, error: ManifestError) -> None:
        if not error.passing:
            self._refused = version
        if self._warned != version:
            self._warned = version
            first = error.problems[0]
            self._log.warning(
                "manifest refused, the old one stays", problems=error.count, line=first.line, detail=first.text
            )

    async def _look(self) -> None:
        version = await self._on(self._imports, current_version, self._settings.file)
        # A file that looks the same twice is not being written.
        if version == self._seen:
            await self.refresh()
        self._seen = version

    def _not_looked_at(self, error: Exception) -> None:
        self._log.warning("manifest could not be looked at", error=type(error).__name__)

    async def _load(self, report: Report | None, previous: FileVersion | None = None) -> Index:
        stop = threading.Event()
        read = partial(load, self._source, self._settings, self._prefix, stop=stop, report=report, previous=previous)
        call = self._on(self._imports, read)
        self._importing = call
        try:
            return await asyncio.shield(call)
        except asyncio.CancelledError:
            stop.set()
            call.add_done_callback(_discard)
            raise

    def _current(self) -> Index:
        if self._index is None:
            raise Unavailable("the manifest is not open")
        return self._index

    def _on(
        self, executor: ThreadPoolExecutor | None, function: Callable[..., Result], *arguments: Any
    ) -> asyncio.Future[Result]:
        return asyncio.get_running_loop().run_in_executor(executor, function, *arguments)


def _discard(call: asyncio.Future[Index]) -> None:
    """Close what an abandoned import still made."""
    if not call.cancelled() and call.exception() is None:
        call.result().close()
