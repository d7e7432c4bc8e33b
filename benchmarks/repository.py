"""A repository's answers, prepared once and served as fast as files are; the contenders that fetch a document from there.

The answers are those of `gateway.demo.xds`, stored as they came. What serves them does nothing else, so that no contender waits
for the making of an answer.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import shutil
import socket
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from benchmarks.clients import PIECE, Request, WrongAnswer
from benchmarks.rig import Contender, Document, Rig
from gateway.demo.xds import PERSONALITIES, REPOSITORY, FakeRepository, large
from gateway.demo.xds.background import in_background
from tests.support.gateway import PROJECT
from tests.support.nginx import nginx
from tests.support.ports import LOOPBACK, free_port
from tests.support.process import port_ready, running
from tests.support.xds import retrieve

Packing = Literal["xop", "inline"]

PERSONALITY: dict[Packing, str] = {"xop": "standard", "inline": "plain-soap12"}
"""Whose answers they are: as the profile's text has it, and plain SOAP with the document as one line of base64."""

TYPES = "        types {{ }}\n        default_type '{content_type}';\n"


@dataclass(frozen=True, slots=True)
class Answer:
    """A stored answer: the body of an HTTP response and its Content-Type, the document in it, and where that begins."""

    path: Path
    content_type: str
    document: Document
    begin: int

    @property
    def name(self) -> str:
        return self.path.name


def prepared(rig: Rig, packing: Packing, size: int) -> Answer:
    """The answer with a document of `size` bytes, asked for once in a run from a repository that makes it."""
    return _prepared(rig.directory, packing, size)


@lru_cache
def _prepared(directory: Path, packing: Packing, size: int) -> Answer:
    document = large(size)
    digest = hashlib.sha256()
    for chunk in document.content.chunks():
        digest.update(chunk)
    path = directory / f"{packing}-{size}"
    said = retrieve(document)
    fake = FakeRepository([document], personality=PERSONALITIES[PERSONALITY[packing]])
    with in_background(fake) as url:
        connection = http.client.HTTPConnection(LOOPBACK, urlsplit(url).port, timeout=60)
        connection.request("POST", "/repository", said.body, dict(said.fields))
        response = connection.getresponse()
        if response.status != 200:
            raise WrongAnswer(f"the repository answered with {response.status}")
        with path.open("wb") as file:
            shutil.copyfileobj(response, file, PIECE)
        connection.close()
    first = next(iter(document.content.encoded() if packing == "inline" else document.content.chunks()))[:64]
    with path.open("rb") as file:
        begin = file.read(1 << 16).find(first)
    if begin < 0:
        raise WrongAnswer("the answer does not hold the document")
    stored = Document(document.unique_id, size, digest.digest())
    return Answer(path, response.headers["Content-Type"], stored, begin)


@contextlib.contextmanager
def origin(rig: Rig, answer: Answer) -> Iterator[Contender]:
    """nginx with `sendfile on` that answers every request, POST or GET, with this answer."""
    # nginx refuses to POST to a file; what it does then is to serve it.
    statements = (
        f"        root {rig.directory};\n"
        + TYPES.format(content_type=answer.content_type)
        + f"        location / {{ error_page 405 =200 /{answer.name}; try_files /{answer.name} =404; }}\n"
    )
    directory = rig.directory / f"repository-{answer.name}"
    with nginx(directory, server=statements, http="    sendfile on;\n    tcp_nopush on;") as server:
        contender = Contender("repository", server.server.pid, server.port)
        contender.check()
        yield contender
        contender.check()


@contextlib.contextmanager
def gateway(rig: Rig, port: int) -> Iterator[Contender]:
    """The gateway with a repository at this port as its only source."""
    endpoint = {"alias": "a", "url": f"http://{LOOPBACK}:{port}/repository", "repository_unique_ids": [REPOSITORY]}
    source = {
        "adapter": "xds",
        "ids": {"scheme": "template", "pattern": f"^{REPOSITORY}^{{id}}"},
        "options": {"endpoints": [endpoint]},
    }
    with rig.gateway("gateway-xds", source=source, pinned=False) as contender:
        yield contender


