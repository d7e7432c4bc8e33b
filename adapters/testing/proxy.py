"""A loopback TCP proxy that breaks the network on demand, for harnesses whose archive is a server.

    self.proxy = LoopbackProxy("127.0.0.1", server.port)    # the adapter is given proxy.host and proxy.port
    def offline(self): return self.proxy.offline()
    def cut_after(self, count): return self.proxy.cut_after(count)

Rules of this module: the faults, as context managers, and what was seen; sockets are the business of
`adapters.testing.relay`. The proxy relays bytes and knows no protocol, so TLS passes as it is.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from types import TracebackType
from typing import Self

from adapters.testing.connections import CLIENT, Turn
from adapters.testing.relay import Relay


class LoopbackProxy:
    """A TCP proxy on a free loopback port in front of `host`:`port`; it runs from construction to `close`.

    It runs on a thread of its own, so blocking adapters and blocked loops do not hold it up, and every method may be
    called from anywhere. Faults act on connections that are open too, as in a network; what a fault did not break goes
    on afterwards. `listen` is the address and port to take, port 0 for a free one. Raises `OSError` when the name
    cannot be resolved or the port is taken. A server that is away shows as connections that are reset.
    """

    def __init__(self, host: str, port: int, *, listen: tuple[str, int] = ("127.0.0.1", 0)) -> None:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        # `localhost` is ::1 and 127.0.0.1, and test servers listen on the latter.
        family, *_, target = min(found, key=lambda one: one[0] != socket.AF_INET)
        self._relay = Relay(listen, family, target)
        self.host, self.port = self._relay.address

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Reset every connection, free the port, end the thread. May be called twice."""
        self._relay.close()

    @contextmanager
    def cut_after(self, count: int, *, orderly: bool = False) -> Iterator[None]:
        """While inside, everything breaks once the server has sent `count` bytes, over all connections, and sends more.

        Protocol overhead counts, so a document breaks off after fewer than `count` of its own bytes. What is connected
        after a break gets another `count`: an adapter that wrongly reads on is found out. `orderly` ends connections
        like a server that closes them (FIN): where a body lasts until the connection ends, it then looks whole.
        """
        self._relay.order(partial(self._relay.cut, count, orderly))
        try:
            yield
        finally:
            self._relay.order(partial(self._relay.cut, None, False))

    @contextmanager
    def offline(self) -> Iterator[None]:
        """While inside, the server is away: connections are reset, new ones are refused."""
        with self.refuse():
            self.reset()
            yield

    @contextmanager
    def refuse(self) -> Iterator[None]:
        """While inside, new connections are refused; those that are open go on."""
        self._relay.order(self._relay.leave)
        try:
            yield
        finally:
            self._relay.order(self._relay.listen)

    @contextmanager
    def latency(self, seconds: float) -> Iterator[None]:
        """While inside, every byte arrives `seconds` later, in each direction; a round trip takes twice as long.

        The bandwidth is not limited: any number of bytes may be under way.
        """
        before = self._relay.delay
        self._relay.order(partial(setattr, self._relay, "delay", seconds))
        try:
            yield
        finally:
            self._relay.order(partial(setattr, self._relay, "delay", before))

    @contextmanager
    def stall(self) -> Iterator[None]:
        """While inside, connections are accepted and nothing is passed on, not even an end: a network that hangs."""
        self._relay.order(partial(self._relay.stall, True))
        try:
            yield
        finally:
            self._relay.order(partial(self._relay.stall, False))

    def reset(self) -> None:
        """Reset all connections now, once. New ones are accepted."""
        self._relay.order(self._relay.end_all)

    @property
    def connections(self) -> int:
        """How many connections are open now."""
        return len(self._relay.connections)

    @property
    def accepted(self) -> int:
        """How many connections were accepted so far."""
        return self._relay.accepted

    @property
    def turns(self) -> tuple[Turn, ...]:
        """Who sent how much, in the order in which it reached the proxy; the turns of one connection alternate."""
        return tuple(self._relay.turns)

    @property
    def round_trips(self) -> int:
        """How many times the server answered, over all connections; requests that were sent together count once.

        Count with some `latency`: without it, an answer may overtake the rest of a request that comes in pieces.
        """
        asked: set[int] = set()
        answers = 0
        for turn in self.turns:
            if turn.sender == CLIENT:
                asked.add(turn.connection)
            elif turn.connection in asked:
                answers += 1
        return answers

    def forget(self) -> None:
        """Begin the record of turns anew."""
        self._relay.order(self._relay.forget)
