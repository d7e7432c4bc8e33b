"""L: the life of an adapter, from construction to the last exit.

Rules of this module: checks only; see `adapters.testing.check`.
"""

from __future__ import annotations

import asyncio

from adapters.testing.check import LIVE, OFFLINE, Violation, capabilities_of, check
from adapters.testing.harness import Harness
from adapters.testing.subject import document, entered, entering, eventually, first_chunk, outcome, sample, seed
from adapters.testing.watch import Footprint, io_events


@check("L.1", cure="keep the arguments in `__init__`; connect, read and start threads in `__aenter__`")
async def construction_does_nothing(harness: Harness) -> None:
    """The gateway constructs adapters to check a configuration, on machines that cannot reach the archive."""
    model = harness.adapter()
    before = Footprint()
    with io_events() as events:
        adapter = type(model)(model.name, model.options, model.services)
    left = before.new_tasks() + before.new_threads() + before.new_descriptors()
    del adapter
    if events or left:
        raise Violation(f"the constructor alone did: {', '.join(sorted({*events, *left}))}")


@check("L.2", cure="set what was released to None, and release only what is there")
async def exit_may_come_twice(harness: Harness) -> None:
    """A reload and a shutdown may meet; the second must not fail on what the first has closed."""
    locator = (await document(harness, 1000)).locator
    async with entered(harness) as subject:
        await subject.read(locator)
        for which in ("first", "second"):
            if error := await outcome(subject.adapter.__aexit__(None, None, None)):
                raise Violation(f"the {which} `__aexit__` raised {type(error).__name__}") from error


@check("L.3", cure="begin `__init__` with every resource as None; `__aexit__` releases what is there")
async def exit_works_after_an_enter_that_did_not(harness: Harness) -> None:
    """One archive that fails to start must not hide its reason behind a second error, nor leak half a pool."""
    before = Footprint()
    for turns in range(4):
        adapter = harness.adapter()
        entering_task = asyncio.ensure_future(adapter.__aenter__())
        for _ in range(turns):
            await asyncio.sleep(0)
        entering_task.cancel()
        done, _ = await asyncio.wait({entering_task}, timeout=harness.patience)
        if not done:
            raise Violation(f"an `__aenter__` that was cancelled went on for {harness.patience:g} seconds")
        if not entering_task.cancelled() and (error := entering_task.exception()):
            raise Violation(f"an `__aenter__` that was cancelled ended with {type(error).__name__}") from error
        if error := await outcome(adapter.__aexit__(None, None, None)):
            raise Violation(f"`__aexit__` after a partial `__aenter__` raised {type(error).__name__}") from error
    if not await eventually(harness, lambda: not (before.new_tasks() or before.new_threads())):
        raise Violation(f"left after a partial enter: {', '.join(before.new_tasks() + before.new_threads())}")


@check("L.4", cure="return one constant; correct the adapter, or the harness if it is the harness that errs")
async def capabilities_are_as_declared_and_constant(harness: Harness) -> None:
    """The gateway decides once whether to cache, to slice and to revalidate."""
    due = capabilities_of(harness)
    locator = (await document(harness, 1000)).locator
    async with entered(harness) as subject:
        for when in ("after enter", "after a read"):
            found = subject.adapter.capabilities
            if found != due:
                differing = [name for name in due.__slots__ if getattr(due, name) != getattr(found, name)]
                raise Violation(f"{when} the capabilities differ from the harness's: {', '.join(differing)}")
            await subject.read(locator)


@check("L.5", cure="ask the archive for something that always exists (its root, its version), and only read")
async def a_probe_passes_and_changes_nothing(harness: Harness) -> None:
    """Readiness is asked every few seconds, on archives that may be empty or full of patients."""
    async with entered(harness) as subject:
        await subject.adapter.probe()
        locator = (await document(harness, 1000)).locator
        before = await subject.stat(locator)
        for _ in range(3):
            await subject.adapter.probe()
        if await subject.stat(locator) != before:
            raise Violation("the facts of a document differ after a probe")


@check("L.6", cure="probe over the same path as a read, and close what it opens", needs=[LIVE])
async def a_probe_holds_nothing(harness: Harness) -> None:
    """A probe that leaks empties the archive's pool within the hour."""
    await seed(harness, sample(1000))
    async with entered(harness) as subject:
        for _ in range(3):
            await subject.adapter.probe()
        if not await eventually(harness, lambda: harness.live() == 0):
            raise Violation(f"{harness.live()} open in the archive after three probes")


@check(
    "L.7",
    cure="ask the archive on every probe, with a short deadline, and raise Unavailable or TimedOut",
    needs=[OFFLINE],
)
async def a_probe_notices_that_the_archive_is_away(harness: Harness) -> None:
    """A probe that always passes keeps traffic coming to a gateway that can serve nothing."""
    await seed(harness, sample(1000))
    async with entered(harness) as subject:
        async with entering(harness.offline()):
            if await outcome(subject.adapter.probe()) is None:
                raise Violation("the archive is away, and the probe passes")
        if error := await outcome(subject.adapter.probe()):
            raise Violation(f"the archive is back, and the probe raised {type(error).__name__}") from error


@check("L.8", cure="set `offers_file` in the harness to what the adapter does")
async def a_file_is_offered_as_the_harness_says(harness: Harness) -> None:
    """The checks of `Content.file` are chosen by the harness's word; it must be true."""
    locator = (await document(harness, 1000)).locator
    async with entered(harness) as subject, subject.open(locator) as content:
        await first_chunk(content)
        if (content.file is not None) != harness.offers_file:
            raise Violation(f"offers_file={harness.offers_file}, and `Content.file` is {type(content.file).__name__}")
