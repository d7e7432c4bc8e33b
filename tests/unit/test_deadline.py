"""Deadlines that are free when nothing waits, and as strict as a timer when something does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway.deadline import within


async def test_what_does_not_wait_sets_no_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(seconds: float) -> None:
        raise AssertionError("a timer was set")

    monkeypatch.setattr(asyncio, "timeout", refuse)

    async def at_once() -> str:
        return "done"

    assert await within(0, at_once()) == "done"


async def test_what_waits_several_times_comes_to_its_end() -> None:
    async def slow() -> list[int]:
        seen = []
        for number in range(3):
            await asyncio.sleep(0)
            seen.append(await asyncio.get_running_loop().run_in_executor(None, int, number))
            await asyncio.sleep(0.001)
        return seen

    assert await within(5, slow()) == [0, 1, 2]


async def test_what_takes_too_long_is_cancelled_and_cleans_up() -> None:
    cleaned = asyncio.Event()

    async def forever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned.set()

    with pytest.raises(TimeoutError):
        await within(0.02, forever())
    assert cleaned.is_set()


@pytest.mark.parametrize("waits", [False, True])
async def test_an_exception_comes_out_as_it_is(waits: bool) -> None:
    async def fails() -> None:
        if waits:
            await asyncio.sleep(0)
        raise KeyError("as it is")

    with pytest.raises(KeyError, match="as it is"):
        await within(1, fails())


async def test_cancelling_the_caller_reaches_what_it_waits_for() -> None:
    inside, seen = asyncio.Event(), []

    async def waits() -> None:
        inside.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    task = asyncio.create_task(within(5, waits()))
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen == ["cancelled"]


async def test_the_end_of_an_iterator_is_told_apart_from_a_value() -> None:
    async def numbers() -> AsyncIterator[int]:
        yield 1
        await asyncio.sleep(0)
        yield 2
        await asyncio.sleep(0)

    source = numbers()
    assert await within(1, anext(source)) == 1
    assert await within(1, anext(source)) == 2
    with pytest.raises(StopAsyncIteration):
        await within(1, anext(source))


async def test_a_future_and_a_task_can_be_waited_for_too() -> None:
    future = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(0.01, future.set_result, "set")
    assert await within(1, future) == "set"
    assert await within(1, asyncio.create_task(asyncio.sleep(0.001, "slept"))) == "slept"
