"""The engine of `adapters.testing.proxy`: sockets, one selector, one thread.

Rules of this module: standard library only. Everything that touches a socket or the state of the relay happens on its
thread, which runs no event loop, because the adapter under test may block the test's. `order` is the way in.
"""

from __future__ import annotations

import select
import selectors
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any

from adapters.testing.connections import SERVER, Connection, Flow, Turn, bound, unacknowledged

_PIECE = 1 << 18
"""Most bytes taken from a socket at a time."""

_PATIENCE = 10.0
"""Seconds after which an order that was not carried out is an error of this module."""

_GRACE = 0.25
"""Seconds that a client gets to take what was sent to it before a break."""

_ARRIVAL = 0.001
"""Seconds between two looks whether it has."""

_LARGEST_SELECTABLE = 1023
"""The highest descriptor that select(2) takes."""

_READ, _WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


class Relay:
    """Relays between `address` and `target` (a socket address of `family`) until `close`; faults are in its attributes.

    `delay` in seconds each way; `stalled`: nothing is passed on; `count`: bytes from the server after which everything
    breaks, None for never; `orderly`: a break is a FIN and not a reset. Raises `OSError` when the address is taken.
    """

    def __init__(self, address: tuple[str, int], family: int, target: Any) -> None:
        self.delay = 0.0
        self.stalled = False
        self.turns: list[Turn] = []
        self.connections: set[Connection] = set()
        self.accepted = 0
        self._count: int | None = None
        self._left = 0
        self._break_by = 0.0
        self._orderly = self._stopping = False
        self._family, self._target = family, target
        self._listener = bound(address)
        self.address: tuple[str, int] = self._listener.getsockname()[:2]
        self._orders: deque[tuple[Callable[[], None], Future[None]]] = deque()
        self._bell, self._ear = socket.socketpair()
        self._bell.setblocking(False)
        self._ear.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._ear, _READ, self._hear)
        self.listen()
        self._thread = threading.Thread(target=self._run, name="conformance-proxy", daemon=True)
        self._thread.start()

    def order(self, action: Callable[[], None]) -> None:
        """Run `action` on the thread and wait until it has run. Raises `RuntimeError` after `close`."""
        if not self._thread.is_alive():
            raise RuntimeError("the proxy is closed")
        done: Future[None] = Future()
        self._orders.append((action, done))
        self._bell.send(b"!")
        done.result(_PATIENCE)

    def close(self) -> None:
        """Reset every connection, free the port, end the thread. May be called twice."""
        if self._thread.is_alive():
            self.order(partial(setattr, self, "_stopping", True))
            self._thread.join()

    # --- what is ordered -------------------------------------------------------------------------------------------

    def listen(self) -> None:
        """Accept connections."""
        self._listener.listen(128)
        self._selector.register(self._listener, _READ, self._accept)

    def leave(self) -> None:
        """Refuse connections from now on."""
        self._selector.unregister(self._listener)
        self._listener.close()
        # Bound and not listening: nobody else is given the port meanwhile, not even a client that tries to connect to it.
        self._listener = bound(self.address)

    def stall(self, stalled: bool) -> None:
        """Stop passing anything on, or go on."""
        self.stalled = stalled
        for connection in self.connections:
            self._watch(connection)

    def cut(self, count: int | None, orderly: bool) -> None:
        """Break after `count` more bytes from the server; None for never."""
        self._count, self._left, self._orderly, self._break_by = count, count or 0, orderly, 0.0

    def end_all(self, orderly: bool = False) -> None:
        """Reset all connections, or close them."""
        for connection in tuple(self.connections):
            self._end(connection, orderly)

    def forget(self) -> None:
        """Begin the record of turns anew."""
        self.turns.clear()
        for connection in self.connections:
            connection.turn = None

    # --- the thread ------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._stopping:
                for key, mask in self._ready():
                    key.data(mask)
                self._deliver()
        finally:
            self.end_all()
            self._selector.close()
            for one in (self._listener, self._bell, self._ear):
                one.close()

    def _ready(self) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait for a socket, or for the first piece that is due."""
        flows = (flow for one in self.connections for flow in (one.up, one.down) if flow.queue and not flow.blocked)
        due = None if self.stalled else min((flow.queue[0][0] for flow in flows), default=None)
        timeout = None if due is None else max(0.0, due - time.monotonic())
        descriptor: Callable[[], int] | None = getattr(self._selector, "fileno", None)
        if timeout and descriptor and descriptor() <= _LARGEST_SELECTABLE:
            # epoll counts in milliseconds and rounds up; select on epoll's own descriptor counts in microseconds.
            select.select([descriptor()], [], [], timeout)
            timeout = 0.0
        return self._selector.select(timeout)

    def _hear(self, _: int) -> None:
        self._ear.recv(4096)
        while self._orders:
            action, done = self._orders.popleft()
            try:
                action()
            except OSError as error:
                done.set_exception(error)
            else:
                done.set_result(None)

    def _accept(self, _: int) -> None:
        try:
            client, _address = self._listener.accept()
        except OSError:  # who connected has left again, or the listener was exchanged
            return
        server = socket.socket(self._family, socket.SOCK_STREAM)
        for one in (client, server):
            one.setblocking(False)
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        server.connect_ex(self._target)  # how it went is known when the socket becomes writable
        self.accepted += 1
        connection = Connection(self.accepted, client, server)
        self.connections.add(connection)
        self._watch(connection)

    def _client_ready(self, connection: Connection, mask: int) -> None:
        if connection in self.connections:
            self._socket_ready(connection, mask, connection.up, connection.down)

    def _server_ready(self, connection: Connection, mask: int) -> None:
        if connection not in self.connections:
            return
        if not connection.connected:
            if connection.server.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                self._end(connection)
                return
            connection.connected = True
        self._socket_ready(connection, mask, connection.down, connection.up)

    def _socket_ready(self, connection: Connection, mask: int, source: Flow, sink: Flow) -> None:
        if mask & _WRITE:
            sink.blocked = False
        try:
            if mask & _READ:
                self._read(connection, source)
        except OSError:
            self._end(connection)
        else:
            self._watch(connection)

    def _read(self, connection: Connection, flow: Flow) -> None:
        try:
            data = flow.reader.recv(_PIECE)
        except BlockingIOError:
            return
        flow.ended = not data
        flow.queue.append((time.monotonic() + self.delay, memoryview(data)))
        if connection.turn and connection.turn.sender == flow.sender:
            connection.turn.size += len(data)
        elif data:
            connection.turn = Turn(connection.number, flow.sender, len(data))
            self.turns.append(connection.turn)

    def _deliver(self) -> None:
        """Pass on every piece that is due."""
        now = time.monotonic()
        for connection in () if self.stalled else tuple(self.connections):
            try:
                for flow in (connection.up, connection.down):
                    self._write(flow, now)
            except OSError:
                self._end(connection)
            if connection.up.finished and connection.down.finished:
                self._end(connection, orderly=True)
            if connection in self.connections:
                self._watch(connection)

    def _write(self, flow: Flow, now: float) -> None:
        while flow.queue and flow.queue[0][0] <= now and not flow.blocked:
            due, data = flow.queue[0]
            counted = flow.sender == SERVER and self._count is not None
            if not data:
                flow.writer.shutdown(socket.SHUT_WR)
                flow.finished, sent = True, 0
            elif counted and not self._left:
                self._break(flow, now)
                return
            else:
                try:
                    sent = flow.writer.send(data[: self._left] if counted else data)
                except BlockingIOError:
                    flow.blocked = True
                    return
            self._left -= sent if counted else 0
            flow.queue.popleft()
            if sent < len(data):
                flow.queue.appendleft((due, data[sent:]))

    def _break(self, flow: Flow, now: float) -> None:
        """End everything, but not before clients have what they are due: a reset overtakes bytes still in the kernel."""
        self._break_by = self._break_by or now + _GRACE
        if now < self._break_by and any(map(unacknowledged, self.connections)):
            flow.queue[0] = now + _ARRIVAL, flow.queue[0][1]
            return
        self._left, self._break_by = self._count or 0, 0.0
        self.end_all(self._orderly)

    def _watch(self, connection: Connection) -> None:
        """Tell the selector what this connection waits for. A receiver that takes no more holds up the sender."""
        up, down = connection.up, connection.down
        reading = connection.connected and not self.stalled
        client = _READ * (reading and not up.ended and not up.blocked) | _WRITE * down.blocked
        server = _READ * (reading and not down.ended and not down.blocked)
        server |= _WRITE * (up.blocked or not connection.connected)
        self._register(connection.client, client, partial(self._client_ready, connection))
        self._register(connection.server, server, partial(self._server_ready, connection))

    def _register(self, one: socket.socket, mask: int, ready: Callable[[int], None]) -> None:
        known = self._selector.get_map().get(one)
        if known is None:
            if mask:
                self._selector.register(one, mask, ready)
        elif not mask:
            self._selector.unregister(one)
        elif known.events != mask:
            self._selector.modify(one, mask, ready)

    def _end(self, connection: Connection, orderly: bool = False) -> None:
        if connection not in self.connections:
            return
        self.connections.discard(connection)
        for one in (connection.client, connection.server):
            self._register(one, 0, self._hear)
            with suppress(OSError):
                if orderly:
                    one.shutdown(socket.SHUT_RDWR)
                else:
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            one.close()
