"""Loopback ports: free ones to start servers on, and proof of who listens.

A test asks for a port and starts a server on it a moment later. Other processes of the same run do so at the same time,
and every connection takes a port of its own, so a port that was merely free is soon somebody else's. `free_port` therefore
gives ports below those that the system hands out by itself, and none that another process was given.

A port that something else owns gives flattering or failing results that mean nothing, so whoever measures asks
`owners` before and after.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import random
import socket
import tempfile
from pathlib import Path

LOOPBACK = "127.0.0.1"
LISTENING = "0A"
"""The state column of /proc/net/tcp for a listening socket (include/net/tcp_states.h)."""

LOWEST = 10_000
"""Below are the ports that most services are known by."""


def _lowest_of_the_system() -> int:
    """Where the ports begin that the system gives to connections and to whoever binds port 0 (ip(7))."""
    with contextlib.suppress(OSError):
        lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
        if lowest > LOWEST + 1000:
            return lowest
    return 1 << 16


_ports = list(range(LOWEST, _lowest_of_the_system()))
_start = random.randrange(len(_ports))
_untried = itertools.cycle(_ports[_start:] + _ports[:_start])

_book = os.open(
    Path(tempfile.gettempdir(), f"fhir-gateway-test-ports-{os.getuid()}"),
    os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW,
    0o600,
)
"""An empty file that all test processes of this account share. A lock on its byte N stands for port N: the system takes it
back with the process, however that ends, and no child inherits it. Open from here on, so that no test leaves it behind."""


def free_port() -> int:
    """A port of the loopback address that nobody uses, and that no other test process is given while this one lives."""
    while True:
        port = next(_untried)
        with contextlib.suppress(OSError), socket.socket() as probe:
            fcntl.lockf(_book, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
            probe.bind((LOOPBACK, port))
            return port


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
