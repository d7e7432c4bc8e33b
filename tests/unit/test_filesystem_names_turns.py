"""Listings that several requests wait for: each gets one that began after it asked, and none of them holds up the loop."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from adapters.filesystem.listing import Listing
from adapters.filesystem.names import Names


class Folders:
    """A root whose folders are read as soon as `gate` is opened."""

    def __init__(self) -> None:
        self.gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.read = 0

    async def call(self, function: Any, root: Any, folder: bytes, fold: Any, moments: Iterator[int]) -> Any:
        began = next(moments)
        self.read += 1
        if self.read == 1:
            await self.gate
        return began, Listing((0, 0, 0, self.read), False, 0, [], [])


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raises `AssertionError` in code that never gives the loop a turn, which no deadline of asyncio's would end."""

    def late(number: int, frame: Any) -> None:
        raise AssertionError("the event loop was held up")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


async def test_a_request_that_comes_between_the_end_of_a_reading_and_its_keeping_reads_anew() -> None:
    folders = Folders()
    names = Names(folders, case_insensitive=False)  # type: ignore[arg-type]
    first = asyncio.create_task(names.listing(b"."))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    folders.gate.set_result(None)
    # Its first step stands in the queue behind the last one of the reading, and before what keeps the reading.
    second = asyncio.create_task(names.listing(b"."))
    with within(2):
        assert (await second).stamp[3] == 2, "what it gets was read after it asked"
        assert (await first).stamp[3] == 1
        assert (await names.listing(b".")).stamp[3] == 3
