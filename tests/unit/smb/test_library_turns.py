"""Blocking calls in turn: one at a time, in order, and nothing lost when callers go."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any

import pytest

from adapters.smb.failures import Lost
from adapters.smb.library.turns import Turns
from tests.support.smb_share import until


class AtOnce(Executor):
    """Makes each call as it is submitted, so that what follows takes a known number of turns of the loop."""

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        made: Future[Any] = Future()
        made.set_result(function(*arguments, **named))
        return made


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as executor:
        yield executor


def nothing() -> None:
    pass


async def test_calls_are_made_one_at_a_time_and_in_order(threads: ThreadPoolExecutor) -> None:
    turns = Turns(threads, patience=10, overdue=nothing)
    at_work, most, order = 0, 0, []

    def work(number: int) -> int:
        nonlocal at_work, most
        at_work += 1
        most = max(most, at_work)
        order.append(number)
        threading.Event().wait(0.002)
        at_work -= 1
        return number * 2

    assert await asyncio.gather(*(turns.call(work, number) for number in range(20))) == list(range(0, 40, 2))
    assert order == list(range(20))
    assert most == 1


async def test_error_of_a_call_is_its_callers_and_nobody_elses(threads: ThreadPoolExecutor) -> None:
    turns = Turns(threads, patience=10, overdue=nothing)

    def fail() -> None:
        raise ZeroDivisionError

    turns.later(fail)
    failing = asyncio.ensure_future(turns.call(fail))
    assert await turns.call(lambda: "fine") == "fine"
    with pytest.raises(ZeroDivisionError):
        await failing


@pytest.mark.parametrize("loops", range(8))
async def test_result_is_either_handed_over_or_undone_whenever_the_caller_goes(loops: int) -> None:
    turns = Turns(AtOnce(), patience=10, overdue=nothing)
    made: list[str] = []
    undone: list[str] = []

    def work() -> str:
        made.append("file")
        return "file"

    calling = asyncio.ensure_future(turns.call(work, undo=undone.append))
    for _ in range(loops):
        await asyncio.sleep(0)
    calling.cancel()
    (result,) = await asyncio.gather(calling, return_exceptions=True)
    for _ in range(8):
        await asyncio.sleep(0)
    assert made == (["file"] if result == "file" else undone)


async def test_cancelled_call_that_did_not_begin_is_not_made_unless_it_must_be(threads: ThreadPoolExecutor) -> None:
    turns = Turns(threads, patience=10, overdue=nothing)
    gate, made = threading.Event(), list[str]()
    first = asyncio.ensure_future(turns.call(gate.wait, 10))
    dropped = asyncio.ensure_future(turns.call(made.append, "dropped"))
    kept = asyncio.ensure_future(turns.call(made.append, "kept", always=True))
    await asyncio.sleep(0)
    turns.later(made.append, "later")
    dropped.cancel()
    kept.cancel()
    await asyncio.sleep(0)
    gate.set()
    assert await first
    await until(lambda: len(made) == 2)
    assert made == ["kept", "later"]


async def test_call_that_lasts_too_long_is_reported_and_the_next_waits_for_its_end(threads: ThreadPoolExecutor) -> None:
    gate = threading.Event()
    turns = Turns(threads, patience=0.05, overdue=gate.set)
    assert await turns.call(gate.wait, 10), "nobody ended it"
    gate.clear()
    assert await asyncio.gather(turns.call(gate.wait, 10), turns.call(gate.is_set)) == [True, True]


async def test_call_that_ended_in_time_is_not_reported(threads: ThreadPoolExecutor) -> None:
    reported: list[bool] = []
    turns = Turns(threads, patience=0.05, overdue=lambda: reported.append(True))
    await turns.call(nothing)
    await asyncio.sleep(0.1)
    assert reported == []


async def test_failing_tells_all_who_wait_at_once_and_makes_no_more_calls(threads: ThreadPoolExecutor) -> None:
    turns = Turns(threads, patience=10, overdue=nothing)
    gate, made, undone = threading.Event(), list[str](), list[bool]()
    waiting = [
        asyncio.ensure_future(turns.call(gate.wait, 10, undo=undone.append)),
        asyncio.ensure_future(turns.call(made.append, "second", always=True)),
    ]
    await asyncio.sleep(0.02)
    turns.fail(Lost("over"))
    last = turns.last(lambda: made.append("last"))
    assert [str(one) for one in await asyncio.gather(*waiting, return_exceptions=True)] == ["over", "over"]
    assert made == []
    gate.set()
    await last
    assert made == ["last"]
    assert undone == [True], "what the thread still brought was not taken back"


async def test_last_call_is_made_also_when_the_threads_are_gone(threads: ThreadPoolExecutor) -> None:
    turns = Turns(threads, patience=10, overdue=nothing)
    threads.shutdown()
    made: list[str] = []
    with pytest.raises(Lost, match="closing"):
        await turns.call(made.append, "call")
    turns.later(made.append, "later")
    await turns.last(lambda: made.append("last"))
    assert made == ["last"]
