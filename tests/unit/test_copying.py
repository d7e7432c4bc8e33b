"""Bytes of a local document by position: whatever a reader takes at a time, and whoever else uses the buffer meanwhile."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import errno
import os
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest
import uvloop
from aiohttp import HttpVersion11, web
from hypothesis import given
from hypothesis import strategies as st

from adapters.contract import Span
from adapters.errors import Changed
from gateway import copying
from gateway.copying import Copying, Outlet
from gateway.delivery import Aborted, Delivery
from gateway.document import DirectDocument
from gateway.pacing import Pacing
from gateway.whole import Whole

DATA = bytes(range(256)) * 3


@pytest.fixture(scope="module", autouse=True)
def pipe_of_uvloop() -> None:
    """uvloop opens a pipe for the process when its first loop is made, and keeps it."""
    uvloop.new_event_loop().close()


class Letter:
    """An open local document: `cached` says for one read after the other whether the page cache has it."""

    def __init__(self, data: bytes, cached: list[bool] | None = None) -> None:
        self.data = data
        self.cached = cached or [True]
        self.reads = 0
        self.fetched = 0
        self.checks = 0
        self.changed = False
        self.content = SimpleNamespace(file=self)

    def read_into(self, view: memoryview, offset: int) -> bool:
        self.reads += 1
        found = self.cached[self.reads % len(self.cached)]
        view[:] = self.data[offset : offset + len(view)] if found else b"\xff" * len(view)
        return found

    async def read_part(self, offset: int, length: int) -> bytes:
        self.fetched += length
        return self.data[offset : offset + length]

    def check(self) -> None:
        self.checks += 1
        if self.changed:
            raise Changed("it changed")


def body_of(letter: Letter, span: Span | None = None, **given: Any) -> Copying:
    given.setdefault("before", b"head ")
    return Copying(cast(DirectDocument, letter), span or Span(0, len(letter.data)), **given)


async def step(body: Copying, position: int, most: int) -> bytes:
    """What is taken of the body from `position` on, if the kernel takes so many bytes."""
    parts = body.at(position)
    if parts is None:
        await body.fetch(position)
        parts = body.at(position)
    assert parts is not None
    return b"".join(parts)[:most]


@given(
    taken=st.lists(st.integers(0, 40), min_size=1, max_size=30),
    turns=st.lists(st.booleans(), min_size=1, max_size=30),
    cached=st.lists(st.booleans(), min_size=1, max_size=8),
    size=st.integers(1, 200),
    encoded=st.booleans(),
)
def test_two_readers_get_their_own_document_however_much_each_takes(
    taken: list[int], turns: list[bool], cached: list[bool], size: int, encoded: bool
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(copying, "PIECE", 16)
        patch.setattr(copying, "ENCODED_PIECE", 12)
        patch.setattr(copying, "FETCHED", 24)
        letters = Letter(DATA[:size], cached), Letter(DATA[100 : 100 + size][::-1], cached)
        bodies = [body_of(letter, before=b"head", after=b"end", encoded=encoded) for letter in letters]
        got = [b"", b""]

        async def read() -> None:
            number = 0
            while any(len(got[one]) < bodies[one].length for one in (0, 1)):
                turn = int(turns[number % len(turns)]) if number < 500 else number % 2
                most = taken[number % len(taken)] if number < 500 else 40
                if len(got[turn]) < bodies[turn].length:
                    got[turn] += await step(bodies[turn], len(got[turn]), most)
                    if most % 3 == 0:
                        bodies[turn].let_go()
                number += 1

        asyncio.run(read())
    for letter, given_out in zip(letters, got, strict=True):
        middle = base64.b64encode(letter.data) if encoded else letter.data
        assert given_out == b"head" + middle + b"end"
        assert letter.checks


async def test_nothing_is_read_again_for_a_reader_that_nobody_came_between() -> None:
    letter = Letter(DATA)
    body = body_of(letter)
    assert b"".join(body.at(0) or ())[:10] == (b"head " + DATA)[:10]
    assert b"".join(body.at(10) or ()) == (b"head " + DATA)[10:]
    assert letter.reads == 1
    assert body_of(Letter(DATA[::-1])).at(0)
    assert b"".join(body.at(10) or ()) == (b"head " + DATA)[10:]
    assert letter.reads == 2


async def test_nothing_is_held_for_a_reader_that_is_waited_for() -> None:
    for body in (body_of(Letter(bytes(1 << 20)), encoded=True), body_of(Letter(bytes(1 << 20), [False]))):
        await step(body, 0, 10)
        assert isinstance(body._kept, bytes)
        assert len(body._kept) > 100_000
        body.let_go()
        assert not body._kept


@pytest.mark.parametrize("encoded", [False, True], ids=["native", "text"])
async def test_a_slow_reader_does_not_have_a_thread_read_everything_many_times(encoded: bool) -> None:
    letter = Letter(bytes(4 << 20), [False])
    body, position = body_of(letter, encoded=encoded), 0
    while position < body.length:
        position += len(await step(body, position, 32_768))
        body.let_go()
        assert len(body._kept) <= 262_144
    assert letter.fetched < 1.3 * len(letter.data)


@pytest.mark.parametrize("encoded", [False, True], ids=["native", "text"])
async def test_the_last_bytes_are_kept_back_from_a_file_that_changed(encoded: bool) -> None:
    letter = Letter(DATA)
    letter.changed = True
    with pytest.raises(Changed):
        body_of(letter, encoded=encoded).at(0)
    waiting = Letter(DATA, [False])
    waiting.changed = True
    with pytest.raises(Changed):
        await body_of(waiting, encoded=encoded).fetch(0)


async def test_what_is_read_again_is_checked_again() -> None:
    letter = Letter(DATA)
    body = body_of(letter)
    assert body.at(0)
    assert body_of(Letter(DATA)).at(0)
    letter.changed = True
    with pytest.raises(Changed):
        body.at(100)


async def test_a_connection_with_something_to_send_has_no_outlet() -> None:
    class Transport:
        closing, waiting, tls = False, 0, None

        def is_closing(self) -> bool:
            return self.closing

        def get_write_buffer_size(self) -> int:
            return self.waiting

        def get_extra_info(self, name: str) -> object:
            return {"socket": near, "sslcontext": self.tls}.get(name)

    near, far = socket.socketpair()
    with near, far:
        transport = Transport()
        as_transport = cast(asyncio.Transport, transport)
        outlet = Outlet.of(as_transport)
        assert outlet is not None
        for name, value in {"closing": True, "waiting": 1, "tls": object()}.items():
            other = Transport()
            setattr(other, name, value)
            assert Outlet.of(cast(asyncio.Transport, other)) is None
        assert Outlet.of(None) is None
        near.setblocking(False)
        with outlet:
            assert outlet.write([b"ab", b"c"]) == 3
            assert far.recv(10) == b"abc"
            while outlet.write([bytes(65536)]):
                pass
            waiting = asyncio.ensure_future(outlet.writable())
            await asyncio.sleep(0.01)
            assert not waiting.done()
            far.setblocking(False)
            while not waiting.done():
                with contextlib.suppress(BlockingIOError):
                    far.recv(1 << 20)
                await asyncio.sleep(0)
            transport.closing = True
            with pytest.raises(ConnectionError):
                outlet.write([b"d"])


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[asyncio.Transport, socket.socket]]:
    """The transport of an accepted connection, and the socket of its reader."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        reader = socket.create_connection(server.getsockname())
        accepted, _ = server.accept()
    with reader:
        reader.setblocking(False)
        transport, _ = await asyncio.get_running_loop().connect_accepted_socket(asyncio.Protocol, accepted)
        yield transport, reader
        transport.abort()


