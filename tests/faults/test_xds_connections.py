"""Connections to a repository that break, hang or are given up: what a reader gets, and what the repository sees."""

from __future__ import annotations

import asyncio
import base64
import gzip
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from adapters.errors import Busy, Corrupt, CredentialsRejected, TimedOut, Unavailable
from adapters.testing.harness import RecordingLog
from adapters.testing.proxy import LoopbackProxy
from adapters.xds import service
from gateway.demo.xds import Ending, FakeRepository, large, letter
from tests.support.xds import Authority, fake_repository
from tests.support.xds_source import endpoint, locator, read, source

HUGE = large(64 << 20)
"""More than the buffers of two sockets hold."""

PATIENCE = 5.0
"""Seconds in which something must have happened; nothing here takes that long when it is right."""


@pytest.fixture
async def fake() -> AsyncIterator[FakeRepository]:
    async with fake_repository(letter(1), letter(2), HUGE) as running:
        yield running


Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def scripted(answer: Answer) -> AsyncIterator[str]:
    """The URL of a server that answers each connection as the test says."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await answer(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/repository"


async def request(reader: asyncio.StreamReader) -> bytes:
    """One whole request."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
    return head + await reader.readexactly(length)


# --- a second try --------------------------------------------------------------------------------------------------


async def test_a_kept_connection_that_the_repository_closed_costs_nothing(fake: FakeRepository) -> None:
    with LoopbackProxy(fake.host, fake.port) as proxy:
        async with source(endpoint(f"http://{proxy.host}:{proxy.port}/repository")) as adapter:
            for _ in range(3):
                got = await read(adapter, locator(letter(1)))
                assert (got.error, got.data) == (None, letter(1).data)
                proxy.reset()


@pytest.mark.parametrize("fault", ["reset-start", "close-start", "empty-200"])
async def test_a_request_without_any_answer_goes_out_once_more(fake: FakeRepository, fault: str) -> None:
    async with source(endpoint(fake)) as adapter:
        fake.next(fault)
        got = await read(adapter, locator(letter(1)))
        assert (got.error, got.data) == (None, letter(1).data)
        assert len(fake.exchanges) == 2
        fake.next(fault, times=2)
        got = await read(adapter, locator(letter(1)))
        assert got.error is not None
        assert got.error.exhausted
        assert len(fake.exchanges) == 4


@pytest.mark.parametrize(
    "fault",
    ["reset-head", "reset", "truncated", "XDSRepositoryBusy", "http-503", "stall-start", "wrong-id", "dangling-cid"],
)
async def test_what_was_answered_is_not_asked_again(fake: FakeRepository, fault: str) -> None:
    short = {"first_byte": "300ms", "between_bytes": "300ms"}
    async with source(endpoint(fake, timeouts=short)) as adapter:
        fake.next(fault)
        got = await read(adapter, locator(letter(1)))
    assert got.error is not None
    assert not got.error.exhausted
    assert len(fake.exchanges) == 1


# --- leaving -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["stall-start", "stall-head", "stall"])
async def test_a_reader_who_gives_up_ends_the_call(fake: FakeRepository, fault: str) -> None:
    fake.next(fault)
    async with source(endpoint(fake)) as adapter:
        reading = asyncio.create_task(read(adapter, locator(HUGE)))
        exchange = await fake.arrived(1)
        await asyncio.sleep(0.05)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        async with asyncio.timeout(PATIENCE):
            assert await exchange.ended() is Ending.LEFT
            await fake.idle()


async def test_a_reader_who_stops_pulling_stops_the_repository(fake: FakeRepository) -> None:
    async with source(endpoint(fake)) as adapter:
        async with adapter.open(locator(HUGE)) as content:
            await anext(content.chunks)
            await asyncio.sleep(0.3)
            sent = fake.exchanges[0].sent
            await asyncio.sleep(0.3)
            assert fake.exchanges[0].sent == sent < HUGE.content.size
    async with asyncio.timeout(PATIENCE):
        assert await fake.exchanges[0].ended() is Ending.LEFT


async def test_a_source_that_is_left_closes_its_connections(fake: FakeRepository) -> None:
    async with source(endpoint(fake)) as adapter:
        await read(adapter, locator(letter(1)))
        assert fake.open_connections == 1
    async with asyncio.timeout(PATIENCE):
        await fake.idle()
    got = await read(adapter, locator(letter(1)))
    assert isinstance(got.error, Unavailable)
    assert "closed" in got.error.detail


