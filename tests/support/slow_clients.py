"""A thousand clients that are slow on purpose (slowhttptest) against a gateway process, and an honest reader beside them.

Attackers come from 127.0.0.1 and the honest reader from 127.0.0.9, all to the same archive. How long the gateway holds an
attacker's connection is read from the kernel's table of sockets, not from what the attacking tool says of itself.
"""

from __future__ import annotations

import http.client
import subprocess
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.gateway import Gateway, serving
from tests.support.process import require

ATTACKS: Mapping[str, tuple[str, ...]] = {
    "headers": ("-H", "-i", "5", "-t", "GET", "-x", "24", "-p", "3"),
    "bodies": ("-B", "-i", "5", "-s", "8192", "-t", "POST", "-x", "10", "-p", "3"),
    "reading": ("-X", "-k", "3", "-n", "1", "-w", "512", "-y", "1024", "-z", "32", "-p", "3"),
}
"""Headers that drip, bodies that drip, and readers that take 32 bytes a second and ask three times on each connection."""

ATTACKER, HONEST = "127.0.0.1", "127.0.0.9"

LARGE = 32 << 20

HELD = ("01", "08")
"""States of a socket that a process has: established, and half-closed by its peer (include/net/tcp_states.h)."""


@dataclass
class Figures:
    """What was seen. Times in seconds: `longest` an attacker's connection was held, `slowest` an honest read took,
    `gap` the honest reader was without an answer.
    """

    attack: str
    connections: int = 0
    longest: float = 0.0
    served: int = 0
    refused: int = 0
    failed: int = 0
    slowest: float = 0.0
    gap: float = 0.0
    left: int = 0
    lives: dict[int, list[float]] = field(default_factory=dict, repr=False)


def attacked(
    attack: str,
    directory: Path,
    *,
    connections: int = 1000,
    seconds: int = 60,
    settings: Mapping[str, Any] | None = None,
) -> Figures:
    """Run one attack against a gateway with these further settings until it is over, or `seconds` have passed."""
    archive = directory / "archive"
    archive.mkdir(parents=True)
    (archive / "letter.txt").write_bytes(b"letter")
    (archive / "large.txt").write_bytes(bytes(LARGE))
    ids = {"scheme": "template", "pattern": "{id}.*"}
    source = {"adapter": "filesystem", "ids": ids, "options": {"root": str(archive)}}
    figures = Figures(attack)
    with serving({"sources": {"letters": source}, **(settings or {})}, directory / "serving") as gateway:
        target = f"{gateway.url}/R4/Binary/{'large' if attack == 'reading' else 'letter'}"
        command = [require("slowhttptest"), "-c", str(connections), "-r", str(connections // 2), "-l", str(seconds)]
        over = threading.Event()
        honest = threading.Thread(target=_read_honestly, args=(gateway, figures, over))
        honest.start()
        silent = {name: subprocess.DEVNULL for name in ("stdin", "stdout", "stderr")}
        process = subprocess.Popen([*command, *ATTACKS[attack], "-u", target], **silent)
        try:
            while process.poll() is None:
                _note(gateway.port, figures)
                time.sleep(0.1)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
            over.set()
            honest.join()
        figures.left = len(_held(gateway.port))
    figures.connections = len(figures.lives)
    figures.longest = max((last - first for first, last in figures.lives.values()), default=0.0)
    return figures


def _note(port: int, figures: Figures) -> None:
    now = time.monotonic()
    for peer in _held(port):
        figures.lives.setdefault(peer, [now, now])[1] = now


def _held(port: int) -> list[int]:
    """The attackers' ports of the connections that the gateway's process has."""
    found = []
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, peer, state = line.split()[:4]
        if int(local[9:], 16) == port and state in HELD and peer[:8] == _hexadecimal(ATTACKER):
            found.append(int(peer[9:], 16))
    return found


def _hexadecimal(address: str) -> str:
    return bytes(reversed([int(part) for part in address.split(".")])).hex().upper()


def _read_honestly(gateway: Gateway, figures: Figures, over: threading.Event) -> None:
    last = time.monotonic()
    while not over.is_set():
        began = time.monotonic()
        status = _status(gateway)
        now = time.monotonic()
        figures.slowest = max(figures.slowest, now - began)
        if status == 200:
            figures.served += 1
            figures.gap, last = max(figures.gap, now - last), now
        elif status == 503:
            figures.refused += 1
        else:
            figures.failed += 1
        over.wait(0.1)


def _status(gateway: Gateway) -> int:
    connection = http.client.HTTPConnection(gateway.host, gateway.port, timeout=60, source_address=(HONEST, 0))
    try:
        connection.request("GET", "/R4/Binary/letter")
        answer = connection.getresponse()
        return answer.status if answer.read() == b"letter" or answer.status != 200 else 0
    except OSError:
        return 0
    finally:
        connection.close()
