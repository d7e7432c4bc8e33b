"""One read of an archive that any number of readers follow, each at its own pace, from its first byte on.

A fill belongs to nobody's request. Its task reads the archive into the spool; readers follow at cursors of their own, and no
reader's slowness or departure touches it. A break in mid-body is mended before anybody notices: the same version is opened at
the offset, or read again from the start and compared with what is there. Only what came to a good end, counted and
verified, is handed to the cache, so a partly written entry cannot exist.

A document that turns out too large for the spool is *tethered*: from then on only a window of bytes is held, paced by the
slowest reader, nobody joins any more, nothing is stored, and a break is the end. Nothing here knows HTTP or the cache.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace

from adapters.contract import MAX_CHUNK, Descriptor, Span
from adapters.errors import AdapterError, Changed, Corrupt, Unavailable
from gateway.blame import blamed
from gateway.held import Held
from gateway.media import HEAD_BYTES, content_type, statement
from gateway.opened import Opened
from gateway.source import Source
from gateway.spool import Spool, SpoolEntry

WINDOW = 512 * 1024
"""Bytes of a tethered document held ahead of its slowest reader."""

NEARLY_DONE = 1 << 20
"""A fill with so many bytes to go is finished even when nobody waits for it."""

FRUITLESS = 2
"""How often an archive that answers may bring nothing new before its break is taken for what it is."""

LINGER = 0.05
"""Seconds for which a fill goes on when its last reader has left."""

MENDS = 5
"""How often one fill is mended: an archive that breaks more often would be asked without end."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How one fill is done.

    `keep` stores the whole document, if it may be stored, and says whether it did.
    `elsewhere` is asked first: whether another process has stored the document meanwhile, so that it need not be read.
    """

    max_document: int
    keep: Callable[[Descriptor, str, SpoolEntry], Awaitable[bool]] | None = None
    elsewhere: Callable[[], Awaitable[bool]] | None = None
    progress: Callable[[], Awaitable[None]] | None = None
    """Called with each piece that came."""


class Reader:
    """One who follows a fill; `position` is the offset in bytes before which it needs nothing any more."""

    __slots__ = ("fill", "position")

    def __init__(self, fill: Fill) -> None:
        self.fill = fill
        self.position = 0

    async def chunks(self, start: int, stop: int | None) -> AsyncGenerator[bytes, None]:
        """The bytes from `start` to `stop`, or to the end. Raises what broke the fill, `Corrupt` for an early end."""
        self.position = start
        self.fill.moved()
        while stop is None or self.position < stop:
            piece = await self.fill.piece(self.position, MAX_CHUNK if stop is None else stop - self.position)
            if not piece:
                if stop is not None:
                    raise blamed(Corrupt("the archive ended the document early"), self.fill.source.name)
                return
            yield piece
            self.position += len(piece)
            self.fill.moved()

    async def whole(self) -> bytes:
        """All bytes, once all are there."""
        pieces = [piece async for piece in self.chunks(0, None)]
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def leave(self) -> None:
        """Follow no more. Idempotent."""
        self.fill.left(self)


class Fill:
    """One read of one document. `Fills.start` runs it; readers come by `follow`."""

    def __init__(self, source: Source, locator: str, spool: Spool, terms: Terms) -> None:
        self.source = source
        self.locator = locator
        self.terms = terms
        self.held = Held(spool, most=terms.max_document)
        self.descriptor: Descriptor
        self.sniffed = ""
        """The media type told from the first bytes, once there are enough of them."""
        self.told = False
        """Whether `descriptor` is there, and a media type: that of the archive, else the sniffed one."""
        self.ended = False
        """Whether all bytes are there, verified."""
        self.found = False
        """Whether the document was found to be stored by another process; there are no bytes here then."""
        self.wanted = False
        """Whether it goes on without readers: somebody wants the cache refreshed."""
        self.stored = False
        """Whether the cache took the document."""
        self.on_unjoinable: Callable[[Fill], None] = lambda fill: None
        self.task: asyncio.Task[None] | None = None
        self._error: Exception | None = None
        self._opened = False
        self._answered = False
        self._readers: set[Reader] = set()
        self._waiting: list[asyncio.Future[None]] = []

    @property
    def tethered(self) -> bool:
        return self.held.tethered

    # --- readers -------------------------------------------------------------------------------------------------

    def follow(self) -> Reader:
        """A new reader at the first byte. Whoever follows must `leave`."""
        reader = Reader(self)
        self._readers.add(reader)
        return reader

    async def told_or_failed(self) -> None:
        """Wait for the facts. Raises what opening the document raised."""
        while not (self.told or self.found):
            if self._error is not None:
                raise self._error.with_traceback(None)
            await self._progress()

    async def piece(self, position: int, most: int) -> bytes:
        """Up to `most` bytes at `position` as soon as there are any; b"" at the end. Raises what broke the fill."""
        while True:
            if self._error is not None:
                raise self._error.with_traceback(None)
            if position < self.held.size:
                try:
                    return await self.held.piece(position, most)
                except Unavailable as error:
                    raise blamed(error, self.source.name) from error.__cause__
            if self.ended:
                return b""
            await self._progress()

    def moved(self) -> None:
        """A reader took something: a tethered fill may go on."""
        if self.tethered:
            self.held.forget(self._slowest())
            self._wake()

    def left(self, reader: Reader) -> None:
        """A reader is gone. A little after the last one a fill ends that is not nearly done, or that nobody would store."""
        if reader not in self._readers:
            return
        self._readers.remove(reader)
        self.moved()
        self._wake()
        if not self._readers:
            # Not at once: whoever has only looked at the facts comes back for the bytes.
            asyncio.get_running_loop().call_later(LINGER, self._give_up)

    def _give_up(self) -> None:
        if self._readers or self.ended or self.wanted or self._error is not None or self._worth_finishing():
            return
        if self.task is not None:
            self.on_unjoinable(self)
            self.task.cancel()

    # --- the task ------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Read the archive to the end, store the document, and wait until the last reader has what it wants."""
        try:
            if self.terms.elsewhere is not None and await self.terms.elsewhere():
                self.found = True
                return
            await self._read()
            await self._complete()
            if self.terms.keep is not None and not self.tethered:
                self.stored = await self.terms.keep(self.descriptor, self.sniffed, self.held.entry)
            self.on_unjoinable(self)
            while self._readers:
                await self._progress()
        except Exception as error:
            self._error = error
        except BaseException:
            self._error = blamed(Unavailable("the read was given up"), self.source.name)
            raise
        finally:
            self.on_unjoinable(self)
            self._wake()
            await self.held.close()

    async def _read(self) -> None:
        """Pull until the end. A break is mended as long as the terms allow, counted from the last byte that came."""
        loop = asyncio.get_running_loop()
        mends, fruitless, broken, reached = 0, 0, 0.0, -1
        failure: Exception | None = None
        while True:
            self._answered = False
            try:
                return await self._pull(mended=mends > 0)
            except AdapterError as error:
                if not self._mendable(error):
                    raise
                if self.held.size > reached:
                    mends, fruitless, broken, reached, failure = mends + 1, 0, loop.time(), self.held.size, error
                elif self._answered:
                    # It is not away: it breaks at this very place.
                    fruitless += 1
                over = loop.time() - broken >= self.source.limits.repair_timeout
                if mends > MENDS or fruitless >= FRUITLESS or over:
                    raise failure or error from None
                # Soon at first, since most breaks are short, then ever slower.
                await asyncio.sleep(min(0.05 + (loop.time() - broken) / 2, 1.0))

    def _mendable(self, error: AdapterError) -> bool:
        if not self._opened or self.tethered or isinstance(error, Changed):
            return False
        return error.transient or isinstance(error, Corrupt)

    async def _pull(self, *, mended: bool) -> None:
        """Read the archive from where the last read broke to the end."""
        done = self.held.entry.size
        capabilities = self.source.capabilities
        version = self.descriptor.version if mended and capabilities.strong_versions else None
        resumed = version is not None and capabilities.spans and done > 0
        async with self.source.open(self.locator, Span(done) if resumed else None, version=version) as content:
            self._answered = True
            if not self._opened:
                self._open(content.descriptor)
            elif not resumed or content.descriptor.size != self.descriptor.size:
                self._expect_same(content.descriptor)
            async with aclosing(content.chunks):
                if not mended:
                    async for chunk in content.chunks:
                        await self._accept(chunk)
                else:
                    await self._mend(content, done if resumed else 0, done)

    async def _mend(self, content: Opened, position: int, done: int) -> None:
        """Take the rest of a document; what is there already must come again. The last piece waits for the digest."""
        held = b""
        async for chunk in content.chunks:
            start, position = position, position + len(chunk)
            if start < done:
                known = await self.held.entry.read(start, min(len(chunk), done - start))
                if chunk[: len(known)] != known:
                    raise blamed(Changed("the document changed while it was read again"), self.source.name)
                chunk = chunk[len(known) :]
            if held:
                await self._accept(held)
                held = b""
            held = chunk
        await self._verify(held)
        if held:
            await self._accept(held)

    async def _verify(self, last: bytes) -> None:
        """The archive's digest of the whole, when parts came from more than one read."""
        digest = self.descriptor.digest
        if digest is None or self.tethered:
            return
        hasher = await self.held.entry.hashed(digest.algorithm)
        hasher.update(last)
        if hasher.digest() != digest.value:
            raise blamed(Changed("the mended document does not match the archive's digest"), self.source.name)

    def _open(self, descriptor: Descriptor) -> None:
        self._opened = True
        self.descriptor = descriptor
        if statement(descriptor.media_type) is not None:
            # The archive says what it is: nobody has to wait for the bytes that would.
            self.told = True
            self._wake()
        expected = descriptor.estimate if descriptor.size is None else descriptor.size
        if expected is not None and expected > self.terms.max_document:
            self._tether()

    def _expect_same(self, now: Descriptor) -> None:
        was = self.descriptor
        if now.version != was.version or (None not in (now.size, was.size) and now.size != was.size):
            raise blamed(Changed("the document changed while it was read"), self.source.name)

    async def _accept(self, chunk: bytes) -> None:
        if self.tethered or not await self.held.spool(chunk):
            self._tether()
            await self._room()
            self.held.pass_on(chunk)
        if not self.sniffed and self.held.size >= HEAD_BYTES:
            await self._sniff()
        self._wake()
        if self.terms.progress is not None:
            await self.terms.progress()

    def _tether(self) -> None:
        self.held.tethered = True
        self.on_unjoinable(self)

    async def _room(self) -> None:
        """Wait until the slowest reader has all but a window's worth of what is there."""
        while self.told and self.held.size - self._slowest() >= WINDOW:
            await self._progress()
        if not self._readers:
            raise blamed(Unavailable("nobody reads the document any more"), self.source.name)

    def _slowest(self) -> int:
        return min((reader.position for reader in self._readers), default=self.held.size)

    async def _sniff(self) -> None:
        self.sniffed = content_type(None, await self.held.head(), self.locator)
        self.told = True

    async def _complete(self) -> None:
        """All bytes are there. What nobody knew before is known now: how many they are."""
        if not self.sniffed:
            await self._sniff()
        self.descriptor = replace(self.descriptor, size=self.held.size)
        self.ended = True
        self._wake()

    def _worth_finishing(self) -> bool:
        if self.terms.keep is None or self.tethered or not self._opened or self.descriptor.size is None:
            return False
        left = self.descriptor.size - self.held.size
        return left <= max(NEARLY_DONE, self.held.size)

    async def _progress(self) -> None:
        waiting = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        await waiting

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            if not one.done():
                one.set_result(None)