@contextlib.contextmanager
def proxy(rig: Rig, port: int) -> Iterator[Contender]:
    """nginx that passes the repository's answer on as it is, unbuffered and over connections that are kept."""
    upstream = f"    upstream repository {{ server {LOOPBACK}:{port}; keepalive 8; }}"
    statements = (
        "        location / { proxy_pass http://repository; proxy_method POST; proxy_buffering off;\n"
        "        proxy_buffer_size 1m; proxy_buffers 2 1m; proxy_busy_buffers_size 1m;\n"
        '        proxy_http_version 1.1; proxy_set_header Connection ""; }\n'
    )
    with nginx(rig.directory / "proxy", server=statements, http=upstream) as server:
        contender = Contender("nginx", server.server.pid, server.port)
        contender.check()
        yield contender


@contextlib.contextmanager
def zeep(rig: Rig, port: int, document: Document) -> Iterator[Contender]:
    """`benchmarks.zeep_peer` in front of the repository."""
    here = free_port()
    asked = [f"http://{LOOPBACK}:{port}/repository", REPOSITORY, document.id, rig.directory]
    command: list[str | Path] = [sys.executable, "-m", "benchmarks.zeep_peer", str(here), *asked]
    log = rig.directory / "zeep.log"
    with running("zeep", command, log=log, ready=port_ready(here), cwd=PROJECT) as process:
        contender = Contender("zeep", process.pid, here)
        contender.check()
        yield contender


def passed_on(contender: Contender, answer: Answer) -> Request:
    """The whole answer, through a contender that does not look into it."""
    size = answer.path.stat().st_size
    with answer.path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").digest()
    return Request(contender.port, "/", size, digest)


# --- a repository that takes its time --------------------------------------------------------------------------------

PAUSE = 0.1
"""Seconds between an answer's head and the document's first byte: it is fetched from an archive meanwhile."""

SLOW_BYTES = 1_000_000
SLOW_PIECE = 1460
"""How much of a document comes at a megabyte per second, as from a line of 8 Mbit/s, and in pieces of what size."""


@dataclass(slots=True)
class SlowRepository:
    """Answers everything with one answer: its beginning at once, a pause, then the document, its first megabyte slowly.

    `port` is where it listens; `began` holds, for each answer, when the document's first byte left (`time.monotonic`).
    """

    answer: Answer
    began: list[float] = field(default_factory=list)
    port: int = 0

    @contextlib.contextmanager
    def serving(self) -> Iterator[SlowRepository]:
        """Listen while the context lasts."""
        with socket.create_server((LOOPBACK, 0)) as listener:
            self.port = listener.getsockname()[1]
            thread = threading.Thread(target=self._accept, args=(listener,), daemon=True)
            thread.start()
            yield self
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):  # the context has ended
            while True:
                connection = listener.accept()[0]
                with connection, contextlib.suppress(ConnectionError):
                    self._respond(connection)

    def _respond(self, connection: socket.socket) -> None:
        request = b""
        while b"\r\n\r\n" not in request and (data := connection.recv(65536)):
            request += data
        if not request:
            return
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        head = (
            f"HTTP/1.1 200 OK\r\nContent-Type: {self.answer.content_type}\r\n"
            f"Content-Length: {self.answer.path.stat().st_size}\r\nConnection: close\r\n\r\n"
        )
        with self.answer.path.open("rb") as file:
            connection.sendall(head.encode() + file.read(self.answer.begin))
            time.sleep(PAUSE)
            begin = time.monotonic()
            self.began.append(begin)
            for at in range(0, SLOW_BYTES, SLOW_PIECE):
                time.sleep(max(0.0, begin + at / 1e6 - time.monotonic()))
                connection.sendall(file.read(SLOW_PIECE))
            connection.sendfile(file, file.tell())
