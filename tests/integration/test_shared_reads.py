"""What readers get when many ask at once and the archive is slow, breaks, or has another document by then."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from adapters.contract import Capabilities
from adapters.errors import AdapterError, Corrupt, NotFound, TimedOut, Unavailable
from gateway.shared import Sharing
from gateway.source import Limits
from tests.support.fragile import ABLE, MUTE, STABLE, Archive
from tests.support.raw_http import Answer, Ending, request
from tests.support.service import Service, service

KIB = 1024
DATA = random.Random(5).randbytes(1000 * KIB + 7)
OTHER = random.Random(6).randbytes(1000 * KIB + 7)
SOON = Limits(queue_timeout=0.2, open_timeout=2, idle_timeout=2, repair_timeout=1.5)

every_archive = pytest.mark.parametrize("able", [ABLE, MUTE, STABLE], ids=["able", "mute", "stable"])


@asynccontextmanager
async def serving(archive: Archive, **more: Any) -> AsyncIterator[Service]:
    settings: dict[str, Any] = {"sharing": Sharing(), "limits": SOON, "spool_bytes": 64 << 20} | more
    async with service({"letters": archive.make()}, **settings) as running:
        yield running


def archive_of(data: bytes = DATA, able: Capabilities = ABLE, **more: Any) -> Archive:
    archive = Archive(capabilities=able, **more)
    archive.put("a", data)
    return archive


async def ask_many(running: Service, count: int, **fields: str) -> list[Answer]:
    return await asyncio.gather(*(running.ask("/R4/Binary/a", **fields) for _ in range(count)))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - nothing tells us
            await asyncio.sleep(0.005)


# --- one read for all ------------------------------------------------------------------------------------------------


@every_archive
async def test_every_representation_shares_one_read(able: Capabilities) -> None:
    archive = archive_of(able=able, gated=300 * KIB)
    async with serving(archive) as running:
        asked = [
            running.ask("/R4/Binary/a"),
            running.ask("/R4/Binary/a", Accept="application/fhir+json"),
            running.ask("/STU3/Binary/a", Accept="application/fhir+xml"),
            running.ask("/R4/Binary/a", Range="bytes=1000-1999"),
            running.ask("/R4/Binary/a", Range="bytes=-10"),
            running.ask("/R4/Binary/a", method="HEAD"),
            *(running.ask("/R4/Binary/a") for _ in range(20)),
        ]
        waiting = [asyncio.ensure_future(one) for one in asked]
        await until(lambda: archive.opened == 1)
        await asyncio.sleep(0.1)
        archive.gate.set()
        whole, enveloped, xml, part, end, head, *others = await asyncio.gather(*waiting)
        assert archive.opened == 1
        assert whole.body == DATA
        assert all(one.body == DATA for one in others)
        assert base64.b64decode(json.loads(enveloped.body)["data"]) == DATA
        assert base64.b64encode(DATA) in xml.body
        assert (part.status, part.body) == (206, DATA[1000:2000])
        assert (end.status, end.body) == (206, DATA[-10:])
        assert head.field("content-length") == str(len(DATA))
        await running.idle()
    assert archive.open_now == 0


async def test_the_first_byte_comes_before_the_last_was_read() -> None:
    archive = archive_of(gated=500 * KIB)
    async with serving(archive) as running:
        readers = []
        for _ in range(3):
            reader, writer = await asyncio.open_connection(running.host, running.port)
            writer.write(request("/R4/Binary/a"))
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 2)
            assert b" 200 " in head
            first = await asyncio.wait_for(reader.readexactly(380 * KIB), 2)
            assert first == DATA[: 380 * KIB]
            readers.append((reader, writer))
        archive.gate.set()
        for reader, writer in readers:
            assert await reader.readexactly(len(DATA) - 380 * KIB) == DATA[380 * KIB :]
            writer.close()
    assert archive.opened == 1


async def test_a_reader_that_stops_holds_up_nobody() -> None:
    archive = archive_of(random.Random(1).randbytes(20 << 20))
    async with serving(archive) as running:
        stalled = await asyncio.open_connection(running.host, running.port, limit=1024)
        stalled[1].write(request("/R4/Binary/a"))
        await stalled[0].readexactly(100)
        answers = await ask_many(running, 3)
        assert all(answer.body == archive.papers["a"].data for answer in answers)
        await until(lambda: archive.open_now == 0)  # the archive is free although one reader still waits
        stalled[1].close()


async def test_readers_that_come_after_the_end_ask_again() -> None:
    archive = archive_of()
    async with serving(archive) as running:
        await running.ask("/R4/Binary/a")
        await running.idle()
        await running.ask("/R4/Binary/a")
    assert archive.opened == 2


async def test_a_reader_never_joins_a_read_of_what_was_there_before() -> None:
    archive = archive_of(gated=500 * KIB)
    async with serving(archive) as running:
        first = asyncio.ensure_future(running.ask("/R4/Binary/a"))
        await until(lambda: archive.opened == 1)
        archive.put("a", OTHER, "2")
        second = asyncio.ensure_future(running.ask("/R4/Binary/a"))
        await until(lambda: archive.opened == 2)
        archive.gate.set()
        assert (await first).body == DATA
        assert (await second).body == OTHER


async def test_many_who_ask_for_facts_are_one_question() -> None:
    archive = archive_of(gated=500 * KIB)
    async with serving(archive) as running:
        waiting = asyncio.ensure_future(ask_many(running, 100))
        await until(lambda: archive.opened == 1)
        await asyncio.sleep(0.3)
        archive.gate.set()
        assert {answer.body == DATA for answer in await waiting} == {True}
    assert archive.opened == 1
    assert archive.asked < 60, "the archive was asked by each"


# --- nobody left -----------------------------------------------------------------------------------------------------


async def test_a_read_that_nobody_waits_for_is_given_up() -> None:
    archive = archive_of(gated=500 * KIB)
    async with serving(archive) as running:
        reader, writer = await asyncio.open_connection(running.host, running.port)
        writer.write(request("/R4/Binary/a"))
        await reader.readexactly(100)
        assert archive.open_now == 1
        writer.transport.abort()
        await until(lambda: archive.open_now == 0)
        assert running.spool is not None
        await until(lambda: running.spool.used == 0)


async def test_a_reader_that_leaves_while_the_archive_opens_leaves_nothing_open() -> None:
    archive = archive_of()
    archive.hangs = True
    async with serving(archive) as running:
        _, writer = await asyncio.open_connection(running.host, running.port)
        writer.write(request("/R4/Binary/a"))
        await until(lambda: archive.opened == 1)
        writer.transport.abort()
        await running.idle()
        assert running.sources["letters"].open_count == 0


# --- mending ---------------------------------------------------------------------------------------------------------

LOST = Unavailable("the connection was lost", exhausted=True)


@every_archive
@pytest.mark.parametrize("error", [LOST, TimedOut("silence"), Corrupt("short")], ids=lambda error: type(error).__name__)
async def test_a_break_is_mended_before_anybody_notices(able: Capabilities, error: AdapterError) -> None:
    archive = archive_of(able=able, gated=400 * KIB)
    archive.breaks = [(700 * KIB + 3, error)]
    async with serving(archive) as running:
        waiting = asyncio.ensure_future(ask_many(running, 20))
        await until(lambda: archive.opened == 1)
        archive.gate.set()
        answers = await waiting
        assert [answer.body == DATA for answer in answers] == [True] * 20
    assert archive.opened == 2
    if able.spans:
        assert archive.sent < len(DATA) + 100 * KIB, "what was there already was read again"


@every_archive
@pytest.mark.parametrize("boundary", range(1, 16))
async def test_it_may_break_anywhere(able: Capabilities, boundary: int) -> None:
    archive = archive_of(able=able)
    archive.breaks = [(boundary * 64 * KIB, LOST)]
    async with serving(archive) as running:
        assert {answer.body == DATA for answer in await ask_many(running, 20)} == {True}
    assert archive.opened <= 3


@every_archive
async def test_an_archive_that_comes_back_with_another_document_ends_every_reader(able: Capabilities) -> None:
    archive = archive_of(able=able, gated=400 * KIB)
    archive.breaks = [(700 * KIB, LOST)]
    if able.immutable:
        archive.papers["a"].tells_digest = True
    async with serving(archive) as running:
        waiting = [asyncio.ensure_future(_broken(running)) for _ in range(20)]
        await until(lambda: archive.opened == 1)
        await asyncio.sleep(0.3)  # all of them follow
        archive.put("a", OTHER, "1" if able.immutable else "2", tells_digest=able.immutable)
        archive.gate.set()
        assert await asyncio.gather(*waiting) == [True] * 20


async def test_an_archive_that_stays_away_ends_every_reader_in_time() -> None:
    archive = archive_of(gated=400 * KIB)
    archive.breaks = [(700 * KIB, LOST)]
    async with serving(archive) as running:
        waiting = [asyncio.ensure_future(_broken(running)) for _ in range(20)]
        await until(lambda: archive.opened == 1)
        await asyncio.sleep(0.3)  # all of them follow
        archive.away = LOST
        archive.gate.set()
        async with asyncio.timeout(5):
            assert await asyncio.gather(*waiting) == [True] * 20
        lines = await running.lines(20)
        assert {line["outcome"] for line in lines} == {"aborted"}


async def test_an_archive_that_breaks_again_and_again_is_asked_no_more_than_a_few_times() -> None:
    archive = archive_of()
    archive.breaks = [(at * 64 * KIB + 1, LOST) for at in range(1, 16)]
    async with serving(archive) as running:
        assert await _broken(running)
    assert archive.opened <= 7


async def test_the_digest_of_a_mended_document_is_checked() -> None:
    """The rest comes under the same version and is not the same: a repository that lies about its versions."""
    archive = archive_of(able=ABLE, gated=400 * KIB)
    archive.papers["a"].tells_digest = True
    archive.breaks = [(700 * KIB, LOST)]
    async with serving(archive) as running:
        waiting = asyncio.ensure_future(_broken(running))
        await until(lambda: archive.opened == 1)
        paper = archive.papers["a"]
        digest = hashlib.sha1(paper.data).digest()
        archive.put("a", DATA[: 700 * KIB] + OTHER[700 * KIB :], tells_digest=True)
        assert hashlib.sha1(archive.papers["a"].data).digest() != digest
        archive.gate.set()
        assert await waiting


async def _broken(running: Service) -> bool:
    """Whether the body was begun, and reset before it was whole."""
    answer = await running.ask("/R4/Binary/a")
    return answer.status == 200 and not answer.complete and answer.ending is Ending.RESET


# --- too large for the spool -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("tells_size", [True, False])
@every_archive
async def test_a_large_document_passes_through_a_window(able: Capabilities, tells_size: bool) -> None:
    large = random.Random(2).randbytes(8 << 20)
    archive = Archive(capabilities=able, gated=2 << 20)
    archive.put("a", large, tells_size=tells_size)
    async with serving(archive, sharing=Sharing(max_document=1 << 20)) as running:
        waiting = asyncio.ensure_future(ask_many(running, 3))
        await until(lambda: archive.opened >= 1)
        archive.gate.set()
        assert {answer.body == large for answer in await waiting} == {True}
        await running.idle()
        assert running.spool is not None
        assert running.spool.used == 0


async def test_a_large_document_is_paced_by_its_reader() -> None:
    archive = archive_of(random.Random(3).randbytes(64 << 20), chunk=256 * KIB)
    async with serving(archive, sharing=Sharing(max_document=1 << 20)) as running:
        reader, writer = await asyncio.open_connection(running.host, running.port, limit=1024)
        writer.write(request("/R4/Binary/a"))
        await reader.readexactly(1000)
        await asyncio.sleep(0.3)
        assert archive.sent < 16 << 20, "the archive was read ahead of a reader that takes nothing"
        writer.transport.abort()
        await until(lambda: archive.open_now == 0)


async def test_a_part_of_a_large_document_is_asked_alone() -> None:
    large = random.Random(3).randbytes(8 << 20)
    archive = archive_of(large)
    async with serving(archive, sharing=Sharing(max_document=1 << 20)) as running:
        answer = await running.ask("/R4/Binary/a", Range="bytes=7000000-7000099")
        assert answer.body == large[7000000:7000100]
    assert archive.sent < 1 << 20


async def test_a_full_spool_is_no_reason_to_fail() -> None:
    archive = archive_of()
    async with serving(archive, spool_bytes=300 * KIB) as running:
        assert {answer.body == DATA for answer in await ask_many(running, 3)} == {True}


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("error", "status"), [(NotFound("none"), 404), (LOST, 503), (TimedOut("late"), 504)])
async def test_what_opening_says_everybody_hears(error: AdapterError, status: int) -> None:
    archive = archive_of()
    archive.refuses = [error]
    async with serving(archive) as running:
        (answer,) = await ask_many(running, 1)
        assert answer.status == status
        assert (await ask_many(running, 1))[0].status == 200


async def test_a_small_document_that_breaks_is_an_error_and_no_broken_body() -> None:
    archive = archive_of(DATA[:5000], replace(ABLE, strong_versions=False))
    archive.breaks = [(4000, Unavailable("lost"))] * 20
    async with serving(archive, limits=replace(SOON, repair_timeout=0.2)) as running:
        (answer,) = await ask_many(running, 1)
        assert answer.status == 503
