"""Shared reads at their edges: envelopes and old protocols of large documents, one place in the archive, readers that leave."""

from __future__ import annotations

import asyncio
import base64
import json
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from adapters.contract import Capabilities
from adapters.errors import Unavailable
from gateway.cache import Limits, Scope
from gateway.cache.memory import MemoryCache
from gateway.cache.policy import Policy
from gateway.shared import Sharing
from gateway.source import Limits as SourceLimits
from tests.support.fragile import ABLE, MUTE, STABLE, Archive
from tests.support.raw_http import Ending, request
from tests.support.service import Service, service

KIB = 1024
LARGE = random.Random(2).randbytes((3 << 20) + 1)
SOON = SourceLimits(queue_timeout=0.5, open_timeout=2, idle_timeout=2, repair_timeout=0.5)
LOST = Unavailable("lost")

every_archive = pytest.mark.parametrize("able", [ABLE, MUTE, STABLE], ids=["able", "mute", "stable"])
every_size = pytest.mark.parametrize("tells_size", [True, False], ids=["sized", "unsized"])


@asynccontextmanager
async def serving(archive: Archive, **more: Any) -> AsyncIterator[Service]:
    settings: dict[str, Any] = {"sharing": Sharing(max_document=1 << 20), "limits": SOON, "spool_bytes": 64 << 20}
    async with service({"letters": archive.make()}, **settings | more) as running:
        yield running


def archive_of(data: bytes, able: Capabilities = ABLE, *, tells_size: bool = True, **more: Any) -> Archive:
    archive = Archive(capabilities=able, **more)
    archive.put("a", data, tells_size=tells_size)
    return archive


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - nothing tells us
            await asyncio.sleep(0.005)


async def at_rest(running: Service, archive: Archive) -> None:
    """Nothing is held for anybody any more."""
    await running.idle()
    assert running.fills is not None
    assert running.spool is not None
    fills, spool = running.fills, running.spool
    await until(lambda: not fills.running)
    assert (spool.used, archive.open_now, running.sources["letters"].open_count) == (0, 0, 0)


# --- documents too large for the spool ---------------------------------------------------------------------------------


@every_archive
@every_size
async def test_a_large_document_in_every_representation(able: Capabilities, tells_size: bool) -> None:
    archive = archive_of(LARGE, able, tells_size=tells_size)
    async with serving(archive) as running:
        enveloped = await running.ask("/R4/Binary/a", Accept="application/fhir+json")
        xml = await running.ask("/STU3/Binary/a", Accept="application/fhir+xml")
        old = await running.ask("/R4/Binary/a", version="1.0")
        assert base64.b64decode(json.loads(enveloped.body)["data"]) == LARGE
        assert base64.b64encode(LARGE) in xml.body
        assert old.body == LARGE
        assert old.framing == "length"
        await at_rest(running, archive)


@every_archive
@every_size
async def test_parts_of_a_large_document(able: Capabilities, tells_size: bool) -> None:
    archive = archive_of(LARGE, able, tells_size=tells_size)
    async with serving(archive) as running:
        for first, last in ((0, 0), (0, 99), (1 << 20, (1 << 20) + 10), (len(LARGE) - 5, len(LARGE) - 1)):
            answer = await running.ask("/R4/Binary/a", Range=f"bytes={first}-{last}")
            assert answer.body == (LARGE[first : last + 1] if answer.status == 206 else LARGE)
            assert answer.status == 206 or not tells_size
        past = await running.ask("/R4/Binary/a", Range=f"bytes={len(LARGE)}-")
        assert past.status == (416 if tells_size else 200)
        await at_rest(running, archive)


@every_archive
async def test_a_large_document_that_breaks_is_reset(able: Capabilities) -> None:
    archive = archive_of(LARGE, able)
    archive.breaks = [(2 << 20, LOST)]
    async with serving(archive) as running:
        for asked in ({}, {"Accept": "application/fhir+json"}):
            archive.breaks = [(2 << 20, LOST)]
            answer = await running.ask("/R4/Binary/a", **asked)
            assert (answer.complete, answer.ending) == (False, Ending.RESET)
        await at_rest(running, archive)


@every_archive
@every_size
@pytest.mark.parametrize("size", [0, 1, 8192, 65536, 256 * KIB, (256 * KIB) + 1, 1 << 20, (1 << 20) + 1])
async def test_documents_whose_end_lies_at_a_limit(able: Capabilities, tells_size: bool, size: int) -> None:
    """One byte, one chunk, one head, the largest small one, the largest that is spooled; and one more."""
    data = LARGE[:size]
    archive = archive_of(data, able, tells_size=tells_size)
    async with MemoryCache(Limits(max_document=1 << 20), max_bytes=64 << 20) as cache:
        async with serving(archive, cache=cache, sharing=Sharing(keeps=True, max_document=1 << 20)) as running:
            for _ in range(3):
                whole = await running.ask("/R4/Binary/a")
                assert (whole.status, whole.body) == (200, data)
                await at_rest(running, archive)
            head = await running.ask("/R4/Binary/a", method="HEAD")
            assert head.field("Content-Type") == whole.field("Content-Type")
            assert head.field("Content-Length") in (str(size), None)
            envelope = await running.ask("/R4/Binary/a", Accept="application/fhir+json")
            assert base64.b64decode(json.loads(envelope.body).get("data", "")) == data
            assert (await running.ask("/STU3/Binary/a", Accept="application/fhir+json")).status == (
                200 if size else 502
            )
            empty = await running.ask("/R4/Binary/a", Range="bytes=0-")
            assert empty.status in ((206, 200) if size else (416, 200))
            assert empty.body == data or empty.status == 416
            assert (cache.counts.stored > 0) == (size <= 1 << 20)


