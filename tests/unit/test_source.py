"""A source keeps the contract whatever its adapter does: permits, deadlines, blame, threads that hang."""

from __future__ import annotations

import asyncio
import json
import threading
from contextlib import aclosing
from typing import Any

import pytest

from adapters.contract import Descriptor, Services
from adapters.errors import Busy, Changed, Corrupt, NotFound, TimedOut, Unavailable
from gateway.source import Limits
from tests.support.odd_source import DATA, SOON, Bench, OddAdapter, bench
from tests.support.raw_http import connect, request
from tests.support.scripted import Script
from tests.support.service import service

# --- permits ---------------------------------------------------------------------------------------------------------


async def test_a_permit_is_held_for_the_life_of_the_body_and_one_too_many_is_told_to_come_back() -> None:
    async with bench(Script([DATA])) as at:
        async with at.source.open("a"), at.source.open("a"):
            with pytest.raises(Busy) as refused:
                await at.read()
            assert refused.value.source == "letters"
            assert refused.value.retry_after
            assert at.adapter.scripts["a"].opened == 2, "the archive was not asked"
        assert await at.read() == DATA


async def test_who_waits_in_time_gets_the_permit_that_comes_free() -> None:
    async with bench(Script([DATA]), limits=Limits(max_open=1, queue_timeout=5)) as at:
        async with at.source.open("a"):
            waiting = asyncio.create_task(at.read())
            await asyncio.sleep(0.01)
            assert not waiting.done()
        assert await waiting == DATA
        assert at.is_free()


async def test_who_leaves_the_queue_takes_no_permit() -> None:
    async with bench(Script([DATA]), limits=Limits(max_open=1, queue_timeout=5)) as at:
        async with at.source.open("a"):
            waiting = asyncio.create_task(at.read())
            await asyncio.sleep(0.01)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
        assert await at.read() == DATA


async def test_an_archive_that_has_fewer_places_is_asked_for_no_more() -> None:
    async with bench(Script([DATA]), max_open=1) as at:
        async with at.source.open("a"):
            with pytest.raises(Busy):
                await at.read()
        assert await at.read() == DATA


class Bang(Exception):
    """What goes wrong on the reader's side."""


async def _whole(at: Bench) -> None:
    await at.read()


async def _left_unread(at: Bench) -> None:
    async with at.source.open("a"):
        pass


async def _left_after_one_piece(at: Bench) -> None:
    async with at.source.open("a") as content:
        await anext(content.chunks)


async def _reader_failed(at: Bench) -> None:
    async with at.source.open("a") as content:
        await anext(content.chunks)
        raise Bang


async def _cancelled_while_pulling(at: Bench) -> None:
    at.adapter.scripts["a"].steps = [DATA, asyncio.Event()]
    await _cancelled(at)


async def _cancelled_while_opening(at: Bench) -> None:
    at.adapter.scripts["a"].entering = [asyncio.Event()]
    await _cancelled(at)


async def _cancelled(at: Bench) -> None:
    reading = asyncio.create_task(at.read())
    await asyncio.sleep(0.01)
    reading.cancel()
    await reading


async def _no_such_document(at: Bench) -> None:
    await at.read("b")


async def _failed_opening(at: Bench) -> None:
    at.adapter.scripts["a"].entering = [KeyError("a")]
    await at.read()


async def _failed_pulling(at: Bench) -> None:
    at.adapter.scripts["a"].steps = [DATA, Unavailable("lost")]
    await at.read()


async def _slow_opening(at: Bench) -> None:
    at.adapter.scripts["a"].entering = [asyncio.Event()]
    await at.read()


async def _slow_pulling(at: Bench) -> None:
    at.adapter.scripts["a"].steps = [DATA, asyncio.Event()]
    await at.read()


async def _failed_leaving(at: Bench) -> None:
    at.adapter.fails_leaving = OSError("a")
    await at.read()


async def _failed_ending(at: Bench) -> None:
    at.adapter.fails_ending = OSError("a")
    async with at.source.open("a") as content, aclosing(content.chunks) as chunks:  # type: ignore[type-var]
        await anext(chunks)


