"""Requests that two readers of HTTP might understand differently, straight to the gateway and through proxies in front.

Each is followed by another reader's request on a connection of its own; that reader must get its own document, and the
gateway must never have answered the request that was hidden inside the other one (RFC 9112 11.2).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import pytest

from tests.support.fronts import FRONTS
from tests.support.raw_http import Connection, connect, exchange, request
from tests.support.scripted import Script
from tests.support.service import Service, scripted, service

HIDDEN = "hidden-1"
INNER = f"GET /R4/Binary/{HIDDEN} HTTP/1.1\r\nHost: x\r\nX-Smuggled: 1\r\n\r\n".encode()
SIZE = len(INNER)


def outer(*fields: str, method: str = "GET", body: bytes = INNER, version: str = "1.1") -> bytes:
    head = "\r\n".join((f"{method} /R4/Binary/a HTTP/{version}", "Host: gateway.test", *fields))
    return head.encode("latin-1") + b"\r\n\r\n" + body


CHUNKED = b"0\r\n\r\n" + INNER

VARIANTS = {
    "CL.TE": outer(f"Content-Length: {len(CHUNKED)}", "Transfer-Encoding: chunked", body=CHUNKED, method="POST"),
    "TE.CL": outer(
        "Transfer-Encoding: chunked", "Content-Length: 4", body=b"%x\r\n%b\r\n0\r\n\r\n" % (SIZE, INNER), method="POST"
    ),
    "TE xchunked": outer("Transfer-Encoding: xchunked", f"Content-Length: {len(CHUNKED)}", body=CHUNKED),
    "TE space": outer("Transfer-Encoding : chunked", f"Content-Length: {len(CHUNKED)}", body=CHUNKED),
    "TE tab": outer("Transfer-Encoding:\tchunked", f"Content-Length: {len(CHUNKED)}", body=CHUNKED),
    "TE vertical tab": outer("Transfer-Encoding: \x0bchunked", f"Content-Length: {len(CHUNKED)}", body=CHUNKED),
    "TE folded": outer("Transfer-Encoding:\r\n chunked", f"Content-Length: {len(CHUNKED)}", body=CHUNKED),
    "TE twice": outer("Transfer-Encoding: chunked", "Transfer-Encoding: identity", body=CHUNKED),
    "TE list": outer("Transfer-Encoding: identity, chunked", f"Content-Length: {len(CHUNKED)}", body=CHUNKED),
    "TE upper": outer("TRANSFER-ENCODING: CHUNKED", f"Content-Length: {len(CHUNKED)}", body=CHUNKED),
    "TE lower, empty": outer("transfer-encoding: chunked", body=CHUNKED),
    "TE quoted": outer('Transfer-Encoding: "chunked"', f"Content-Length: {len(CHUNKED)}", body=CHUNKED),
    "TE in 1.0": outer("Transfer-Encoding: chunked", "Connection: keep-alive", body=CHUNKED, version="1.0"),
    "CL twice": outer("Content-Length: 0", f"Content-Length: {SIZE}"),
    "CL list": outer(f"Content-Length: 0, {SIZE}"),
    "CL same twice": outer(f"Content-Length: {SIZE}", f"Content-Length: {SIZE}"),
    "CL plus": outer(f"Content-Length: +{SIZE}"),
    "CL minus": outer("Content-Length: -1"),
    "CL hex": outer(f"Content-Length: 0x{SIZE:x}"),
    "CL space": outer(f"Content-Length : {SIZE}"),
    "CL inner space": outer(f"Content-Length: {SIZE // 10} {SIZE % 10}"),
    "CL huge": outer("Content-Length: 18446744073709551617"),
    "CL on GET": outer(f"Content-Length: {SIZE}"),
    "CL 0 and more": outer("Content-Length: 0"),
    "no length and more": outer(),
    "chunk extension": outer("Transfer-Encoding: chunked", body=b"0;a=\r\n\r\n" + INNER, method="POST"),
    "chunk size bad": outer("Transfer-Encoding: chunked", body=b"0x0\r\n\r\n" + INNER, method="POST"),
    "chunk size lf": outer("Transfer-Encoding: chunked", body=b"0\n\r\n" + INNER, method="POST"),
    "chunk size huge": outer("Transfer-Encoding: chunked", body=b"10000000000000000\r\n" + INNER, method="POST"),
    "chunk without end": outer("Transfer-Encoding: chunked", body=b"1\r\nZZ\r\n0\r\n\r\n" + INNER, method="POST"),
    "trailer": outer("Transfer-Encoding: chunked", body=b"0\r\nContent-Length: 5\r\n\r\n" + INNER, method="POST"),
    "bare lf": outer().replace(b"\r\n", b"\n"),
    "bare cr": outer("X: a\rTransfer-Encoding: chunked"),
    "nul": outer("X: a\x00b", "Transfer-Encoding: chunked", body=CHUNKED),
    "upgrade": outer("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"),
    "h2c": outer("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA"),
    "expect": outer("Expect: 100-continue", f"Content-Length: {SIZE}", method="POST"),
    "two hosts": outer("Host: other.test"),
    "absolute form": INNER.join([b"GET http://other.test/R4/Binary/a HTTP/1.1\r\nHost: gateway.test\r\n\r\n", b""]),
    "connection hides te": outer(
        "Connection: Transfer-Encoding", "Transfer-Encoding: chunked", body=CHUNKED, method="POST"
    ),
}

SECOND = {"CL 0 and more", "no length and more", "absolute form"}
"""In these what follows is an honest second request by the rules of RFC 9112."""


@asynccontextmanager
async def archive() -> AsyncIterator[Service]:
    scripts = {name: Script([f"the letter {name}".encode()]) for name in ("a", "victim", HIDDEN)}
    async with service({"letters": scripted(scripts)}) as at:
        yield at


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fronts")


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


async def everything(connection: Connection) -> bytes:
    """What the attacker gets, until the connection ends or nothing comes for a moment."""
    received = bytearray()
    with contextlib.suppress(TimeoutError):
        while True:
            async with asyncio.timeout(0.25):
                more = await connection.receive()
            if not more:
                break
            received += more
    return bytes(received)


async def attack(at: Service, port: int, variant: str) -> int:
    """Send one variant, then an honest request of somebody else, and look at what both got.

    Returns how often the hidden request was answered. Each time it was, the answer must have gone to who sent it: a proxy that
    takes it for a second request hands on its answer, one that does not know of it gives that answer to somebody else.
    """
    before = len(await at.lines(0))
    async with connect("127.0.0.1", port) as attacker:
        await attacker.send(VARIANTS[variant])
        got = await everything(attacker)
        for _ in range(2):
            (answer,) = await exchange("127.0.0.1", port, request("/R4/Binary/victim"))
            assert (answer.status, answer.body) == (200, b"the letter victim"), (variant, answer)
        later = await everything(attacker)
    assert b"the letter victim" not in got + later, variant
    hidden = at.telemetry.document(HIDDEN)
    lines = (await at.lines(before + 2))[before:]
    found = [line for line in lines if line.get("document") == hidden]
    assert (got + later).count(f"the letter {HIDDEN}".encode()) == len(found), (variant, got + later)
    assert b"Traceback" not in got
    return len(found)


@pytest.mark.attack(
    "Requests hidden in others by Content-Length, Transfer-Encoding, chunks, line ends and upgrades", "never answered"
)
@pytest.mark.parametrize("variant", VARIANTS)
async def test_straight_to_the_gateway_nothing_hidden_is_answered(variant: str) -> None:
    async with archive() as at:
        assert await attack(at, at.port, variant) == (1 if variant in SECOND else 0)


@pytest.mark.attack(
    "The same through nginx, haproxy and Varnish, on connections that they share among readers",
    "no reader gets what is another one's",
)
@pytest.mark.parametrize("front", FRONTS)
async def test_through_a_proxy_nobody_gets_what_is_another_ones(front: str, directory: Path, stack: ExitStack) -> None:
    async with archive() as at:
        port = await asyncio.to_thread(stack.enter_context, FRONTS[front](directory / front, at.port))
        for variant in VARIANTS:
            await attack(at, port, variant)


@pytest.mark.attack(
    "Bodies that are not read, through nginx, haproxy and Varnish", "the next reader gets its own document"
)
@pytest.mark.parametrize("front", FRONTS)
async def test_through_a_proxy_a_refused_request_does_not_spoil_the_next_one(
    front: str, directory: Path, stack: ExitStack
) -> None:
    """A body that the gateway does not read must not stay on a connection that the proxy uses again."""
    async with archive() as at:
        port = await asyncio.to_thread(stack.enter_context, FRONTS[front](directory / f"{front}-refused", at.port))
        for _ in range(10):
            sent = request("/R4/Binary/a", method="POST", fields=(("Content-Length", str(SIZE)),), body=INNER)
            (refused,) = await exchange("127.0.0.1", port, sent, methods=("POST",))
            assert refused.status in (400, 405), refused
            (answer,) = await exchange("127.0.0.1", port, request("/R4/Binary/victim"))
            assert answer.body == b"the letter victim"
        hidden = at.telemetry.document(HIDDEN)
        assert not [line for line in await at.lines(20) if line.get("document") == hidden]


@pytest.mark.parametrize("target", ["/R4/Binary/a", "/R4/Binary/a?_format=json", "/R4/Binary/none", "/R4/metadata"])
async def test_a_client_that_offers_http_2_is_answered_and_told_to_connect_anew(target: str) -> None:
    """As Java's client does by default: a connection on which its next request is never answered would hang it."""
    offer = (
        ("Connection", "Upgrade, HTTP2-Settings"),
        ("Upgrade", "h2c"),
        ("HTTP2-Settings", "AAMAAABkAAQCAAAAAAIAAAAA"),
    )
    async with archive() as at, connect(at.host, at.port) as connection:
        await connection.send(request(target, fields=offer))
        answer = await connection.answer()
        assert (answer.status, answer.field("Connection")) == (404 if "none" in target else 200, "close")
        assert await connection.rest() == b""


