"""What `adapters.testing.relay` relays: connections, their two directions, and whose turn it was.

Rules of this module: standard library only; values and single system calls, no thread and no loop.
"""

from __future__ import annotations

import socket
from collections import deque
from dataclasses import dataclass
from typing import Final

CLIENT: Final = "client"
SERVER: Final = "server"


@dataclass(slots=True)
class Turn:
    """`size` bytes that one side of a connection ("client" or "server") sent before the other side spoke."""

    connection: int
    sender: str
    size: int


class Flow:
    """One direction of a connection: what was read from `reader`, with the time at which it is due at `writer`."""

    __slots__ = ("blocked", "ended", "finished", "queue", "reader", "sender", "writer")

    def __init__(self, sender: str, reader: socket.socket, writer: socket.socket) -> None:
        self.sender, self.reader, self.writer = sender, reader, writer
        self.queue: deque[tuple[float, memoryview]] = deque()
        self.blocked = False  # the writer takes no more for now
        self.ended = False  # the end was read; it waits in the queue as an empty piece
        self.finished = False  # and was passed on


class Connection:
    """A client's connection and the one to the server that was made for it."""

    __slots__ = ("client", "connected", "down", "number", "server", "turn", "up")

    def __init__(self, number: int, client: socket.socket, server: socket.socket) -> None:
        self.number, self.client, self.server = number, client, server
        self.connected = False
        self.up = Flow(CLIENT, client, server)
        self.down = Flow(SERVER, server, client)
        self.turn: Turn | None = None


def unacknowledged(connection: Connection) -> bool:
    """Whether bytes for the client wait in this machine's kernel; False where the system does not say (not Linux)."""
    waiting = bytearray(4)
    try:
        import fcntl  # not on Windows
        import termios

        fcntl.ioctl(connection.client, termios.TIOCOUTQ, waiting)
    except (ImportError, OSError):
        return False
    return any(waiting)


def bound(address: tuple[str, int]) -> socket.socket:
    """A socket that has this address and does not listen. Raises `OSError` when somebody else has it."""
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    one = socket.socket(family, socket.SOCK_STREAM)
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.bind(address)
    except OSError:
        one.close()
        raise
    one.setblocking(False)
    return one
