"""One entry on its way to the disk: a temporary file that nobody finds until the store commits it.

File work runs on the writers' threads (`aiofiles`), never on the loop and never on its default pool. Each operation runs
to its end though its waiter is cancelled: the file is closed only when nobody writes to it.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable
from concurrent.futures import Executor
from typing import Any

import aiofiles

from gateway.cache.disk_directory import Directory


class Staged:
    """A temporary file; `name` is its name among those that are being written."""

    def __init__(self, directory: Directory, executor: Executor) -> None:
        self.name = secrets.token_hex(8)
        self._directory = directory
        self._executor = executor
        self._file: Any = None
        self._pending: asyncio.Future[Any] | None = None

    async def open(self) -> None:
        """Make the file. Raises `OSError`."""
        opening = aiofiles.open(self.name, "xb", opener=self._directory.stage, executor=self._executor)
        self._file = await self._finished(_entered(opening))

    async def write(self, data: bytes) -> None:
        """Append. Raises `OSError`."""
        await self._finished(self._file.write(data))

    async def close(self) -> None:
        """End the file. Raises `OSError` when not all of it could be written."""
        file, self._file = self._file, None
        await self._finished(file.close())

    async def discard(self) -> None:
        """Close the file once nobody writes to it. Never raises."""
        if self._pending is not None:
            await asyncio.wait({self._pending})
            opened = None if self._pending.cancelled() or self._pending.exception() else self._pending.result()
            if self._file is None and hasattr(opened, "close"):
                self._file = opened
        if self._file is not None:
            try:
                await self._file.close()
            except OSError:
                # What could not be written is thrown away in any case; the descriptor is gone all the same.
                self._file = None

    async def _finished(self, operation: Awaitable[Any]) -> Any:
        self._pending = asyncio.ensure_future(operation)
        return await asyncio.shield(self._pending)


async def _entered(opening: Any) -> Any:
    return await opening
