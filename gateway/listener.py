"""Who gets a connection: the accept loop of one listener, with its numbers, its deadlines and its TLS.

A connection is counted from the moment it is accepted, before anything was said on it, so that neither a handshake that never
ends nor a silent one escapes the limits. One too many is answered 503 in the clear, and closed at once under TLS, where an
answer would cost a handshake. Each handshake uses the context that is in use when it begins; `renew` puts another one in and
lets connections of the old one end after their current answer.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
import stat
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.http_server import HttpServer
from gateway.security.peers import peer_of

BACKLOG = 4096
"""Connections that may wait to be accepted; Linux grants as many as its `net.core.somaxconn`, which is the same by default.

Whoever comes when they are full is not told: its request is lost, and sent again after seconds.
"""

MOST_REFUSED = 512
"""Refused connections that may wait for their end at a time."""

BREATH = 16
"""Connections accepted in a row before others get a turn."""

PAUSE = 0.2
"""Seconds to wait when the process has no file descriptor left for another connection."""

LINGERING = 1.0
"""Seconds that a refusal is given to arrive: closing at once would reset the connection before it is read."""

FLUSHING = 20.0
"""Seconds that the end of an answer under TLS may take to leave a connection that is closed after it."""

SAY_AGAIN = 60.0
"""Seconds between two lines about the same kind of nuisance."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """How many connections may be open, in all and of one peer, and how long a handshake may take in seconds."""

    connections: int = 2000
    per_peer: int | None = None
    handshake: float = 10.0


class Listener:
    """A listening socket and the connections that came by it."""

    def __init__(
        self,
        listening: Sequence[socket.socket],
        server: HttpServer,
        allowance: Allowance,
        *,
        log: Any,
        context: ssl.SSLContext | None = None,
        refusal: bytes = b"",
        owned: bool = True,
    ) -> None:
        """`refusal` is the whole answer to a connection too many, as it goes out. `owned`: the sockets are nobody else's."""
        self._owned = owned
        self._listening = tuple(listening)
        self._server = server
        self._allowance = allowance
        self._context = context
        self._refusal = refusal
        self._nuisances = _Nuisances(log)
        self._peers: Counter[str] = Counter()
        self._lingering: set[socket.socket] = set()
        self.refused: Counter[str] = Counter()
        """Connections that were not served, by a word for the reason."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._deaf: dict[socket.socket, asyncio.TimerHandle] = {}
        for one in self._listening:
            self._listen(one)

    @property
    def url(self) -> str:
        """Where it listens."""
        return address_of(self._listening[0], tls=self._context is not None)

    @property
    def open(self) -> int:
        """Connections that are open, those in their handshake among them."""
        return self._peers.total()

    def renew(self, context: ssl.SSLContext) -> None:
        """Use another TLS context from the next handshake on."""
        self._context = context
        self._server.pre_shutdown()

    def allow(self, allowance: Allowance) -> None:
        """Other numbers, for connections that come."""
        self._allowance = allowance

    def stop(self) -> None:
        """Take the connections that wait to be accepted already, and then no more. Idempotent."""
        for listening in self._listening:
            if listening.fileno() < 0:
                continue
            self._deafen(listening)
            with suppress(OSError):
                while True:
                    connection, address = listening.accept()
                    connection.setblocking(False)
                    self._admit(connection, peer_of(address))
            self._forget(listening)

    def close(self) -> None:
        """Accept no more, and nobody who waits. Open connections are the server's to end."""
        for listening in self._listening:
            if listening.fileno() >= 0:
                self._deafen(listening)
                self._forget(listening)
        for task in self._tasks:
            task.cancel()
        for connection in self._lingering:
            connection.close()

    def _forget(self, listening: socket.socket) -> None:
        if self._owned and listening.family == socket.AF_UNIX:
            with suppress(OSError):
                os.unlink(listening.getsockname())
        listening.close()

    def _listen(self, listening: socket.socket) -> None:
        asyncio.get_running_loop().add_reader(listening, self._accept, listening)

    def _accept(self, listening: socket.socket) -> None:
        """Take connections that wait; not all of a crowd at once, since others want a turn."""
        for _ in range(BREATH):
            try:
                connection, address = listening.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in (errno.ECONNABORTED, errno.EINTR):
                    continue
                self.refused["not_accepted"] += 1
                self._nuisances.say("connections cannot be accepted", error.strerror or type(error).__name__)
                self._deafen(listening)
                self._deaf[listening] = asyncio.get_running_loop().call_later(PAUSE, self._listen, listening)
                return
            connection.setblocking(False)
            self._admit(connection, peer_of(address))

    def _deafen(self, listening: socket.socket) -> None:
        asyncio.get_running_loop().remove_reader(listening)
        paused = self._deaf.pop(listening, None)
        if paused is not None:
            paused.cancel()

    def _admit(self, connection: socket.socket, peer: str) -> None:
        allowed = self._allowance
        if self.open >= allowed.connections:
            self.refused["connections"] += 1
            self._refuse(connection, "server.limits.max_connections is reached")
        elif allowed.per_peer is not None and self._peers[peer] >= allowed.per_peer:
            self.refused["connections_per_peer"] += 1
            self._refuse(connection, "server.limits.max_connections_per_peer is reached")
        else:
            self._peers[peer] += 1
            task = asyncio.get_running_loop().create_task(self._begin(connection, self._release(peer)))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _release(self, peer: str) -> Callable[[], None]:
        """What takes one connection of `peer` out of the numbers, once."""
        released = False

        def release() -> None:
            nonlocal released
            if not released:
                released = True
                self._peers[peer] -= 1
                if self._peers[peer] <= 0:
                    del self._peers[peer]

        return release

    async def _begin(self, connection: socket.socket, release: Callable[[], None]) -> None:
        """Hand the connection to the server; with TLS once the handshake is done."""
        protocol = self._server()
        protocol.ended = release
        limits: dict[str, Any] = {}
        if self._context is not None:
            limits = {"ssl_handshake_timeout": self._allowance.handshake, "ssl_shutdown_timeout": FLUSHING}
        with suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        loop = asyncio.get_running_loop()
        try:
            await loop.connect_accepted_socket(lambda: protocol, connection, ssl=self._context, **limits)
        except (OSError, TimeoutError) as error:
            reason = _handshake_reason(error)
            if reason:
                self.refused["handshake"] += 1
                self._nuisances.say("TLS handshakes failed", reason)
            release()
            connection.close()
        except BaseException:
            release()
            connection.close()
            raise

    def _refuse(self, connection: socket.socket, reason: str) -> None:
        self._nuisances.say("connections refused", reason)
        if self._context is not None or not self._refusal or len(self._lingering) >= MOST_REFUSED:
            connection.close()
            return
        with suppress(OSError):
            connection.setblocking(False)
            connection.send(self._refusal)
            connection.shutdown(socket.SHUT_WR)
        self._lingering.add(connection)
        asyncio.get_running_loop().call_later(LINGERING, self._let_go, connection)

    def _let_go(self, connection: socket.socket) -> None:
        self._lingering.discard(connection)
        connection.close()