# --- what is claimed about the request --------------------------------------------------------------------------------

CLAIMS = {
    "Host": "evil.test",
    "Forwarded": "for=10.0.0.1;host=evil.test;proto=https",
    "X-Forwarded-Host": "evil.test",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Prefix": "/evil.test",
    "X-Original-URL": "/R4/Binary/hidden-1",
    "X-Rewrite-URL": "/R4/Binary/hidden-1",
    "X-HTTP-Method-Override": "DELETE",
    "Referer": "https://evil.test/",
}


@pytest.mark.attack(
    "Host, Forwarded and their like, claiming another host, path or method", "the answer is the same to the byte"
)
@pytest.mark.parametrize("target", ["/R4/Binary/a", "/R4/Binary/none", "/R4/Binary/a?_format=json", "/R4/metadata"])
@pytest.mark.parametrize("claim", CLAIMS)
async def test_a_claimed_host_address_or_method_changes_nothing(claim: str, target: str) -> None:
    async with archive() as at:
        honest = await at.ask(target)
        host = CLAIMS[claim] if claim == "Host" else "gateway.test"
        fields = () if claim == "Host" else ((claim, CLAIMS[claim]),)
        (answer,) = await exchange(at.host, at.port, request(target, host=host, fields=fields))
        changing = ("Date", "X-Request-Id")
        assert [field for field in answer.fields if field[0] not in changing] == [
            field for field in honest.fields if field[0] not in changing
        ]
        assert (answer.status, answer.body) == (honest.status, honest.body)
        assert "evil" not in str(answer.fields) + answer.body.decode("latin-1")
        await at.lines(2)
        assert "evil" not in at.log.getvalue()


