"""What /proc says of a running smbd: its children, the files they hold, its connections (Linux).

Rules of this module: it reads /proc and asks smbd nothing, so the answers hold for a server that hangs, too.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.support.ports import LISTENING

ESTABLISHED = "01"
"""The state column of /proc/net/tcp for a connection (include/net/tcp_states.h)."""


def clients_of(smbd: int) -> list[int]:
    """The children of smbd that serve clients."""
    children = Path(f"/proc/{smbd}/task/{smbd}/children").read_text().split()
    return [int(pid) for pid in children if _serves(int(pid))]


def open_below(folders: Iterable[Path], pids: Iterable[int]) -> int:
    """How many descriptors these processes hold of what lies below the folders, replaced and removed files included."""
    below = tuple(f"{os.path.realpath(folder)}/" for folder in folders)
    return sum(target.startswith(below) for pid in pids for target in _held(pid))


def connections_to(host: str, port: int) -> int:
    """How many TCP connections the IPv4 address and port have on the server's side."""
    return _sockets(host, port).count(ESTABLISHED)


def listens(host: str, port: int) -> bool:
    """Whether somebody accepts connections there, seen without making one, for which smbd would start a process."""
    return LISTENING in _sockets(host, port)


def alive(group: int) -> bool:
    """Whether a process of this group still runs; one that has ended and was not yet waited for does not count."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):
                state, _parent, its_group = Path(f"/proc/{name}/stat").read_text().rpartition(") ")[2].split()[:3]
                if int(its_group) == group and state not in "ZX":
                    return True
    return False


def _sockets(host: str, port: int) -> list[str]:
    """The states of the TCP sockets with this local address."""
    (number,) = struct.unpack("=I", socket.inet_aton(host))
    local = f"{number:08X}:{port:04X}"
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return [columns[3] for columns in map(str.split, lines) if columns[1] == local]


def _serves(pid: int) -> bool:
    """smbd's helpers call themselves smbd-something; in newer releases the others add their client's address in brackets."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip().partition("[")[0] == "smbd"
    return False


def _held(pid: int) -> Iterator[str]:
    folder = f"/proc/{pid}/fd"
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            with contextlib.suppress(OSError):
                yield os.readlink(f"{folder}/{name}")