PATHS: dict[Any, type[BaseException] | None] = {
    _whole: None,
    _left_unread: None,
    _left_after_one_piece: None,
    _reader_failed: Bang,
    _cancelled_while_pulling: asyncio.CancelledError,
    _cancelled_while_opening: asyncio.CancelledError,
    _no_such_document: NotFound,
    _failed_opening: Unavailable,
    _failed_pulling: Unavailable,
    _slow_opening: TimedOut,
    _slow_pulling: TimedOut,
    _failed_leaving: None,
    _failed_ending: None,
}
"""Every way in which a read ends, with what it raises."""


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.__name__.removeprefix("_"))
async def test_the_permit_comes_back_on_every_path(path: Any) -> None:
    async with bench(Script([DATA, DATA, DATA])) as at:
        for _ in range(SOON.max_open + 1):
            script = at.adapter.scripts["a"] = Script([DATA, DATA, DATA])
            expected = PATHS[path]
            if expected is None:
                await path(at)
            else:
                with pytest.raises(expected):
                    await path(at)
            assert script.open_now == 0
        assert at.is_free()


# --- deadlines -------------------------------------------------------------------------------------------------------


async def test_opening_and_each_piece_have_a_deadline_of_their_own() -> None:
    late = asyncio.Event()
    scripts = {"opening": Script([DATA], entering=[late]), "pulling": Script([DATA, DATA, late])}
    async with bench(scripts) as at:
        with pytest.raises(TimedOut) as opening:
            await at.read("opening")
        received = []
        async with at.source.open("pulling") as content:
            with pytest.raises(TimedOut) as pulling:
                async for chunk in content.chunks:
                    received.append(chunk)
        assert opening.value.source == pulling.value.source == "letters"
        assert received == [DATA], "the last piece that came is held back"


async def test_a_slow_reader_is_not_the_archives_fault() -> None:
    async with bench(Script([DATA] * 3)) as at, at.source.open("a") as content:
        received = b""
        async for chunk in content.chunks:
            received += chunk
            await asyncio.sleep(SOON.idle_timeout * 1.5)
        assert received == DATA * 3


async def test_probe_and_stat_have_the_deadline_of_opening() -> None:
    async with bench(Script([DATA], entering=[asyncio.Event()])) as at:
        for asked in (at.source.probe(), at.source.stat("a")):
            with pytest.raises(TimedOut) as failed:
                await asked
            assert failed.value.source == "letters"


# --- blame -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("foreign", [KeyError("letter-of-mrs-x"), OSError(5, "x"), RuntimeError(), ConnectionError()])
async def test_a_foreign_exception_means_that_the_archive_could_not_be_asked(foreign: Exception) -> None:
    scripts = {"opening": Script([DATA], entering=[foreign]), "pulling": Script([DATA, foreign])}
    async with bench(scripts) as at:
        for locator in scripts:
            with pytest.raises(Unavailable) as failed:
                await at.read(locator)
            assert (failed.value.source, failed.value.__cause__) == ("letters", foreign)
            assert type(foreign).__name__ in failed.value.detail
            assert "letter-of" not in failed.value.detail


async def test_an_adapters_own_error_stays_itself_and_gets_the_sources_name() -> None:
    mine, deeper = Changed("mine"), Corrupt("deeper")
    deeper.source = "behind"
    async with bench({"a": Script([mine]), "b": Script([DATA], entering=[deeper])}) as at:
        with pytest.raises(Changed) as failed:
            await at.read("a")
        assert (failed.value, mine.source) == (mine, "letters")
        with pytest.raises(Corrupt):
            await at.read("b")
        assert deeper.source == "behind"


async def test_resolve_raises_adapter_errors_only() -> None:
    async with bench({}) as at:
        with pytest.raises(Unavailable) as failed:
            await at.source.resolve("stem")
        assert failed.value.source == "letters"


async def test_a_source_that_cannot_be_entered_says_so_as_an_adapter_error() -> None:
    async with bench({}) as at:

        async def broken() -> None:
            raise OSError("no such share")

        at.adapter.__class__ = type("Broken", (OddAdapter,), {"__aenter__": lambda self: broken()})
        with pytest.raises(Unavailable) as failed:
            await at.source.__aenter__()
        assert failed.value.source == "letters"


