"""Reading a large entry from its file: on the loop what the page cache has, on a thread what a disk must be waited for.

`OpenFile` is an entry's descriptor, and a `LocalFile` for documents that lie in the open. A thread that reads has a
descriptor of its own, so that closing never waits and no number is given to another file under a reader.
"""

from __future__ import annotations

import asyncio
import mmap
import os
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Executor

from adapters.contract import MAX_CHUNK, Span
from adapters.errors import Changed, Corrupt, Unavailable
from gateway.cache import Broken, Hit, Record
from gateway.cache.disk_entry import Entry, Identity, identity, read_exactly
from gateway.cache.sealing import CHUNK, SEALED_CHUNK, TAG, Sealer

PIECE = 768 << 10
"""Bytes of each piece of a document that lies in the open; a multiple of 3, so that base64 never carries."""


class Scratch:
    """Where `preadv` puts bytes before they become an object: one for all readers, used only between two awaits.

    A mapping, because it begins at a page: the kernel's copy into memory that does not takes many times as long.
    """

    __slots__ = ("_view",)

    def __init__(self) -> None:
        self._view = memoryview(mmap.mmap(-1, MAX_CHUNK, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))

    def read(self, descriptor: int, offset: int, length: int) -> memoryview | None:
        """Exactly `length` bytes, at most 1 MiB, if the page cache has them; good until the next call. OSError."""
        view = self._view[:length]
        return view if os.preadv(descriptor, (view,), offset, os.RWF_NOWAIT) == length else None


class OpenFile:
    """A descriptor and what it was when it was opened. `damaged` is called once, when it is found to be something else."""

    __slots__ = ("_cached", "_damaged", "_descriptor", "_executor", "_identity", "_scratch")

    def __init__(
        self, descriptor: int, seen: Identity, executor: Executor, scratch: Scratch, damaged: Callable[[], None]
    ) -> None:
        self._descriptor = descriptor
        self._identity = seen
        self._executor = executor
        self._scratch = scratch
        self._damaged: Callable[[], None] | None = damaged
        self._cached = True

    @property
    def fd(self) -> int:
        """The descriptor; -1, which no call accepts, once it is closed."""
        return self._descriptor

    def glimpse(self, offset: int, length: int) -> memoryview | None:
        """Exactly `length` bytes, at most 1 MiB, when the page cache has them; good until the next glimpse."""
        if not self._cached or self._descriptor < 0:
            return None
        try:
            return self._scratch.read(self._descriptor, offset, length)
        except BlockingIOError:
            return None
        except OSError:
            # Not every file system can say what its cache holds; a real fault comes back from the thread.
            self._cached = False
            return None

    async def fetch(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes, on a thread. Raises `Broken` when the file ends early or is closed, `OSError`."""
        if self._descriptor < 0:
            raise Broken("closed")
        own = os.dup(self._descriptor)
        try:
            future = self._executor.submit(_read_and_close, own, offset, length)
        except RuntimeError:
            os.close(own)
            raise Broken("the cache was closed") from None
        # Shielded: a job that is taken out of the queue would leave its descriptor open.
        return await asyncio.shield(asyncio.wrap_future(future))

    def read_now(self, offset: int, length: int) -> bytes | None:
        """As `LocalFile` has it."""
        if length > MAX_CHUNK:
            return None
        view = self.glimpse(offset, length)
        return None if view is None else view.tobytes()

    def read_into(self, view: memoryview, offset: int) -> bool:
        """As `LocalFile` has it."""
        found = self.glimpse(offset, len(view)) if len(view) <= MAX_CHUNK else None
        if found is not None:
            view[:] = found
        return found is not None

    async def read(self, offset: int, length: int) -> bytes:
        """As `LocalFile` has it. Raises `Corrupt` when the file ends early, `Unavailable`."""
        data = self.read_now(offset, length)
        if data is not None:
            return data
        try:
            return await self.fetch(offset, length)
        except Broken:
            self.blame()
            raise Corrupt("the file ends early") from None
        except OSError:
            self.blame()
            raise Unavailable("the cache cannot be read") from None

    def check(self) -> None:
        """As `LocalFile` has it. Raises `Changed`. That the file lost its name is no change."""
        if not self.unchanged():
            self.blame()
            raise Changed("the file changed while it was read")

    def unchanged(self) -> bool:
        """Whether nobody has written to the file since it was opened."""
        if self._descriptor < 0:
            return False
        status = os.fstat(self._descriptor)
        now = identity(status)
        # Losing its name moves a file's ctime, and that is how the cache forgets an entry.
        return now[:3] == self._identity[:3] and (now[3] == self._identity[3] or not status.st_nlink)

    def blame(self) -> None:
        """Say that the entry is damaged; a file that was closed is not to blame."""
        if self._damaged is not None and self._descriptor >= 0:
            self._damaged()
            self._damaged = None

    def close(self) -> None:
        """Let go. Calling it again does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _read_and_close(descriptor: int, offset: int, length: int) -> bytes:
    try:
        return read_exactly(descriptor, offset, length)
    finally:
        os.close(descriptor)


class SmallHit(Hit):
    """A document that came whole with the look-up."""

    def __init__(self, record: Record, whole: bytes) -> None:
        self.record = record
        self.whole: bytes | None = whole

    async def chunks(self, span: Span) -> AsyncGenerator[bytes, None]:
        if self.whole is None:
            raise Broken("closed")
        if piece := self.whole[span.start : span.stop]:
            yield piece

    def close(self) -> None:
        self.whole = None


class SealedHit(Hit):
    """A large document that lies encrypted."""

    def __init__(self, entry: Entry, file: OpenFile) -> None:
        self.record = entry.record
        self._sealer: Sealer = entry.sealer
        self._file = file

    async def chunks(self, span: Span) -> AsyncGenerator[bytes, None]:
        position, stop, size = span.start, span.stop or 0, self.record.size
        while position < stop:
            number = position // CHUNK
            start = number * CHUNK
            data = await self._chunk(number, min(CHUNK, size - start))
            end = min(stop, start + len(data))
            yield data if end - position == len(data) else data[position - start : end - start]
            position = end

    async def _chunk(self, number: int, length: int) -> bytes:
        offset, sealed_length = number * SEALED_CHUNK, length + TAG
        try:
            sealed = self._file.glimpse(offset, sealed_length)
            if sealed is None:
                return self._sealer.open(number, await self._file.fetch(offset, sealed_length))
            return self._sealer.open(number, sealed)
        except (Broken, OSError):
            self._file.blame()
            raise Broken("the rest of the entry cannot be had") from None

    def close(self) -> None:
        self._file.close()


class PlainHit(Hit):
    """A large document that lies in the open, verified when it was opened."""

    def __init__(self, entry: Entry, file: OpenFile) -> None:
        self.record = entry.record
        self._open_file = self.file = file

    async def chunks(self, span: Span) -> AsyncGenerator[bytes, None]:
        position, stop = span.start, span.stop or 0
        file = self._open_file
        while position < stop:
            length = min(PIECE, stop - position)
            try:
                data = file.read_now(position, length) or await file.fetch(position, length)
                good = position + length < stop or file.unchanged()
            except (Broken, OSError):
                good = False
            if not good:
                file.blame()
                raise Broken("the rest of the entry cannot be had")
            yield data
            position += length

    def close(self) -> None:
        self._open_file.close()
