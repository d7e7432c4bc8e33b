"""What one configuration takes over from the one before, and when what nobody needs any more is closed."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from gateway.parts import Make, Parts

KEY = ("source", "letters")


class Made:
    """Counts what is made and closed."""

    def __init__(self) -> None:
        self.made: list[object] = []
        self.closed: list[object] = []
        self.busy = False

    def make(self, *, fails: bool = False) -> Make[object]:
        async def made(stack: AsyncExitStack) -> object:
            value = object()
            self.made.append(value)
            stack.callback(self.closed.append, value)
            if fails:
                raise ValueError("no")
            return value

        return made


async def test_a_part_of_the_same_settings_is_taken_over_and_closed_once_by_whoever_lets_go_last() -> None:
    made, old = Made(), Parts()
    first = await old.take(KEY, "settings", made.make())
    new = Parts(old)
    assert await new.take(KEY, "settings", made.make()) is first
    assert new.taken_over(KEY)
    await old.close()
    assert made.closed == []
    await new.close()
    await new.close()
    assert made.closed == made.made == [first]


async def test_a_part_of_other_settings_is_made_anew_beside_the_old_one() -> None:
    made, old = Made(), Parts()
    first = await old.take(KEY, "settings", made.make())
    new = Parts(old)
    second = await new.take(KEY, "other settings", made.make())
    assert not new.taken_over(KEY)
    assert made.closed == []
    await old.close()
    assert made.closed == [first]
    await new.close()
    assert made.closed == [first, second]


async def test_what_is_given_up_leaves_what_it_took_over() -> None:
    made, old = Made(), Parts()
    first = await old.take(KEY, "settings", made.make())
    given_up = Parts(old)
    await given_up.take(KEY, "settings", made.make())
    extra = await given_up.take(("source", "notes"), "settings", made.make())
    with pytest.raises(ValueError, match="no"):
        await given_up.take(("cache",), "settings", made.make(fails=True))
    await given_up.close(wait=False)
    assert set(made.closed) == {extra, made.made[-1]}
    await old.close()
    assert first in made.closed


async def test_a_part_at_work_is_closed_when_its_work_is_done_or_the_process_ends() -> None:
    made, parts = Made(), Parts()
    busy = True
    first = await parts.take(KEY, "settings", made.make(), busy=lambda value: busy)
    closing = asyncio.ensure_future(parts.close())
    await asyncio.sleep(0.05)
    assert made.closed == []
    busy = False
    await asyncio.wait_for(closing, 1)
    assert made.closed == [first]
    hanging = Parts()
    second = await hanging.take(KEY, "settings", made.make(), busy=lambda value: True)
    closing = asyncio.ensure_future(hanging.close())
    await asyncio.sleep(0.05)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert made.closed == [first, second]


async def test_one_that_cannot_be_closed_keeps_no_other_open() -> None:
    made, parts = Made(), Parts()
    first = await parts.take(KEY, "settings", made.make())

    async def broken(stack: AsyncExitStack) -> None:
        def fail() -> None:
            raise OSError("hangs")

        stack.callback(fail)

    await parts.take(("cache",), "settings", broken)
    with pytest.raises(OSError, match="hangs"):
        await parts.close()
    assert made.closed == [first]
