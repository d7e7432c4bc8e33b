"""The memory cache obeys the contract."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gateway.cache import Limits
from gateway.cache.memory import OVERHEAD, MemoryCache
from gateway.cache.sealing import CacheKey
from tests.conformance.cache_kit import BUDGET, KEYS, CacheConformance, CacheHarness


class MemoryHarness(CacheHarness):
    overhead = OVERHEAD

    def __init__(self, folder: Path) -> None:
        """Needs no folder."""

    def cache(
        self, *, limits: Limits | None = None, budget: int = BUDGET, keys: Sequence[CacheKey] = KEYS
    ) -> MemoryCache:
        return MemoryCache(limits or Limits(), max_bytes=budget)


class TestMemoryCache(CacheConformance):
    harness_class = MemoryHarness
