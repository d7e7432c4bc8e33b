"""Where the bytes of a document wait: written once from front to back, read by anybody at any place.

In memory up to a limit, then in a temporary file that is unlinked at birth: nothing of it survives a crash. File work runs on
the spool's own threads (`aiofiles`), never on the loop's default pool; what the page cache has is read without a thread
(preadv2(2), RWF_NOWAIT). Whose bytes they are, and what becomes of them, is not known here.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import aiofiles.tempfile

PIECE = 256 * 1024
"""Bytes read back at a time."""


Result = TypeVar("Result")


class SpoolFull(Exception):
    """More bytes than the spool may hold, or no room on its disk."""


class Spool:
    """The spool directory of one process and its budget in bytes over everything spooled at once."""

    def __init__(self, directory: Path | None, *, memory: int, max_bytes: int) -> None:
        self.directory = directory
        self.memory = memory
        self.max_bytes = max_bytes
        self.used = 0
        self.executor = ThreadPoolExecutor(max_workers=4, thread_name_prefix="spool")

    def entry(self) -> SpoolEntry:
        """A fresh entry, used as an asynchronous context manager or closed by hand."""
        return SpoolEntry(self)

    def close(self) -> None:
        self.executor.shutdown(wait=False)


class SpoolEntry:
    """One spooled body. One writer, whose calls do not overlap; readers may come and go meanwhile."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._memory = bytearray()
        self._file: Any = None
        self._descriptor = -1
        self._at_work: set[asyncio.Future[Any]] = set()
        self.size = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Give everything back. Idempotent; whoever reads meanwhile gets nothing more."""
        self._spool.used -= self.size
        self.size = 0
        self._memory = bytearray()
        if self._file is None and not self._at_work:
            return
        # A reader that leaves at this moment must not leave the file open.
        await self._through(self._closed(self._at_work.copy()))

    async def _closed(self, at_work: set[asyncio.Future[Any]]) -> None:
        # A thread may still be at work for somebody who was cancelled: its descriptor must not become another file's.
        if at_work:
            await asyncio.wait(at_work)
        file, self._file = self._file, None
        if file is not None:
            await file.close()

    async def write(self, chunk: bytes) -> None:
        """Append `chunk`. Raises `SpoolFull`, and then holds what it held before."""
        spool = self._spool
        if spool.used + len(chunk) > spool.max_bytes:
            raise SpoolFull(f"the spool may hold {spool.max_bytes} bytes")
        spool.used += len(chunk)
        try:
            if self._file is None and self.size + len(chunk) > spool.memory:
                await self._through(self._begin())
            if self._file is None:
                self._memory += chunk
            else:
                await self._thread(_write, self._descriptor, chunk, self.size)
        except OSError as error:
            spool.used -= len(chunk)
            raise SpoolFull(f"the spool cannot be written (errno {error.errno})") from error
        except BaseException:
            spool.used -= len(chunk)
            raise
        self.size += len(chunk)

    async def read(self, offset: int, length: int) -> bytes:
        """`length` bytes at `offset`, fewer where what was written ends. OSError when the file cannot be read."""
        length = min(length, self.size - offset)
        if length <= 0:
            return b""
        if self._file is None:
            return bytes(memoryview(self._memory)[offset : offset + length])
        data = _read_now(self._descriptor, offset, length)
        if data is None:
            data = await self._thread(_read, self._descriptor, offset, length)
        return data

    async def hashed(self, algorithm: str) -> hashlib._Hash:
        """A `hashlib` object of this algorithm that has taken in all that was written. Raises `ValueError`, OSError."""
        hasher = hashlib.new(algorithm, usedforsecurity=False)
        if self._file is None:
            hasher.update(self._memory)
        else:
            await self._thread(_hash, hasher, self._descriptor, self.size)
        return hasher

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """What was written, from the beginning."""
        position = 0
        while piece := await self.read(position, PIECE):
            yield piece
            position += len(piece)

    async def _begin(self) -> None:
        """Go on in a file, which first takes over what is in memory."""
        spool = self._spool
        file = await aiofiles.tempfile.TemporaryFile("w+b", buffering=0, dir=spool.directory, executor=spool.executor)
        try:
            await self._thread(_write, file.fileno(), bytes(self._memory), 0)
        except BaseException:
            await file.close()
            raise
        self._file, self._descriptor = file, file.fileno()
        self._memory = bytearray()

    async def _thread(self, work: Callable[..., Result], *arguments: object) -> Result:
        loop = asyncio.get_running_loop()
        return await self._through(loop.run_in_executor(self._spool.executor, work, *arguments))

    def _through(self, work: Awaitable[Result]) -> asyncio.Future[Result]:
        """`work` that goes on to its end when whoever waits for it is cancelled."""
        running = asyncio.ensure_future(work)
        self._at_work.add(running)
        running.add_done_callback(self._done)
        return asyncio.shield(running)

    def _done(self, work: asyncio.Future[Any]) -> None:
        self._at_work.discard(work)
        if not work.cancelled():
            work.exception()  # whoever waited for it may be gone


def _read_now(descriptor: int, offset: int, length: int) -> bytes | None:
    """The bytes if the page cache has all of them. Not every file system can say: then a thread reads."""
    buffer = bytearray(length)
    try:
        count = os.preadv(descriptor, (buffer,), offset, os.RWF_NOWAIT)
    except OSError:
        return None
    return bytes(buffer) if count == length else None


def _write(descriptor: int, data: bytes, offset: int) -> None:
    rest = memoryview(data)
    while rest:
        count = os.pwrite(descriptor, rest, offset)
        rest, offset = rest[count:], offset + count


def _hash(hasher: hashlib._Hash, descriptor: int, size: int) -> None:
    position = 0
    while position < size and (piece := os.pread(descriptor, min(PIECE, size - position), position)):
        hasher.update(piece)
        position += len(piece)


def _read(descriptor: int, offset: int, length: int) -> bytes:
    data = os.pread(descriptor, length, offset)
    while data and len(data) < length and (more := os.pread(descriptor, length - len(data), offset + len(data))):
        data += more
    return data
