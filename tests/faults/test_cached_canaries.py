"""What a gateway with a cache leaves behind holds no word of a document, no id, no locator, no file name and no title.

Everything that outlives a request is searched: the cache directory, Redis' memory and its files, the spool directory, the log.
The reads before it hit, miss, fail and end early, and some of what was kept is purged.
"""

from __future__ import annotations

import csv
import io
import os
import re
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.cached_gateway import Place, keeping, read
from tests.support.gateway import Gateway, serving

CANARIES = (b"canary-text", b"canary-id", b"canary-locator", b"canary-title", b"canary-patient", b"canary-folder")

LARGE = b"canary-text of a large letter. " * 100_000


TEXTS = {
    "canary-locator-1.txt": b"canary-text of a letter. " * 20,
    "canary-locator-2.txt": LARGE,
    "canary-locator-3.txt": LARGE * 3,
    "canary-locator-4.txt": b"canary-text that was withdrawn",
}
"""A small document, one that needs the spool's file, one too large to be kept, and one that is withdrawn."""


def index() -> str:
    """The manifest: the last document is withdrawn, one is listed that the archive does not have."""
    rows = io.StringIO()
    writer = csv.writer(rows)
    writer.writerow(["id", "path", "title", "patient", "status"])
    for number in range(1, 6):
        path = f"canary-folder/canary-locator-{number}.txt"
        writer.writerow(
            [f"canary-id-{number}", path, "canary-title", "canary-patient", "withdrawn" if number == 4 else ""]
        )
    return rows.getvalue()


@contextmanager
def canaries(place: Place) -> Iterator[Gateway]:
    """A gateway that serves them. Its log says all that it can."""
    (place.folder / "index.csv").write_text(index())
    (place.folder / "spool").mkdir()
    for name, text in TEXTS.items():
        path = place.folder / "archive" / "canary-folder" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text)
    source: dict[str, Any] = {
        "adapter": "filesystem",
        "read": "fill",
        "ids": {"scheme": "manifest", "file": str(place.folder / "index.csv")},
        "options": {"root": str(place.folder / "archive")},
    }
    configuration = {
        "cache": place.cache() | {"max_document": "4MiB"},
        "spool": {"directory": str(place.folder / "spool"), "memory": "64KiB"},
        "log": {"level": "debug"},
        "admin": {"port": place.admin},
        "sources": {"letters": source},
    }
    with serving(configuration, place.folder / "run") as gateway:
        yield gateway


def use(gateway: Gateway, place: Place) -> None:
    """Hits, misses, errors, broken connections, purges."""
    url = gateway.url
    for _ in range(3):
        for number in range(1, 7):
            id = f"canary-id-{number}"
            status = read(url, id).status
            assert status == {4: 410, 5: 404, 6: 404}.get(number, 200), number
            read(url, id, Accept="application/fhir+json")
            read(url, id, Range="bytes=10-20")
            read(url, id, Range="bytes=99999999-")
            read(url, id, Accept="image/canary-text")
        time.sleep(0.3)
    assert read(url, "canary-id-1").cached
    assert read(url, "canary-id-2").cached
    for _ in range(5):
        with socket.create_connection((gateway.host, gateway.port)) as leaving:
            leaving.sendall(b"GET /R4/Binary/canary-id-3 HTTP/1.1\r\nHost: canary-id\r\n\r\n")
            leaving.recv(1000)
            leaving.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    for words in (("--id", "canary-id-1"), ("--id", "canary-id-4"), ("--id", "canary-id-6")):
        path = place.folder / "run" / "gateway.yaml"
        place.command("cache", "purge", *words, config=path)
    for id in ("canary-id-1", "canary-id-2"):
        read(url, id)
    time.sleep(0.3)


def found_in(places: dict[str, bytes]) -> list[str]:
    return [
        f"{canary.decode()} in {name}" for name, data in places.items() for canary in CANARIES if canary in data.lower()
    ]


def files_below(folder: Path) -> dict[str, bytes]:
    """Contents and names of all files."""
    files = {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    names = {f"the name {path}": os.fsencode(path.relative_to(folder)) for path in folder.rglob("*")}
    return files | names


def memory_of(pid: int) -> bytes:
    """What a process holds in memory that it may write to."""
    held = []
    with open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            start, stop, rights = re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S+)", line).groups()  # type: ignore[union-attr]
            if "rw" in rights:
                memory.seek(int(start, 16))
                left = int(stop, 16) - int(start, 16)
                while left and (piece := memory.read(left)):
                    held.append(piece)
                    left -= len(piece)
    return b"".join(held)


@pytest.mark.parametrize("backend", ["disk", "redis"])
def test_nothing_that_stays_behind_tells_of_a_document(backend: str, tmp_path: Path) -> None:
    with ExitStack() as stack:
        place = stack.enter_context(keeping(backend, tmp_path, "--appendonly", "yes"))
        gateway = stack.enter_context(canaries(place))
        use(gateway, place)
        places = files_below(tmp_path / "spool")
        if place.redis is not None:
            place.redis.ask("SAVE")
            assert len(place.redis.names("*")) > 1
            places |= files_below(place.redis.directory)
            assert any(name.endswith(".rdb") for name in places)
            assert any(name.endswith(".aof") and data for name, data in places.items())
            places["the memory of Redis"] = memory_of(place.redis.process.pid)
            (name, *_) = place.redis.names("*")
            assert name.encode() in places["the memory of Redis"], "names of keys are seen"
        gateway.server.signal(signal.SIGTERM)
        gateway.server.popen.wait()
        places |= {path.name: path.read_bytes() for path in (gateway.server.log, gateway.server.out)}
        assert places["gateway.log"].count(b'"event"') > 50, places["gateway.log"][:2000]
        if backend == "disk":
            kept = files_below(tmp_path / "cache")
            assert sum(len(data) for data in kept.values()) > len(LARGE), "nothing was kept"
            places |= kept
    assert found_in(places) == []


def test_the_search_finds_what_is_there(tmp_path: Path) -> None:
    """Without encryption the text lies in the open, and nothing else does: names are never stored."""
    with keeping("disk", tmp_path) as place:
        place.more["encryption"] = {"mode": "none"}
        with canaries(place) as gateway:
            use(gateway, place)
        assert {line.partition(" in ")[0] for line in found_in(files_below(tmp_path / "cache"))} == {"canary-text"}
