"""One read of an archive, from a document's first byte to its last, that goes on after a break.

The same version is opened at the place of the break, or the document is read again from the start and compared with what is
held. Whoever reads saw the first facts and counts on the end: a document that comes back shorter, longer or different is
`Changed`, before a byte of it is given that could make it look whole. What is read is kept by the caller, in `Held`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from adapters.contract import Descriptor, Span
from adapters.errors import AdapterError, Changed, Corrupt
from gateway.blame import blamed
from gateway.held import Held
from gateway.opened import Opened
from gateway.source import Source

MENDS = 5
"""How often one read is mended: an archive that breaks more often would be asked without end."""

FRUITLESS = 2
"""How often an archive that answers may bring nothing new before its break is taken for what it is."""


class MendedRead:
    """A read of `locator`. Every chunk is put into `held` by whoever pulls it, before the next one is pulled.

    `opened` is called with the facts when the archive has opened the document, once.
    """

    descriptor: Descriptor

    def __init__(self, source: Source, locator: str, held: Held, opened: Callable[[Descriptor], None]) -> None:
        self._source = source
        self._locator = locator
        self._held = held
        self._tell = opened
        self.asked = 0.0
        """When the archive was asked last, in seconds of the monotonic clock: its answer is at least as new as that."""
        self._opened = False
        self._answered = False

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The whole document. Raises what opening it raises, and what broke it when that cannot be mended in time."""
        loop = asyncio.get_running_loop()
        mends, fruitless, broken, reached = 0, 0, 0.0, -1
        failure: Exception | None = None
        while True:
            self._answered = False
            try:
                async with aclosing(self._pulled(mended=mends > 0)) as chunks:
                    async for chunk in chunks:
                        yield chunk
                return
            except AdapterError as error:
                if not self._mendable(error):
                    raise
                if self._held.size > reached:
                    mends, fruitless, broken, reached, failure = mends + 1, 0, loop.time(), self._held.size, error
                elif self._answered:
                    # It is not away: it breaks at this very place.
                    fruitless += 1
                over = loop.time() - broken >= self._source.limits.repair_timeout
                if mends > MENDS or fruitless >= FRUITLESS or over:
                    raise failure or error from None
            # Soon at first, since most breaks are short, then ever slower.
            await asyncio.sleep(min(0.05 + (loop.time() - broken) / 2, 1.0))

    def _mendable(self, error: AdapterError) -> bool:
        if not self._opened or self._held.tethered or isinstance(error, Changed):
            return False
        if error.source is None:
            # The spool's own: the archive is not to blame, and asking it again is no cure.
            return False
        return error.transient or isinstance(error, Corrupt)

    async def _pulled(self, *, mended: bool) -> AsyncGenerator[bytes, None]:
        """From where the last read broke to the end."""
        source, done = self._source, self._held.size
        capabilities = source.capabilities
        version = self.descriptor.version if mended and capabilities.strong_versions else None
        resumed = version is not None and capabilities.spans and done > 0
        self.asked = time.monotonic()
        async with source.open(self._locator, Span(done) if resumed else None, version=version) as content:
            self._answered = True
            if self._opened:
                self._expect_same(content.descriptor)
            else:
                self._opened, self.descriptor = True, content.descriptor
                self._tell(content.descriptor)
            async with aclosing(content.chunks):
                rest = self._rest(content, done if resumed else 0, done) if mended else content.chunks
                async with aclosing(rest):
                    async for chunk in rest:
                        yield chunk

    async def _rest(self, content: Opened, position: int, done: int) -> AsyncGenerator[bytes, None]:
        """What `content`, which begins at `position`, has after `done`. The last piece waits until all agrees."""
        size, digest = self.descriptor.size, self.descriptor.digest
        hasher = None if digest is None else await self._held.hashed(digest.algorithm)
        last = b""
        async for chunk in content.chunks:
            start, position = position, position + len(chunk)
            if start < done:
                known = await self._held.read(start, min(len(chunk), done - start))
                if not chunk.startswith(known):
                    raise self._changed("the document changed while it was read again")
                chunk = chunk[len(known) :]
            if size is not None and position > size:
                break
            if hasher is not None:
                hasher.update(chunk)
            if last:
                yield last
            last = chunk
        if position < done or size not in (None, position):
            raise self._changed("the document has another size since it was read again")
        if digest is not None and hasher is not None and hasher.digest() != digest.value:
            raise self._changed("the mended document does not match the archive's digest")
        if last:
            yield last

    def _expect_same(self, now: Descriptor) -> None:
        was = self.descriptor
        if now.version != was.version or (None not in (now.size, was.size) and now.size != was.size):
            raise self._changed("the document changed while it was read")

    def _changed(self, detail: str) -> AdapterError:
        return blamed(Changed(detail), self._source.name)