# --- waiting -------------------------------------------------------------------------------------------------------


async def test_each_wait_has_its_own_deadline_and_the_whole_has_none(fake: FakeRepository) -> None:
    short = {"connect": "1s", "first_byte": "5s", "between_bytes": "500ms"}
    small = fake.shelf.put(large(2000, unique_id="1.2.3.2000"))
    async with source(endpoint(fake, timeouts=short)) as adapter:
        fake.next("slow-drip")
        began = asyncio.get_running_loop().time()
        got = await read(adapter, locator(small))
        assert (got.error, got.data) == (None, small.data)
        assert asyncio.get_running_loop().time() - began > 1.0
        fake.next("drip")
        assert isinstance((await read(adapter, locator(small))).error, TimedOut)


async def test_a_repository_with_its_hands_full_keeps_others_waiting_no_longer_than_a_connect(
    fake: FakeRepository,
) -> None:
    given = endpoint(fake, max_connections=1, timeouts={"connect": "1s"})
    async with source(given) as adapter:
        async with adapter.open(locator(HUGE)):
            got = await read(adapter, locator(letter(1)))
            assert isinstance(got.error, Busy)
            assert "`max_connections`" in got.error.detail
        assert (await read(adapter, locator(letter(1)))).error is None


async def test_the_places_of_readers_who_left_are_given_back(fake: FakeRepository) -> None:
    given = endpoint(fake, max_connections=2, timeouts={"connect": "1s"})
    async with source(given) as adapter:
        for _ in range(6):
            fake.next("stall-start")
            reading = asyncio.create_task(read(adapter, locator(letter(1))))
            await asyncio.sleep(0.02)
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
        fake.forget()
        assert (await read(adapter, locator(letter(1)))).error is None


# --- the network ---------------------------------------------------------------------------------------------------


async def test_a_repository_that_is_away_and_comes_back(fake: FakeRepository) -> None:
    async with source(endpoint(fake)) as adapter:
        await read(adapter, locator(letter(1)))
        async with fake.deaf():
            got = await read(adapter, locator(letter(1)))
            assert isinstance(got.error, Unavailable)
            assert "nothing answers at this address" in got.error.detail
        assert (await read(adapter, locator(letter(1)))).error is None


@pytest.mark.parametrize("orderly", [False, True])
@pytest.mark.parametrize("personality", ["standard", "closing", "inline"])
async def test_a_cut_is_never_an_end(fake: FakeRepository, personality: str, orderly: bool) -> None:
    data = letter(1).data
    with LoopbackProxy(fake.host, fake.port) as proxy:
        url = f"http://{proxy.host}:{proxy.port}/personality/{personality}/repository"
        async with source(endpoint(url)) as adapter:
            whole = 0
            for count in (*range(1, 1200, 97), *range(1500, 28_000, 1777)):
                with proxy.cut_after(count, orderly=orderly):
                    got = await read(adapter, locator(letter(1)))
                whole += got.error is None
                assert data == got.data if got.error is None else data.startswith(got.data)
                assert got.error is None or isinstance(got.error, Unavailable | Corrupt)
    assert whole < 6  # the last cuts come behind the document


