"""A source over several repositories of which one is away, hangs or answers a byte now and then: the others go on."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from adapters.errors import AdapterError, TimedOut, Unavailable
from adapters.testing.harness import RecordingLog
from adapters.testing.proxy import LoopbackProxy
from adapters.xds import XdsAdapter, XdsOptions
from gateway.admission import Admission
from gateway.demo.xds import FakeRepository, letter
from gateway.errors import Resting
from gateway.source import Limits, Source, services
from gateway.workers import Workers
from tests.support.ports import free_port
from tests.support.xds import fake_repository
from tests.support.xds_source import endpoint, locator

ELSEWHERE = "1.2.3.4"
"""The repository of the endpoint that is in trouble."""

LOST = f"^{ELSEWHERE}^1.2.3.4.5"

AT_ONCE = 0.05


@pytest.fixture
async def fake() -> AsyncIterator[FakeRepository]:
    async with fake_repository(letter(1)) as running:
        yield running


@asynccontextmanager
async def dripping(head: bytes) -> AsyncIterator[str]:
    """The URL of a server that answers `head` and then a byte now and then."""
    over, connections = asyncio.Event(), set[asyncio.Task[None]]()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(head)
            while not over.is_set():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(over.wait(), 0.1)
                writer.write(b" ")
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/repository"
        over.set()
        if connections:
            await asyncio.wait(connections)


@asynccontextmanager
async def source(
    *endpoints: dict[str, Any], registry: dict[str, Any] | None = None, pause: float = 60
) -> AsyncIterator[Source]:
    log, workers = RecordingLog(), Workers("care", 4)
    limits = Limits(max_open=8, open_timeout=1.0, breaker_failures=2, breaker_pause=pause)
    admission = Admission("care", limits, log)
    adapter = XdsAdapter(
        "care",
        XdsOptions.model_validate({"endpoints": endpoints, "registry": registry}),
        services(workers, log, limits, admission),
    )
    async with Source("care", adapter, limits=limits, workers=workers, admission=admission) as entered:
        yield entered


async def read(of: Source, where: str) -> bytes | type[AdapterError]:
    try:
        async with of.open(where) as content:
            return b"".join([chunk async for chunk in content.chunks])
    except AdapterError as error:
        return type(error)


@pytest.mark.parametrize("trouble", ["dripping headers", "dripping envelope", "nobody there"])
async def test_an_endpoint_in_trouble_is_given_a_rest_alone(fake: FakeRepository, trouble: str) -> None:
    head = b"HTTP/1.1 200 OK\r\nX: "
    if trouble == "dripping envelope":
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/soap+xml\r\n\r\n<?xml version='1.0'?>"
    async with dripping(head) as url:
        if trouble == "nobody there":
            url = f"http://127.0.0.1:{free_port()}/repository"
        bad = endpoint(url, alias="bad", repository_unique_ids=[ELSEWHERE])
        async with source(bad, endpoint(fake, alias="good")) as care:
            if trouble == "nobody there":
                assert await read(care, LOST) is Unavailable, "asked again at once, and that was the second failure"
            else:
                assert [await read(care, LOST) for _ in range(2)] == [TimedOut, TimedOut]
            began = time.monotonic()
            with pytest.raises(Resting, match="endpoint bad") as refused:
                await care.open(LOST).__aenter__()
            assert time.monotonic() - began < AT_ONCE
            assert refused.value.retry_after is not None
            assert await read(care, locator(letter(1))) == letter(1).data
            status = care.status()
            assert status.state == "partly away"
            assert {one.name: one.circuit for one in status.endpoints} == {
                "endpoint bad": "open",
                "endpoint good": "closed",
            }
            log = care.adapter.services.log
            assert isinstance(log, RecordingLog)
            stopped = [line for line in log.lines if "are stopped" in str(line)]
            assert len(stopped) == 1
            assert "endpoint bad" in str(stopped[0])


async def test_what_a_service_says_of_a_part_of_itself_stops_no_calls(fake: FakeRepository) -> None:
    async with source(endpoint(fake, alias="community")) as care:
        for fault in ("XDSUnavailableCommunity", "XDSUnknownRepositoryId", "XDSRepositoryError") * 2:
            fake.next(fault)
            assert await read(care, locator(letter(1))) != letter(1).data
        assert await read(care, locator(letter(1))) == letter(1).data
        assert care.status().state == "ok"


async def test_a_registry_that_hangs_does_not_hold_up_for_ever_who_could_do_without(fake: FakeRepository) -> None:
    async with dripping(b"HTTP/1.1 200 OK\r\nX: ") as url:
        registry = {"url": url, "use_for": ["stat"]}
        async with source(endpoint(fake, alias="good"), registry=registry) as care:
            where = locator(letter(1))
            for _ in range(2):
                with pytest.raises(TimedOut):
                    await care.stat(where)
            assert (await care.stat(where)).media_type, "the repository knows the facts too"
            assert {one.name: one.circuit for one in care.status().endpoints} == {
                "registry": "open",
                "endpoint good": "closed",
            }


async def test_a_probe_finds_an_endpoint_again(fake: FakeRepository) -> None:
    with LoopbackProxy(fake.host, fake.port) as proxy:
        bad = endpoint(f"http://{proxy.host}:{proxy.port}/repository", alias="bad")
        async with source(bad, pause=0.2) as care:
            with proxy.refuse():
                for _ in range(2):
                    await read(care, locator(letter(1)))
                with pytest.raises(Resting, match="endpoint bad"):
                    await care.probe()
                await care.rested(10)
                with pytest.raises(Unavailable, match="endpoint bad"):
                    await care.probe()
                assert care.status().state == "probing"
            await care.probe()
            assert care.status().state == "ok"
