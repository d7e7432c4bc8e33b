"""C10: the event loop and its default pool belong to everybody.

Rules of this module: checks only; see `adapters.testing.check`.
"""

from __future__ import annotations

from adapters.testing.check import Violation, check
from adapters.testing.harness import Harness
from adapters.testing.subject import MiB, Subject, document, entered, outcome
from adapters.testing.watch import BLOCKED, LoopWatch, default_pool_calls

_TRIES = 3
"""A machine under load can hold up an innocent adapter once; a blocking call holds up every time."""


async def _everything(subject: Subject, locator: str) -> None:
    await subject.read(locator)
    await subject.stat(locator)
    await outcome(subject.read(subject.harness.missing))
    await subject.adapter.probe()


@check(
    "C10.1", cure="`await self.services.call(function, ...)` for everything that waits for a disk, a lock or a network"
)
async def the_event_loop_is_never_blocked(harness: Harness) -> None:
    """One read that blocks the loop holds up every reader of every archive, health checks included."""
    locator = (await document(harness, 2 * MiB)).locator
    for _ in range(_TRIES):
        async with LoopWatch() as watch, entered(harness) as subject:
            await _everything(subject, locator)
        if watch.seconds <= BLOCKED:
            return
    raise Violation(f"the event loop stood still for {watch.seconds * 1000:.0f} ms in {watch.place}")


@check(
    "C10.2", cure="give the executor: `self.services.call(...)`, `aiofiles.open(..., executor=self.services.executor)`"
)
async def the_default_pool_is_left_alone(harness: Harness) -> None:
    """Six hung reads in the default pool stop name resolution, and with it every other archive."""
    locator = (await document(harness, 300_001)).locator
    with default_pool_calls() as calls:
        async with entered(harness) as subject:
            await _everything(subject, locator)
    if calls:
        raise Violation(f"handed to the loop's default executor: {', '.join(sorted(set(calls)))}")
