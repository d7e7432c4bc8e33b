"""The contexts of shared reads: one request's way from a location to an open document, and back.

What may be used is judged by `SharedReads`; here it becomes a document, and everything is let go of in the end.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from types import TracebackType

from adapters.contract import Descriptor, Span
from gateway import media
from gateway.cache import NOTHING, Hit, Key, Look
from gateway.deadline import in_time
from gateway.document import DirectDocument, Document, Facts
from gateway.fill import Reader
from gateway.opened import Opened
from gateway.protocol import cache_status
from gateway.routing import Location
from gateway.shared import SharedReads
from gateway.shared_document import FilledDocument, StoredDocument


class _Context:
    """What a shared read holds until it is left. Classes, not generators: this runs for every request."""

    __slots__ = ("_context", "_hit", "_key", "_known", "_location", "_reader", "_shared", "_span")

    def __init__(
        self, shared: SharedReads, location: Location, span: Span | None = None, known: Descriptor | None = None
    ) -> None:
        self._shared = shared
        self._location = location
        self._key = shared.key(location.locator)
        self._span = span
        self._known = known
        self._hit: Hit | None = None
        self._reader: Reader | None = None
        self._context: AbstractAsyncContextManager[Opened] | None = None

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()
        if self._context is not None:
            await self._context.__aexit__(kind, error, trace)

    def _close(self) -> None:
        if self._hit is not None:
            self._hit.close()
        if self._reader is not None:
            self._reader.leave()

    async def _usable(self, look: Look) -> StoredDocument | None:
        """The stored document, None when there is none that may be used. Raises the archive's word against it."""
        hit, shared, key = look.hit, self._shared, self._key
        if hit is None:
            return None
        self._hit = hit
        use = await shared.judged(key, look, hit, self._known)
        if isinstance(use, Reader):
            self._reader, use = use, None
        if use is None:
            hit.close()
            return None
        descriptor = hit.record.descriptor
        facts = Facts(self._location, descriptor, _media_type(self._location, descriptor, hit.record.sniffed))
        document = StoredDocument(hit, facts, self._location.source, lambda: _Again(shared, key, look))
        document.cache_status = use
        return document


class StoredOpening(_Context):
    """The context of a stored copy that may be used; None where there is none."""

    __slots__ = ()

    async def __aenter__(self) -> Document | None:
        try:
            return await in_time(self._found())
        except BaseException:
            self._close()
            raise

    async def _found(self) -> Document | None:
        return await self._usable(await self._shared.look(self._key))


class Opening(_Context):
    """The context of a document, stored or filled; of a part of a large one, directly from the archive."""

    __slots__ = ()

    async def __aenter__(self) -> Document:
        try:
            return await in_time(self._open())
        except BaseException:
            self._close()
            raise

    async def _open(self) -> Document:
        shared = self._shared
        status = cache_status.MISS
        for _ in range(3):
            look = await shared.look(self._key)
            stored = await self._usable(look)
            if stored is not None:
                return stored
            if look.hit is not None:
                status = cache_status.OUTDATED
            elif self._known is None:
                shared.refuse_missing(self._key, look)
            if self._asks_for_a_part():
                return await self._direct()
            reader, collapsed = self._reader, False
            if reader is None:
                reader, collapsed = await shared.filled(self._key, look, self._known)
            if not reader.fill.found:
                return self._filled(reader, cache_status.COLLAPSED if collapsed else status)
            reader.leave()
            self._reader = None
        # Stored by others and gone again each time: the cache is of no use, so it is not asked.
        reader, _ = await shared.filled(self._key, NOTHING, self._known)
        return self._filled(reader, cache_status.MISS)

    def _filled(self, reader: Reader, status: cache_status.CacheStatus) -> FilledDocument:
        self._reader = reader
        fill = reader.fill
        facts = Facts(self._location, fill.descriptor, _media_type(self._location, fill.descriptor, fill.sniffed))
        document = FilledDocument(reader, facts)
        if self._shared.keeps:
            document.cache_status = cache_status.BYPASS if fill.tethered else status
        return document

    def _asks_for_a_part(self) -> bool:
        """Whether only a part is wanted of what is too large to be spooled, and the archive can give that part."""
        shared, known = self._shared, self._known
        if self._span is None or known is None:
            return False
        return shared.source.capabilities.spans and not shared.spools(known.size)

    async def _direct(self) -> DirectDocument:
        source, location = self._shared.source, self._location
        version = None
        if self._known is not None and source.capabilities.strong_versions:
            version = self._known.version
        context = source.open(location.locator, self._span, version=version)
        content = await context.__aenter__()
        self._context = context
        document = DirectDocument(source, content)
        # The handler has told the type from the beginning, which the part may not have.
        document.facts = Facts(location, content.descriptor, _media_type(location, content.descriptor, None))
        if self._shared.keeps:
            document.cache_status = cache_status.BYPASS
        return document


class _Again:
    """The archive's document as a fill, for the rest of a stored one that broke."""

    def __init__(self, shared: SharedReads, key: Key, look: Look) -> None:
        self._shared = shared
        self._key = key
        self._look = look
        self._reader: Reader | None = None

    async def __aenter__(self) -> FilledDocument:
        reader, _ = await self._shared.filled(self._key, self._look, None)
        if reader.fill.found:
            reader.leave()
            reader, _ = await self._shared.filled(self._key, NOTHING, None)
        self._reader = reader
        fill = reader.fill
        location = Location(self._key.source, self._key.locator)
        return FilledDocument(reader, Facts(location, fill.descriptor, fill.sniffed))

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._reader is not None:
            self._reader.leave()


def _media_type(location: Location, descriptor: Descriptor, sniffed: str | None) -> str:
    stated = media.statement(location.media_type, descriptor.media_type)
    return stated or sniffed or "application/octet-stream"
