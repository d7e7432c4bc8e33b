"""What a backend's tests hand to the kit: how to make a cache, and a hand on what lies at rest.

Rules of this module: one harness serves one check and starts empty. Making a cache opens nothing. The class attributes
choose the checks, so they must not depend on the instance.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import ClassVar

from gateway.cache import Cache, Limits
from gateway.cache.sealing import CacheKey

BUDGET = 4 << 20
"""Bytes that a cache of the kit may keep when a check says nothing else."""

KEYS = (CacheKey("k1", bytes(range(32))),)
"""What entries are encrypted with when a check says nothing else."""


class CacheHarness(ABC):
    """A place for one check's entries, empty at first."""

    shared: ClassVar[bool] = False
    """Caches made by this harness may be open together and see the same entries."""
    persistent: ClassVar[bool] = False
    """Entries outlive the cache that put them: another one of the same harness finds them."""
    at_rest: ClassVar[bool] = False
    """`entries` and `lay` reach what lies outside the process."""
    encrypted: ClassVar[bool] = False
    """What lies at rest is encrypted, and `cache` takes other keys."""
    evicts: ClassVar[bool] = True
    """The backend keeps a budget of its own and forgets what was used least recently, exactly."""
    vanishes: ClassVar[bool] = False
    """`away` is there."""

    patience: ClassVar[float] = 2.0
    """Seconds within which each call must answer while the place is away."""
    recovery: ClassVar[float] = 8.0
    """Seconds within which a cache works again when the place is back."""
    overhead: ClassVar[int] = 64 << 10
    """Bytes that one entry may cost above its document, at most."""

    @abstractmethod
    def cache(self, *, limits: Limits | None = None, budget: int = BUDGET, keys: Sequence[CacheKey] = KEYS) -> Cache:
        """A cache over this harness's place, not entered. `budget` and `keys` where the backend has them."""

    async def entries(self) -> Mapping[str, Mapping[str, bytes]]:
        """What lies at rest: for each entry its parts, by names with which `lay` finds them."""
        raise NotImplementedError

    async def lay(self, entry: str, part: str, data: bytes | None) -> None:
        """Put `data` where that part lies; None takes the part away."""
        raise NotImplementedError

    async def everything(self) -> Sequence[bytes]:
        """All bytes at rest and all their names, whatever they are for."""
        found = []
        for entry, parts in (await self.entries()).items():
            found += [entry.encode(), *(name.encode() for name in parts), *parts.values()]
        return found

    def away(self) -> AbstractAsyncContextManager[None]:
        """Inside, the place where entries lie cannot be used."""
        raise NotImplementedError
