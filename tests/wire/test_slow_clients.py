"""Clients that are slow on purpose, and too many of them: closed in time, refused politely, and nobody else is harmed."""

from __future__ import annotations

import asyncio
import resource
import socket
import subprocess
import time
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any

import pytest

from adapters.filesystem import FilesystemAdapter
from gateway.listener import Allowance
from gateway.source import Limits
from tests.support.gateway import serving
from tests.support.process import require
from tests.support.raw_http import Connection, Ending, connect, exchange, request
from tests.support.scripted import Script
from tests.support.service import Service, scripted, service

CHUNK = bytes(range(256)) * 256

READER = request("/R4/Binary/a")


def folder(directory: Path) -> dict[str, Any]:
    """A source with the one document `a`."""
    archive = directory / "archive"
    archive.mkdir()
    (archive / "a.txt").write_bytes(b"letter")
    ids = {"scheme": "template", "pattern": "{id}.*"}
    return {"adapter": "filesystem", "ids": ids, "options": {"root": str(archive)}}


def scripts() -> dict[str, Script]:
    return {"a": Script([b"letter"]), "big": Script([CHUNK] * 100)}


async def spent_until_closed(connection: Connection) -> float:
    began = time.monotonic()
    async with asyncio.timeout(10):
        await connection.rest()
    return time.monotonic() - began


async def drip(connection: Connection, piece: bytes, every: float) -> None:
    """A few bytes now and then, for as long as they are taken."""
    while True:
        await asyncio.sleep(every)
        try:
            await connection.send(piece)
        except OSError:
            return


@pytest.mark.attack("Headers that drip, on a new connection and on a kept one", "closed at the deadline")
@pytest.mark.parametrize(
    "beginning", [b"G", b"GET /R4/Binary/a HTTP/1.1\r\n", b"GET /R4/Binary/a HTTP/1.1\r\nHost: x\r\n"]
)
@pytest.mark.parametrize("kept", [False, True], ids=["new", "kept"])
async def test_headers_that_drip_are_cut_off_at_their_deadline(beginning: bytes, kept: bool) -> None:
    async with service({"letters": scripted(scripts())}, header_timeout=0.6, keepalive=30) as at:
        async with connect(at.host, at.port) as connection:
            if kept:
                await connection.send(READER)
                assert (await connection.answer()).body == b"letter"
            await connection.send(beginning)
            dripping = asyncio.create_task(drip(connection, b"X", 0.1))
            assert await spent_until_closed(connection) < 3
            dripping.cancel()
        assert (await at.ask("/R4/Binary/a")).body == b"letter"


async def test_heads_that_stop_at_once_are_cut_off_on_the_loop_of_a_serving_process_too(tmp_path: Path) -> None:
    """There a connection's first bytes may be read before anything of it waits for them."""
    limits = {"header_timeout": "1s", "keep_alive": "60s"}
    with serving({"server": {"limits": limits}, "sources": {"letters": folder(tmp_path)}}, tmp_path / "serving") as at:
        began = time.monotonic()
        with ExitStack() as stack:
            sent = [stack.enter_context(socket.create_connection((at.host, at.port))) for _ in range(50)]
            for one in sent:
                one.sendall(b"GET /R4/Binary/a HTTP/1.1\r\nHost: x\r\n")
                one.setblocking(False)
            loop = asyncio.get_running_loop()
            async with asyncio.timeout(10):
                assert await asyncio.gather(*(loop.sock_recv(one, 1) for one in sent)) == [b""] * 50
        assert 0.9 < time.monotonic() - began < 5


async def test_a_request_in_two_pieces_and_a_pause_between_two_requests_are_no_slowness() -> None:
    async with service({"letters": scripted(scripts())}, header_timeout=0.3, keepalive=30) as at:
        async with connect(at.host, at.port) as connection:
            for _ in range(2):
                await connection.send(READER[:20])
                await asyncio.sleep(0.1)
                await connection.send(READER[20:])
                assert (await connection.answer()).body == b"letter"
                await asyncio.sleep(0.5)


@pytest.mark.attack("Bodies that drip", "answered at once, closed within seconds")
@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
@pytest.mark.parametrize("framing", [("Content-Length", "1000"), ("Transfer-Encoding", "chunked")], ids=str)
async def test_a_body_that_drips_is_refused_at_once_and_its_connection_ends(
    method: str, framing: tuple[str, str]
) -> None:
    async with service({"letters": scripted(scripts())}) as at, connect(at.host, at.port) as connection:
        await connection.send(request("/R4/Binary/a", method=method, fields=(framing,)))
        dripping = asyncio.create_task(drip(connection, b"1\r\nX\r\n", 0.1))
        async with asyncio.timeout(2):
            answer = await connection.answer()
        assert answer.status in (400, 405)
        assert answer.json()["resourceType"] == "OperationOutcome"
        assert await spent_until_closed(connection) < 5
        dripping.cancel()


