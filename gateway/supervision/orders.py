"""What a supervisor hands to a new worker on its standard input, and the words of the channel between them.

The channel is a socket pair that keeps messages apart: one byte each. A connection to the worker's admin side is made by
sending one end of another socket pair along, so that nothing has a name in the file system that a stranger could use.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

CONNECT, DRAIN, DRAIN_NOW, HURRY = b"c", b"d", b"n", b"h"
"""To a worker: here is a connection, end with time for others to find out, end without, wait no longer."""

READY = b"r"
"""To the supervisor: connections are taken."""

LONGEST = 16 << 20


@dataclass(frozen=True, slots=True)
class Orders:
    """How a worker begins. `text` is the configuration, `config` the file that it came from; `log_key` in hexadecimal.

    `listening` and `channel` are file descriptors that the process inherited.
    """

    number: int
    workers: int
    config: str | None
    text: str | None
    log_key: str
    listening: tuple[int, ...]
    channel: int

    @property
    def file(self) -> Path | None:
        return None if self.config is None else Path(self.config)

    def written(self) -> bytes:
        """As they go through the pipe."""
        return json.dumps(asdict(self)).encode()


def read_orders() -> Orders:
    """Those on standard input. Raises `ValueError` when there are none."""
    try:
        given = json.loads(sys.stdin.buffer.read(LONGEST))
        return Orders(**given | {"listening": tuple(given["listening"])})
    except (ValueError, TypeError, KeyError):
        raise ValueError("A worker is started by `fhir-gateway serve` with `server.workers`, not by hand.") from None