async def test_what_the_reader_raises_comes_back_unchanged_and_is_seen_by_the_adapter() -> None:
    bang = Bang()
    async with bench(Script([DATA, DATA])) as at:
        with pytest.raises(Bang) as failed:
            async with at.source.open("a"):
                raise bang
        assert failed.value is bang
        assert at.adapter.scripts["a"].left_with == [Bang]


async def test_a_failure_to_let_go_is_logged_and_spoils_no_document() -> None:
    failures = {"fails_leaving": OSError("letter-of-mrs-x"), "fails_closing": RuntimeError("letter-of-mrs-x")}
    async with bench(Script([DATA]), **failures) as at:
        assert await at.read() == DATA
        assert at.is_free()
        with pytest.raises(Bang):
            async with at.source.open("a"):
                raise Bang
    lines = [json.loads(line) for line in at.log.getvalue().splitlines()]
    assert [line["error"] for line in lines] == ["OSError", "RuntimeError"]
    assert "letter-of" not in at.log.getvalue()


async def test_a_failure_to_let_go_is_no_second_answer() -> None:
    scripts = {"a": Script([DATA, DATA]), "b": Script([b"next"])}

    def make(name: str, lent: Services) -> OddAdapter:
        adapter = OddAdapter(name, None, lent, scripts=scripts)
        adapter.fails_leaving = Unavailable("lost")
        return adapter

    async with service({"letters": make}) as at, connect(at.host, at.port) as connection:
        await connection.send(request("/R4/Binary/a") + request("/R4/Binary/b"))
        assert (await connection.answer()).body == DATA * 2
        assert (await connection.answer()).body == b"next"
        assert [(line["status"], line["outcome"]) for line in await at.lines(2)] == [(200, "complete")] * 2


# --- wedged ----------------------------------------------------------------------------------------------------------


async def test_when_every_thread_hangs_requests_are_refused_at_once_and_accepted_again_afterwards() -> None:
    limits = Limits(max_open=4, queue_timeout=0.05, open_timeout=0.05, idle_timeout=0.05)
    let_go = threading.Event()
    async with bench(Script([DATA]), limits=limits, threads=2) as at:
        hanging = [asyncio.ensure_future(at.adapter.services.call(let_go.wait)) for _ in range(2)]
        try:
            assert await at.read() == DATA, "a call that takes its time is no hang"
            await asyncio.sleep(limits.open_timeout * 1.5)
            opened = at.adapter.scripts["a"].opened
            for asked in (at.read(), at.source.stat("a"), at.source.resolve("a"), at.source.probe()):
                with pytest.raises(Busy) as refused:
                    await asked
                assert refused.value.source == "letters"
            assert at.adapter.scripts["a"].opened == opened, "the archive was not asked"
        finally:
            let_go.set()
        await asyncio.gather(*hanging)
        assert await at.read() == DATA


async def test_one_hung_thread_of_two_refuses_nobody() -> None:
    let_go = threading.Event()
    async with bench(Script([DATA]), limits=Limits(open_timeout=0.02), threads=2) as at:
        hanging = asyncio.ensure_future(at.adapter.services.call(let_go.wait))
        await asyncio.sleep(0.05)
        try:
            assert await at.read() == DATA
        finally:
            let_go.set()
        await hanging


def test_descriptor_is_all_that_stat_returns() -> None:
    """`stat` of an adapter without a cheaper way opens and closes."""

    async def asked() -> tuple[Descriptor, bool]:
        async with bench(Script([DATA])) as at:
            return await at.source.stat("a"), at.is_free()

    descriptor, free = asyncio.run(asked())
    assert (descriptor.size, free) == (len(DATA), True)


# --- how it stands ---------------------------------------------------------------------------------------------------


async def test_a_source_says_how_it_stands() -> None:
    async with bench(Script([DATA]), threads=2) as at:
        before = at.source.status()
        assert (before.name, before.state, before.open, before.max_open) == ("letters", "ok", 0, SOON.max_open)
        assert (before.threads, before.threads_busy, before.threads_hung) == (2, 0, 0)
        async with at.source.open("a"):
            assert at.source.status().open == 1
        assert [one.circuit for one in at.source.status().endpoints] == ["closed"]
