"""Answers so long that their rest is taken from the connection directly, on both event loops and with TLS.

What a reader gets must not depend on it: every byte, the same errors, a connection that can be used again.
"""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import uvloop

from adapters.errors import Corrupt, TimedOut, Unavailable
from adapters.testing.proxy import LoopbackProxy
from adapters.xds import body
from gateway.demo.xds import FakeRepository, large, letter
from tests.support.xds import Authority, fake_repository
from tests.support.xds_source import QUICK, endpoint, locator, read, source

# The loops here are the tests' own.
pytestmark = pytest.mark.blocking_allowed

LONG = large(6_000_000)

INLINE_TAIL = b"</x:Document></x:DocumentResponse></x:RetrieveDocumentSetResponse></s:Body></s:Envelope>"

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="module", autouse=True)
def warm() -> None:
    """uvloop keeps two descriptors for the rest of the process."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(asyncio.sleep(0))


@pytest.fixture(params=LOOPS)
def on_loop(request: pytest.FixtureRequest) -> Callable[[Awaitable[None]], None]:
    """Runs a test on one event loop."""

    def run(test: Awaitable[None]) -> None:
        async def bounded() -> None:
            async with asyncio.timeout(30):
                await test

        with asyncio.Runner(loop_factory=LOOPS[request.param]) as runner:
            runner.run(bounded())

    return run


@pytest.fixture(params=["plain", "tls"])
def authority(request: pytest.FixtureRequest, tmp_path: Path) -> Authority | None:
    return Authority(tmp_path) if request.param == "tls" else None


@pytest.fixture(autouse=True)
def taken(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many bytes each rest had that was taken directly: a test in which there is none would show nothing."""
    sizes: list[int] = []
    make = body.Rest.__init__

    def counted(self: body.Rest, response: object, transport: object, theirs: object, left: int, room: object) -> None:
        sizes.append(left)
        make(self, response, transport, theirs, left, room)  # type: ignore[arg-type]

    monkeypatch.setattr(body.Rest, "__init__", counted)
    return sizes


@asynccontextmanager
async def repository(authority: Authority | None) -> AsyncIterator[tuple[FakeRepository, dict[str, str]]]:
    """A repository with the long document, and the `tls` options that reach it."""
    context: ssl.SSLContext | None = None if authority is None else authority.server()
    async with fake_repository(letter(1), LONG, tls=context) as fake:
        yield fake, {} if authority is None else {"ca": str(authority.file)}


@asynccontextmanager
async def scripted(
    answer: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[str]:
    """The URL of a server that answers as the test says, until the client has hung up."""
    calls: list[asyncio.Task[None] | None] = []

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        calls.append(asyncio.current_task())
        with suppress(ConnectionError):
            await answer(reader, writer)
            await reader.read()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    async with await asyncio.start_server(connected, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/repository"
        await asyncio.gather(*filter(None, calls), return_exceptions=True)


@pytest.mark.parametrize("packaging", ["standard", "inline", "lf-only"])
def test_every_byte_arrives_and_the_connection_serves_again(on_loop, authority, taken, packaging) -> None:
    async def test() -> None:
        async with repository(authority) as (fake, tls):
            url = fake.endpoint("repository", personality=packaging)
            async with source(endpoint(url, tls=tls)) as adapter:
                for document in (LONG, letter(1), LONG):
                    got = await read(adapter, locator(document))
                    assert got.error is None
                    assert hashlib.sha1(got.data).hexdigest() == document.content.sha1
            assert {exchange.connection for exchange in fake.exchanges} == {1}

    on_loop(test())
    assert len(taken) == 2


def test_an_answer_in_chunks_is_the_same_document(on_loop, authority, taken) -> None:
    async def test() -> None:
        async with repository(authority) as (fake, tls):
            url = fake.endpoint("repository", personality="cxf")
            async with source(endpoint(url, tls=tls)) as adapter:
                got = await read(adapter, locator(LONG))
                assert hashlib.sha1(got.data).hexdigest() == LONG.content.sha1

    on_loop(test())
    assert taken == []


@pytest.mark.parametrize("orderly", [False, True])
def test_a_cut_is_no_end(on_loop, taken, orderly) -> None:
    async def test() -> None:
        async with repository(None) as (fake, _tls):
            with LoopbackProxy(fake.host, fake.port) as proxy:
                url = f"http://{proxy.host}:{proxy.port}/repository"
                async with source(endpoint(url)) as adapter:
                    for count in (700_000, 3_000_000, 6_000_000):
                        with proxy.cut_after(count, orderly=orderly):
                            got = await read(adapter, locator(LONG))
                        assert isinstance(got.error, Unavailable | Corrupt)
                        assert LONG.data.startswith(got.data)
                    assert (await read(adapter, locator(LONG))).data == LONG.data

    on_loop(test())
    assert len(taken) == 4


def test_a_repository_that_falls_silent_is_waited_for_as_long_as_it_may_pause(on_loop, taken) -> None:
    async def test() -> None:
        async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: 9000000\r\n\r\n" + inline_head()
            )
            for _ in range(3):
                writer.write(b"QUJD" * 50_000)
                await asyncio.sleep(0.3)

        pausing = QUICK | {"between_bytes": "600ms"}
        async with scripted(half) as url, source(endpoint(url, timeouts=pausing)) as adapter:
            began = asyncio.get_running_loop().time()
            got = await read(adapter, locator(LONG))
            assert isinstance(got.error, TimedOut)
            assert len(got.data) == 450_000
            assert 1.2 < asyncio.get_running_loop().time() - began < 5

    on_loop(test())
    assert len(taken) == 1


@pytest.mark.parametrize("late", [False, True])
def test_what_follows_a_body_uninvited_is_never_the_next_answer(on_loop, taken, late) -> None:
    text = b"QUJD" * 200_000
    envelope = (
        inline_head()
        + text
        + b"</x:Document></x:DocumentResponse></x:RetrieveDocumentSetResponse></s:Body></s:Envelope>"
    )
    whole = b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: %d\r\n\r\n" % len(envelope) + envelope
    uninvited = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nother"
    connections = 0

    async def test() -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal connections
            connections += 1
            with suppress(asyncio.IncompleteReadError):
                while head := await reader.readuntil(b"\r\n\r\n"):
                    await reader.readexactly(int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]))
                    writer.write(whole if late else whole + uninvited)
                    await asyncio.sleep(0.1)
                    writer.write(uninvited if late else b"")

        async with scripted(answer) as url, source(endpoint(url)) as adapter:
            for _ in range(2):
                got = await read(adapter, locator(LONG))
                assert (got.error, got.data) == (None, b"ABC" * 200_000)
                await asyncio.sleep(0.3)

    on_loop(test())
    assert connections == (1 if late else 2)
    assert taken


