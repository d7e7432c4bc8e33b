"""Entries go by themselves (K5): a backend's sweep, again and again while it is open."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

SHORTEST, LONGEST = 0.05, 30.0
"""Seconds between two sweeps, at least and at most."""


async def sweeping(keep: float, sweep: Callable[[], Awaitable[None]]) -> None:
    """Sweep so often that an entry stays hardly longer than `keep` seconds. Ends by being cancelled."""
    while True:
        await asyncio.sleep(min(max(keep / 10, SHORTEST), LONGEST))
        await sweep()
