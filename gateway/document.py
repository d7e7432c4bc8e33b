"""An open document, wherever its bytes come from: the archive itself, or a fill or a stored copy (`shared_document`).

Delivery and the handlers see no difference: facts, small bodies in one piece, everything else in pieces; a document that ends
well is whole, whatever happened behind it. Opening one is the business of `documents` and `shared`; nothing here decides
what is opened, and nothing here writes to a client.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime

from adapters.contract import WHOLE, Descriptor, LocalFile, Span
from adapters.errors import Corrupt
from gateway.blame import blamed
from gateway.media import HEAD_BYTES
from gateway.opened import Opened, read_file
from gateway.pacing import Place
from gateway.protocol.cache_status import CacheStatus
from gateway.routing import Location, valid_id
from gateway.source import Source

SMALL = 256 * 1024
"""Up to this size in bytes a document that is at hand is answered in one write."""

PIECE = 96 * 1024
"""Bytes of a large local document that are held for a reader over TLS; a multiple of 3, so that base64 never carries."""


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


class Document(ABC):
    """An open document. Valid inside the context that gave it."""

    facts: Facts
    cache_status: CacheStatus | None = None
    """What the cache had to do with it; None where there is no cache."""

    @property
    def place(self) -> Place | None:
        """What its reader holds and others may want; None when its reader keeps nobody from anything."""
        return None

    @property
    def whole(self) -> bool:
        """Whether any part of it can be given, not only the one that was asked for."""
        return True

    @abstractmethod
    async def small(self) -> bytes | None:
        """All bytes of a document of at most `SMALL` bytes that is at hand, verified; None for any other."""

    def at_once(self) -> bytes | None:
        """What `small` gives, where there is nothing to wait for; None may also mean that there is. Raises as `small`."""
        return None

    @abstractmethod
    def chunks(self, span: Span | None = None) -> AsyncGenerator[bytes, None]:
        """The bytes of the opened span, or of `span` within it; an error is raised, never a quiet end.

        Callers close it (`aclosing`), since an abandoned generator ends too late.
        """


class DirectDocument(Document):
    """A document read from its archive for one reader alone."""

    __slots__ = ("_first", "content", "data", "facts", "source")

    def __init__(self, source: Source, content: Opened) -> None:
        self.source = source
        self.content = content
        self.facts: Facts
        self.data: bytes | None = None
        self._first: bytes | None = None

    @property
    def place(self) -> Place | None:
        return self.source

    @property
    def whole(self) -> bool:
        span = self.content.span
        return span.start == 0 and span.stop in (None, self.facts.size)

    def at_once(self) -> bytes | None:
        file, size = self.content.file, self.content.descriptor.size
        if self.data is None and file is not None and size is not None and size <= SMALL:
            self._verified(file.read_now(0, size))
        return self.data

    async def small(self) -> bytes | None:
        """All bytes of a local document of at most `SMALL` bytes, verified to be one version; None for any other."""
        file, size = self.content.file, self.content.descriptor.size
        if self.at_once() is None and file is not None and size is not None and size <= SMALL:
            self._verified(await read_file(file, 0, size, source=self.source))
        return self.data

    def _verified(self, data: bytes | None) -> None:
        if data is not None:
            self.check()
            self.data = data

    @property
    def at_hand(self) -> bool:
        """Whether it is an open local file of known size."""
        return self.content.file is not None and self.content.descriptor.size is not None

    async def read_part(self, offset: int, length: int) -> bytes:
        """A part of an open local file, waiting for its disk. Raises what pulling from its source raises."""
        assert self.content.file is not None
        return await read_file(self.content.file, offset, length, source=self.source)

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
            whole = await self.small()
            if whole is not None:
                return whole[:HEAD_BYTES]
            return await read_file(file, 0, HEAD_BYTES, source=self.source)
        if self._first is None:
            self._first = await beginning(self.content.chunks)
        return self._first[:HEAD_BYTES]

    async def chunks(self, span: Span | None = None) -> AsyncGenerator[bytes, None]:
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


async def beginning(chunks: AsyncIterator[bytes]) -> bytes:
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
