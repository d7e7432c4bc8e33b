"""What a check is, and when it applies. Values and the decorator only."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.conformance.cache_kit.harness import CacheHarness

DEADLINE = 45.0
"""Seconds after which a check that hangs has failed."""


@dataclass(frozen=True, slots=True)
class Check:
    """One check; `needs` names the attributes of the harness that must be true."""

    number: str
    name: str
    needs: tuple[str, ...]
    function: Callable[[CacheHarness], Awaitable[None]]

    def applies(self, harness: type[CacheHarness]) -> bool:
        return all(getattr(harness, need) for need in self.needs)

    async def run(self, harness: CacheHarness) -> None:
        """Raises `AssertionError` with a sentence when the rule is broken, or whatever a wrong cache raises."""
        async with asyncio.timeout(DEADLINE):
            await self.function(harness)


def check(number: str, *needs: str) -> Callable[[Callable[[CacheHarness], Awaitable[None]]], Check]:
    """Make a coroutine function a `Check`; its name says what holds."""

    def made(function: Callable[[CacheHarness], Awaitable[None]]) -> Check:
        return Check(number, getattr(function, "__name__", number), needs, function)

    return made
