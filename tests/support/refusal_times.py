"""Whether the time of an answer tells a denied document from one that does not exist: samples, and a rank test.

A gateway process with a manifest whose column denies, and a template whose policy asks nobody and denies by name. Denied and
unknown ids are asked for in turns on one connection, so that whatever the machine does meanwhile harms both alike.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from gateway.security.client_keys import line_for, new_key
from tests.support.gateway import Gateway, serving

POLICY = """
from gateway.security.policy import PERMIT, Policy, deny


class ByName(Policy):
    async def decide(self, access):
        return deny("name") if access.id.startswith("t.denied") and access.identity.client != "ward" else PERMIT
"""

PAIRS = {
    "manifest": ("denied", "unknown"),
    "template, cold cache": ("t.denied-cold", "t.unknown-1"),
    "template, warm cache": ("t.denied-warm", "t.unknown-2"),
}


@dataclass
class Times:
    """Medians in milliseconds, and how often a guess by the time alone would be right: 0.5 is no better than a coin.

    `deviation` is how many standard deviations that lies from 0.5 by chance alone.
    """

    kind: str
    denied: float
    unknown: float
    guess: float
    deviation: float


def measured(directory: Path, *, samples: int, floor: str | None) -> list[Times]:
    """`samples` of each, for each pair."""
    ward, stranger = new_key(), new_key()
    with serving(_configuration(directory, ward, stranger, floor), directory / "run", environ=_path(directory)) as at:
        assert _status(at, ward, "t.denied-warm") == 200, "now it is in the cache"
        found = []
        for kind, (denied, unknown) in PAIRS.items():
            taken: dict[str, list[float]] = {denied: [], unknown: []}
            connection = HTTPConnection(at.host, at.port, timeout=30)
            for _ in range(20):
                _asked(connection, stranger, denied)
                _asked(connection, stranger, unknown)
            for _ in range(samples):
                for id in random.sample([denied, unknown], 2):
                    taken[id].append(_asked(connection, stranger, id))
            connection.close()
            found.append(_compared(kind, taken[denied], taken[unknown]))
        return found


def _asked(connection: HTTPConnection, key: str, id: str) -> float:
    """The seconds until the whole answer, 404, is there."""
    began = time.perf_counter()
    connection.request("GET", f"/R4/Binary/{id}", headers={"Authorization": f"Bearer {key}"})
    answer = connection.getresponse()
    answer.read()
    assert answer.status == 404
    return time.perf_counter() - began


def _status(at: Gateway, key: str, id: str) -> int:
    connection = HTTPConnection(at.host, at.port, timeout=30)
    connection.request("GET", f"/R4/Binary/{id}", headers={"Authorization": f"Bearer {key}"})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status


def _compared(kind: str, denied: Sequence[float], unknown: Sequence[float]) -> Times:
    """Mann and Whitney's U, as the chance that a denied one takes longer than an unknown one."""
    ranked = sorted([(value, True) for value in denied] + [(value, False) for value in unknown])
    ranks = sum(rank for rank, (_, is_denied) in enumerate(ranked, 1) if is_denied)
    n, m = len(denied), len(unknown)
    guess = (ranks - n * (n + 1) / 2) / (n * m)
    spread = ((n + m + 1) / (12 * n * m)) ** 0.5
    medians = [statistics.median(values) * 1000 for values in (denied, unknown)]
    return Times(kind, *medians, guess, (guess - 0.5) / spread)


def _path(directory: Path) -> dict[str, str]:
    return {"PYTHONPATH": str(directory)}


def _configuration(directory: Path, ward: str, stranger: str, floor: str | None) -> dict[str, Any]:
    (directory / "by_name.py").write_text(POLICY)
    root = directory / "archive"
    root.mkdir()
    for name in ("open", "denied", "denied-cold", "denied-warm"):
        (root / f"{name}.pdf").write_bytes(b"%PDF-1.7 " + name.encode())
    rows = "".join(f"d{number},open.pdf,normal\n" for number in range(2000))
    (directory / "index.csv").write_text(f"id,path,sensitivity\ndenied,denied.pdf,restricted\n{rows}")
    keys = directory / "keys"
    scopes = ("system/Binary.r",)
    keys.write_text(
        "\n".join(line_for(name, key, scopes) for name, key in (("ward", ward), ("other", stranger))) + "\n"
    )
    folder = {"adapter": "filesystem", "options": {"root": str(root)}}
    return {
        "auth": {"mode": "bearer", "keys_file": str(keys)},
        "cache": {"backend": "memory"},
        "clients": {"unknown_ids": None},
        "policy": {
            "deny": [{"column": "sensitivity", "values": ["restricted"], "sources": ["index"]}],
            "hook": "by_name:ByName",
            "refusal_time": floor,
        },
        "sources": {
            "index": folder | {"ids": {"scheme": "manifest", "file": str(directory / "index.csv")}},
            "letters": folder | {"prefix": "t.", "read": "fill", "ids": {"scheme": "template", "pattern": "{id}.pdf"}},
        },
    }
