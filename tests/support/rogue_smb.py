"""A file server that does wrong: a real smbd with somebody in the middle who spoils its answers.

    with RogueSmb(samba.host, samba.port) as rogue:
        rogue.behaviour = ShortReads(most=1000)         # tests.support.rogue_behaviour has them all
        options = samba.options(port=rogue.port)

The client logs in for real. On a connection that is neither signed nor encrypted everything can be spoilt; a change of
one that is protected is what the client must detect. Messages that nobody changes pass byte for byte.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from tests.support.ports import LOOPBACK
from tests.support.rogue_behaviour import Behaviour, Wire
from tests.support.smb_messages import (
    CANCEL,
    PENDING,
    PLAIN,
    SEALED,
    TRANSFORM,
    Message,
    Request,
    chain,
    prefixed,
    split,
)

QUIET = 0.05
"""Seconds without a word from the server after which a behaviour that held replies back is asked for them."""


@dataclass(slots=True, eq=False)
class Connection:
    """One client's connection, the one to smbd behind it, and the requests without a final reply."""

    number: int
    client: socket.socket
    server: socket.socket
    asked: dict[int, Request] = field(default_factory=dict)

    def end(self) -> None:
        for one in (self.client, self.server):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


class RogueSmb:
    """Listens on a free loopback port while it is entered. `behaviour` may be exchanged at any time."""

    def __init__(self, host: str, port: int, behaviour: Behaviour | None = None) -> None:
        self.behaviour = behaviour or Behaviour()
        self.host = LOOPBACK
        self._target = (host, port)
        self._listener = socket.create_server((LOOPBACK, 0))
        self.port = int(self._listener.getsockname()[1])
        self._connections: list[Connection] = []
        self._threads = [threading.Thread(target=self._accept, name="rogue-accept")]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        self._listener.close()
        for connection in self._connections:
            connection.end()
        for thread in self._threads[1:]:
            thread.join()
        for connection in self._connections:
            connection.client.close()
            connection.server.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # the end of the listener
            while True:
                client, _address = self._listener.accept()
                try:
                    server = socket.create_connection(self._target)
                except OSError:
                    client.close()
                    continue
                for one in (client, server):
                    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connection = Connection(len(self._connections) + 1, client, server)
                self._connections.append(connection)
                for pump in (self._requests, self._replies):
                    thread = threading.Thread(target=self._pump, args=(pump, connection), name="rogue-pump")
                    self._threads.append(thread)
                    thread.start()

    def _pump(self, pump: Callable[[Connection], None], connection: Connection) -> None:
        try:
            with contextlib.suppress(OSError):
                pump(connection)
        finally:
            connection.end()

    # --- from the client -------------------------------------------------------------------------------------------

    def _requests(self, connection: Connection) -> None:
        while (frame := _frame(connection.client)) is not None:
            connection.server.sendall(prefixed(self._asked(connection, frame)))

    def _asked(self, connection: Connection, frame: bytes) -> bytes:
        if not frame.startswith(PLAIN):
            return frame
        requests = [Request(data, connection.number, bytes(data)) for data in split(frame)]
        if any(request.command == CANCEL for request in requests):
            return frame  # it bears the id of what it cancels, and is not answered
        for request in requests:
            connection.asked[request.id] = request
        self.behaviour.on_requests(requests)
        if all(request.data == request.before for request in requests):
            return frame
        return chain([Message(request.data) for request in requests])

    # --- from the server -------------------------------------------------------------------------------------------

    def _replies(self, connection: Connection) -> None:
        while True:
            if not select.select([connection.server], [], [], QUIET)[0]:
                late: list[Message | Wire] = [*self.behaviour.on_quiet()]
                connection.client.sendall(b"".join(answer.data for answer in _loose(late)))
                continue
            frame = _frame(connection.server)
            if frame is None:
                return
            for answer in self._answers(connection, frame):
                connection.client.sendall(answer.data)
                if answer.end:
                    return

    def _answers(self, connection: Connection, frame: bytes) -> Iterator[Wire]:
        """What goes on the wire instead of this frame of smbd's."""
        if frame.startswith(TRANSFORM):
            yield from _loose(self.behaviour.on_reply(SEALED, Message(bytearray(frame)), None))
            return
        if not frame.startswith(PLAIN):
            yield Wire(prefixed(frame))
            return
        messages = [Message(data) for data in split(frame)]
        answers = [self._answer(connection, message) for message in messages]
        now = [one for few in answers if len(few) == 1 for one in few if isinstance(one, Message)]
        if len(now) == len(messages):
            yield Wire(prefixed(chain(now)))
        else:
            for few in answers:
                yield from _loose(few)

    def _answer(self, connection: Connection, message: Message) -> list[Message | Wire]:
        request = connection.asked.get(message.id)
        if request is None:
            return [message]
        if message.status != PENDING:
            del connection.asked[message.id]
        command = struct.unpack_from("<H", request.before, 12)[0]
        return self.behaviour.on_reply(command, message, request)


def _loose(answers: list[Message | Wire]) -> Iterator[Wire]:
    """Each message in a frame of its own."""
    for one in answers:
        if isinstance(one, Wire):
            yield one
        else:
            if one.data.startswith(PLAIN):
                one.next = 0
            yield Wire(prefixed(one.data))


def _frame(source: socket.socket) -> bytes | None:
    """The next frame without its length; None at the end of the connection."""
    head = _exactly(source, 4)
    return None if head is None else _exactly(source, int.from_bytes(head, "big"))


def _exactly(source: socket.socket, size: int) -> bytes | None:
    data = bytearray()
    while len(data) < size:
        more = source.recv(size - len(data))
        if not more:
            return None
        data += more
    return bytes(data)
