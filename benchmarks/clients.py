"""The clients: one that only reads, one that checks every byte, one for many small requests, one that stops reading."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import math
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.ports import LOOPBACK
from tests.support.process import require

PIECE = 1 << 20
ELEMENT = re.compile(rb'"(?:data|content)"\s*:\s*"|<(?:data|content) value="')
"""Where the base64 of a Binary begins, in JSON or XML, R4 or STU3."""


class WrongAnswer(Exception):
    """A contender answered something that is not the document."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of one contender: a document of `size` bytes and SHA-256 `digest`, `enveloped` if in base64.

    `authorization` and `part`, the first and last byte of a range of `size` bytes, are sent by `many` and `verify` alone.
    """

    port: int
    target: str
    size: int
    digest: bytes
    accept: str = "*/*"
    enveloped: bool = False
    authorization: str | None = None
    part: tuple[int, int] | None = None

    @property
    def headers(self) -> dict[str, str]:
        """The fields that are sent."""
        fields = {"Accept": self.accept}
        if self.authorization is not None:
            fields["Authorization"] = self.authorization
        if self.part is not None:
            fields["Range"] = "bytes={}-{}".format(*self.part)
        return fields


@dataclass(frozen=True, slots=True)
class Reading:
    """How long it took to read how much: seconds, body bytes, responses, seconds of the median response if known.

    `first` and `latest` are when the first byte of a body came, by `time.monotonic`, if known: on the first and on the last
    connection that had one.
    """

    seconds: float
    size: int
    responses: int
    median: float = math.nan
    first: float = math.nan
    latest: float = math.nan


def compiled(name: str, directory: Path) -> Path:
    """The program `name`.c of this folder, made in `directory`. Raises `RuntimeError` where there is no C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise RuntimeError("Parts of the benchmarks are written in C: apt-get install gcc libc6-dev")
    program = directory / name
    subprocess.run([compiler, "-O2", "-o", program, Path(__file__).with_name(f"{name}.c")], check=True)
    return program


@dataclass(frozen=True, slots=True)
class Sink:
    """The client that only reads. `before` are words before its command."""

    program: Path
    before: tuple[str, ...] = ()

    @classmethod
    def build(cls, directory: Path, before: tuple[str, ...] = ()) -> Sink:
        """Compile it into `directory`. Raises `RuntimeError` where there is no C compiler."""
        return cls(compiled("sink", directory), before)

    def read(
        self, asked: Request, *, connections: int = 1, repeats: int = 1, pause_bytes: int = 0, pause_ms: int = 0
    ) -> Reading:
        """Read it `repeats` times on each of `connections`; with `pause_bytes`, all stall there together.

        A * in the target becomes the number of the request on its connection.
        """
        options = [asked.port, asked.target, asked.accept, connections, repeats, pause_bytes, pause_ms]
        done = subprocess.run([*self.before, self.program, *map(str, options)], capture_output=True, text=True)
        if done.returncode:
            raise WrongAnswer(f"{asked.target}: {done.stderr.strip()}")
        seconds, size, responses, *times = done.stdout.split()
        return Reading(float(seconds), int(size), int(responses), *map(float, times))


@contextlib.contextmanager
def stalled(asked: Request, *, readers: int, first: int) -> Iterator[None]:
    """Readers that have taken the `first` bytes of a document each and take no more. Raises `WrongAnswer`.

    They come one after the other, so that none joins another's read of a large document.
    """
    request = f"GET {asked.target} HTTP/1.1\r\nHost: {LOOPBACK}:{asked.port}\r\nAccept: {asked.accept}\r\n\r\n"
    with contextlib.ExitStack() as stack:
        connections = [
            stack.enter_context(socket.create_connection((LOOPBACK, asked.port), timeout=60)) for _ in range(readers)
        ]
        for connection in connections:
            connection.sendall(request.encode())
            answer = b""
            while len(answer) < first:
                piece = connection.recv(first - len(answer))
                answer += piece
                if not piece or not answer.startswith(b"HTTP/1.1 200 "):
                    raise WrongAnswer(f"{asked.target}: {len(answer)} bytes, {answer[:60]!r}")
        yield


def many(asked: Request, *, connections: int, seconds: int, before: tuple[str, ...] = ()) -> Reading:
    """What wrk gets answered in so many seconds. Raises `WrongAnswer` when one request was not answered well."""
    url = f"http://{LOOPBACK}:{asked.port}{asked.target}"
    options = ["-t1", f"-c{connections}", f"-d{seconds}s"]
    for name, value in asked.headers.items():
        options += ["-H", f"{name}: {value}"]
    said = subprocess.run([*before, require("wrk"), *options, url], check=True, capture_output=True, text=True).stdout
    count = re.search(r"(\d+) requests in", said)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", said)
    if count is None or rate is None or "Non-2xx" in said or "Socket errors" in said:
        raise WrongAnswer(said)
    return Reading(int(count[1]) / float(rate[1]), int(count[1]) * asked.size, int(count[1]))


def verify(asked: Request) -> None:
    """Read the document once and compare its digest. Raises `WrongAnswer`."""
    connection = http.client.HTTPConnection(LOOPBACK, asked.port, timeout=60)
    try:
        connection.request("GET", asked.target, headers=asked.headers)
        response = connection.getresponse()
        pieces = iter(lambda: response.read(PIECE), b"")
        digest = hashlib.sha256()
        for piece in _decoded(pieces) if asked.enveloped else pieces:
            digest.update(piece)
    finally:
        connection.close()
    if response.status != (200 if asked.part is None else 206) or digest.digest() != asked.digest:
        raise WrongAnswer(f"port {asked.port}, {asked.target}: status {response.status}, not the document's bytes")


def download(asked: Request, path: Path) -> None:
    """Keep an answer's body as a file."""
    connection = http.client.HTTPConnection(LOOPBACK, asked.port, timeout=60)
    try:
        connection.request("GET", asked.target, headers={"Accept": asked.accept})
        response = connection.getresponse()
        with path.open("wb") as file:
            shutil.copyfileobj(response, file, PIECE)
    finally:
        connection.close()


def _decoded(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The document inside a FHIR Binary, piece by piece."""
    waiting = b""
    for piece in pieces:
        waiting += piece
        if found := ELEMENT.search(waiting):
            waiting = waiting[found.end() :]
            break
    ended = False
    while not ended:
        end = waiting.find(b'"')
        ended = end >= 0
        take = end if ended else len(waiting) - len(waiting) % 4
        yield base64.b64decode(waiting[:take], validate=True)
        following = b"" if ended else next(pieces, b"")
        if not ended and not following:
            raise WrongAnswer("a Binary without its end")
        waiting = waiting[take:] + following
    for _piece in pieces:
        pass
