"""The socket under smbprotocol while it negotiates and logs on, and the way to take it back.

Rules of this module: sockets and threads, no SMB. smbprotocol reads its connection on a thread of its own and waits without
end; here every wait has a deadline, `sever` ends it from any thread, and `release` ends the reader without ending the
connection, so that the asynchronous data path can go on where smbprotocol stopped.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
import time
from typing import Any

MAX_FRAME = (1 << 24) - 1
"""Largest message in bytes that the length of a direct TCP frame can state ([MS-SMB2] 2.1)."""

READER_PATIENCE = 0.5
"""Seconds that the reader gets to stop once it was told; it takes far less."""

# A server that lost its power sends nothing ever again: the kernel asks every 10 s, after 30 s of silence, three times.
_OPTIONS = (
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
)
_LENGTH = struct.Struct(">I")
_BUFFER = 1 << 16


class Transport:
    """One TCP connection in the shape that `smbprotocol.connection.Connection.transport` has.

    `expires` is a moment of `time.monotonic`, None for no deadline; when it passes the connection is severed and
    `expired` is true. `heard` is when bytes came last.
    """

    def __init__(self, server: str, port: int, *, expires: float | None) -> None:
        self.server = server
        self.port = port
        self.expires = expires
        self.expired = False
        self.connected = False
        self.heard = time.monotonic()
        self._reader: int | None = None
        self._ended = threading.Event()
        self._sending = threading.Lock()
        self._socket: socket.socket | None = None
        self._severed = False
        self._unwanted = False
        self._received = bytearray()
        self._bell, self._ringer = socket.socketpair()

    # --- what smbprotocol calls ------------------------------------------------------------------------------------

    def connect(self) -> None:
        """Connect within the deadline. Raises `OSError`."""
        found = self._first_to_answer()
        for level, option, value in _OPTIONS:
            found.setsockopt(level, option, value)
        found.settimeout(None)
        self._socket = found
        self.connected = True
        if self._severed:
            self.sever()

    def send(self, message: Any) -> None:
        """Send one message (bytes, or a structure of smbprotocol's) with its length in front. Raises `OSError`."""
        if self._socket is None or not self.connected:
            raise OSError("the connection is closed")
        packed = message if isinstance(message, bytes) else message.pack()
        with self._sending:
            self._socket.settimeout(self._left())
            self._socket.sendall(_LENGTH.pack(len(packed)) + packed)

    def recv(self, timeout: float) -> bytes:
        """The next message; empty when the connection ended, was severed or released. Raises `TimeoutError` when idle."""
        self._reader = threading.get_ident()
        head = self._exactly(4, timeout)
        message = self._exactly(_LENGTH.unpack(head)[0] & MAX_FRAME, timeout) if head else b""
        if head and not message:
            # An empty frame, or half of one: nobody reads on, so nobody may wait for an answer or go on with the socket.
            self.sever()
        if not message:
            self._ended.set()
            if self._unwanted:
                self.close()
        return message

    def close(self) -> None:
        """End the connection and let go of the socket, which is never closed under the reader. Idempotent."""
        self.sever()
        if self._reader == threading.get_ident():
            self._ended.set()
        elif self._reader is not None:
            self._ended.wait(READER_PATIENCE)
        if self._socket is not None:
            self._socket.close()
        self._bell.close()
        self._ringer.close()

    # --- what this package calls -----------------------------------------------------------------------------------

    def sever(self) -> None:
        """End the connection now, from any thread: whoever waits on it stops waiting. Idempotent."""
        self._severed = True
        self.connected = False
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def abandon(self) -> None:
        """Like `sever`, and the reader closes the socket as it ends: nobody else will."""
        self._unwanted = True
        self.sever()

    def release(self) -> socket.socket:
        """End the reader and hand over the connected socket. Raises `OSError` when the connection is gone.

        Only when no answer is outstanding: bytes that the reader has taken already cannot be given back.
        """
        with contextlib.suppress(OSError):
            self._ringer.send(b"!")
        ended = self._ended.wait(READER_PATIENCE)
        if not ended or self._received or self._socket is None or not self.connected:
            raise OSError("the connection cannot be handed over")
        taken, self._socket = self._socket, None
        self.connected = False
        self._bell.close()
        self._ringer.close()
        return taken

    def _first_to_answer(self) -> socket.socket:
        """A connection to one of the name's addresses, in their order: one that is silent leaves time for the next ones."""
        addresses = socket.getaddrinfo(self.server, self.port, type=socket.SOCK_STREAM)
        for number, address in enumerate(addresses[:-1]):
            left = self._left()
            with contextlib.suppress(OSError):
                return _connected(address, None if left is None else left / (len(addresses) - number + 1))
        return _connected(addresses[-1], self._left())

    def _left(self) -> float | None:
        if self.expires is None:
            return None
        left = self.expires - time.monotonic()
        if left <= 0:
            raise TimeoutError("the deadline has passed")
        return left

    def _exactly(self, length: int, timeout: float) -> bytes:
        idle_until = time.monotonic() + timeout
        while len(self._received) < length:
            if not self._readable(idle_until):
                return b""
            try:
                data = self._socket.recv(_BUFFER) if self._socket is not None else b""
            except OSError:
                data = b""
            if not data:
                self.sever()
                return b""
            self._received += data
            self.heard = time.monotonic()
        taken = bytes(self._received[:length])
        del self._received[:length]
        return taken

    def _readable(self, idle_until: float) -> bool:
        """Wait until there is something to read. False when the reader shall end; raises `TimeoutError` when idle."""
        if self._socket is None or not self.connected:
            return False
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        poll.register(self._bell, select.POLLIN)
        while True:
            now = time.monotonic()
            if self.expires is not None and now >= self.expires:
                self.expired = True
                self.sever()
                return False
            if now >= idle_until:
                raise TimeoutError("idle")
            until = idle_until if self.expires is None else min(idle_until, self.expires)
            ready = {descriptor for descriptor, _ in poll.poll((until - now) * 1000 + 1)}
            if self._bell.fileno() in ready:
                return False
            if ready:
                return True


def _connected(found: tuple[Any, Any, int, str, Any], patience: float | None) -> socket.socket:
    """A socket connected to what `getaddrinfo` found, within `patience` seconds. Raises `OSError`."""
    family, kind, protocol, _, address = found
    made = socket.socket(family, kind, protocol)
    try:
        made.settimeout(patience)
        made.connect(address)
    except BaseException:
        made.close()
        raise
    return made
