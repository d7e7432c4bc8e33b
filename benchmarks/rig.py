"""The documents, the contenders that serve them, and the proof that it is they who answer."""

from __future__ import annotations

import contextlib
import hashlib
import random
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.clients import Request, Sink, compiled, download
from benchmarks.machine import forget_peak, memory, pinned, processor_seconds, tree
from benchmarks.results import OURS
from tests.support.gateway import PROJECT, serving
from tests.support.nginx import file_server
from tests.support.ports import free_port, owners
from tests.support.process import port_ready, running

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
BLOCK = MIB


@dataclass(frozen=True, slots=True)
class Document:
    """A file of the archive, `{id}.pdf`: its id, its size in bytes, its SHA-256."""

    id: str
    size: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Contender:
    """A running server."""

    name: str
    pid: int
    port: int

    def check(self) -> None:
        """Its port is its own. Raises `RuntimeError`: whatever was measured, it was not this server."""
        holders = owners(self.port)
        if not holders or not holders <= set(tree(self.pid)):
            raise RuntimeError(f"port {self.port} of {self.name} belongs to the processes {sorted(holders)}")

    def processor_seconds(self) -> float:
        return processor_seconds(self.pid)

    def memory(self, kind: str) -> int:
        return memory(self.pid, kind)

    def forget_peak(self) -> None:
        forget_peak(self.pid)


@dataclass(slots=True)
class Rig:
    """One run's folder. Documents are made when first asked for, and live as long as the folder."""

    directory: Path
    pin: bool = True
    documents: dict[str, Document] = field(default_factory=dict)
    sink: Sink = field(init=False)
    delay: Path = field(init=False)

    def __post_init__(self) -> None:
        self.archive.mkdir(parents=True, exist_ok=True)
        self.sink = Sink.build(self.directory, self.client_words)
        self.delay = compiled("delay", self.directory)

    @property
    def archive(self) -> Path:
        return self.directory / "archive"

    @property
    def server_words(self) -> tuple[str, ...]:
        return pinned(0) if self.pin else ()

    @property
    def client_words(self) -> tuple[str, ...]:
        return pinned(1) if self.pin else ()

    def document(self, size: int, name: str = "document") -> Document:
        """A document of this size whose bytes do not repeat. One of another name holds other bytes."""
        id = f"{name}-{size}"
        if id not in self.documents:
            block = random.Random(id).randbytes(BLOCK)
            digest, left, number = hashlib.sha256(), size, 0
            with (self.archive / f"{id}.pdf").open("wb") as file:
                while left:
                    piece = (b"%%PDF-1.7 %016d\n" % number + block)[: min(BLOCK, left)]
                    file.write(piece)
                    digest.update(piece)
                    left -= len(piece)
                    number += 1
            self.documents[id] = Document(id, size, digest.digest())
        return self.documents[id]

    @contextlib.contextmanager
    def gateway(
        self,
        name: str = "gateway",
        *,
        label: str = OURS,
        source: Mapping[str, Any] | None = None,
        auth: Mapping[str, Any] | None = None,
        pinned: bool = True,
        audit: bool = False,
    ) -> Iterator[Contender]:
        """The gateway through its own command, with one source: this run's archive as files, unless another is given.

        `label` is the contender's name where a gateway is measured beside another one. With `audit` it keeps a trail in a
        folder of its own, else none.
        """
        files = {
            "adapter": "filesystem",
            "ids": {"scheme": "template", "pattern": "{id}.pdf"},
            "options": {"root": str(self.archive)},
        }
        trail = {"directory": str(self.directory / name / "audit")} if audit else {"mode": "none"}
        configuration = {"auth": auth or {"mode": "none"}, "audit": trail, "sources": {"letters": source or files}}
        before = self.server_words if pinned else ()
        with serving(configuration, self.directory / name, before=before) as service:
            contender = Contender(label, service.pid, service.port)
            contender.check()
            yield contender

    @contextlib.contextmanager
    def nginx(self) -> Iterator[Contender]:
        """nginx with `sendfile on`, one worker, no access log, over the same files."""
        with file_server(self.directory / "nginx", self.archive, before=self.server_words) as peer:
            contender = Contender("nginx", peer.server.pid, peer.port)
            contender.check()
            yield contender

    @contextlib.contextmanager
    def bare(self, document: Document) -> Iterator[Contender]:
        """The ceiling of `benchmarks.bare`, with this document in its memory."""
        port = free_port()
        path = self.archive / f"{document.id}.pdf"
        command: list[str | Path] = [*self.server_words, sys.executable, "-m", "benchmarks.bare", str(port), path]
        log = self.directory / "bare.log"
        with running("bare aiohttp", command, log=log, ready=port_ready(port), cwd=PROJECT) as process:
            contender = Contender("bare aiohttp", process.pid, port)
            contender.check()
            yield contender

    def pre_encoded(self, asked: Request, name: str) -> None:
        """Keep an envelope that the gateway answers as a file that nginx can serve."""
        path = self.archive / name
        if not path.exists():
            download(asked, path)


def binary(contender: Contender, document: Document, representation: str = "native") -> Request:
    """A read through FHIR R4 in one representation: "native", "json" or "xml"."""
    accept = {"native": "*/*", "json": "application/fhir+json", "xml": "application/fhir+xml"}[representation]
    target = f"/R4/Binary/{document.id}"
    return Request(contender.port, target, document.size, document.digest, accept, enveloped=representation != "native")


def plain(contender: Contender, document: Document, name: str | None = None) -> Request:
    """The same document, or its pre-encoded envelope `name`, as a file of nginx."""
    target = f"/{name or document.id + '.pdf'}"
    return Request(contender.port, target, document.size, document.digest, enveloped=name is not None)
