"""A repository that is away for long while documents are read and the gateway is restarted: what arrives in the end.

One receiver on loopback, which does not listen at first; readers fill the trail over several lives of the gateway; then it
listens. Every record must arrive, those of one file in their order, and waiting must cost disk alone.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from gateway.audit.keys import AuditKeys
from gateway.audit.reading import records
from gateway.audit.segments import listed
from gateway.keyfile import read_key
from tests.support.audit_receivers import Received, repository
from tests.support.gateway import Gateway, serving
from tests.support.ports import free_port

READERS = 8


@dataclass
class Outage:
    """What was seen. Sizes in bytes, times in seconds; `grown` is the gateway's memory when the outage ended, less what it
    had after its first reads.
    """

    reads: int = 0
    away: float = 0.0
    back: float = 0.0
    records: int = 0
    files: int = 0
    missing: int = 0
    twice: int = 0
    unordered: int = 0
    grown: int = 0
    notes: int = 0
    slowest: float = 0.0
    waited: list[int] = field(default_factory=list)


def outage(directory: Path, *, reads: int, lives: int, rotate: str = "256KiB", patience: float = 120.0) -> Outage:
    """`reads` documents in each of `lives` lives of the gateway while the repository is away, which then is there."""
    seen, port, began = Outage(), free_port(), time.monotonic()
    received = Received()
    for life in range(lives):
        with _gateway(directory, port, rotate, f"life-{life}") as running:
            _read(running, seen, READERS * 4)
            before = _resident(running)
            _read(running, seen, reads)
            seen.grown = max(seen.grown, _resident(running) - before)
            seen.waited.append(_state(running)["waiting_bytes"])
            if life == lives - 1:
                seen.away = time.monotonic() - began
                with repository(port, received=received):
                    began = time.monotonic()
                    received.until(lambda: _all_there(directory, received), patience)
                    seen.back = time.monotonic() - began
    _judge(directory, received, seen)
    return seen


def _gateway(directory: Path, port: int, rotate: str, run: str) -> Any:
    root = directory / "archive"
    root.mkdir(exist_ok=True)
    (root / "a.pdf").write_bytes(b"%PDF-1.7 a letter")
    source = {
        "adapter": "filesystem",
        "ids": {"scheme": "template", "pattern": "{id}.*"},
        "options": {"root": str(root)},
    }
    sink = {"kind": "fhir", "name": "repository", "url": f"http://127.0.0.1:{port}/fhir", "batch": 100}
    audit = {"directory": str(directory / "audit"), "rotate_size": rotate, "sinks": [sink]}
    configuration = {"audit": audit, "sources": {"letters": source}, "admin": {"port": free_port()}}
    return serving(configuration, directory / run)


def _read(running: Gateway, seen: Outage, count: int) -> None:
    def some(share: int) -> float:
        slowest, connection = 0.0, HTTPConnection(running.host, running.port, timeout=30)
        for _ in range(share):
            began = time.monotonic()
            connection.request("GET", "/R4/Binary/a")
            answer = connection.getresponse()
            assert (answer.status, answer.read()) == (200, b"%PDF-1.7 a letter")
            slowest = max(slowest, time.monotonic() - began)
        connection.close()
        return slowest

    with ThreadPoolExecutor(READERS) as readers:
        seen.slowest = max(seen.slowest, *readers.map(some, [count // READERS] * READERS))
    seen.reads += count // READERS * READERS


def _state(running: Gateway) -> dict[str, Any]:
    ready = next(line for line in running.lines() if line["event"] == "ready")
    with urlopen(f"{ready['admin']}/audit") as answer:
        state: dict[str, Any] = json.loads(answer.read())["sinks"][0]
    assert state["state"] == "away"
    return state


def _resident(running: Gateway) -> int:
    for line in Path(f"/proc/{running.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("the gateway is gone")


def _delivered(directory: Path) -> list[str]:
    """The ids of what has to arrive."""
    keys = AuditKeys(read_key(directory / "audit" / "key"))
    return [one.id for one in records(directory / "audit", keys) if one.event != "intended"]


def _all_there(directory: Path, received: Received) -> bool:
    time.sleep(0.2)
    return set(_delivered(directory)) <= set(received.ids())


def _judge(directory: Path, received: Received, seen: Outage) -> None:
    wanted, got = _delivered(directory), received.ids()
    last = listed(directory / "audit")[-1].name
    # What the last file says of its own end may not have been sent any more.
    expected = [one for one in wanted if not one.startswith(last) or one in set(got)]
    seen.records, seen.files = len(expected), len(listed(directory / "audit"))
    seen.missing = len(set(expected) - set(got))
    seen.twice = len(got) - len(set(got))
    numbers: dict[str, list[int]] = defaultdict(list)
    for one in dict.fromkeys(got):
        segment, _, number = one.rpartition("-")
        numbers[segment].append(int(number))
    seen.unordered = sum(found != sorted(found) for found in numbers.values())
    folder = directory / "audit" / "delivered" / "repository"
    seen.notes = sum(path.stat().st_size for path in folder.iterdir())
