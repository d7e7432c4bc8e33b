"""The fills of one process: who may be joined, and all that run."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable

from gateway.fill import Fill

CLOSE_SECONDS = 1.0
"""How long ending may take: an archive that hangs must not keep the process from ending."""


class Fills:
    """The fills of one process: who may be joined, and all that run."""

    def __init__(self) -> None:
        self._joinable: dict[Hashable, Fill] = {}
        self._running: set[asyncio.Task[None]] = set()

    @property
    def running(self) -> int:
        """How many reads of archives are under way or still have readers."""
        return len(self._running)

    def get(self, key: Hashable) -> Fill | None:
        """The fill under `key` that can still be followed from the first byte."""
        return self._joinable.get(key)

    def start(self, key: Hashable, fill: Fill) -> Fill:
        """Run `fill`, which takes the place of an older one under `key`."""
        self._joinable[key] = fill

        def unjoinable(fill: Fill) -> None:
            if self._joinable.get(key) is fill:
                del self._joinable[key]

        fill.on_unjoinable = unjoinable
        task = fill.task = asyncio.get_running_loop().create_task(fill.run())
        self._running.add(task)

        def over(task: asyncio.Task[None]) -> None:
            self._running.discard(task)
            fill.end()

        task.add_done_callback(over)
        return fill

    def retire(self, fill: Fill | None = None) -> None:
        """Let nobody follow `fill` any more who does not already, or any fill that is under way."""
        if fill is None:
            self._joinable.clear()
        else:
            fill.on_unjoinable(fill)

    async def close(self) -> None:
        """End every fill: readers that still follow one are told so. An archive that hangs is waited for no longer."""
        running = list(self._running)
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running, timeout=CLOSE_SECONDS)
