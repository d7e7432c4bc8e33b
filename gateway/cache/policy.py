"""When a stored document may be used: pure decisions over facts and a clock.

An entry is fresh, then for a while usable while a new one is fetched (`stale-while-revalidate`), then for a while usable only
because the archive cannot be asked (`stale-if-error`; both RFC 5861), then no more. Where an archive can be asked cheaply
whether a document changed, it is asked at every read, and its answer alone decides. "Not found", "withdrawn" and "not
allowed" are answers, never errors: nothing stale is served for them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from adapters.contract import Descriptor
from adapters.errors import AccessDenied, AdapterError, Busy, InvalidLocator, NotFound, TimedOut, Unavailable
from gateway.cache import Record


class Freshness(Enum):
    """How old an entry is."""

    FRESH = "fresh"
    REFRESHED = "stale, and usable while a new one is fetched"
    KEPT = "stale, and usable only while the archive cannot be asked"
    OVER = "too old for anything"


@dataclass(frozen=True, slots=True)
class Policy:
    """Seconds. `patience` is how long the archive may take before a stale entry is served in its place."""

    ttl: float = 3600.0
    stale_while_revalidate: float = 60.0
    stale_if_error: float = 300.0
    patience: float = 0.8
    negative: float = 10.0

    @property
    def keep(self) -> float:
        """How long an entry is of any use."""
        return self.ttl + max(self.stale_while_revalidate, self.stale_if_error)

    def freshness(self, record: Record, now: float) -> Freshness:
        """`now` is in seconds since 1970. An entry from the future, by a clock that is wrong, is as old as one can be."""
        age = now - record.stored
        if age < -CLOCKS_DIFFER:
            return Freshness.OVER
        if age < self.ttl:
            return Freshness.FRESH
        if age < self.ttl + self.stale_while_revalidate:
            return Freshness.REFRESHED
        if age < self.ttl + self.stale_if_error:
            return Freshness.KEPT
        return Freshness.OVER


CLOCKS_DIFFER = 60.0
"""Seconds by which the clocks of two replicas may differ."""


def same_document(kept: Descriptor, now: Descriptor) -> bool:
    """Whether an archive that now states `now` still has the document that was `kept`.

    Everything stated on both sides has to be equal, and at least one of version, validator and digest has to be.
    """
    telling = [(kept.version, now.version), (kept.validator, now.validator), (kept.digest, now.digest)]
    stated = [pair for pair in telling if None not in pair]
    stated_too = [pair for pair in [(kept.size, now.size), (kept.modified, now.modified)] if None not in pair]
    return bool(stated) and all(before == after for before, after in [*stated, *stated_too])


def excuses(error: AdapterError) -> bool:
    """Whether a stale entry may be served because of `error`: the archive could not be asked (RFC 5861 4)."""
    return isinstance(error, Unavailable | TimedOut | Busy)


def withdraws(error: AdapterError) -> bool:
    """Whether the archive has said by `error` that what is stored of the document must not be served any more."""
    return isinstance(error, NotFound | InvalidLocator | AccessDenied)
