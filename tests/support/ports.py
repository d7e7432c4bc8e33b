"""Loopback ports: free ones to start servers on, and proof of who listens.

A port that something else owns gives flattering or failing results that mean nothing, so whoever measures asks
`owners` before and after.
"""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

LOOPBACK = "127.0.0.1"
LISTENING = "0A"
"""The state column of /proc/net/tcp for a listening socket (include/net/tcp_states.h)."""


def free_port() -> int:
    """A port of the loopback address that nobody uses now. Somebody may take it a moment later: start at once."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def accepts(port: int, host: str = LOOPBACK) -> bool:
    """Whether something accepts connections there."""
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=1):
        return True
    return False


def owners(port: int) -> set[int]:
    """The process ids that hold a listening socket on this port (Linux; only processes we may look into)."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            columns = line.split()
            if columns[3] == LISTENING and int(columns[1].rpartition(":")[2], 16) == port:
                inodes.add(f"socket:[{columns[9]}]")
    found = set()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            if any(os.readlink(fd) in inodes for fd in (entry / "fd").iterdir()):
                found.add(int(entry.name))
    return found
