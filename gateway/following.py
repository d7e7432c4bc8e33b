"""Keeping something in step with what it was read from: looking again and again, for as long as somebody has it.

What a look does, and what it says when that fails, is its owner's. Here is what all of them need: one task, which a defect does
not end, and which is gone when the owner is left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress


class Follower:
    """Calls `look` in the intervals that `seconds` says, from `start` to `stop`.

    `failed` is told what a look raised: were the task to end, every later change would go unnoticed.
    """

    def __init__(
        self,
        look: Callable[[], Awaitable[object]],
        seconds: Callable[[], float],
        *,
        name: str,
        failed: Callable[[Exception], None],
    ) -> None:
        self._look = look
        self._seconds = seconds
        self._name = name
        self._failed = failed
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, on the running loop; the first look is one interval away."""
        self._task = asyncio.create_task(self._run(), name=self._name)

    async def stop(self) -> None:
        """End, and be gone when this returns. Idempotent, and works without a start."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _run(self) -> None:
        # A look that ends in the moment it is cancelled may keep that to itself (asyncio.wait_for before Python 3.12 does).
        while self._task is asyncio.current_task():
            await asyncio.sleep(self._seconds())
            try:
                await self._look()
            except Exception as error:
                self._failed(error)
