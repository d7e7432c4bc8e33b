"""Who is let through to an archive: its circuit, its places and queue, one retry, deadlines; and what it says of itself."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from adapters.contract import Caller, Content, Span
from adapters.errors import (
    AccessDenied,
    AdapterError,
    Busy,
    Corrupt,
    CredentialsRejected,
    InvalidLocator,
    NotFound,
    TimedOut,
    Unavailable,
)
from gateway import deadline
from gateway.errors import Resting
from gateway.source import Limits
from tests.support.odd_source import DATA, Bench, OddAdapter, bench
from tests.support.scripted import Script

LIMITS = Limits(
    max_open=2,
    max_queued=2,
    queue_timeout=0.5,
    open_timeout=0.05,
    idle_timeout=0.5,
    breaker_failures=2,
    breaker_pause=5,
)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


async def outcome(at: Bench, locator: str = "a") -> type[BaseException] | bytes:
    try:
        return await at.read(locator)
    except AdapterError as error:
        return type(error)


async def told(at: Bench, event: str, count: int) -> list[dict[str, object]]:
    """The lines of `event`, once there are `count`; a moment longer, so that one too many is seen."""
    for _ in range(100):
        lines = [json.loads(line) for line in at.log.getvalue().splitlines()]
        found = [line for line in lines if line["event"] == event]
        if len(found) >= count:
            break
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.03)
    found = [line for text in at.log.getvalue().splitlines() if (line := json.loads(text))["event"] == event]
    assert len(found) == count
    return found


# --- the circuit -----------------------------------------------------------------------------------------------------


async def test_an_archive_that_does_not_answer_is_given_a_rest_and_found_again() -> None:
    clock, script = Clock(), Script([DATA], entering=[asyncio.Event()])
    async with bench({"a": script, "b": Script([DATA])}, limits=LIMITS, clock=clock) as at:
        assert [await outcome(at) for _ in range(2)] == [TimedOut, TimedOut]
        began = time.monotonic()
        with pytest.raises(Resting) as refused:
            await at.read("b")
        assert time.monotonic() - began < 0.05
        assert refused.value.source == "letters"
        assert refused.value.retry_after == LIMITS.breaker_pause
        assert [await outcome(at) for _ in range(20)] == [Resting] * 20
        assert script.opened == 2, "the archive was not touched"
        status = at.source.status()
        assert (status.state, status.rejected["resting"], status.failures) == ("away", 21, 2)
        assert (status.endpoints[0].circuit, status.endpoints[0].opened) == ("open", 1)
        assert status.error is not None
        assert (status.error.kind, status.error.code) == ("TimedOut", "GW-SRC-003")
        assert status.error.cure
        clock.now += LIMITS.breaker_pause
        assert at.source.status().state == "probing"
        script.entering = []
        assert await at.read() == DATA
        assert (at.source.status().state, at.source.status().endpoints[0].failures) == ("ok", 0)
        (line,) = await told(at, "calls to the archive are stopped", 1)
        assert (line["state"], line["reason"], line["level"]) == ("open", "TimedOut", "warning")
        (line,) = await told(at, "calls to the archive go on", 1)
        assert (line["state"], line["level"]) == ("closed", "info")


async def test_an_outage_of_many_pauses_is_told_once() -> None:
    clock, script = Clock(), Script([DATA], entering=[asyncio.Event()])
    async with bench(script, limits=LIMITS, clock=clock) as at:
        for _ in range(8):
            await outcome(at)
            clock.now += LIMITS.breaker_pause
        assert script.opened == 8, "each pause ends with one call that finds out"
        await told(at, "calls to the archive are stopped", 1)
        script.entering = [CredentialsRejected("the password has expired")]
        assert await outcome(at) is CredentialsRejected
        lines = await told(at, "calls to the archive are stopped", 2)
        assert lines[1]["reason"] == "CredentialsRejected", "that is something else, for somebody else to mend"


@pytest.mark.parametrize("error", [NotFound, AccessDenied, Corrupt, Busy, InvalidLocator])
async def test_an_answer_that_is_no_document_stops_nothing(error: type[AdapterError]) -> None:
    script = Script([DATA], entering=[error("no")])
    async with bench(script, limits=LIMITS) as at:
        assert [await outcome(at) for _ in range(10)] == [error] * 10
        assert script.opened == 10
        assert at.source.status().state == "ok"


async def test_what_the_archive_says_of_itself_stops_no_calls_for_other_documents() -> None:
    stated = Unavailable("that community is away")
    stated.answered = True
    async with bench({"a": Script([DATA], entering=[stated]), "b": Script([DATA])}, limits=LIMITS) as at:
        assert [await outcome(at) for _ in range(10)] == [Unavailable] * 10
        assert at.adapter.scripts["a"].opened == 10, "nor is it asked twice"
        assert await at.read("b") == DATA


async def test_an_account_that_is_refused_is_not_tried_again_and_again() -> None:
    script = Script([DATA], entering=[CredentialsRejected("the password has expired")])
    async with bench(script, limits=LIMITS) as at:
        assert [await outcome(at) for _ in range(5)] == [CredentialsRejected] * 5
        assert script.opened == 1
        assert at.source.status().state == "refused"


async def test_a_reader_who_leaves_says_nothing_about_the_archive() -> None:
    script = Script([DATA], entering=[asyncio.Event()])
    async with bench(script, limits=Limits(open_timeout=5, breaker_failures=1)) as at:
        for _ in range(3):
            reading = asyncio.create_task(at.read())
            await asyncio.sleep(0.01)
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
        status = at.source.status()
        assert (status.state, status.failures, status.open) == ("ok", 0, 0)


async def test_who_waits_when_calls_are_stopped_is_told_at_once() -> None:
    held = Script([DATA, asyncio.Event()])
    limits = Limits(max_open=2, queue_timeout=5, open_timeout=0.05, breaker_failures=1)
    async with bench({"a": held, "b": Script([DATA], entering=[asyncio.Event()])}, limits=limits) as at:
        async with at.source.open("a"):
            failing = asyncio.create_task(outcome(at, "b"))
            await asyncio.sleep(0)
            began = time.monotonic()
            assert await asyncio.gather(*(outcome(at, "a") for _ in range(5))) == [Resting] * 5
            assert time.monotonic() - began < 1
            assert await failing is TimedOut
        assert at.is_free()


async def test_fifty_readers_a_thousand_times_and_the_archive_is_asked_once_each() -> None:
    clock, script = Clock(), Script([DATA], entering=[CredentialsRejected("no")])
    async with bench(script, limits=Limits(max_open=64, breaker_failures=1, breaker_pause=5), clock=clock) as at:
        await outcome(at)

        async def cycle() -> None:
            clock.now += 5
            before = script.opened
            await asyncio.gather(*(outcome(at) for _ in range(50)))
            assert script.opened == before + 1

        for _ in range(1000):
            await cycle()


# --- the probe -------------------------------------------------------------------------------------------------------


class Probed(OddAdapter):
    error: AdapterError | None = None
    probes = 0

    async def probe(self) -> None:
        self.probes += 1
        if self.error is not None:
            raise self.error


async def test_a_probe_finds_out_in_place_of_a_reader_and_a_failed_one_stops_nobody() -> None:
    clock, script = Clock(), Script([DATA], entering=[asyncio.Event()])
    async with bench(script, limits=LIMITS, clock=clock) as at:
        adapter = at.adapter
        adapter.__class__ = Probed
        assert isinstance(adapter, Probed)
        adapter.error = Unavailable("the probe is not understood")
        for _ in range(5):
            with pytest.raises(Unavailable):
                await at.source.probe()
        assert at.source.status().state == "ok", "an archive may serve documents and refuse the question"
        assert [await outcome(at) for _ in range(2)] == [TimedOut, TimedOut]
        with pytest.raises(Resting):
            await at.source.probe()
        assert adapter.probes == 5, "while it rests it is not asked this either"
        clock.now += LIMITS.breaker_pause
        with pytest.raises(Unavailable, match="not understood"):
            await at.source.probe()
        adapter.error = None
        await at.source.probe()
        assert at.source.status().state == "ok"
        assert await outcome(at) is TimedOut
        assert await outcome(at) is Resting, "that it is there was not yet a document"


async def test_whoever_asks_from_time_to_time_comes_when_the_rest_is_over() -> None:
    script = Script([DATA], entering=[Unavailable("lost", exhausted=True)])
    async with bench(script, limits=Limits(breaker_failures=1, breaker_pause=0.1)) as at:
        began = time.monotonic()
        await at.source.rested(0.02)
        assert 0.02 <= time.monotonic() - began < 0.09
        waiting = asyncio.create_task(at.source.rested(30))
        await asyncio.sleep(0.01)
        assert await outcome(at) is Unavailable
        async with asyncio.timeout(5):
            await waiting
        assert at.source.status().state == "probing"
        await outcome(at)
        async with asyncio.timeout(5):
            await at.source.rested(30)
        assert at.source.status().state == "probing"


# --- places and queue ------------------------------------------------------------------------------------------------


async def test_too_many_are_told_at_once_when_to_come_back() -> None:
    async with bench(Script([DATA]), limits=LIMITS) as at:
        async with at.source.open("a"), at.source.open("a"):
            waiting = [asyncio.create_task(at.read()) for _ in range(2)]
            await asyncio.sleep(0)
            assert at.source.status().queued == 2
            began = time.monotonic()
            refused = await asyncio.gather(*(at.read() for _ in range(50)), return_exceptions=True)
            assert time.monotonic() - began < 0.1
            times = {error.retry_after for error in refused if isinstance(error, Busy)}
            assert len(times) == 50, "they were all refused, and are not all told to come back at the same time"
            assert all(time is not None and 1 <= time <= 5 for time in times)
        assert await asyncio.gather(*waiting) == [DATA] * 2
        assert at.source.status().rejected["queue full"] == 50
        assert at.is_free()


async def test_questions_about_documents_do_not_wait_for_readers_and_are_bounded_too() -> None:
    held = asyncio.Event()
    limits = Limits(max_open=2, max_queued=1, queue_timeout=0.05, open_timeout=5)
    async with bench(Script([DATA]), limits=limits) as at:
        async with at.source.open("a"), at.source.open("a"):
            assert (await at.source.stat("a")).size == len(DATA)
        at.adapter.scripts["a"].entering = [held]
        asking = [asyncio.create_task(at.source.stat("a")) for _ in range(2)]
        await asyncio.sleep(0.01)
        with pytest.raises(Busy):
            await at.source.stat("a")
        assert at.adapter.scripts["a"].opened == 5
        held.set()
        await asyncio.gather(*asking)


async def test_places_survive_readers_who_leave_at_any_moment() -> None:
    limits = Limits(max_open=3, max_queued=5, queue_timeout=0.02, open_timeout=0.05, breaker_failures=10**6)
    async with bench(Script([DATA[:100], DATA[100:]]), limits=limits) as at:
        for turn in range(60):
            readers = [asyncio.create_task(at.read()) for _ in range(12)]
            for number, reader in enumerate(readers):
                for _ in range(turn % 7):
                    await asyncio.sleep(0)
                if number % 2:
                    reader.cancel()
            await asyncio.gather(*readers, return_exceptions=True)
            assert at.is_free()
            assert at.admission.reads.in_use == at.admission.reads.queued == 0
        assert await at.read() == DATA


# --- a second attempt ------------------------------------------------------------------------------------------------


class Flaky(OddAdapter):
    """Fails so many times before it opens."""

    errors: list[AdapterError]

    @asynccontextmanager
    async def open(
        self, locator: str, span: Span | None = None, *, version: str | None = None, caller: Caller | None = None
    ) -> AsyncIterator[Content]:
        if self.errors:
            self.scripts[locator].opened += 1
            raise self.errors.pop()
        async with super().open(locator, span, version=version) as content:
            yield content


def flaky(at: Bench, *errors: AdapterError) -> None:
    at.adapter.__class__ = Flaky
    at.adapter.errors = list(errors)  # type: ignore[attr-defined]


async def test_a_break_before_the_first_byte_is_tried_again_once() -> None:
    async with bench(Script([DATA]), limits=LIMITS) as at:
        flaky(at, Unavailable("reset"))
        assert await at.read() == DATA
        status = at.source.status()
        assert (status.calls, status.retries, status.failures, status.state) == (2, 1, 1, "ok")
        assert status.latency.samples == 1
        flaky(at, Unavailable("reset"), Unavailable("reset"), Unavailable("reset"))
        assert await outcome(at) is Unavailable
        assert at.source.status().calls == 4


@pytest.mark.parametrize(
    "error", [NotFound("x"), TimedOut("x"), Busy("x"), Corrupt("x"), Unavailable("x", exhausted=True)]
)
async def test_what_another_attempt_would_not_mend_is_not_tried_again(error: AdapterError) -> None:
    async with bench(Script([DATA]), limits=LIMITS) as at:
        flaky(at, error)
        assert await outcome(at) is type(error)
        assert at.source.status().calls == 1


async def test_an_archive_that_fails_every_call_is_asked_a_fifth_more() -> None:
    script = Script([DATA], entering=[Unavailable("away")])
    async with bench(script, limits=Limits(max_open=64, breaker_failures=10**6)) as at:
        at.admission._chance = lambda: 0.0
        for _ in range(500):
            assert await outcome(at) is Unavailable
        assert 600 <= script.opened <= 500 * 1.25 + 20
        assert at.source.status().retries == script.opened - 500


# --- deadlines -------------------------------------------------------------------------------------------------------


async def test_a_request_whose_time_is_over_waits_no_longer_and_blames_nobody() -> None:
    limits = Limits(max_open=1, queue_timeout=5, open_timeout=5, breaker_failures=1)
    script = Script([DATA], entering=[asyncio.Event()])
    async with bench(script, limits=limits) as at:

        async def hurried(wait: float) -> None:
            deadline.limit(wait)
            await at.read()

        began = time.monotonic()
        with pytest.raises(TimedOut):
            await asyncio.create_task(hurried(0.05))
        assert 0.05 <= time.monotonic() - began < 1
        with pytest.raises(TimedOut):
            await asyncio.create_task(hurried(-1))
        assert script.opened == 1, "nobody waits for an answer any more, so nobody asks"
        status = at.source.status()
        assert (status.state, status.failures) == ("ok", 0)
        script.entering = []
        async with at.source.open("a"):
            with pytest.raises(Busy):
                await asyncio.create_task(hurried(0.05))


async def test_a_question_that_everybody_gave_up_on_was_not_answered() -> None:
    script = Script([DATA], entering=[asyncio.Event()])
    async with bench(script, limits=Limits(open_timeout=5, breaker_failures=2)) as at:
        for patience, failures in ((1.0, 0), (0.01, 1), (0.01, 2)):
            asking = asyncio.create_task(at.source.stat("a", patience=patience))
            await asyncio.sleep(0.03)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            assert at.source.status().failures == failures
        assert at.source.status().state == "away"


# --- several endpoints -----------------------------------------------------------------------------------------------


class Servers(OddAdapter):
    """Two servers: a document is asked of the one that its locator begins with."""

    @asynccontextmanager
    async def open(
        self, locator: str, span: Span | None = None, *, version: str | None = None, caller: Caller | None = None
    ) -> AsyncIterator[Content]:
        with self.services.endpoint(f"server {locator[0]}")():
            for step in self.scripts[locator].entering:
                self.scripts[locator].opened += 1
                assert isinstance(step, asyncio.Event)
                await step.wait()
        async with super().open(locator, span, version=version) as content:
            yield content


async def test_a_server_that_is_away_does_not_stop_calls_to_another() -> None:
    scripts = {"a": Script([DATA], entering=[asyncio.Event()]), "b": Script([DATA])}
    limits = Limits(max_open=8, max_queued=8, open_timeout=0.05, breaker_failures=2)
    async with bench(scripts, limits=limits) as at:
        at.adapter.__class__ = Servers
        assert await outcome(at, "b") == DATA
        assert await asyncio.gather(*(outcome(at, "a") for _ in range(2))) == [TimedOut] * 2
        opened = scripts["a"].opened
        assert [await outcome(at, "a") for _ in range(5)] == [Resting] * 5
        assert scripts["a"].opened == opened
        assert await outcome(at, "b") == DATA
        status = at.source.status()
        assert status.state == "partly away"
        assert {(one.name, one.circuit) for one in status.endpoints} == {("server a", "open"), ("server b", "closed")}
        (line,) = await told(at, "calls to the archive are stopped", 1)
        assert line["endpoint"] == "server a"


async def test_a_server_that_hangs_leaves_places_for_another() -> None:
    scripts = {"a": Script([DATA], entering=[asyncio.Event()]), "b": Script([DATA])}
    limits = Limits(max_open=8, max_queued=8, queue_timeout=0.2, open_timeout=5)
    async with bench(scripts, limits=limits) as at:
        at.adapter.__class__ = Servers
        assert await outcome(at, "b") == DATA
        at.admission.endpoint("server a")
        hanging = [asyncio.create_task(outcome(at, "a")) for _ in range(20)]
        await asyncio.sleep(0.01)
        assert await asyncio.gather(*(outcome(at, "b") for _ in range(2))) == [DATA] * 2
        for one in hanging:
            one.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)
        assert at.is_free()
