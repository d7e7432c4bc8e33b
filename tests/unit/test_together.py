"""One question for many: never an answer that is older than the request, and nobody pays for another's leaving."""

from __future__ import annotations

import asyncio

import pytest

from gateway.together import Together


class Archive:
    """Answers with the number of the question, once it may."""

    def __init__(self) -> None:
        self.questions = 0
        self.open = 0
        self.most = 0
        self.gate = asyncio.Event()
        self.error: Exception | None = None

    async def stat(self, thing: str) -> int:
        self.questions += 1
        number = self.questions
        self.open += 1
        self.most = max(self.most, self.open)
        try:
            await self.gate.wait()
        finally:
            self.open -= 1
        if self.error is not None:
            raise self.error
        return number


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_whoever_comes_while_a_question_is_open_gets_the_answer_to_the_next() -> None:
    archive = Archive()
    together = Together(archive.stat)
    first = [asyncio.ensure_future(together.ask("a")) for _ in range(1)]
    await turns()
    later = [asyncio.ensure_future(together.ask("a")) for _ in range(100)]
    await turns()
    assert archive.questions == 1
    archive.gate.set()
    assert await asyncio.gather(*first) == [1]
    assert await asyncio.gather(*later) == [2] * 100
    assert archive.most == 1


async def test_different_things_do_not_wait_for_each_other() -> None:
    archive = Archive()
    together = Together(archive.stat)
    asking = [asyncio.ensure_future(together.ask(thing)) for thing in "abc"]
    await turns()
    assert archive.open == 3
    archive.gate.set()
    await asyncio.gather(*asking)


async def test_what_the_question_raises_everybody_hears_and_nobody_remembers() -> None:
    archive = Archive()
    archive.gate.set()
    archive.error = LookupError("none")
    together = Together(archive.stat)
    answers = await asyncio.gather(*(together.ask("a") for _ in range(3)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [LookupError] * 3
    archive.error = None
    assert await together.ask("a") == archive.questions


async def test_one_who_leaves_takes_the_answer_from_nobody() -> None:
    archive = Archive()
    together = Together(archive.stat)
    leaving, staying = (asyncio.ensure_future(together.ask("a")) for _ in range(2))
    await turns()
    leaving.cancel()
    await turns()
    archive.gate.set()
    assert await staying in (1, 2)


@pytest.mark.parametrize("waiting", [0, 1], ids=["asked", "waiting to be asked"])
@pytest.mark.parametrize("late", range(6))
async def test_whoever_comes_while_a_question_is_given_up_gets_an_answer(waiting: int, late: int) -> None:
    """At every step of the giving up: an answer that was taken back would look as if the client had left."""
    archive = Archive()
    together = Together(archive.stat)
    before = [asyncio.ensure_future(together.ask("a")) for _ in range(waiting)]
    await turns()
    leaving = asyncio.ensure_future(together.ask("a"))
    await turns()
    leaving.cancel()
    for _ in range(late):
        await asyncio.sleep(0)
    coming = asyncio.ensure_future(together.ask("a"))
    await turns()
    archive.gate.set()
    async with asyncio.timeout(1):
        assert await coming >= 1
    await asyncio.wait({leaving, *before})


async def test_whoever_comes_at_the_moment_of_leaving_gets_an_answer() -> None:
    """The leaver's last step and the newcomer's first one in one turn of the loop."""
    archive = Archive()
    together = Together(archive.stat)
    before = asyncio.ensure_future(together.ask("a"))
    await turns()
    leaving = asyncio.ensure_future(together.ask("a"))
    await turns()
    coming: list[asyncio.Future[int]] = []
    leaving.add_done_callback(lambda _: coming.append(asyncio.ensure_future(together.ask("a"))))
    loop = asyncio.get_running_loop()
    leaving.cancel()
    loop.call_soon(lambda: coming.append(asyncio.ensure_future(together.ask("a"))))
    await turns()
    archive.gate.set()
    async with asyncio.timeout(1):
        assert all([await one >= 1 for one in coming])
        await before
    assert len(coming) == 2


async def test_a_question_that_nobody_waits_for_is_given_up() -> None:
    archive = Archive()
    together = Together(archive.stat)
    leaving = [asyncio.ensure_future(together.ask("a")) for _ in range(3)]
    await turns()
    for one in leaving:
        one.cancel()
    await asyncio.wait(leaving)
    await turns()
    assert archive.open == 0
    archive.gate.set()
    assert await together.ask("a") == archive.questions


async def test_nothing_is_kept_when_nobody_asks() -> None:
    archive = Archive()
    archive.gate.set()
    together = Together(archive.stat)
    await asyncio.gather(*(together.ask(str(number % 7)) for number in range(50)))
    await turns()
    assert (together._asked, together._next) == ({}, {})
