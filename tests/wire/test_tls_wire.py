"""TLS on the public listener, seen from a socket: what is spoken, how bodies end, and what is no handshake.

The rules of delivery hold under TLS as they do without it: a reader must be able to tell a body that broke off.
"""

from __future__ import annotations

import asyncio
import random
import ssl
from pathlib import Path

import pytest

from adapters.errors import Corrupt, Unavailable
from adapters.filesystem import FilesystemAdapter
from gateway.http_server import TLS_WAITING
from gateway.listener import Allowance
from gateway.security.certificates import load
from gateway.security.door import Door
from gateway.settings.server import TlsSettings
from tests.support.raw_http import Ending, connect, connect_tls, request
from tests.support.scripted import Script
from tests.support.service import MakeAdapter, scripted, service
from tests.support.xds import Authority

CHUNK = bytes(range(256)) * 256

BROKEN = {
    "known length": Script([CHUNK, CHUNK, Corrupt("broke")], size=len(CHUNK) * 4),
    "short": Script([CHUNK, CHUNK], size=len(CHUNK) * 4),
    "unknown length": Script([CHUNK, CHUNK, Unavailable("lost")], size=None),
}


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def context(authority: Authority) -> ssl.SSLContext:
    """What the gateway makes of the files of a certificate."""
    pair = authority.issue("127.0.0.1")
    return load(TlsSettings(certificate=pair.certificate, key=pair.key), demand=True).context


def folder(root: Path) -> MakeAdapter:
    return lambda name, lent: FilesystemAdapter(name, FilesystemAdapter.Options(root=root), lent)


async def test_a_document_is_read_over_tls_and_every_answer_tells_browsers_to_stay(
    authority: Authority, context: ssl.SSLContext
) -> None:
    standing = {"Strict-Transport-Security": "max-age=31536000"}
    scripts = {"a": Script([CHUNK, CHUNK]), "small": Script([b"letter"])}
    async with (
        service({"letters": scripted(scripts)}, tls=context, door=Door(standing=standing)) as at,
        connect_tls(at.host, at.port, authority.client()) as connection,
    ):
        for target, status in (("a", 200), ("small", 200), ("small?_format=json", 200), ("none", 404)):
            await connection.send(request(f"/R4/Binary/{target}"))
            answer = await connection.answer()
            assert (answer.status, answer.field("Strict-Transport-Security")) == (status, "max-age=31536000")
        await connection.send(b"NONSENSE\r\n\r\n")
        answer = await connection.answer()
        assert (answer.status, answer.field("Strict-Transport-Security")) == (400, "max-age=31536000")
        assert await connection.rest() == b""
        assert connection.ending is Ending.CLOSED, "a good end is vouched for by TLS"


@pytest.mark.attack("TLS 1.0, 1.1, CBC and static RSA", "no handshake")
async def test_nothing_older_than_tls_1_2_and_no_weak_cipher_is_spoken(
    authority: Authority, context: ssl.SSLContext
) -> None:
    async with service({"letters": scripted({})}, tls=context) as at:
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            client = authority.client()
            client.minimum_version = client.maximum_version = version
            async with connect_tls(at.host, at.port, client) as connection:
                cipher = connection.tls.cipher()
                assert cipher is not None
                assert "GCM" in cipher[0] or "CHACHA20" in cipher[0], cipher
        for weak in ("old", "ECDHE+AES+SHA384:AES256-GCM-SHA384:@SECLEVEL=0"):
            client = authority.client()
            if weak == "old":
                client.set_ciphers("ALL:@SECLEVEL=0")
                with pytest.warns(DeprecationWarning, match="TLSv1"):
                    client.minimum_version = ssl.TLSVersion.TLSv1
                with pytest.warns(DeprecationWarning, match="TLSv1_1"):
                    client.maximum_version = ssl.TLSVersion.TLSv1_1
            else:
                client.set_ciphers(weak)
                client.maximum_version = ssl.TLSVersion.TLSv1_2
            with pytest.raises((ssl.SSLError, ConnectionResetError)):
                async with connect_tls(at.host, at.port, client):
                    pass


@pytest.mark.attack("An archive that breaks in mid-body, under TLS", "no close_notify: the reader can tell")
@pytest.mark.parametrize("version", ["1.1", "1.0"])
@pytest.mark.parametrize("form", ["", "?_format=json"])
@pytest.mark.parametrize("fault", BROKEN)
async def test_a_body_that_breaks_off_does_not_end_well_under_tls(
    authority: Authority, context: ssl.SSLContext, fault: str, form: str, version: str
) -> None:
    scripts = {"a": BROKEN[fault], "b": Script([b"SECRET-OF-NEXT-PATIENT"])}
    async with service({"letters": scripted(scripts)}, tls=context) as at:
        async with connect_tls(at.host, at.port, authority.client()) as connection:
            sent = request(f"/R4/Binary/a{form}", version=version)
            await connection.send(sent if version == "1.0" else sent + request("/R4/Binary/b"))
            answer = await connection.answer()
            rest = await connection.rest()
        if answer.status != 200:
            assert (fault, version, answer.status) == ("unknown length", "1.0", 503), "told before the first byte"
            return
        assert not answer.complete
        assert connection.ending in (Ending.RESET, Ending.TORN), "close_notify would vouch for half a letter"
        assert b"SECRET" not in answer.body + rest
        assert b"HTTP/1.1" not in answer.body
        (line,) = await at.lines()
        assert line["outcome"] == "aborted"