@pytest.mark.parametrize("later", [0.0, 0.001])
@pytest.mark.parametrize("surplus", [0, 1, 900_000])
def test_a_stated_length_that_is_too_small_is_seen_where_nothing_else_says_that_the_document_is_whole(
    on_loop, taken, surplus, later
) -> None:
    root = inline_head() + b'<i:Include xmlns:i="http://www.w3.org/2004/08/xop/include" href="cid:d"/>' + INLINE_TAIL
    parts = b"--b\r\nContent-Type: application/xop+xml\r\n\r\n" + root + b"\r\n--b\r\nContent-ID: <d>\r\n\r\n"
    stated = parts + LONG.data[:2_000_000]
    fields = b"Content-Type: multipart/related; boundary=b\r\nContent-Length: %d\r\n\r\n" % len(stated)

    async def test() -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            rest = LONG.data[2_000_000:][:surplus]
            writer.write(b"HTTP/1.1 200 OK\r\n" + fields + stated + (b"" if later else rest))
            await writer.drain()
            await asyncio.sleep(later)
            writer.write(rest if later else b"")

        async with scripted(answer) as url, source(endpoint(url)) as adapter:
            got = await read(adapter, locator(LONG))
        if surplus:
            assert isinstance(got.error, Unavailable)
            assert "behind the length" in got.error.detail
        else:
            assert (got.error, got.data) == (None, LONG.data[:2_000_000])

    on_loop(test())
    assert len(taken) == 1


def inline_head() -> bytes:
    return (
        '<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Body><x:RetrieveDocumentSetResponse '
        'xmlns:x="urn:ihe:iti:xds-b:2007"><x:DocumentResponse>'
        f"<x:RepositoryUniqueId>{LONG.repository}</x:RepositoryUniqueId>"
        f"<x:DocumentUniqueId>{LONG.unique_id}</x:DocumentUniqueId><x:mimeType>text/plain</x:mimeType><x:Document>"
    ).encode()


def test_a_reader_who_leaves_in_between_ends_the_call(on_loop, authority, taken) -> None:
    async def test() -> None:
        async with repository(authority) as (fake, tls):
            async with source(endpoint(fake, tls=tls)) as adapter:
                async with adapter.open(locator(LONG)) as content:
                    for _ in range(4):
                        await anext(content.chunks)
                assert (await read(adapter, locator(LONG))).data == LONG.data
            await fake.idle()

    on_loop(test())
    assert len(taken) == 2
