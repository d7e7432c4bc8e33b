"""C7 and C8: everything is given back on every path, and readers do not disturb one another.

Rules of this module: checks only; see `adapters.testing.check`. `Content` is kept in a variable until the count, so
that what only the garbage collector would close is seen as open.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import warnings
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

from adapters.contract import MAX_CHUNK, Content, Span
from adapters.errors import AdapterError
from adapters.testing.check import CUT, LIVE, Need, Violation, capabilities_of, check, open_together
from adapters.testing.harness import Harness
from adapters.testing.subject import (
    DONE,
    FEW_MOMENTS,
    Subject,
    cancelled_at,
    chunks_of,
    document,
    documents,
    entered,
    entering,
    eventually,
    first_chunk,
    outcome,
    sample,
    seed,
)
from adapters.testing.watch import Footprint, countable_descriptors

_SIZE = 600_000
_PARALLEL = Need(
    lambda harness: (open_together(harness) or 2) > 1,
    "the adapter declares that one document is open at a time",
    "one document may be open at a time, by the adapter's word or by `limits.max_open` of the source",
)
_DESCRIPTORS = Need(lambda harness: countable_descriptors(), "this system does not list a process's descriptors")
_CURE = "close in the `finally` (or `async with`) around the `yield` of `open`"


class _ReaderLeft(Exception):
    """Stands for whatever may go wrong on the reader's side."""


async def _judge_released(harness: Harness, path: str) -> None:
    if not await eventually(harness, lambda: harness.live() == 0):
        raise Violation(f"{harness.live()} open in the archive after {path}")


@check("C7.1", cure=_CURE, needs=[LIVE])
async def a_read_to_the_end_releases(harness: Harness) -> None:
    """What stays open adds up: after some thousand letters the archive refuses everybody."""
    locator = await seed(harness, sample(_SIZE))
    async with entered(harness) as subject:
        kept = await subject.read(locator)
        await _judge_released(harness, "a read to the end")
        del kept


@check("C7.2", cure=_CURE + ", not after the last chunk", needs=[LIVE])
async def an_abandoned_read_releases(harness: Harness) -> None:
    """Readers leave after one page all the time."""
    locator = await seed(harness, sample(_SIZE))
    async with entered(harness) as subject:
        async with subject.open(locator) as unread:
            pass
        await _judge_released(harness, "a context that was left before the first chunk")
        async with subject.open(locator) as content:
            await first_chunk(content)
        await _judge_released(harness, "a context that was left after one chunk")
        del unread, content


@check("C7.3", cure=_CURE, needs=[LIVE])
async def an_error_of_the_reader_releases(harness: Harness) -> None:
    """A closed browser tab is an exception in the reader; it happens every minute."""
    locator = await seed(harness, sample(_SIZE))
    content: Content | None = None
    async with entered(harness) as subject:
        try:
            async with subject.open(locator) as content:
                await first_chunk(content)
                raise _ReaderLeft
        except Exception:  # noqa: S110 - what comes back is the business of C9.4
            pass
        await _judge_released(harness, "an exception in the reader")
        del content


@check("C7.4", cure=_CURE + "; wait for a thread that still reads before you close under it", needs=[LIVE])
async def a_cancelled_read_releases(harness: Harness) -> None:
    """A request that is cancelled while the archive is slow must not hold on to the archive."""
    locator = await seed(harness, sample(_SIZE))
    async with entered(harness) as subject:
        async for ended in cancelled_at(subject, locator):
            if ended != DONE:
                await _judge_released(harness, "a read that was cancelled")


@check(
    "C7.5", cure="close before you raise: span, version and size are judged after the object was opened", needs=[LIVE]
)
async def a_refused_open_releases(harness: Harness) -> None:
    """Refusals are frequent, and nobody leaves a context that was never entered."""
    capabilities = capabilities_of(harness)
    locator = await seed(harness, sample(1000))
    attempts: list[dict[str, Any]] = [{"locator": name} for name in (harness.missing, *harness.hostile)]
    if capabilities.spans:
        attempts.append({"locator": locator, "span": Span(5000)})
    if capabilities.strong_versions:
        attempts.append({"locator": locator, "version": "no-such-version"})
    async with entered(harness) as subject:
        for attempt in attempts:
            await outcome(subject.read(**attempt))
            await _judge_released(harness, "an `open` that was refused")


async def _a_life(harness: Harness, locator: str) -> list[Content]:
    """All that may happen to an adapter, once; what was opened is handed back, so that it stays referenced."""
    kept: list[Content] = []
    async with entered(harness) as subject:
        kept.append((await subject.read(locator))[0])
        await subject.stat(locator)
        await outcome(subject.read(harness.missing))
        async with subject.open(locator) as content:
            kept.append(content)
            await first_chunk(content)
        async for _ in cancelled_at(subject, locator, FEW_MOMENTS):
            pass
        await subject.adapter.probe()
    return kept


async def _left_over(harness: Harness, found: Callable[[Footprint], list[str]]) -> list[str]:
    """What `found` still sees after a life; a first life before it loads what is loaded once per process."""
    locator = (await document(harness, _SIZE)).locator
    await _a_life(harness, locator)
    before = Footprint()
    kept = await _a_life(harness, locator)
    await eventually(harness, lambda: not found(before))
    del kept
    return found(before)


@check("C7.6", cure="await or cancel every task in the `finally` that belongs to it, the adapter's own in `__aexit__`")
async def no_task_is_left(harness: Harness) -> None:
    """A forgotten task goes on reading for a client that left, and speaks up in another request's log."""
    if left := await _left_over(harness, Footprint.new_tasks):
        raise Violation(f"tasks are left after exit: {', '.join(left)}")


