"""A place for bytes whose number must be known before the first of them is sent.

In memory up to a limit, then in a temporary file that is unlinked at birth: nothing of it survives a crash. The file work
runs on the spool's own threads (`aiofiles`), never on the loop and never on its default pool.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiofiles.tempfile

PIECE = 256 * 1024
"""Bytes read back at a time."""


class SpoolFull(Exception):
    """More bytes than the spool may hold, or no room on its disk."""


class Spool:
    """The spool directory of one process and its budget in bytes over everything spooled at once."""

    def __init__(self, directory: Path | None, *, memory: int, max_bytes: int) -> None:
        self.directory = directory
        self.memory = memory
        self.max_bytes = max_bytes
        self.used = 0
        self.executor = ThreadPoolExecutor(max_workers=2, thread_name_prefix="spool")

    def entry(self) -> SpoolEntry:
        """A fresh entry, used as an asynchronous context manager."""
        return SpoolEntry(self)

    def close(self) -> None:
        self.executor.shutdown(wait=False)


class SpoolEntry:
    """One spooled body. Write it whole, then read it once."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._memory = bytearray()
        self._file: Any = None
        self.size = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._spool.used -= self.size
        if self._file is not None:
            # Shielded: a reader that leaves at this moment must not leave the file open.
            await asyncio.shield(self._file.close())

    async def write(self, chunk: bytes) -> None:
        """Append `chunk`. Raises `SpoolFull`."""
        spool = self._spool
        if spool.used + len(chunk) > spool.max_bytes:
            raise SpoolFull(f"the spool may hold {spool.max_bytes} bytes")
        spool.used += len(chunk)
        self.size += len(chunk)
        try:
            if self._file is None and self.size > spool.memory:
                self._file = await aiofiles.tempfile.TemporaryFile("w+b", dir=spool.directory, executor=spool.executor)
                await self._file.write(bytes(self._memory))
                self._memory.clear()
            if self._file is None:
                self._memory += chunk
            else:
                await self._file.write(chunk)
        except OSError as error:
            raise SpoolFull(f"the spool cannot be written (errno {error.errno})") from error

    async def chunks(self) -> AsyncIterator[bytes]:
        """What was written, from the beginning."""
        if self._file is None:
            if self._memory:
                yield bytes(self._memory)
            return
        await self._file.seek(0)
        while piece := await self._file.read(PIECE):
            yield piece
