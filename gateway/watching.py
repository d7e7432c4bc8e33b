"""When a configuration is read again: when somebody wishes it, and when a file that is watched has changed."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from gateway.reloads import Outcome

AGAIN = 30.0
"""Seconds after which a watched configuration that was refused because an archive did not answer is tried again."""

UNWATCHED = 1.0
"""Seconds between two looks at whether the file is to be watched at all."""


class Watching:
    """Calls `reload` for as long as it runs. `look` says how often to look at the file, in seconds, None for never."""

    def __init__(
        self, config: Path | None, reload: Callable[[], Awaitable[Outcome]], look: Callable[[], float | None]
    ) -> None:
        self._config = config
        self._reload = reload
        self._look = look
        self._wanted = asyncio.Event()

    def wish(self) -> None:
        """Reload soon; said several times meanwhile, it is done once."""
        self._wanted.set()

    async def run(self) -> None:
        """Until cancelled."""
        watching = asyncio.get_running_loop().create_task(self._watch(), name="watch the configuration")
        try:
            while True:
                await self._wanted.wait()
                self._wanted.clear()
                await self._reload()
        finally:
            watching.cancel()

    async def _watch(self) -> None:
        known = seen = await asyncio.to_thread(_mark, self._config)
        away_at: float | None = None
        while True:
            look = self._look()
            await asyncio.sleep(UNWATCHED if look is None else look)
            if look is None:
                continue
            found = await asyncio.to_thread(_mark, self._config)
            # A file that looks the same twice is not being written.
            settled, seen = found == seen, found
            again = away_at is not None and time.monotonic() - away_at >= AGAIN
            if settled and (found != known or again):
                known = found
                outcome = await self._reload()
                passing = any(problem.code == "away" for problem in outcome.problems)
                away_at = time.monotonic() if passing else None


def _mark(config: Path | None) -> object:
    """What changes when the file does. Blocking."""
    try:
        found = None if config is None else os.stat(config)
    except OSError:
        return None
    return None if found is None else (found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size)
