"""Receivers of audit records on loopback: a FHIR repository and a syslog receiver over TLS, each with faults to choose.

Both run in a thread with a loop of its own, so that they go on while a test kills and starts gateways.
"""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID


@dataclass
class Received:
    """What came, in its order, and how the receiver is to behave.

    `statuses` are answered to the next requests, one each, before anything is kept; `forgets` keeps what came and then hangs
    up without an answer, once for each; `refuses` says which records get 422.
    """

    port: int = 0
    bodies: list[dict[str, Any]] = field(default_factory=list)
    requests: int = 0
    statuses: list[int] = field(default_factory=list)
    forgets: int = 0
    refuses: Callable[[str], bool] = lambda _record: False
    headers: list[dict[str, str]] = field(default_factory=list)
    frames: list[bytes] = field(default_factory=list)
    hangs_up: int = 0

    def ids(self) -> list[str]:
        """The record ids in their order, duplicates included."""
        return [record_id(body) for body in self.bodies]

    def until(self, condition: Callable[[], bool], seconds: float = 20) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, (len(self.bodies), self.requests, self.ids()[-5:])
            time.sleep(0.01)


def record_id(body: dict[str, Any]) -> str:
    """The id that receivers tell duplicates by, out of an AuditEvent."""
    return details(body)["record"]


def details(body: dict[str, Any]) -> dict[str, str]:
    """The details of every entity of an AuditEvent, R4 or STU3."""
    found = {}
    for entity in body["entity"]:
        for detail in entity.get("detail", ()):
            value = detail.get("valueString")
            found[detail["type"]] = base64.b64decode(detail["value"]).decode() if value is None else value
    return found


@contextmanager
def _in_a_thread(serve: Callable[[asyncio.Event], Coroutine[Any, Any, int]]) -> Iterator[int]:
    """Runs `serve` until the block ends; it announces its port by setting the event's `port`."""
    ready, ports = threading.Event(), []
    loop = asyncio.new_event_loop()
    ending = asyncio.Event()

    async def run() -> None:
        task = loop.create_task(serve(ending))
        while not getattr(ending, "port", None):
            await asyncio.sleep(0.005)
            if task.done():
                task.result()
        ports.append(ending.port)  # type: ignore[attr-defined]
        ready.set()
        await task

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()), name="receiver")
    thread.start()
    assert ready.wait(10)
    try:
        yield ports[0]
    finally:
        loop.call_soon_threadsafe(ending.set)
        thread.join(10)
        loop.close()


@contextmanager
def repository(
    port: int = 0, *, context: ssl.SSLContext | None = None, received: Received | None = None
) -> Iterator[Received]:
    """A FHIR server that takes AuditEvents, alone and in Bundles of type batch. Nothing is checked but the shape of HTTP."""
    received = received or Received()

    def taken(body: dict[str, Any]) -> int:
        if received.refuses(record_id(body)):
            return 422
        received.bodies.append(body)
        return 201

    async def answer(request: web.Request) -> web.StreamResponse:
        received.requests += 1
        received.headers.append(dict(request.headers))
        body = json.loads(await request.read())
        if received.statuses:
            return web.Response(status=received.statuses.pop(0))
        if body["resourceType"] == "AuditEvent":
            assert request.path == "/fhir/AuditEvent"
            status, said = taken(body), b""
        else:
            assert (request.path, body["type"]) == ("/fhir", "batch")
            entries = [{"response": {"status": f"{taken(one['resource'])} Created"}} for one in body["entry"]]
            status, said = 200, json.dumps({"resourceType": "Bundle", "entry": entries}).encode()
        if received.forgets:
            received.forgets -= 1
            assert request.transport is not None
            request.transport.abort()
        return web.Response(status=status, body=said)

    async def serve(ending: asyncio.Event) -> int:
        app = web.Application(client_max_size=64 << 20)
        app.router.add_post("/fhir", answer)
        app.router.add_post("/fhir/AuditEvent", answer)
        runner = web.AppRunner(app, shutdown_timeout=0.2)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", port, ssl_context=context, reuse_address=True)
        await site.start()
        ending.port = runner.addresses[0][1]  # type: ignore[attr-defined]
        await ending.wait()
        await runner.cleanup()
        return 0

    with _in_a_thread(serve) as received.port:
        yield received


@contextmanager
def syslog(context: ssl.SSLContext, port: int = 0, *, received: Received | None = None) -> Iterator[Received]:
    """A syslog receiver over TLS (RFC 5425); `bodies` are the details of each message. `hangs_up`: after so many, once."""
    received = received or Received()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.requests += 1
        try:
            while True:
                length = int(await reader.readuntil(b" "))
                frame = await reader.readexactly(length)
                received.frames.append(frame)
                received.bodies.append(_parsed(frame))
                if received.hangs_up and len(received.frames) >= received.hangs_up:
                    received.hangs_up = 0
                    writer.transport.abort()
                    return
        except (asyncio.IncompleteReadError, OSError, ssl.SSLError):
            return
        finally:
            writer.close()

    async def serve(ending: asyncio.Event) -> int:
        server = await asyncio.start_server(take, "127.0.0.1", port, ssl=context, reuse_address=True)
        ending.port = server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
        await ending.wait()
        server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            if task.get_coro().__name__ == "take":  # type: ignore[union-attr]
                task.cancel()
        return 0

    with _in_a_thread(serve) as received.port:
        yield received


def _parsed(frame: bytes) -> dict[str, Any]:
    """A message as the shape that `details` reads, with its XML beside it."""
    header, _, text = frame.partition(b"\xef\xbb\xbf")
    root = ElementTree.fromstring(text)
    found = [
        {"type": one.get("type"), "valueString": base64.b64decode(str(one.get("value"))).decode()}
        for one in root.iter("ParticipantObjectDetail")
    ]
    return {"header": header, "xml": root, "entity": [{"detail": found}]}


@dataclass(frozen=True, slots=True)
class Certificates:
    """A certificate for 127.0.0.1 that signs itself, and its key."""

    certificate: Path
    key: Path

    def server(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        return context


def certificates(directory: Path) -> Certificates:
    directory.mkdir(parents=True, exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "receiver")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, SHA256())
    )
    made = Certificates(directory / "receiver.pem", directory / "receiver.key")
    made.certificate.write_bytes(certificate.public_bytes(Encoding.PEM))
    made.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return made
