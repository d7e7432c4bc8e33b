"""Readers of a gateway that is killed again and again: what they were served, held against what the trail says.

The gateway is the real one, started by its own command; readers note every request whose answer began. In the end each of
them must be in the trail as intended, whatever moment the process was killed at. For a test of seconds and for
`benchmarks.soak_audit`.
"""

from __future__ import annotations

import http.client
import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from gateway.audit.keys import AuditKeys
from gateway.audit.reading import records
from gateway.audit.verifying import Verdict, verify
from gateway.keyfile import read_key
from tests.support.gateway import Gateway, serving

SIZES = {"letter": 10_000, "scan": 1_500_000}
READERS = 8


@dataclass
class Storm:
    """What readers saw. `served` are the ids of requests whose answer began, `whole` those whose body came to its end."""

    served: set[str] = field(default_factory=set)
    whole: set[str] = field(default_factory=set)
    kills: int = 0
    verdict: Verdict = field(default_factory=Verdict)
    events: Counter[str] = field(default_factory=Counter)
    unrecorded: set[str] = field(default_factory=set)
    unended: set[str] = field(default_factory=set)


def storm(directory: Path, *, reads: int, kills: int, seed: int = 1) -> Storm:
    """Read until `reads` were served, and kill the gateway at random moments, at least `kills` times."""
    chance = random.Random(seed)
    archive, audit = directory / "archive", directory / "audit"
    archive.mkdir(parents=True)
    for name, size in SIZES.items():
        (archive / f"{name}.pdf").write_bytes(b"%PDF-1.7\n" + random.Random(name).randbytes(size - 9))
    source = {
        "adapter": "filesystem",
        "ids": {"scheme": "template", "pattern": "{id}.pdf"},
        "options": {"root": str(archive)},
    }
    settings = {"audit": {"directory": str(audit), "rotate_size": "1MiB"}, "sources": {"letters": source}}
    seen = Storm()
    while len(seen.served) < reads or seen.kills < kills:
        quota = min(reads / kills, 4000)
        with serving(settings, directory / "run") as gateway:
            _read_until_killed(gateway, seen, chance, quota)
    # One that ends in order, so that the last crash is told of too.
    with serving(settings, directory / "run"):
        pass
    _judge(seen, audit)
    return seen


def _read_until_killed(gateway: Gateway, seen: Storm, chance: random.Random, quota: float) -> None:
    before = len(seen.served)
    stop = threading.Event()
    lock = threading.Lock()
    readers = [
        threading.Thread(target=_reader, args=(gateway.port, f"{seen.kills}-{number}", seen, lock, stop))
        for number in range(READERS)
    ]
    for reader in readers:
        reader.start()
    deadline = time.monotonic() + 20
    while len(seen.served) - before < quota * chance.uniform(0.7, 1.3) and time.monotonic() < deadline:
        time.sleep(chance.uniform(0.001, 0.02))
    gateway.kill()
    seen.kills += 1
    stop.set()
    for reader in readers:
        reader.join(10)


def _reader(port: int, name: str, seen: Storm, lock: threading.Lock, stop: threading.Event) -> None:
    chance = random.Random(name)
    number = 0
    while not stop.is_set():
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            while True:
                number += 1
                id = f"read-{name}-{number}"
                document = "scan" if chance.random() < 0.05 else "letter"
                connection.request("GET", f"/R4/Binary/{document}", headers={"X-Request-Id": id})
                answer = connection.getresponse()
                assert answer.status == 200, answer.status
                with lock:
                    seen.served.add(id)
                if len(answer.read()) == SIZES[document]:
                    with lock:
                        seen.whole.add(id)
        except (OSError, http.client.HTTPException):
            continue
        finally:
            connection.close()


def _judge(seen: Storm, audit: Path) -> None:
    keys = AuditKeys(read_key(audit / "key"))
    seen.verdict = verify(audit, keys.public)
    intended: dict[str, str] = {}
    ended: set[str] = set()
    for record in records(audit, keys):
        seen.events[record.event] += 1
        if record.event == "intended":
            intended[str(record.fields["act"])] = str(record.fields["request"])
        elif "act" in record.fields:
            ended.add(str(record.fields["act"]))
    seen.unrecorded = seen.served - set(intended.values())
    seen.unended = intended.keys() - ended
