"""Opening a document: the one way from a location to facts and bytes.

A `Document` is an open content together with what HTTP and FHIR need to know about it: its media type, its version and
its last modification. The media type is decided here, once per version, so that a whole read, a range and a HEAD agree:
what the archive or its manifest states, then magic bytes, then the extension. Nothing here writes to a client.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType

from adapters.contract import WHOLE, Descriptor, LocalFile, Span
from adapters.errors import Corrupt
from gateway import media
from gateway.blame import blamed
from gateway.opened import Opened, read_file
from gateway.routing import Location, valid_id
from gateway.source import Source

HEAD_BYTES = 8192
"""How much of a document is looked at to tell its type: PDF allows its mark within the first 1024 bytes, DICOM at 128."""

SMALL = 256 * 1024
"""Up to this size in bytes a local document is read at once and answered in one write."""

PIECE = 768 * 1024
"""Bytes of a large local document read at a time; a multiple of 3, so that base64 never carries."""

REMEMBERED_TYPES = 50_000
"""Media types kept by (source, locator, version); about 10 MiB when full."""


@dataclass(slots=True, eq=False)  # made for every request: a frozen one takes three times as long
class Facts:
    """What is known about a document without its bytes. `size` is None when unknown, `version_id` when unversioned."""

    location: Location
    descriptor: Descriptor
    media_type: str

    @property
    def size(self) -> int | None:
        return self.descriptor.size

    @property
    def version_id(self) -> str | None:
        """The FHIR versionId: the archive's version when that is a FHIR id, else a digest of it."""
        version = self.descriptor.version
        if version is None or valid_id(version):
            return version
        return hashlib.sha256(version.encode("utf-8", "surrogateescape")).hexdigest()[:40]

    @property
    def modified(self) -> datetime | None:
        return self.descriptor.modified or self.location.modified


class Document:
    """An open document. Valid inside the context that `Documents.open` returned."""

    __slots__ = ("_first", "content", "data", "facts", "source")

    def __init__(self, source: Source, content: Opened) -> None:
        self.source = source
        self.content = content
        self.facts: Facts
        self.data: bytes | None = None
        self._first: bytes | None = None

    async def read_small(self) -> bytes:
        """All bytes of a local document of at most `SMALL` bytes, verified to be one version."""
        if self.data is None:
            file, size = self.content.file, self.content.descriptor.size
            assert file is not None
            assert size is not None
            data = await read_file(file, 0, size, source=self.source) if size else b""
            self.check()
            self.data = data
        return self.data

    def check(self) -> None:
        """Raise `Changed` when the open local file is no longer what was opened."""
        assert self.content.file is not None
        try:
            self.content.file.check()
        except Exception as error:
            raise blamed(error, self.source.name) from error.__cause__

    async def head(self) -> bytes:
        """The first bytes, for telling the type; they are not lost to `chunks`."""
        file, size = self.content.file, self.content.descriptor.size
        if file is not None and size is not None:
            if size <= SMALL:
                return (await self.read_small())[:HEAD_BYTES]
            return await read_file(file, 0, HEAD_BYTES, source=self.source)
        if self._first is None:
            self._first = await _beginning(self.content.chunks)
        return self._first[:HEAD_BYTES]

    async def chunks(self, span: Span | None = None) -> AsyncGenerator[bytes, None]:
        """The bytes of the opened span, or of `span` within it; an error is raised, never a quiet end.

        Callers close it (`aclosing`), since an abandoned generator ends too late.
        """
        file, size = self.content.file, self.content.descriptor.size
        if file is not None and size is not None:
            async with aclosing(self._file_pieces(file, (span or WHOLE).within(size))) as pieces:
                async for piece in pieces:
                    yield piece
            return
        position = self.content.span.start
        start, stop = (span.start, span.stop) if span else (position, None)
        async with aclosing(_rejoined(self._first, self.content.chunks)) as chunks:
            async for chunk in chunks:
                begin, position = position, position + len(chunk)
                piece = chunk if start <= begin else chunk[start - begin :]
                if stop is not None and position >= stop:
                    if piece := piece[: len(piece) - (position - stop)]:
                        yield piece
                    return
                if piece:
                    yield piece
        if stop is not None and position < stop:
            raise blamed(Corrupt("the archive ended the document early"), self.source.name)

    async def _file_pieces(self, file: LocalFile, span: Span) -> AsyncGenerator[bytes, None]:
        """A part of a local file; the last piece only when the file is still what was opened."""
        position, stop = span.start, span.stop or 0
        while position < stop:
            count = min(PIECE, stop - position)
            data = await read_file(file, position, count, source=self.source)
            position += count
            if position == stop:
                self.check()
            yield data