def _handshake_reason(error: Exception) -> str:
    """What a failed handshake was about; "" for a peer that merely left, as port scanners and health checks do."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"a client's certificate was refused: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        if error.reason == "HTTP_REQUEST":
            return "plain HTTP was sent to the TLS port"
        return (error.reason or "").replace("_", " ").lower()
    return (
        ""
        if isinstance(error, ConnectionError) and not isinstance(error, ConnectionAbortedError)
        else "it took too long"
    )


class _Nuisances:
    """Log lines about what strangers can cause at will: the first at once, then one a minute with the number of all."""

    def __init__(self, log: Any) -> None:
        self._log = log
        self._counts: dict[tuple[str, str], int] = {}
        self._said: dict[tuple[str, str], float] = {}

    def say(self, event: str, reason: str) -> None:
        key = (event, reason[:100])
        if key not in self._counts and len(self._counts) >= 100:
            return
        self._counts[key] = self._counts.get(key, 0) + 1
        now = asyncio.get_running_loop().time()
        if now - self._said.get(key, float("-inf")) >= SAY_AGAIN:
            self._said[key] = now
            self._log.warning(event, reason=key[1], count=self._counts.pop(key))
            self._counts[key] = 0


def address_of(listening: socket.socket, *, tls: bool) -> str:
    """Where a socket listens, as people write it."""
    if listening.family == socket.AF_UNIX:
        return f"unix://{listening.getsockname()}"
    host, port = listening.getsockname()[:2]
    name = f"[{host}]" if ":" in host else host
    return f"{'https' if tls else 'http'}://{name}:{port}"


async def listening_on(host: str, port: int) -> list[socket.socket]:
    """Sockets that listen on every address of `host`, all on one port. Raises `OSError`."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    sockets: list[socket.socket] = []
    try:
        for family, _, _, _, address in dict.fromkeys(found):
            if sockets:
                port = sockets[0].getsockname()[1]
            sockets.append(_listening(family, (address[0], port, *address[2:])))
    except OSError:
        for one in sockets:
            one.close()
        raise
    return sockets


def _listening(family: socket.AddressFamily, address: tuple[Any, ...]) -> socket.socket:
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.setblocking(False)
        listening.bind(address)
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        # In the form that asyncio gives it, which names the address.
        words = f"error while attempting to bind on address {address!r}: {(error.strerror or '').lower()}"
        raise OSError(error.errno, words) from None
    return listening


def listening_at(path: Path) -> socket.socket:
    """A Unix socket of this name that this account and its group may use. One that nobody listens on any more is replaced.

    Raises `OSError`.
    """
    if _is_abandoned(path):
        path.unlink()
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o117)
    try:
        listening.setblocking(False)
        listening.bind(str(path))
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        raise OSError(error.errno, error.strerror, str(path)) from None
    finally:
        os.umask(mask)
    return listening


def _is_abandoned(path: Path) -> bool:
    """Whether this is a Unix socket of a process that is gone."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            return False
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.setblocking(False)
            probe.connect(str(path))
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return False
