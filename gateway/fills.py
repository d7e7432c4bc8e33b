"""The fills of one process: who may be joined, and all that run."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable

from gateway.deadline import unlimited
from gateway.fill import Fill
from gateway.source import Source

CLOSE_SECONDS = 1.0
"""How long ending may take: an archive that hangs must not keep the process from ending."""


class Fills:
    """The fills of one process: who may be joined, and all that run."""

    def __init__(self) -> None:
        self._joinable: dict[Hashable, Fill] = {}
        self._running: dict[asyncio.Task[None], Fill] = {}

    @property
    def running(self) -> int:
        """How many reads of archives are under way or still have readers."""
        return len(self._running)

    @property
    def waiters(self) -> int:
        """How many readers follow a read that somebody else's request began."""
        return sum(max(0, fill.followers - 1) for fill in self._running.values())

    def reads(self, source: Source) -> bool:
        """Whether a read of this archive is under way, or tried anew."""
        return any(fill.source is source for fill in self._running.values())

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
        task = fill.task = asyncio.get_running_loop().create_task(_for_all(fill))
        self._running[task] = fill

        def over(task: asyncio.Task[None]) -> None:
            del self._running[task]
            fill.end()

        task.add_done_callback(over)
        return fill

    def retire(self, fill: Fill | None = None) -> None:
        """Let nobody follow `fill` any more who does not already, or any fill that is under way."""
        if fill is None:
            self._joinable.clear()
        else:
            fill.on_unjoinable(fill)

    def outdate(self, source: str, locator: str) -> bool:
        """The archive has no such document any more: what is still read of it is for those who follow, and for nobody else.

        Whether such a read is just being stored.
        """
        storing = False
        for fill in self._running.values():
            if fill.locator == locator and fill.source.name == source:
                fill.outdated = True
                storing = storing or fill.storing
                self.retire(fill)
        return storing

    async def close(self) -> None:
        """End every fill: readers that still follow one are told so. An archive that hangs is waited for no longer."""
        running = list(self._running)
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running, timeout=CLOSE_SECONDS)


async def _for_all(fill: Fill) -> None:
    # The deadline of whoever came first is not that of those who follow.
    unlimited()
    await fill.run()
