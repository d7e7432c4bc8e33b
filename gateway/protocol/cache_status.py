"""What the cache had to do with an answer, for the reader (Cache-Status, RFC 9211) and for the log line.

Pure values. `word` is what the log line says; `header` is the field's value.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

CACHE = "fhir-gateway"
"""The name of this cache in the field (RFC 9211 2)."""


@dataclass(frozen=True, slots=True)
class CacheStatus:
    """One answer's use of the cache."""

    word: str
    header: str


def hit(ttl: float) -> CacheStatus:
    """Served from the cache; `ttl` is how many seconds it stays fresh, negative for how long it has not been."""
    return _hit(int(ttl))


@lru_cache(maxsize=4096)
def _hit(ttl: int) -> CacheStatus:
    # For every hit, and so often the same: there are as many as a time to live has seconds.
    return CacheStatus("hit", f"{CACHE}; hit; ttl={ttl}")


def stale(ttl: float) -> CacheStatus:
    """Served from the cache because the archive could not be asked."""
    return CacheStatus("stale", f"{CACHE}; hit; ttl={int(ttl)}; detail=archive-away")


MISS = CacheStatus("miss", f"{CACHE}; fwd=uri-miss")
"""Nothing was stored, and this reader's request made the archive be asked."""

COLLAPSED = CacheStatus("collapsed", f"{CACHE}; fwd=uri-miss; collapsed")
"""Nothing was stored, and somebody else's request had made the archive be asked already."""

OUTDATED = CacheStatus("outdated", f"{CACHE}; fwd=stale")
"""What was stored is not what the archive has by now."""

BYPASS = CacheStatus("bypass", f"{CACHE}; fwd=bypass")
"""The cache is not used for this source, or not for a document of this size."""
