"""Keeping in step with a file: every interval a look, whatever one of them raises, and nothing left behind."""

from __future__ import annotations

import asyncio

from gateway.following import Follower


async def test_it_looks_again_and_again_also_after_a_look_that_failed() -> None:
    looks: list[int] = []
    failures: list[str] = []
    enough = asyncio.Event()

    async def look() -> None:
        looks.append(len(looks))
        if len(looks) == 2:
            raise ValueError("a defect")
        if len(looks) == 4:
            enough.set()

    follower = Follower(look, lambda: 0.001, name="test", failed=lambda error: failures.append(type(error).__name__))
    follower.start()
    async with asyncio.timeout(5):
        await enough.wait()
    await follower.stop()
    assert looks == [0, 1, 2, 3]
    assert failures == ["ValueError"]


async def test_leaving_ends_a_look_that_hangs_and_may_be_done_twice() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def look() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    follower = Follower(look, lambda: 0.0, name="test", failed=lambda error: None)
    await follower.stop()
    follower.start()
    async with asyncio.timeout(5):
        await begun.wait()
        await follower.stop()
    assert ended.is_set()
    await follower.stop()
