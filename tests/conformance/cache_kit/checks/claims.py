"""R: which replica asks the archive."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

from tests.conformance.cache_kit.check import check
from tests.conformance.cache_kit.documents import KEY
from tests.conformance.cache_kit.harness import CacheHarness


@check("R.1")
async def a_claim_is_had_and_renewed_and_given_back(harness: CacheHarness) -> None:
    async with harness.cache() as cache:
        for _ in range(2):
            assert await cache.claim(KEY, 5.0), "the only process that asks is refused"
        await cache.release(KEY)
        await cache.release(KEY)
        assert await cache.claim(KEY, 5.0), "a claim that was given back cannot be had"


@check("R.2", "shared")
async def one_process_has_the_claim(harness: CacheHarness) -> None:
    async with harness.cache() as here, harness.cache() as there:
        assert await here.claim(KEY, 5.0), "refused although nobody has it"
        assert not await there.claim(KEY, 5.0), "two processes have the claim"
        assert await here.claim(KEY, 5.0), "it cannot be renewed"
        assert await there.claim(replace(KEY, locator="other"), 5.0), "one claim for all documents"
        await there.release(KEY)
        assert not await there.claim(KEY, 5.0), "the claim of another process was given back"
        await here.release(KEY)
        assert await there.claim(KEY, 5.0), "a claim that was given back cannot be had"


@check("R.3", "shared")
async def a_claim_ends_by_itself(harness: CacheHarness) -> None:
    async with harness.cache() as here, harness.cache() as there:
        assert await here.claim(KEY, 0.5), "refused although nobody has it"
        begun = time.monotonic()
        while not await there.claim(KEY, 0.5):
            assert time.monotonic() - begun < 5.0, "the claim of a process that died stays"
            await asyncio.sleep(0.02)
        assert time.monotonic() - begun > 0.2, "it ended before its time"