async def test_a_tls_reader_that_stalls_is_cut_off_and_others_are_served(
    authority: Authority, context: ssl.SSLContext
) -> None:
    script = Script([CHUNK] * 400)
    archives = {"letters": scripted({"a": script, "b": Script([b"other"])})}
    async with service(archives, tls=context, reader_timeout=0.4) as at:
        async with connect_tls(at.host, at.port, authority.client(), receive_buffer=4096) as stalled:
            await stalled.send(request("/R4/Binary/a"))
            async with connect_tls(at.host, at.port, authority.client()) as other:
                await other.send(request("/R4/Binary/b"))
                assert (await other.answer()).body == b"other"
            await at.lines(2)
            await at.idle()
            received = await stalled.rest()
        assert len(received) < len(CHUNK) * 400
        assert stalled.ending in (Ending.RESET, Ending.TORN)
        assert script.open_now == 0
        assert {line["outcome"] for line in await at.lines(2)} == {"complete", "aborted"}


async def test_little_is_encrypted_ahead_of_a_reader_that_stalls(authority: Authority, context: ssl.SSLContext) -> None:
    archives = {"letters": scripted({"a": Script([CHUNK] * 800)})}
    async with service(archives, tls=context) as at:
        async with connect_tls(at.host, at.port, authority.client(), receive_buffer=4096) as stalled:
            await stalled.send(request("/R4/Binary/a"))
            waiting = before = -1
            while waiting != before or waiting <= 0:
                await asyncio.sleep(0.1)
                [connection] = at.pipeline._calls.values()
                before, waiting = waiting, connection.transport.get_write_buffer_size()
            assert waiting <= TLS_WAITING + len(CHUNK)


async def test_a_slow_tls_reader_that_keeps_reading_is_not_cut_off(
    tmp_path: Path, authority: Authority, context: ssl.SSLContext
) -> None:
    archive = tmp_path / "archive"
    archive.mkdir()
    (archive / "large.bin").write_bytes(random.Random(7).randbytes(8 << 20))
    async with service({"letters": folder(archive)}, tls=context, reader_timeout=0.4) as at:
        async with connect_tls(at.host, at.port, authority.client(), receive_buffer=16384) as connection:
            await connection.send(request("/R4/Binary/large.bin"))
            for _ in range(30):
                await asyncio.sleep(0.05)
                assert await connection.receive()
            assert at.pipeline.in_flight == 1
            assert connection.ending is Ending.OPEN


@pytest.mark.attack("Plain HTTP at the TLS port", "closed without an answer")
async def test_plain_http_at_the_tls_port_ends_cleanly_and_is_said_once(
    authority: Authority, context: ssl.SSLContext
) -> None:
    async with service({"letters": scripted({"a": Script([b"letter"])})}, tls=context) as at:
        for _ in range(3):
            async with connect(at.host, at.port) as connection:
                await connection.send(request("/R4/Binary/a"))
                async with asyncio.timeout(5):
                    assert b"letter" not in await connection.rest()
        (line,) = await at.events("TLS handshakes failed")
        assert line["reason"] == "plain HTTP was sent to the TLS port"
        assert "Traceback" not in at.log.getvalue()
        async with connect_tls(at.host, at.port, authority.client()) as connection:
            await connection.send(request("/R4/Binary/a"))
            assert (await connection.answer()).body == b"letter"
        assert len(await at.events("TLS handshakes failed")) == 1


@pytest.mark.attack("TLS handshakes that never end", "counted as connections, closed at the deadline")
async def test_handshakes_that_never_end_are_closed_and_counted_as_connections(
    authority: Authority, context: ssl.SSLContext
) -> None:
    allowance = Allowance(connections=20, handshake=0.5)
    async with service({"letters": scripted({"a": Script([b"letter"])})}, tls=context, allowance=allowance) as at:
        assert at.listener is not None
        silent = [connect(at.host, at.port) for _ in range(19)]
        connections = [await one.__aenter__() for one in silent]
        try:
            async with connect_tls(at.host, at.port, authority.client()) as connection:
                await connection.send(request("/R4/Binary/a"))
                assert (await connection.answer()).body == b"letter"
                assert at.listener.open == 20
                with pytest.raises((ssl.SSLError, ConnectionResetError)):
                    async with connect_tls(at.host, at.port, authority.client()):
                        pass
            async with asyncio.timeout(5):
                await asyncio.gather(*(one.rest() for one in connections))
            assert {one.ending for one in connections} <= {Ending.CLOSED, Ending.RESET}
            async with asyncio.timeout(5):
                while at.listener.open:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
        finally:
            for one in silent:
                await one.__aexit__(None, None, None)