# --- one place in the archive ----------------------------------------------------------------------------------------


@every_archive
@pytest.mark.parametrize("size", [300 * KIB, 3 << 20])
async def test_an_archive_that_opens_one_document_at_a_time(able: Capabilities, size: int) -> None:
    """Readers wait for a fill, fills for the one place, and nobody for ever: parts and breaks included."""
    archive = archive_of(LARGE[:size], able)
    archive.breaks = [(200 * KIB, LOST)] if size < 1 << 20 else []
    archive.put("b", LARGE[: 100 * KIB])
    async with serving(archive, limits=replace(SOON, max_open=1)) as running:
        asked: list[dict[str, str]] = [{}, {}, {"Range": "bytes=1000-1999"}, {"Accept": "application/fhir+json"}]
        async with asyncio.timeout(20):
            answers = await asyncio.gather(
                *(running.ask("/R4/Binary/a", **fields) for fields in asked), running.ask("/R4/Binary/b")
            )
        for answer in answers:
            assert answer.status in (200, 206, 503)
            assert answer.complete
        assert answers[0].body == LARGE[:size]
        await at_rest(running, archive)


# --- readers that leave ----------------------------------------------------------------------------------------------


@every_archive
@pytest.mark.parametrize("size", [5000, 300 * KIB, 3 << 20])
async def test_readers_that_leave_at_any_moment_leave_nothing_behind(able: Capabilities, size: int) -> None:
    data = LARGE[:size]
    archive = archive_of(data, able)
    archive.pause = 0.001
    chance = random.Random(size)
    targets = (b"", b"Range: bytes=100-4000\r\n", b"Accept: application/fhir+xml\r\n", b'If-None-Match: W/"0"\r\n')
    async with MemoryCache(Limits(max_document=1 << 20), max_bytes=64 << 20) as cache:
        async with serving(archive, cache=cache) as running:

            async def leave(number: int) -> None:
                _, writer = await asyncio.open_connection(running.host, running.port)
                plain = request("/R4/Binary/a", method="HEAD" if number % 7 == 0 else "GET")
                writer.write(plain[:-2] + targets[number % len(targets)] + b"\r\n")
                await asyncio.sleep(chance.random() * 0.05)
                writer.transport.abort()

            for _ in range(4):
                await asyncio.gather(*(leave(number) for number in range(40)))
                await cache.purge(Scope())
            await at_rest(running, archive)
            assert (await running.ask("/R4/Binary/a")).body == data
            await at_rest(running, archive)


async def test_refreshes_of_an_archive_that_hangs_do_not_pile_up() -> None:
    policy = Policy(ttl=0.1, stale_while_revalidate=60, stale_if_error=60, patience=0.1)
    archive = archive_of(LARGE[:5000], STABLE)
    async with MemoryCache(Limits(max_document=1 << 20), max_bytes=64 << 20) as cache:
        async with serving(archive, cache=cache, policy=policy) as running:
            await running.ask("/R4/Binary/a")
            await until(lambda: cache.counts.stored == 1)
            archive.hangs = True
            await asyncio.sleep(0.15)
            for _ in range(30):
                assert (await running.ask("/R4/Binary/a")).status == 200
            assert running.fills is not None
            assert (running.fills.running, archive.opened) == (1, 2)


async def test_readers_are_told_when_the_process_ends() -> None:
    archive = archive_of(LARGE, gated=2 << 20)
    async with serving(archive, sharing=Sharing(max_document=8 << 20)) as running:
        asking = [asyncio.ensure_future(running.ask("/R4/Binary/a")) for _ in range(5)]
        await until(lambda: archive.sent > 1 << 20)
        await asyncio.sleep(0.1)
        assert running.fills is not None
        async with asyncio.timeout(3):
            await running.fills.close()
            for answer in await asyncio.gather(*asking):
                assert (answer.complete, answer.ending) == (False, Ending.RESET)
        await at_rest(running, archive)


async def test_hundreds_of_readers_of_one_read() -> None:
    data = LARGE[: 512 * KIB]
    archive = archive_of(data, gated=100 * KIB)
    async with serving(archive) as running:
        asking = [asyncio.ensure_future(running.ask("/R4/Binary/a")) for _ in range(300)]
        await until(lambda: running.pipeline.in_flight == 300)
        archive.gate.set()
        assert {answer.body == data for answer in await asyncio.gather(*asking)} == {True}
        assert archive.opened == 1
        await at_rest(running, archive)
