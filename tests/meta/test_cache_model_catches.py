"""The model of what a cache may serve is tested itself: it complains of each mistake, and of nothing that is right."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import pytest

from gateway.cache import Limits
from gateway.cache.memory import MemoryCache
from tests.meta.wrong_sharing import CACHES, CHANGES
from tests.support.cache_model.places import MAX_DOCUMENT, POLICY, archives, objects
from tests.support.cache_model.run import Pace, Run, Tally

pytestmark = [pytest.mark.blocking_allowed, pytest.mark.timeout(300)]

PACE = Pace(write=0.015, purge=0.08, outage=1.0, outage_length=0.15, papers=6)
LONGEST = 240.0
"""Seconds after which a mistake was not found: far more than it takes, also on a machine that is busy with other things."""

MOST = 240_000
"""Reads after which it was not found: ten times what the slowest of them takes."""


SLOWLY = {"IgnoresTickets": 0.03, "joins_reads_from_before": 0.03}
"""Seconds before each chunk of an archive, for what only shows while a read goes on and its document changes or is purged."""


async def run(
    cache: type[MemoryCache],
    *,
    reads: int,
    seconds: float,
    pause: float | None = None,
    pace: Pace = PACE,
    seen: Sequence[str] = (),
) -> Tally:
    """A run that ends early at the first complaint; after so many reads when everything in `seen` has happened, too."""
    stores = archives()
    for store in stores.values():
        store.pause = pause or store.pause
    async with objects(stores, [cache(Limits(POLICY.keep, MAX_DOCUMENT), max_bytes=32 << 20)]) as place:
        ends = time.monotonic() + seconds

        def enough(run: Run) -> bool:
            complained = any(one.truth.complaints for one in run.sources.values())
            if complained or time.monotonic() > ends:
                return True
            return run.reads >= reads and all(run.so_far[kind] for kind in seen)

        return await Run(place, stores, seed=7, pace=pace).go(enough)


QUIETLY = {"KeepsNewestForever": replace(PACE, purge=5.0, outage=60.0)}
"""What happens less often for what only shows in copies that live for long, while no archive that is away excuses them."""


async def test_nothing_is_said_of_what_is_right() -> None:
    kinds = ("hit", "stale", "gone", "purges", "asked the archive")
    tally = await run(MemoryCache, reads=4000, seconds=LONGEST, seen=kinds)
    assert tally.complaints == []
    assert min(tally.counts[kind] for kind in kinds) > 0, str(tally)


@pytest.mark.parametrize("wrong", CACHES, ids=lambda wrong: wrong.__name__)
async def test_a_wrong_cache_is_found_out(wrong: type[MemoryCache]) -> None:
    name = wrong.__name__
    tally = await run(wrong, reads=MOST, seconds=LONGEST, pause=SLOWLY.get(name), pace=QUIETLY.get(name, PACE))
    assert tally.complaints


@pytest.mark.parametrize("wrong", CHANGES, ids=lambda wrong: wrong.__name__)
async def test_a_wrong_way_of_sharing_is_found_out(wrong: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    changed: AbstractContextManager[None] = wrong(monkeypatch) if wrong else nullcontext()
    pause = SLOWLY.get(getattr(wrong, "__name__", ""))
    with changed:
        assert (await run(MemoryCache, reads=MOST, seconds=LONGEST, pause=pause)).complaints
