"""A network that fails for a moment."""

from __future__ import annotations

import asyncio
import random

from adapters.testing.proxy import LoopbackProxy


async def spoiled(proxy: LoopbackProxy, dice: random.Random) -> None:
    """A network that resets, cuts, slows down or hangs for a moment."""
    act = dice.randrange(5)
    if act == 0:
        proxy.reset()
        return
    faults = [proxy.stall(), proxy.offline(), proxy.cut_after(dice.randrange(200_000)), proxy.latency(0.02)]
    with faults[act - 1]:
        await asyncio.sleep(dice.uniform(0.1, 0.4))