INJECTIONS = [
    "a%0d%0aX-Injected:%201",
    "a\\r\\nX-Injected: 1",
    'a","status":200,"x":"',
    "\x1b[31mred",
    "\u202etxt",
    "é",
]


@pytest.mark.attack("Line ends, quotes and escapes in headers and addresses", "no header, no log line")
@pytest.mark.parametrize("value", INJECTIONS, ids=ascii)
async def test_nothing_that_is_sent_becomes_a_header_or_a_log_line(value: str) -> None:
    async with archive() as at:
        plain = value.encode("utf-8").decode("latin-1")
        for name in ("X-Request-Id", "X-Correlation-Id", "Accept", "Origin", "Range", "If-None-Match", "User-Agent"):
            async with connect(at.host, at.port) as connection:
                await connection.send(request("/R4/Binary/a", fields=((name, plain),)))
                answer = await connection.answer()
            assert answer.field("X-Injected") is None
            assert answer.field("X-Request-Id") != plain
        target = "".join(
            letter if letter.isascii() and letter.isalnum() else f"%{ord(letter) & 0xFF:02X}" for letter in value
        )
        async with connect(at.host, at.port) as connection:
            await connection.send(request(f"/R4/Binary/{target}"))
            assert (await connection.answer()).field("X-Injected") is None
        for line in await at.lines(8):
            assert "x" not in line
            assert "Injected" not in str(line)
            assert "\x1b" not in str(line)
