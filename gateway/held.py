"""The bytes that a fill holds for its readers: all of them in the spool, or of a tethered document a window.

Storage alone: who reads, at which pace, and what an error means is the fill's business.
"""

from __future__ import annotations

import hashlib
from collections import deque

from adapters.errors import Unavailable, translate
from gateway.media import HEAD_BYTES
from gateway.spool import PIECE, Spool, SpoolFull


class Held:
    """Written from front to back by one task, read at any place that is still held."""

    def __init__(self, spool: Spool, *, most: int) -> None:
        self.entry = spool.entry()
        self.size = 0
        """Bytes that came so far."""
        self.tethered = False
        """Whether new bytes go through the window and are forgotten when they were read."""
        self._most = most
        self._window: deque[bytes] = deque()
        self._window_start = 0
        self._latest = b""
        # Readers at the edge share the last piece instead of reading it back.

    async def spool(self, chunk: bytes) -> bool:
        """Keep `chunk` for good; False when there is no room for it, and nothing was kept."""
        if self.size + len(chunk) > self._most:
            return False
        try:
            await self.entry.write(chunk)
        except SpoolFull:
            return False
        self._latest = chunk
        self.size += len(chunk)
        return True

    def pass_on(self, chunk: bytes) -> None:
        """Hold `chunk` until `forget` is told that everybody has it."""
        if not self._window:
            self._window_start = self.size
        self._window.append(chunk)
        self.size += len(chunk)

    def forget(self, position: int) -> None:
        """Nobody needs what lies before `position`."""
        while self._window and self._window_start + len(self._window[0]) <= position:
            self._window_start += len(self._window.popleft())

    async def piece(self, position: int, most: int) -> bytes:
        """Up to `most` of the bytes at `position`, which came already. Raises `Unavailable` when they are gone."""
        if position >= self.entry.size:
            return self._passing(position, most)
        latest = self._latest
        if position == self.entry.size - len(latest) and len(latest) <= most:
            return latest
        return await self.read(position, min(PIECE, most))

    async def read(self, position: int, length: int) -> bytes:
        """`length` of the spooled bytes at `position`, fewer at their end. Raises `Unavailable`."""
        with translate({OSError: Unavailable}, doing="read the spool"):
            return await self.entry.read(position, length)

    async def hashed(self, algorithm: str) -> hashlib._Hash:
        """A `hashlib` object of this algorithm that has taken in the spooled bytes. Raises `Unavailable`, `ValueError`."""
        with translate({OSError: Unavailable}, doing="read the spool"):
            return await self.entry.hashed(algorithm)

    async def head(self) -> bytes:
        """The first bytes, as many as tell the media type or as there are. Raises `Unavailable`."""
        head = await self.read(0, HEAD_BYTES)
        return (head + b"".join(self._window))[:HEAD_BYTES]

    async def close(self) -> None:
        """Give everything back."""
        self._window.clear()
        self._latest = b""
        await self.entry.close()

    def _passing(self, position: int, most: int) -> bytes:
        start = self._window_start
        for chunk in self._window:
            if start <= position < start + len(chunk):
                return chunk[position - start : position - start + most]
            start += len(chunk)
        raise Unavailable("these bytes are not held any more")
