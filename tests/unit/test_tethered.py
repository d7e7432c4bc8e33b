"""Documents that are too large for the spool: what is held of them, and how long their archive is kept busy."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest

from gateway.fill import WINDOW, Fill, Terms
from gateway.fills import Fills
from gateway.source import Limits
from gateway.spool import Spool
from tests.support.odd_source import Bench, bench
from tests.support.scripted import Script

KIB = 1024
LIMITS = Limits(max_open=1, queue_timeout=0.1, open_timeout=1, idle_timeout=1)


@asynccontextmanager
async def tethered(script: Script, *, reads_ahead: bool = False, **terms: Any) -> AsyncIterator[tuple[Bench, Fill]]:
    """A fill of `script` that may spool nothing."""
    spool, fills = Spool(None, memory=64 * KIB, max_bytes=1), Fills()
    try:
        async with bench(script, limits=LIMITS, reads_ahead=reads_ahead) as at:
            yield at, fills.start("a", Fill(at.source, "a", spool, Terms(max_document=32 << 20, **terms)))
            await fills.close()
    finally:
        spool.close()


async def settled(script: Script) -> int:
    """How many pieces were pulled when no more are."""
    before = -1
    while script.pulled != before:
        before = script.pulled
        await asyncio.sleep(0.02)
    return before


@pytest.mark.parametrize(
    "sizes", [[300], [256, 200], [512], [1024], [500, 500]], ids=lambda sizes: "+".join(map(str, sizes))
)
async def test_the_last_piece_waits_for_no_room(sizes: list[int]) -> None:
    """A reader that stalls with all of it at hand keeps nobody from the archive."""
    script = Script([bytes(size * KIB) for size in sizes])
    async with tethered(script) as (at, fill):
        reader = fill.follow()
        await fill.told_or_failed()
        await settled(script)
        assert fill.tethered
        assert fill.ended
        assert at.is_free()
        assert [len(piece) async for piece in reader.chunks(0, None)] == [size * KIB for size in sizes]
        reader.leave()


async def test_whoever_leaves_with_the_last_byte_breaks_nothing() -> None:
    told: list[Exception | None] = []

    async def over(failure: Exception | None) -> None:
        told.append(failure)

    script = Script([bytes(300 * KIB)] * 3)
    async with tethered(script, over=over) as (_, fill):
        reader = fill.follow()
        async with aclosing(reader.chunks(0, 900 * KIB)) as chunks:
            assert sum([len(chunk) async for chunk in chunks]) == 900 * KIB
        reader.leave()
        await settled(script)
        assert fill.failure is None
    assert told == [None]
    assert script.left_with == [None]


@pytest.mark.parametrize("size", [64, 300, 512, 768, 1024])
@pytest.mark.parametrize("reads_ahead", [False, True])
async def test_so_much_is_held_ahead_of_a_reader_that_stalls(size: int, reads_ahead: bool) -> None:
    script = Script([bytes(size * KIB)] * 40)
    async with tethered(script, reads_ahead=reads_ahead) as (_, fill):
        reader = fill.follow()
        await fill.told_or_failed()
        fits = max(WINDOW // (size * KIB), 1 if reads_ahead else 2)
        assert await settled(script) == fits
        async with aclosing(reader.chunks(0, None)) as chunks:
            for _ in range(10):
                await anext(chunks)
            # It has nine; what it has in hand counts as held.
            assert await settled(script) <= 9 + fits
            assert await settled(script) >= 9 + (1 if reads_ahead else 2)
            assert sum([len(chunk) async for chunk in chunks]) == 30 * size * KIB
        reader.leave()


async def test_archive_and_reader_need_not_take_turns() -> None:
    """A piece is asked for while the reader takes the one before, although the adapter reads nothing ahead."""
    script = Script([bytes(768 * KIB)] * 10)
    async with tethered(script) as (_, fill):
        reader = fill.follow()
        taken = 0
        async with aclosing(reader.chunks(0, None)) as chunks:
            async for _chunk in chunks:
                taken += 1
                await settled(script)
                assert script.pulled >= min(taken + 1, 10)
        reader.leave()