async def waited_for(transport: asyncio.Transport, seen: list[int]) -> None:
    """A body whose reader has stopped; `seen` gets its descriptor."""
    outlet = Outlet.of(transport)
    assert outlet is not None
    with outlet:
        seen.append(outlet._descriptor)
        while outlet.write([bytes(65536)]):
            pass
        await Pacing(3.0).taken(cast(Any, SimpleNamespace(transport=transport)), outlet.writable())


async def one_after_the_other() -> bool:
    """Whether a reader is served that gets the descriptor of one that left in the same turn of the loop."""
    async with connected() as (left, _), connected() as (next, reader):
        gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        seen: list[int] = []

        async def following() -> None:
            await gate
            await waited_for(next, seen)

        first, second = asyncio.ensure_future(waited_for(left, seen)), asyncio.ensure_future(following())
        await asyncio.sleep(0.05)
        first.cancel()
        gate.set_result(None)
        await asyncio.sleep(0.05)
        assert seen[0] == seen[1], "the very number that was given back"
        ends = time.monotonic() + 1.0
        while not second.done() and time.monotonic() < ends:
            with contextlib.suppress(BlockingIOError):
                reader.recv(1 << 20)
            await asyncio.sleep(0.005)
        woke = second.done()
        second.cancel()
        await asyncio.gather(first, second, return_exceptions=True)
        return woke


@pytest.mark.blocking_allowed
@pytest.mark.parametrize("factory", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_a_reader_that_leaves_takes_nothing_away_from_the_next_one(
    factory: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    with asyncio.Runner(loop_factory=factory) as runner:
        assert runner.run(one_after_the_other())


async def test_without_a_descriptor_the_transport_has_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(_descriptor: int) -> int:
        raise OSError(errno.EMFILE, "none left")

    async with connected() as (transport, _):
        monkeypatch.setattr(os, "dup", none_left)
        assert Outlet.of(transport) is None


async def test_a_small_answer_that_could_not_be_sent_was_not_read_by_anybody() -> None:
    class Request:
        version, keep_alive, protocol = HttpVersion11, True, SimpleNamespace(writing_paused=False)
        transport: asyncio.Transport
        _payload_writer = SimpleNamespace(transport=None)

    async with connected() as (transport, _):
        request = Request()
        request.transport = transport
        transport.close()
        with pytest.raises(Aborted) as aborted:
            await Delivery(cast(Any, None), reader_timeout=1.0).finish(
                cast(web.BaseRequest, request), Whole(200, {"Content-Length": "5"}, b"abcde")
            )
        assert aborted.value.sent == 0