@pytest.mark.attack("A reader that takes a few bytes now and then", "reset; its place in the archive comes back")
async def test_a_reader_that_takes_next_to_nothing_is_cut_off_like_one_that_takes_nothing() -> None:
    """Six hundred bytes a second, which its kernel acknowledges a thousand at a time."""
    script = Script([CHUNK] * 300)
    async with service({"letters": scripted({"a": script})}, reader_timeout=4.8) as at:
        async with connect(at.host, at.port, receive_buffer=1024) as connection:
            await connection.send(READER)
            async with asyncio.timeout(15):
                while not await at.lines(0):
                    await asyncio.sleep(0.25)
                    connection.sip(150)
        (line,) = await at.lines()
        assert (line["outcome"], script.open_now) == ("aborted", 0)


@pytest.mark.attack("Readers that ask for many small documents and take nothing", "reset; their connections come back")
async def test_small_answers_that_nobody_takes_do_not_keep_a_connection(tmp_path: Path) -> None:
    """The kernel takes some megabytes; what is left over of a last answer lies in the process, and closing waits for it."""
    archive = tmp_path / "archive"
    archive.mkdir()
    (archive / "a.pdf").write_bytes(bytes(50_000))
    make = lambda name, lent: FilesystemAdapter(name, FilesystemAdapter.Options(root=archive), lent)  # noqa: E731
    async with (
        service({"letters": make}, suffix=".pdf", reader_timeout=0.5, keepalive=0.3) as at,
        AsyncExitStack() as stack,
    ):
        assert at.listener is not None
        for count in range(2, 90):
            stopped = await stack.enter_async_context(connect(at.host, at.port, receive_buffer=1024))
            await stopped.send(READER * count)
        await at.lines(88)
        async with asyncio.timeout(8):
            while at.listener.open:  # noqa: ASYNC110
                await asyncio.sleep(0.02)


@pytest.mark.attack(
    "Readers that stop and hold every place of an archive",
    "whoever waits gets the place of the one that stalled longest",
)
async def test_a_stalled_reader_makes_room_for_one_that_waits_and_only_then() -> None:
    """With a deadline of twenty seconds and a queue of two, nobody else would be served for as long."""
    big = Script([CHUNK] * 400)
    limits = Limits(max_open=3, queue_timeout=3, open_timeout=2, idle_timeout=2)
    async with (
        service({"letters": scripted({"a": Script([b"letter"]), "big": big})}, limits=limits, reader_timeout=20) as at,
        AsyncExitStack() as stack,
    ):
        first, second = [
            await stack.enter_async_context(connect(at.host, at.port, receive_buffer=4096)) for _ in range(2)
        ]
        await first.send(request("/R4/Binary/big"))
        await asyncio.sleep(0.6)
        await second.send(request("/R4/Binary/big"))
        brisk = await stack.enter_async_context(connect(at.host, at.port))
        await brisk.send(request("/R4/Binary/big"))
        taking = asyncio.create_task(sip_briskly(brisk))
        await asyncio.sleep(1.5)
        assert big.open_now == 3, "nobody waits, so nobody is cut off"
        assert await at.lines(0) == []
        async with asyncio.timeout(2.5):
            assert (await at.ask("/R4/Binary/a")).body == b"letter"
        (cut, served) = sorted(await at.lines(2), key=lambda line: line["outcome"])
        assert (cut["outcome"], cut["code"], served["outcome"]) == ("aborted", "GW-END-003", "complete")
        assert big.open_now == 2, "one waited, so one had to go"
        taking.cancel()
        await first.rest()
        assert first.ending is Ending.RESET, "the one that had stalled longest"
        assert second.ending is Ending.OPEN


async def sip_briskly(connection: Connection) -> None:
    """Takes a megabyte a second, as an honest reader of a slow line does."""
    while True:
        connection.sip(1 << 18)
        await asyncio.sleep(0.25)


# --- too many ---------------------------------------------------------------------------------------------------------


async def refused(at: Service, source: str) -> None:
    async with connect(at.host, at.port, source=source) as connection:
        await connection.send(READER)
        answer = await connection.answer()
        assert (answer.status, answer.field("Retry-After"), answer.field("Connection")) == (503, "5", "close")
        assert answer.json()["issue"][0]["code"] == "throttled"
        assert await connection.rest() == b""
        assert connection.ending is Ending.CLOSED


@pytest.mark.attack(
    "More connections than one peer, or all, may have", "503 and closed; those that are open are served"
)
async def test_connections_are_counted_in_all_and_of_each_peer_and_one_too_many_is_told_so() -> None:
    allowance = Allowance(connections=12, per_peer=8)
    async with service({"letters": scripted(scripts())}, allowance=allowance) as at, AsyncExitStack() as stack:
        assert at.listener is not None
        for _ in range(8):
            await stack.enter_async_context(connect(at.host, at.port, source="127.0.0.2"))
        await refused(at, "127.0.0.2")
        others = [await stack.enter_async_context(connect(at.host, at.port, source="127.0.0.3")) for _ in range(4)]
        for one in others:
            await one.send(READER)
            assert (await one.answer()).body == b"letter"
        assert at.listener.open == 12
        await refused(at, "127.0.0.4")
        await stack.aclose()
        async with asyncio.timeout(5):
            while at.listener.open:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        (answer,) = await exchange(at.host, at.port, READER)
        assert answer.body == b"letter"
        reasons = [line["reason"] for line in await at.events("connections refused", 2)]
        assert reasons == [
            "server.limits.max_connections_per_peer is reached",
            "server.limits.max_connections is reached",
        ]