async def test_names_are_looked_up_on_the_sources_own_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    look_up = socket.getaddrinfo

    def watched(host: str, *rest: Any, **more: Any) -> Any:
        asked.append(threading.current_thread().name)
        return look_up("127.0.0.1", *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", watched)
    async with fake_repository(letter(1)) as fake:
        asked.clear()
        url = f"http://xds.trust.local:{fake.port}/repository"
        async with source(endpoint(url, allow_http=True)) as adapter:
            assert (await read(adapter, locator(letter(1)))).error is None
    assert len(asked) == 1
    assert asked[0].startswith("xds-test")


async def test_a_name_server_that_hangs_is_waited_for_as_a_connection_is(monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()

    def hanging(*rest: Any, **more: Any) -> Any:
        released.wait(PATIENCE)
        raise socket.gaierror(socket.EAI_AGAIN, "later")

    monkeypatch.setattr(socket, "getaddrinfo", hanging)
    try:
        given = endpoint("https://xds.trust.local/repository", timeouts={"connect": "200ms"})
        async with source(given) as adapter:
            got = await read(adapter, f"^{given['repository_unique_ids'][0]}^1.2.3")
            assert isinstance(got.error, TimedOut)
            released.set()
    finally:
        released.set()


# --- answers below SOAP --------------------------------------------------------------------------------------------


async def test_a_body_that_ends_with_its_connection_needs_its_own_end() -> None:
    """Without framing by HTTP, half an answer looks like a whole one to whoever does not read what it says."""

    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/soap+xml\r\nConnection: close\r\n\r\n")
        writer.write(b'<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Body>')
        await writer.drain()

    async with scripted(cut) as url, source(endpoint(url)) as adapter:
        got = await read(adapter, locator(letter(1)))
    assert isinstance(got.error, Unavailable)
    assert "ended before the document" in got.error.detail


def inline(data: bytes, *, closed: bool = True) -> bytes:
    """An envelope with the first letter's id and these bytes in it."""
    head = (
        '<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Body><x:RetrieveDocumentSetResponse '
        'xmlns:x="urn:ihe:iti:xds-b:2007"><x:DocumentResponse>'
        f"<x:RepositoryUniqueId>{letter(1).repository}</x:RepositoryUniqueId>"
        f"<x:DocumentUniqueId>{letter(1).unique_id}</x:DocumentUniqueId><x:mimeType>text/plain</x:mimeType>"
        f"<x:Document>{base64.b64encode(data).decode()}"
    )
    tail = "</x:Document></x:DocumentResponse></x:RetrieveDocumentSetResponse></s:Body></s:Envelope>"
    return (head + (tail if closed else "")).encode()


def canned(body: bytes, *fields: bytes, status: bytes = b"200 OK") -> Answer:
    """A server that answers with these bytes and says how many they are."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        length = b"Content-Length: %d" % len(body)
        writer.write(
            b"\r\n".join([b"HTTP/1.1 " + status, b"Content-Type: application/soap+xml", length, *fields, b"", body])
        )
        await writer.drain()

    return answer


async def test_an_answer_that_is_whole_and_yet_not_the_whole_document() -> None:
    async with scripted(canned(inline(b"a letter"))) as url, source(endpoint(url)) as adapter:
        assert (await read(adapter, locator(letter(1)))).data == b"a letter"
    async with scripted(canned(inline(b"a letter", closed=False))) as url, source(endpoint(url)) as adapter:
        got = await read(adapter, locator(letter(1)))
    assert type(got.error) is Corrupt
    assert "ended before the document did" in got.error.detail


@pytest.mark.parametrize("pause", [0.0, 0.005])
async def test_a_stated_length_that_is_too_small_is_no_end(pause: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing but the length says where the last part ends, and more comes: the service counted something else than bytes."""
    part = (
        b'--b\r\nContent-Type: application/xop+xml\r\n\r\n<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Body>'
        b'<x:RetrieveDocumentSetResponse xmlns:x="urn:ihe:iti:xds-b:2007"><x:DocumentResponse><x:RepositoryUniqueId>%b'
        b"</x:RepositoryUniqueId><x:DocumentUniqueId>%b</x:DocumentUniqueId><x:Document>"
        b'<Include xmlns="http://www.w3.org/2004/08/xop/include" href="cid:d@x"/></x:Document></x:DocumentResponse>'
        b"</x:RetrieveDocumentSetResponse></s:Body></s:Envelope>\r\n--b\r\nContent-ID: <d@x>\r\n\r\na letter"
    ) % (letter(1).repository.encode(), letter(1).unique_id.encode())
    surplus = b" that goes on\r\n--b--\r\n"

    def answering(rest: bytes) -> Answer:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await request(reader)
            kind = b"Content-Type: multipart/related; boundary=b"
            writer.write(b"HTTP/1.1 200 OK\r\n%b\r\nContent-Length: %d\r\n\r\n" % (kind, len(part)))
            await writer.drain()
            await asyncio.sleep(0.05)  # the head has been read by itself
            writer.write(part + (b"" if pause else rest))
            await writer.drain()
            await asyncio.sleep(pause)
            writer.write(rest if pause else b"")
            await reader.read()

        return answer

    async with scripted(answering(b"")) as url, source(endpoint(url)) as adapter:
        got = await read(adapter, locator(letter(1)))
        assert (got.error, got.data) == (None, b"a letter")
    # How long the adapter waits for more is a matter of milliseconds, in which a busy machine may not come to send any.
    monkeypatch.setattr(service, "SURPLUS_SECONDS", 1.0)
    async with scripted(answering(surplus)) as url, source(endpoint(url)) as adapter:
        got = await read(adapter, locator(letter(1)))
    assert isinstance(got.error, Unavailable)
    assert "behind the length" in got.error.detail


async def test_compression_without_its_checksum_is_not_whole() -> None:
    packed = gzip.compress(inline(b"a letter"))
    async with scripted(canned(packed, b"Content-Encoding: gzip")) as url, source(endpoint(url)) as adapter:
        assert (await read(adapter, locator(letter(1)))).data == b"a letter"
    async with scripted(canned(packed[:-6], b"Content-Encoding: gzip")) as url, source(endpoint(url)) as adapter:
        got = await read(adapter, locator(letter(1)))
    assert type(got.error) is Corrupt
    assert "compressed answer ended early" in got.error.detail
    assert (got.before, got.data) == (True, b"")


@pytest.mark.parametrize("body", [b"<a><b></a>", b"<?xml version='1.0'?><!DOCTYPE a><a/>", b"{}", b""])
async def test_a_status_says_more_than_a_body_that_makes_no_sense(body: bytes) -> None:
    answer = canned(body, b"Retry-After: 9", status=b"503 Service Unavailable")
    async with scripted(answer) as url, source(endpoint(url)) as adapter:
        got = await read(adapter, locator(letter(1)))
        assert isinstance(got.error, Busy)
        assert got.error.retry_after == 9
        with pytest.raises(Busy):
            await adapter.probe()


async def test_nginx_that_misses_a_certificate_says_so_in_its_page() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        page = b"<html><body><center>No required SSL certificate was sent</center></body></html>"
        head = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n" % len(page)
        writer.write(head + page)
        await writer.drain()

    async with scripted(refuse) as url, source(endpoint(url)) as adapter:
        got = await read(adapter, locator(letter(1)))
        assert isinstance(got.error, CredentialsRejected)
        assert "set `tls.certificate`" in got.error.detail
        with pytest.raises(CredentialsRejected, match=r"set `tls\.certificate`"):
            await adapter.probe()


async def test_a_compression_that_nobody_asked_for_and_knows() -> None:
    async def squeeze(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await request(reader)
        assert b"Accept-Encoding: identity" in asked
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 3\r\n\r\nabc")
        await writer.drain()

    async with scripted(squeeze) as url, source(endpoint(url)) as adapter:
        got = await read(adapter, locator(letter(1)))
    assert type(got.error) is Corrupt
    assert "compressed in a way" in got.error.detail


async def test_what_comes_before_the_envelope_is_kept_within_bounds() -> None:
    part = b"--b\r\nContent-ID: <%d@x>\r\nContent-Type: application/octet-stream\r\n\r\n" + bytes(600_000) + b"\r\n"

    async def envelope_last(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        kind = b'multipart/related; boundary=b; type="application/xop+xml"; start="<root@x>"'
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: " + kind + b"\r\nConnection: close\r\n\r\n")
        for number in range(3):
            writer.write(part % number)
            await writer.drain()

    async with scripted(envelope_last) as url, source(endpoint(url, max_document="1MiB")) as adapter:
        got = await read(adapter, locator(letter(1)))
    assert type(got.error) is Corrupt
    assert "before its envelope" in got.error.detail


async def test_tls_that_breaks_in_a_document(tmp_path: Any) -> None:
    authority = Authority(tmp_path)
    async with fake_repository(letter(1), HUGE, tls=authority.server()) as fake:
        with LoopbackProxy(fake.host, fake.port) as proxy:
            given = endpoint(f"https://{proxy.host}:{proxy.port}/repository", tls={"ca": authority.file})
            async with source(given) as adapter:
                with proxy.cut_after(1 << 20, orderly=True):
                    got = await read(adapter, locator(HUGE))
                assert isinstance(got.error, Unavailable)
                assert 0 < len(got.data) < HUGE.content.size
                assert (await read(adapter, locator(letter(1)))).error is None
                log = adapter.services.log
    assert isinstance(log, RecordingLog)
    assert log.lines == []
