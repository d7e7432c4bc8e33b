"""A follower looks until it is stopped, whatever its looks do."""

from __future__ import annotations

import asyncio

import pytest

from gateway.following import Follower


@pytest.mark.timeout(10)
async def test_a_look_that_keeps_its_cancellation_to_itself_keeps_nobody_waiting() -> None:
    looking = asyncio.Event()

    async def look() -> None:
        looking.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return

    follower = Follower(look, lambda: 0.0, name="test", failed=lambda error: None)
    follower.start()
    await looking.wait()
    await follower.stop()
    await follower.stop()


async def test_a_look_that_fails_is_told_and_not_the_last() -> None:
    told: list[Exception] = []
    enough = asyncio.Event()

    async def look() -> None:
        if len(told) == 2:
            enough.set()
            return
        raise ValueError("bad")

    follower = Follower(look, lambda: 0.0, name="test", failed=told.append)
    follower.start()
    await enough.wait()
    await follower.stop()
    assert [type(error) for error in told] == [ValueError, ValueError]