async def test_many_connections_too_many_at_once_are_all_told_so() -> None:
    """Each answer is given a moment to arrive: closed at once it would be reset by the request that is on its way."""
    async with service({"letters": scripted(scripts())}, allowance=Allowance(connections=1)) as at:
        async with connect(at.host, at.port):
            await asyncio.sleep(0.05)
            await asyncio.gather(*(refused_after(at, 0.1) for _ in range(40)))


async def refused_after(at: Service, pause: float) -> None:
    """Asks only after a pause, as a client does that is far away."""
    async with connect(at.host, at.port) as connection:
        await asyncio.sleep(pause)
        await connection.send(READER)
        assert (await connection.answer()).status == 503
        assert await connection.rest() == b""
        assert connection.ending is Ending.CLOSED


@pytest.mark.attack("Connections until no file descriptor is left", "one log line, and served again afterwards")
async def test_a_process_without_file_descriptors_says_so_and_comes_back(tmp_path: Path) -> None:
    few = (require("prlimit"), "--nofile=64")
    with serving({"sources": {"letters": folder(tmp_path)}}, tmp_path / "serving", before=few) as gateway:
        async with AsyncExitStack() as stack:
            for _ in range(100):
                await stack.enter_async_context(connect(gateway.host, gateway.port))
            async with asyncio.timeout(10):
                while not any(line["event"] == "connections cannot be accepted" for line in gateway.lines()):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
        async with asyncio.timeout(10):
            (answer,) = await exchange(gateway.host, gateway.port, READER)
        assert answer.body == b"letter"
        said = [line for line in gateway.lines() if line["event"] == "connections cannot be accepted"]
        assert len(said) == 1, "a flood of connections is no flood of lines"
        assert "unstructured" not in str(gateway.lines())


# --- a thousand at once -----------------------------------------------------------------------------------------------

ATTACKS = {
    "headers": ("-H", "-i", "1", "-t", "GET", "-x", "24"),
    "bodies": ("-B", "-i", "1", "-s", "8192", "-t", "POST", "-x", "10"),
    "reading": ("-X", "-k", "3", "-n", "1", "-w", "512", "-y", "1024", "-z", "32"),
}


def enough_descriptors() -> None:
    """Both ends of a thousand connections are in one machine, and one end is in this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 4096:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))


@pytest.mark.attack(
    "slowhttptest with 1,000 connections: headers, bodies, readers that stop",
    "all closed in time; an honest reader is served meanwhile",
)
@pytest.mark.parametrize("attack", ATTACKS)
async def test_a_thousand_slow_connections_end_in_time_and_do_not_keep_others_from_reading(attack: str) -> None:
    """Readers that stop hold places in the archive: they make room for the one that waits, without any limit of peers."""
    enough_descriptors()
    reading = attack == "reading"
    limits = Limits(max_open=16, queue_timeout=5, open_timeout=2, idle_timeout=2)
    deadlines = {"header_timeout": 2.0, "keepalive": 3.0, "reader_timeout": 8.0}
    async with service(
        {"letters": scripted(scripts())}, allowance=Allowance(connections=1500), limits=limits, **deadlines
    ) as at:  # type: ignore[arg-type]
        assert at.listener is not None
        target = f"{at.url}/R4/Binary/{'big' if reading else 'a'}"
        command = ["-c", "1000", "-r", "500", "-l", "6", "-p", "3", *ATTACKS[attack], "-u", target]
        process = await asyncio.create_subprocess_exec(
            require("slowhttptest"),
            *command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        most, served, slowest, last = 0, 0, 0.0, time.monotonic()
        try:
            while process.returncode is None:
                most = max(most, at.listener.open)
                if await read_honestly(at):
                    slowest, last = max(slowest, time.monotonic() - last), time.monotonic()
                    served += 1
                await asyncio.sleep(0.02)
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()
        assert most > (40 if reading else 300)
        assert served > (6 if reading else 20)
        assert slowest < 4, "an honest reader is never long without its document"
        async with asyncio.timeout(10):
            while at.listener.open:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert not any(source.open_count for source in at.sources.values())


async def read_honestly(at: Service) -> bool:
    """One read by somebody else: whether it was served. In a crowd it may be told to come again."""
    async with connect(at.host, at.port, source="127.0.0.9") as connection:
        await connection.send(READER)
        answer = await connection.answer()
    if answer.status == 503:
        assert answer.field("Retry-After")
        return False
    assert (answer.status, answer.body) == (200, b"letter")
    return True
