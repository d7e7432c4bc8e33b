"""The instruments of tests/support measure right: what they call reset, short or malformed is just that."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import pytest

from tests.support import raw_http
from tests.support.nginx import file_server, proxy
from tests.support.ports import LOOPBACK, accepts, free_port, owners
from tests.support.process import ServerFailed, require, running
from tests.support.raw_http import Ending, Malformed

PROJECT = Path(__file__).parents[2]
OK = b"HTTP/1.1 200 OK\r\n"


@asynccontextmanager
async def scripted(data: bytes, *, reset: bool = False) -> AsyncIterator[int]:
    """A server that answers any first bytes with `data` and ends; yields its port."""

    async def serve(listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        client, _address = await loop.sock_accept(listener)
        with client:
            await loop.sock_recv(client, 65536)
            await loop.sock_sendall(client, data)
            if reset:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with socket.create_server((LOOPBACK, 0)) as listener:
        listener.setblocking(False)
        task = asyncio.create_task(serve(listener))
        yield listener.getsockname()[1]
        await task


async def answer(data: bytes, *, reset: bool = False, method: str = "GET") -> raw_http.Answer:
    async with scripted(data, reset=reset) as port, raw_http.connect(LOOPBACK, port) as connection:
        await connection.send(raw_http.request("/", method=method))
        return await connection.answer(method)


async def test_a_whole_answer():
    got = await answer(OK + b"Content-Length: 5\r\nX-A:  b \r\n\r\nhello")
    assert (got.status, got.reason, got.body, got.framing) == (200, "OK", b"hello", "length")
    assert got.complete
    assert got.field("x-a") == "b"
    assert got.field("x-b") is None


@pytest.mark.parametrize(("reset", "ending"), [(False, Ending.CLOSED), (True, Ending.RESET)])
async def test_a_short_answer_is_not_complete(reset, ending):
    got = await answer(OK + b"Content-Length: 9\r\n\r\nhello", reset=reset)
    assert (got.complete, got.body, got.ending) == (False, b"hello", ending)
    got = await answer(OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", reset=reset)
    assert (got.complete, got.body, got.ending) == (False, b"hello", ending)


@pytest.mark.parametrize(("reset", "complete"), [(False, True), (True, False)])
async def test_an_answer_until_the_end_is_complete_unless_reset(reset, complete):
    got = await answer(b"HTTP/1.0 200 OK\r\n\r\nhello", reset=reset)
    assert (got.framing, got.body, got.complete) == ("close", b"hello", complete)


async def test_chunks_are_joined():
    got = await answer(OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nA\r\n0123456789\r\n0\r\n\r\n")
    assert (got.body, got.complete) == (b"hello0123456789", True)


async def test_answers_without_a_body():
    assert (await answer(OK + b"Content-Length: 5\r\n\r\n", method="HEAD")).complete
    assert (await answer(b"HTTP/1.1 304 Not Modified\r\n\r\n")).framing == "none"


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        OK + b"Content-Length: 5\r\n",
        OK + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\nx",
        OK + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\nx",
        OK + b"Content-Length: +1\r\n\r\nx",
        OK + b"Content-Length : 1\r\n\r\nx",
        OK + b"Folded: a\r\n b\r\n\r\n",
        OK + b"Lone: a\nb: c\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n0x1\r\nx\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\nxy\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\nxHTTP/1.1 502 Bad Gateway\r\n\r\n",
    ],
)
async def test_what_is_not_http_is_refused(data):
    with pytest.raises(Malformed):
        await answer(data)


async def test_bytes_after_the_last_answer_are_refused():
    one = OK + b"Content-Length: 1\r\n\r\nx"
    async with scripted(one + one) as port:
        assert [got.body for got in await raw_http.exchange(LOOPBACK, port, b"GET", b"GET")] == [b"x", b"x"]
    async with scripted(one + one) as port:
        with pytest.raises(Malformed, match="left over"):
            await raw_http.exchange(LOOPBACK, port, b"GET")


def test_a_missing_server_fails_with_the_cure(monkeypatch):
    monkeypatch.setattr("tests.support.process.SEARCH", "")
    with pytest.raises(pytest.fail.Exception, match=r"'nginx'.*make test.*apt-get install nginx"):
        require("nginx")


def test_a_server_that_ends_or_never_answers_shows_its_log(tmp_path: Path):
    def start(script: str, timeout: float = 10.0) -> None:
        command = [
            sys.executable,
            "-c",
            f"import sys, time; print('no licence', file=sys.stderr, flush=True); {script}",
        ]
        with running("the server", command, log=tmp_path / "log", ready=lambda _server: False, timeout=timeout):
            pass

    with pytest.raises(ServerFailed, match=r"ended with status 3:\nno licence"):
        start("sys.exit(3)")
    with pytest.raises(ServerFailed, match=r"not ready after 0.5 s"):
        start("time.sleep(60)", timeout=0.5)


def test_servers_die_with_the_process_that_started_them(tmp_path: Path):
    port = free_port()
    server = [sys.executable, "-m", "http.server", "--bind", LOOPBACK, str(port)]
    script = f"""
import pathlib, time
from tests.support.process import port_ready, running
with running("a server", {server!r}, log=pathlib.Path({str(tmp_path / "log")!r}), ready=port_ready({port})):
    print("up", flush=True)
    time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", script], cwd=PROJECT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "up\n"
        (server_pid,) = owners(port)
        ended = os.pidfd_open(server_pid)
        parent.kill()
    try:
        assert select.select([ended], [], [], 10)[0], "the server outlived its parent"
    finally:
        os.close(ended)
    assert not accepts(port)


def test_no_two_processes_are_given_one_port():
    script = """
import random
random.randrange = lambda stop: 0  # all begin at the same port, as none would by itself
from tests.support.ports import free_port
print(*(free_port() for _ in range(50)), flush=True)
input()
"""
    command = [sys.executable, "-c", script]
    with ExitStack() as stack:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": PROJECT}
        several = [stack.enter_context(subprocess.Popen(command, **pipes)) for _ in range(3)]
        given = [one.stdout.readline().split() for one in several]
        for one in several:
            one.communicate("\n")
    assert [len(ports) for ports in given] == [50] * 3
    assert len({port for ports in given for port in ports}) == 150


def test_nginx_serves_and_proxies_and_owns_its_port(tmp_path: Path):
    (tmp_path / "the files").mkdir()
    (tmp_path / "the files/a letter").write_bytes(b"x" * 70000)
    with file_server(tmp_path / "peer", tmp_path / "the files") as peer, proxy(tmp_path / "front", peer.url) as front:
        assert peer.server.pid in owners(peer.port)
        for port in (peer.port, front.port):
            (got,) = asyncio.run(raw_http.exchange(LOOPBACK, port, raw_http.request("/a%20letter")))
            assert (got.status, len(got.body), got.complete) == (200, 70000, True)
        peer.server.signal(signal.SIGKILL)
        (got,) = asyncio.run(raw_http.exchange(LOOPBACK, front.port, raw_http.request("/a%20letter")))
        assert got.status == 502