@check("C7.7", cure="use `self.services.executor`; join own threads in `__aexit__`")
async def no_thread_is_left(harness: Harness) -> None:
    """A reload makes a new adapter; threads of the old ones add up until the process must be killed."""
    if left := await _left_over(harness, Footprint.new_threads):
        raise Violation(f"threads are left after exit: {', '.join(left)}")


@check(
    "C7.8",
    cure="close files and sockets in the `finally` around the `yield`, pools in `__aexit__`",
    needs=[_DESCRIPTORS],
)
async def no_descriptor_is_left(harness: Harness) -> None:
    """The process may have some thousand; without them it answers nobody, health checks included."""
    if left := await _left_over(harness, Footprint.new_descriptors):
        raise Violation(f"descriptors are left open after exit: {', '.join(left)}")


@check(
    "C7.9", cure="close generators with `contextlib.aclosing`, await every coroutine, retrieve every task's exception"
)
async def nothing_is_left_to_the_garbage_collector(harness: Harness) -> None:
    """What only the collector closes is closed at a random time, in a random request."""
    locator = (await document(harness, _SIZE)).locator
    loop = asyncio.get_running_loop()
    complaints: list[str] = []
    unraisable, handler = sys.unraisablehook, loop.get_exception_handler()
    gc.collect(1)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        sys.unraisablehook = lambda problem: complaints.append(f"{type(problem.exc_value).__name__} while collecting")
        loop.set_exception_handler(lambda _, context: complaints.append(str(context.get("message"))))
        try:
            await _a_life(harness, locator)
            gc.collect(1)
            await asyncio.sleep(0.005)
        finally:
            sys.unraisablehook = unraisable
            loop.set_exception_handler(handler)
    serious = [entry for entry in warned if issubclass(entry.category, ResourceWarning | RuntimeWarning)]
    complaints += [f"{entry.category.__name__}: {entry.message}" for entry in serious]
    if complaints:
        raise Violation(f"after exit Python complains: {'; '.join(sorted(set(complaints)))}")


@check("C7.10", cure="give no half-read connection back to a pool; look at the exception on leaving")
async def the_next_read_works_after_one_that_was_left(harness: Harness) -> None:
    """A connection that still holds the rest of one letter must not begin the next reader's letter with it."""
    left, *_, other = [await document(harness, _SIZE), *await documents(harness, 1000)]
    async with entered(harness) as subject:
        async with subject.open(left.locator) as content:
            await first_chunk(content)
        await _judge_next(subject, other.locator, other.data, "one that was left after a chunk")
        async for _ in cancelled_at(subject, left.locator, FEW_MOMENTS):
            await _judge_next(subject, other.locator, other.data, "one that was cancelled")


@check("C7.11", cure="throw a connection away when anything failed on it", needs=[CUT])
async def the_next_read_works_after_a_broken_one(harness: Harness) -> None:
    """One broken connection must cost one read, not every read until a restart."""
    data = sample(_SIZE)
    locator = await seed(harness, data)
    async with entered(harness) as subject:
        for count in (1, 300_000):
            async with entering(harness.cut_after(count)):
                await outcome(subject.read(locator))
            await _judge_next(subject, locator, data, "one that broke off")


async def _judge_next(subject: Subject, locator: str, data: bytes, after: str) -> None:
    try:
        got = (await subject.read(locator))[1]
    except AdapterError as error:
        raise Violation(f"the read after {after} raised {type(error).__name__}") from error
    if got != data:
        raise Violation(f"the read after {after} brought other bytes")


@check("C8.1", cure="keep everything that belongs to one read inside its `open`, nothing of it on `self`")
async def many_reads_interleave(harness: Harness) -> None:
    """Thirty clinicians read at once, each at the pace of their own screen."""
    stored = await documents(harness, *(200_003 + turn for turn in range(8)))
    readers = [stored[turn % len(stored)] for turn in range(min(32, open_together(harness) or 32))]
    async with entered(harness) as subject, AsyncExitStack() as stack:
        contents = [await stack.enter_async_context(subject.open(reader.locator)) for reader in readers]
        got = [bytearray() for _ in contents]
        unfinished = list(range(len(readers)))
        while unfinished:
            for turn in list(unfinished):
                chunk = await anext(contents[turn].chunks, None)
                if chunk is None:
                    unfinished.remove(turn)
                else:
                    got[turn] += chunk
                if len(got[turn]) > 2 * len(readers[turn].data) + MAX_CHUNK:
                    raise Violation("the chunks do not end")
        wrong = [turn for turn, reader in enumerate(readers) if got[turn] != reader.data]
        if wrong:
            raise Violation(f"{len(wrong)} of {len(readers)} documents that were read in turns came back altered")


@check("C8.2", cure="open a handle for each reader; share none between two contexts", needs=[_PARALLEL])
async def a_reader_that_leaves_disturbs_nobody(harness: Harness) -> None:
    """Two people read the same letter; one closes it."""
    given = await document(harness, _SIZE)
    locator, data = given.locator, given.data
    async with entered(harness) as subject, subject.open(locator) as staying:
        got = await first_chunk(staying)
        async with subject.open(locator) as leaving:
            await first_chunk(leaving)
        try:
            got += b"".join(await chunks_of(staying))
        except AdapterError as error:
            raise Violation(
                f"a read failed with {type(error).__name__} when another of the same document was left"
            ) from error
        if got != data:
            raise Violation("a read brought other bytes when another of the same document was left")
