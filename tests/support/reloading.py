"""Reloads, good and bad, under readers that must not notice. `benchmarks/soak_reload.py` does a thousand."""

from __future__ import annotations

import asyncio
import json
import os
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.support.gateway import Gateway, serving
from tests.support.ports import free_port
from tests.support.raw_http import connect, exchange, request
from tests.support.rolling import LARGE, RECEIVE_BUFFER

BAD: tuple[dict[str, Any] | str, ...] = (
    "sources: [",
    {"auth": {"mode": "nobody"}},
    {"server": {"port": 1}},
    {"clients": {"burst": -1}},
    {"sources": {}},
    {"cache": {"backend": "memory", "max_bytes": "many"}},
)
"""Configurations that must not be used, each for another reason."""


@dataclass
class Seen:
    """What came of it. `wrong` are reloads that ended as they should not have."""

    applied: int = 0
    refused: int = 0
    answered: int = 0
    downloads: int = 0
    failed: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    seconds: float = 0.0
    slowest: float = 0.0
    files_before: int = 0
    files_after: int = 0
    memory_before: float = 0.0
    memory_after: float = 0.0


def _memory_source(text: str, prefix: str) -> dict[str, Any]:
    ids = {"scheme": "template", "pattern": "{id}"}
    return {"adapter": "memory", "prefix": prefix, "ids": ids, "options": {"documents": {"a": text}}}


def _processes(pid: int) -> list[int]:
    found = [pid]
    with suppress(OSError):
        found += [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return found


def _files(pid: int) -> int:
    return sum(len(os.listdir(f"/proc/{one}/fd")) for one in _processes(pid))


def _resident(pid: int) -> float:
    """MiB of all processes."""
    pages = sum(int(Path(f"/proc/{one}/statm").read_text().split()[1]) for one in _processes(pid))
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


async def storm(directory: Path, *, reloads: int, workers: int = 1, download: float = 5.0) -> Seen:
    """So many reloads, every third of them bad, under readers."""
    seen, admin = Seen(), free_port()
    archive = directory / "archive"
    archive.mkdir()
    (archive / "large.bin").write_bytes(LARGE)
    (archive / "small.bin").write_bytes(b"small")
    ids = {"scheme": "template", "pattern": "{id}.bin"}
    kept = {"adapter": "filesystem", "prefix": "k.", "ids": ids, "options": {"root": str(archive)}}
    first: dict[str, Any] = {
        "server": {"port": free_port(), "workers": workers},
        "admin": {"port": admin},
        "auth": {"mode": "none"},
        "audit": {"mode": "none"},
        "cache": {"backend": "memory"},
        "sources": {"kept": kept, "changing": _memory_source("0", "c.")},
    }
    path = directory / "gateway.yaml"
    path.write_text(yaml.safe_dump(first))
    with serving(path, directory / "run", timeout=60) as gateway:
        over = asyncio.Event()
        small = [asyncio.ensure_future(_small(gateway, id, seen, over)) for id in ("k.small", "c.a", "c.a", "k.small")]
        large = [asyncio.ensure_future(_large(gateway, seen, over, download)) for _ in range(2)]
        began = time.monotonic()
        for number in range(1, reloads + 1):
            bad = number % 3 == 0
            _write(path, first, number, bad=bad)
            await _reload(admin, number, bad, seen)
            if number == max(1, reloads // 10):
                seen.files_before, seen.memory_before = _files(gateway.pid), _resident(gateway.pid)
        seen.seconds = time.monotonic() - began
        over.set()
        await asyncio.gather(*small, *large)
        await _settled(admin, workers)
        seen.files_after, seen.memory_after = _files(gateway.pid), _resident(gateway.pid)
        seen.wrong += [str(line) for line in gateway.lines() if line.get("event") == "unexpected error"]
    return seen


def _write(path: Path, first: dict[str, Any], number: int, *, bad: bool) -> None:
    if bad:
        wrong = BAD[number // 3 % len(BAD)]
        path.write_text(wrong if isinstance(wrong, str) else yaml.safe_dump(first | wrong))
        return
    sources = first["sources"] | {"changing": _memory_source(str(number), "c.")}
    if number % 2:
        sources["coming"] = _memory_source("new", f"n{number}.")
    path.write_text(yaml.safe_dump(first | {"sources": sources}))


async def _reload(admin: int, number: int, bad: bool, seen: Seen) -> None:
    began = time.monotonic()
    fields = (("Content-Type", "application/json"), ("Content-Length", "2"))
    asked = request("/reload", method="POST", fields=fields) + b"{}"
    (answer,) = await exchange("127.0.0.1", admin, asked, methods=("POST",))
    seen.slowest = max(seen.slowest, time.monotonic() - began)
    if answer.status == 200:
        seen.applied += 1
    else:
        seen.refused += 1
    if (answer.status == 200) is bad:
        seen.wrong.append(f"reload {number}: {answer.status} {answer.body.decode()}")


async def _settled(admin: int, workers: int) -> None:
    """Wait until no old configuration is needed any more; a supervisor does not say."""
    async with asyncio.timeout(20):
        while True:
            (answer,) = await exchange("127.0.0.1", admin, request("/reload"))
            if not json.loads(answer.body).get("ending"):
                break
            await asyncio.sleep(0.05)
    if workers > 1:
        await asyncio.sleep(1)


async def _small(gateway: Gateway, id: str, seen: Seen, over: asyncio.Event) -> None:
    async with connect(gateway.host, gateway.port) as connection:
        while not over.is_set():
            await connection.send(request(f"/R4/Binary/{id}"))
            answer = await connection.answer()
            if answer.status != 200 or not answer.complete:
                seen.failed.append(f"{id}: {answer.status}")
            seen.answered += 1
            await asyncio.sleep(0.005)


async def _large(gateway: Gateway, seen: Seen, over: asyncio.Event, seconds: float) -> None:
    while not over.is_set():
        async with connect(gateway.host, gateway.port, receive_buffer=RECEIVE_BUFFER) as connection:
            await connection.send(request("/R4/Binary/k.large"))
            received, began = bytearray(), time.monotonic()
            while len(received) - received.find(b"\r\n\r\n") - 4 < len(LARGE):
                piece = await connection.receive()
                if not piece:
                    seen.failed.append(f"a download broke off after {len(received)} bytes")
                    return
                received += piece
                if not over.is_set():
                    await asyncio.sleep(max(0.0, began + seconds * len(received) / len(LARGE) - time.monotonic()))
            if bytes(received).partition(b"\r\n\r\n")[2] != LARGE:
                seen.failed.append("a download is not what it should be")
            seen.downloads += 1
