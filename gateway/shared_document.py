"""Documents that many read at once or that were kept: out of a fill, or out of the cache.

Delivery sees no difference to a document that is read for one reader alone (`document`). What may be used, and when, is
judged by `shared`; nothing here decides it.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, aclosing

from adapters.contract import WHOLE, Descriptor, Span
from adapters.errors import Changed
from gateway.blame import blamed
from gateway.cache import Broken, Hit
from gateway.cache.policy import same_document
from gateway.document import SMALL, Document, Facts
from gateway.fill import Reader
from gateway.pacing import Place


class FilledDocument(Document):
    """A document that a fill reads for everybody who asks meanwhile."""

    def __init__(self, reader: Reader, facts: Facts) -> None:
        self.reader = reader
        self.facts = facts

    @property
    def place(self) -> Place | None:
        # A document that is spooled is read to its end whatever its readers do.
        return self.reader.fill.source if self.reader.fill.tethered else None

    async def small(self) -> bytes | None:
        size = self.facts.size
        return await self.reader.whole() if size is not None and size <= SMALL else None

    def chunks(self, span: Span | None = None) -> AsyncGenerator[bytes, None]:
        fill = self.reader.fill
        if span is not None and fill.tethered and fill.source.capabilities.spans:
            # Reading past everything before the part would keep the archive busy for nothing.
            return self._part(span)
        return self.reader.chunks(*_ends(span))

    async def _part(self, span: Span) -> AsyncGenerator[bytes, None]:
        """A part of a document that is too large to be spooled, asked from the archive by itself."""
        fill = self.reader.fill
        source, was = fill.source, fill.descriptor
        self.reader.leave()
        version = was.version if source.capabilities.strong_versions else None
        async with source.open(fill.locator, span, version=version) as content:
            if content.descriptor.version != was.version or content.descriptor.size != was.size:
                raise blamed(Changed("the document changed between the look and the open"), source.name)
            async with aclosing(content.chunks):
                async for chunk in content.chunks:
                    yield chunk


class StoredDocument(Document):
    """A document out of the cache. When the cache fails in mid-body the archive gives the rest.

    `again` opens the archive's document as a fill.
    """

    def __init__(
        self, hit: Hit, facts: Facts, source: str, again: Callable[[], AbstractAsyncContextManager[FilledDocument]]
    ) -> None:
        self.hit = hit
        self.facts = facts
        self._source = source
        self._again = again

    async def small(self) -> bytes | None:
        return self.hit.whole

    async def chunks(self, span: Span | None = None) -> AsyncGenerator[bytes, None]:
        whole = (span or WHOLE).within(self.hit.record.size)
        position, stop = whole.start, whole.stop or 0
        try:
            async with aclosing(self.hit.chunks(whole)) as pieces:
                async for piece in pieces:
                    position += len(piece)
                    passed_on = [piece]
                    # Not held here meanwhile: its reader may only need it in another form.
                    del piece
                    yield passed_on.pop()
        except Broken:
            pass
        if position < stop:
            async with aclosing(self._rest(Span(position, stop))) as pieces:
                async for piece in pieces:
                    yield piece

    async def _rest(self, span: Span) -> AsyncGenerator[bytes, None]:
        async with self._again() as document:
            if not await _still(self.hit.record.descriptor, document.reader):
                raise blamed(Changed("the cache failed, and the archive has another document by now"), self._source)
            # Of the very read that was compared: a part that is asked by itself may be another document's.
            async with aclosing(document.reader.chunks(span.start, span.stop)) as pieces:
                async for piece in pieces:
                    yield piece


async def _still(kept: Descriptor, reader: Reader) -> bool:
    """Whether the fill reads what was `kept`. Where the archive states no version, all of it has to come first."""
    now = reader.fill.descriptor
    if same_document(kept, now):
        return True
    if kept.version is not None or now.version is not None or kept.digest is None:
        return False
    hasher = hashlib.new(kept.digest.algorithm, usedforsecurity=False)
    async with aclosing(reader.chunks(0, None)) as pieces:
        async for piece in pieces:
            hasher.update(piece)
    return hasher.digest() == kept.digest.value


def _ends(span: Span | None) -> tuple[int, int | None]:
    return (0, None) if span is None else (span.start, span.stop)
