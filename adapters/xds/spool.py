"""Bytes that wait: for the rest of a document that is checked before it is passed on, or for the word whose document they are.

Rules of this module: in memory first, then in a temporary file without a name, so that nothing survives the process; file work
runs on the source's threads. What is more than allowed is refused.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO, TypeVar

from adapters.contract import Services
from adapters.errors import Busy, Corrupt

Result = TypeVar("Result")

IN_MEMORY = 1 << 20
"""Bytes kept in memory."""

LARGEST = 1 << 30
"""Bytes of the largest document that waits, where no other limit is set."""

PIECE = 256 << 10
"""Bytes written or read at a time."""


class Spool:
    """Written to its end, then read from its beginning. Each call is awaited before the next; `close` may come at any time."""

    def __init__(self, services: Services, directory: Path | None, *, most: int = LARGEST) -> None:
        self._services = services
        self._directory = directory
        self._most = most
        self._tail = bytearray()
        self._file: IO[bytes] | None = None
        self._lock = threading.Lock()
        self._closed = False
        self._at = 0
        self.size = 0

    async def write(self, data: bytes) -> None:
        """Raises `Corrupt` for more bytes than allowed, `Busy` when the disk has no room for them."""
        self.size += len(data)
        if self.size > self._most:
            raise Corrupt(f"the document has more than the {self._most} bytes that are allowed (`max_document`)")
        self._tail += data
        if self._file is None and self.size > IN_MEMORY:
            await self._call(self._begin)
        if self._file is not None and len(self._tail) >= PIECE:
            await self._flush()

    async def read(self) -> bytes:
        """The next bytes, b"" at the end."""
        if self._file is None:
            data = bytes(self._tail[self._at : self._at + PIECE])
            self._at += len(data)
            return data
        if self._tail:
            await self._flush()
        if not self._at:
            await self._call(self._file.seek, 0)
        data = await self._call(self._file.read, PIECE)
        self._at += len(data)
        return data

    def rewind(self) -> None:
        """Read from the beginning again."""
        self._at = 0

    def close(self) -> None:
        """Give the room back. Idempotent, never waits."""
        self._tail.clear()
        with self._lock:
            self._closed = True
            file, self._file = self._file, None
        if file is None:
            return
        try:
            # On a thread: giving back the blocks of a large file takes time, and a write may be under way.
            closing = self._services.executor.submit(file.close)
        except RuntimeError:  # the threads are gone with the source
            file.close()
        else:
            # Who ends the threads may drop what waits for one.
            closing.add_done_callback(lambda done: file.close() if done.cancelled() else None)

    async def _flush(self) -> None:
        assert self._file is not None
        data = bytes(self._tail)
        self._tail.clear()
        await self._call(self._file.write, data)

    def _begin(self) -> None:
        """Blocks."""
        file = tempfile.TemporaryFile(dir=self._directory)  # noqa: SIM115 - `close` ends it
        with self._lock:
            if not self._closed:
                self._file = file
                return
        file.close()

    async def _call(self, work: Callable[..., Result], *arguments: object) -> Result:
        try:
            return await self._services.call(work, *arguments)
        except OSError as error:
            raise Busy(
                f"there is no room for a document that is checked before it is passed on ({type(error).__name__}): look at "
                "`spool_directory`",
                retry_after=30.0,
            ) from error