async def _beginning(chunks: AsyncIterator[bytes]) -> bytes:
    """The first chunks, up to `HEAD_BYTES` or a little more: what they show must not depend on where they were cut."""
    first = await anext(chunks, b"")
    while len(first) < HEAD_BYTES and (more := await anext(chunks, b"")):
        first += more
    return first


async def _rejoined(first: bytes | None, rest: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    try:
        if first:
            yield first
        async for chunk in rest:
            yield chunk
    finally:
        close = getattr(rest, "aclose", None)
        if close is not None:
            await close()


class Documents:
    """Opens documents of the configured sources."""

    def __init__(self, sources: Mapping[str, Source]) -> None:
        self._sources = sources
        self._types: dict[tuple[str, str, str], str] = {}

    def source(self, location: Location) -> Source:
        return self._sources[location.source]

    def open(
        self, location: Location, span: Span | None = None, *, version: str | None = None
    ) -> AbstractAsyncContextManager[Document]:
        """The document at `location`, as a context; raises what `Source.open` raises."""
        return _Opening(self, location, span, version)

    async def facts(self, location: Location) -> Facts:
        """What can be known without a body: a cheap look where the archive has one, else a short read."""
        source = self._sources[location.source]
        if not source.capabilities.cheap_stat:
            async with self.open(location) as document:
                return document.facts
        descriptor = await source.stat(location.locator)
        media_type = media.statement(location.media_type, descriptor.media_type) or self._remembered(
            location, descriptor
        )
        if media_type is None:
            span = Span(0, HEAD_BYTES) if source.capabilities.spans and descriptor.size else None
            async with self.open(location, span) as document:
                return document.facts
        return Facts(location, descriptor, media_type)

    def _remembered(self, location: Location, descriptor: Descriptor) -> str | None:
        if descriptor.version is None:
            return None
        return self._types.get((location.source, location.locator, descriptor.version))

    async def _describe(self, document: Document, location: Location) -> Facts:
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

    async def _first_bytes(self, document: Document, location: Location) -> bytes:
        if document.content.span.start == 0:
            return await document.head()
        async with document.source.open(location.locator, Span(0, HEAD_BYTES)) as content:
            return await _beginning(content.chunks)


class _Opening:
    """The context of one open document: the source's context plus the facts."""

    __slots__ = ("_context", "_documents", "_location", "_span", "_version")

    def __init__(self, documents: Documents, location: Location, span: Span | None, version: str | None) -> None:
        self._documents = documents
        self._location = location
        self._span = span
        self._version = version
        self._context: AbstractAsyncContextManager[Opened]

    async def __aenter__(self) -> Document:
        source = self._documents.source(self._location)
        # A local file gives any span of itself, and an archive without spans none: opening the whole leaves every decision
        # to what was opened (C2).
        span = self._span if source.capabilities.spans and not source.capabilities.local else None
        self._context = source.open(self._location.locator, span, version=self._version)
        document = Document(source, await self._context.__aenter__())
        try:
            document.facts = await self._documents._describe(document, self._location)
        except BaseException as error:
            await self._context.__aexit__(type(error), error, error.__traceback__)
            raise
        return document

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._context.__aexit__(kind, error, trace)
