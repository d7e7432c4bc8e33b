"""Opening a document: the one way from a location to facts and bytes.

Directly from the archive for one reader, or shared by all who ask (`shared`), as the source is configured. The media type is
decided once per version, so that a whole read, a range and a HEAD agree: what the archive or its manifest states, then
magic bytes, then the extension. Nothing here writes to a client.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from types import TracebackType

from adapters.contract import Descriptor, Span
from adapters.errors import AdapterError
from gateway import media
from gateway.document import DirectDocument, Document, Facts, beginning
from gateway.opened import Opened
from gateway.protocol import cache_status
from gateway.routing import Location
from gateway.shared import SharedReads
from gateway.shared_opening import Opening, StoredOpening
from gateway.source import Source

REMEMBERED_TYPES = 50_000
"""Media types kept by (source, locator, version); about 10 MiB when full."""

NOT_SHARED: Mapping[str, SharedReads] = {}


class Documents:
    """Opens documents of the configured sources."""

    def __init__(self, sources: Mapping[str, Source], shared: Mapping[str, SharedReads] = NOT_SHARED) -> None:
        self._sources = sources
        self._shared = shared
        self._types: dict[tuple[str, str, str], str] = {}

    def source(self, location: Location) -> Source:
        return self._sources[location.source]

    def open(
        self,
        location: Location,
        span: Span | None = None,
        *,
        version: str | None = None,
        known: Descriptor | None = None,
    ) -> AbstractAsyncContextManager[Document]:
        """The document at `location`, as a context; raises what `Source.open` raises.

        `span` is the part that is wanted, `known` what the archive has said of the document for this very request.
        """
        shared = self.sharing(location)
        if shared is not None:
            return Opening(shared, location, span, known)
        return self.directly(location, span, version=version)

    def forget_missing(self) -> None:
        """Believe nothing any more of what archives said they do not have."""
        for shared in self._shared.values():
            shared.forget_missing()

    def stored(self, location: Location) -> AbstractAsyncContextManager[Document | None]:
        """The document at `location` if a copy is stored that may be used, else None. Raises what `Source.stat` raises."""
        shared = self.sharing(location)
        return nullcontext() if shared is None else StoredOpening(shared, location)

    def directly(
        self, location: Location, span: Span | None = None, *, version: str | None = None
    ) -> AbstractAsyncContextManager[DirectDocument]:
        """The document at `location` from the archive itself, for one reader alone."""
        return _Opening(self, location, span, version)

    def sharing(self, location: Location) -> SharedReads | None:
        """The shared reads of the source, None where every reader has a read of its own."""
        shared = self._shared.get(location.source)
        return shared if shared is not None and shared.applies else None

    async def facts(self, location: Location) -> Facts:
        """What can be known without a body: a cheap look where the archive has one, else a short read."""
        source = self._sources[location.source]
        if not source.capabilities.cheap_stat:
            async with self.open(location) as document:
                return document.facts
        descriptor = await self._stat(location)
        media_type = media.statement(location.media_type, descriptor.media_type) or self._remembered(
            location, descriptor
        )
        if media_type is None:
            shared = self.sharing(location)
            if not source.capabilities.spans or (shared is not None and shared.spools(descriptor.size)):
                async with self.open(location, known=descriptor) as document:
                    return document.facts
            span = Span(0, media.HEAD_BYTES) if descriptor.size else None
            async with self.directly(location, span) as document:
                return document.facts
        return Facts(location, descriptor, media_type)

    async def _stat(self, location: Location) -> Descriptor:
        try:
            return await self._sources[location.source].stat(location.locator)
        except AdapterError as error:
            shared = self.sharing(location)
            if shared is not None:
                await shared.obey(shared.key(location.locator), error)
            raise

    def _remembered(self, location: Location, descriptor: Descriptor) -> str | None:
        if descriptor.version is None:
            return None
        return self._types.get((location.source, location.locator, descriptor.version))

    async def _describe(self, document: DirectDocument, location: Location) -> Facts:
        """The facts of an open document, its type told from its first bytes when nobody states it."""
        descriptor = document.content.descriptor
        media_type = media.statement(location.media_type, descriptor.media_type) or self._remembered(
            location, descriptor
        )
        if media_type is None:
            media_type = media.content_type(None, await self._first_bytes(document, location), location.locator)
            if descriptor.version is not None:
                if len(self._types) >= REMEMBERED_TYPES:
                    self._types.clear()
                self._types[location.source, location.locator, descriptor.version] = media_type
        return Facts(location, descriptor, media_type)

    async def _first_bytes(self, document: DirectDocument, location: Location) -> bytes:
        if document.content.span.start == 0:
            return await document.head()
        async with document.source.open(location.locator, Span(0, media.HEAD_BYTES)) as content:
            return await beginning(content.chunks)


class _Opening:
    """The context of one open document: the source's context plus the facts."""

    __slots__ = ("_context", "_documents", "_location", "_span", "_version")

    def __init__(self, documents: Documents, location: Location, span: Span | None, version: str | None) -> None:
        self._documents = documents
        self._location = location
        self._span = span
        self._version = version
        self._context: AbstractAsyncContextManager[Opened]

    async def __aenter__(self) -> DirectDocument:
        source = self._documents.source(self._location)
        # A local file gives any span of itself, and an archive without spans none: opening the whole leaves every decision
        # to what was opened (C2).
        span = self._span if source.capabilities.spans and not source.capabilities.local else None
        self._context = source.open(self._location.locator, span, version=self._version)
        document = DirectDocument(source, await self._context.__aenter__())
        try:
            document.facts = await self._documents._describe(document, self._location)
        except BaseException as error:
            await self._context.__aexit__(type(error), error, error.__traceback__)
            raise
        shared = self._documents._shared.get(self._location.source)
        if shared is not None and shared.cache.backend != "none":
            document.cache_status = cache_status.BYPASS
        return document

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._context.__aexit__(kind, error, trace)
