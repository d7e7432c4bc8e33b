"""One read of an archive that any number of readers follow, each at its own pace, from its first byte on.

A fill belongs to nobody's request. Its task reads the archive into the spool, mended when it breaks (`mended`); readers follow
at cursors of their own, and no reader's slowness or departure touches it. Only what came to a good end, counted and verified,
is handed to the cache, so a partly written entry cannot exist.

A document that turns out too large for the spool is *tethered*: from then on only a window of bytes is held, paced by the
slowest reader, nobody joins any more, nothing is stored, and a break is the end. Nothing here knows HTTP or the cache.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace

from adapters.contract import MAX_CHUNK, Descriptor
from adapters.errors import AdapterError, Corrupt, Unavailable
from gateway.blame import blamed
from gateway.held import Held
from gateway.media import HEAD_BYTES, content_type, statement
from gateway.mended import MendedRead
from gateway.source import Source
from gateway.spool import Spool, SpoolEntry

WINDOW = 512 * 1024
"""Bytes of a tethered document held ahead of its slowest reader, of larger pieces one; two where the adapter asks for nothing
before it is asked, so that the archive and the reader need not take turns."""

NEARLY_DONE = 1 << 20
"""A fill with so many bytes to go is finished even when nobody waits for it."""

LINGER = 0.05
"""Seconds for which a fill goes on when its last reader has left."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How one fill is done.

    `keep` stores the whole document, if it may be stored, and says whether it did.
    `elsewhere` is asked first: whether another process has stored the document meanwhile, so that it need not be read.
    `over` is told in the end how it failed, before any reader is, or None; None too when the fill was given up.
    """

    max_document: int
    keep: Callable[[Descriptor, str, SpoolEntry], Awaitable[bool]] | None = None
    elsewhere: Callable[[], Awaitable[bool]] | None = None
    progress: Callable[[], Awaitable[None]] | None = None
    """Called with each piece that came."""
    over: Callable[[Exception | None], Awaitable[None]] | None = None


class Reader:
    """One who follows a fill; `position` is the offset in bytes before which it needs nothing any more."""

    __slots__ = ("fill", "position")

    def __init__(self, fill: Fill) -> None:
        self.fill = fill
        self.position = 0

    async def chunks(self, start: int, stop: int | None) -> AsyncGenerator[bytes, None]:
        """The bytes from `start` to `stop`, or to the end. Raises what broke the fill, `Corrupt` for an early end."""
        self.position = start
        self.fill.moved(self.position)
        while stop is None or self.position < stop:
            piece = await self.fill.piece(self.position, MAX_CHUNK if stop is None else stop - self.position)
            if not piece:
                if stop is not None:
                    raise blamed(Corrupt("the archive ended the document early"), self.fill.source.name)
                return
            yield piece
            self.position += len(piece)
            self.fill.moved(self.position)

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
        self.outdated = False
        """Whether the archive has said since that there is no such document: what was read must not be stored."""
        self.storing = False
        """Whether it is being stored now."""
        self.stored = False
        """Whether the cache took the document."""
        self.failure: Exception | None = None
        """What its readers are told when there are no more bytes."""
        self.began = time.monotonic()
        """Before the archive was asked anything. The loop's own clock would not tell two requests of a millisecond apart."""
        self.on_unjoinable: Callable[[Fill], None] = lambda fill: None
        self.task: asyncio.Task[None] | None = None
        self._mended = MendedRead(source, locator, self.held, self._open)
        self._opened = False
        self._readers: set[Reader] = set()
        self._waiting: list[asyncio.Future[None]] = []
        self._watching: asyncio.Future[None] | None = None
        self._resumes_at = 0

    @property
    def asked(self) -> float:
        """When the archive was asked last, in seconds of the monotonic clock; 0 when it was not."""
        return self._mended.asked

    @property
    def tethered(self) -> bool:
        return self.held.tethered

    @property
    def followers(self) -> int:
        """How many readers it has."""
        return len(self._readers)

    # --- readers -------------------------------------------------------------------------------------------------

    def follow(self) -> Reader:
        """A new reader at the first byte. Whoever follows must `leave`."""
        reader = Reader(self)
        self._readers.add(reader)
        return reader

    async def told_or_failed(self) -> None:
        """Wait for the facts. Raises what opening the document raised."""
        while not (self.told or self.found):
            if self.failure is not None:
                raise self.failure.with_traceback(None)
            await self._progress()

    async def piece(self, position: int, most: int) -> bytes:
        """Up to `most` bytes at `position` as soon as there are any; b"" at the end. Raises what broke the fill."""
        while True:
            if self.failure is not None:
                raise self.failure.with_traceback(None)
            if position < self.held.size:
                try:
                    return self.held.latest(position, most) or await self.held.piece(position, most)
                except Unavailable as error:
                    raise blamed(error, self.source.name) from error.__cause__
            if self.ended:
                return b""
            await self._progress()

    def moved(self, position: int) -> None:
        """A reader has all before `position`: a tethered fill may go on."""
        if self.held.tethered and position >= self._resumes_at:
            self._rouse()

    def left(self, reader: Reader) -> None:
        """A reader is gone. A little after the last one a fill ends that is not nearly done, or that nobody would store."""
        if reader not in self._readers:
            return
        self._readers.remove(reader)
        self._rouse()
        if not self._readers:
            # Not at once: whoever has only looked at the facts comes back for the bytes.
            asyncio.get_running_loop().call_later(LINGER, self._give_up)

    def _give_up(self) -> None:
        if self._readers or self.ended or self.wanted or self.failure is not None or self._worth_finishing():
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
            if self.terms.keep is not None and not self.tethered and not self.outdated:
                self.storing = True
                self.stored = await self.terms.keep(self.descriptor, self.sniffed, self.held.entry)
                self.storing = False
            await self._over(None)
            self.on_unjoinable(self)
            while self._readers:
                await self._readers_move()
        except Exception as error:
            self.on_unjoinable(self)
            failure = blamed(error, self.source.name) if isinstance(error, AdapterError) else error
            await self._over(failure)
            self.failure = failure
        except asyncio.CancelledError:
            await self._over(None)
            raise
        finally:
            self.end()
            await self.held.close()

    def end(self) -> None:
        """No more bytes come, whatever the reason. Idempotent, and right for a task that was cancelled before it ran."""
        self.on_unjoinable(self)
        if self.failure is None and not self.found and (self._readers or not self.ended):
            self.failure = blamed(Unavailable("the read was given up"), self.source.name)
        self._wake()

    async def _over(self, failure: Exception | None) -> None:
        if self.terms.over is not None:
            await self.terms.over(failure)

    async def _read(self) -> None:
        async with aclosing(self._mended.chunks()) as chunks:
            async for chunk in chunks:
                if self.told and not self.held.size:
                    # Whoever waits gets ready meanwhile: then the first bytes find all of them waiting for nothing else.
                    await asyncio.sleep(0)
                await self._accept(chunk)
                if self.tethered and self.descriptor.size != self.held.size:
                    await self._room(len(chunk))

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

    async def _accept(self, chunk: bytes) -> None:
        self.source.meter.filled += len(chunk)
        if self.tethered or not await self.held.spool(chunk):
            self._tether()
            self.held.pass_on(chunk)
        if not self.sniffed and self.held.size >= HEAD_BYTES:
            await self._sniff()
        self._wake()
        if self.terms.progress is not None:
            await self.terms.progress()

    def _tether(self) -> None:
        self.held.tethered = True
        self.on_unjoinable(self)

    async def _room(self, size: int) -> None:
        """Wait until another piece as large as the last one, of `size` bytes, has its place in the window.

        Before the archive is asked for that piece: what was asked for would have to be held somewhere.
        """
        most = max(WINDOW, size if self.source.capabilities.reads_ahead else 2 * size)
        if self.told and self.held.size - self._slowest() + size > most:
            # Of small pieces not for each that is taken: to change between two tasks costs as much as to pass a piece on.
            self._resumes_at = self.held.size - (WINDOW // 2 if most == WINDOW else most - size)
            while self._slowest() < self._resumes_at:
                await self._readers_move()
        self.held.forget(self._slowest())
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

    async def _readers_move(self) -> None:
        """Wait, as the fill's own task, until a reader took something or left."""
        self._watching = asyncio.get_running_loop().create_future()
        await self._watching

    def _rouse(self) -> None:
        # The task alone: readers that woke each other would do so as often as the square of their number.
        if self._watching is not None and not self._watching.done():
            self._watching.set_result(None)

    async def _progress(self) -> None:
        waiting = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        await waiting

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            if not one.done():
                one.set_result(None)
