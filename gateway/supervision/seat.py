"""A worker's side of the channel to its supervisor: it takes orders, and gives its admin side to whoever is sent along."""

from __future__ import annotations

import asyncio
import signal
import socket
from contextlib import AsyncExitStack, suppress
from typing import Any

from gateway.admin import Admin
from gateway.draining import Ending
from gateway.http_server import HttpServer
from gateway.observed import Observed
from gateway.supervision.desk import Desk
from gateway.supervision.orders import CONNECT, DRAIN, DRAIN_NOW, HURRY, READY, Orders

FOREVER = 3600.0
"""Seconds that a connection from the supervisor may be idle."""


class Seat:
    """The place of one worker."""

    def __init__(self, orders: Orders) -> None:
        self.orders = orders
        self.listening = [socket.socket(fileno=descriptor) for descriptor in orders.listening]
        for one in self.listening:
            one.setblocking(False)
        self._channel = socket.socket(fileno=orders.channel)
        self._channel.setblocking(False)
        self._tasks: set[asyncio.Task[Any]] = set()

    def take(self, stack: AsyncExitStack, ending: Ending, admin: Admin, observed: Observed) -> Desk:
        """From now on: end when told to, or when the supervisor is gone; give whoever is sent along to the admin side."""
        desk = Desk(admin, observed)
        server = HttpServer(desk, keepalive=FOREVER)
        stack.push_async_callback(server.shutdown, 1.0)
        stack.callback(self._leave)
        loop = asyncio.get_running_loop()
        # A terminal sends these to all processes of a group; what is meant for the gateway is said by the supervisor.
        for number in (signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, _nothing)
        loop.add_signal_handler(signal.SIGTERM, ending.begin)
        loop.add_reader(self._channel, self._read, ending, server)
        return desk

    def ready(self) -> None:
        """Tell the supervisor that connections are taken."""
        with suppress(OSError):
            self._channel.send(READY)

    def _leave(self) -> None:
        asyncio.get_running_loop().remove_reader(self._channel)
        self._channel.close()

    def _read(self, ending: Ending, server: HttpServer) -> None:
        try:
            word, descriptors, _, _ = socket.recv_fds(self._channel, 1, 1)
        except BlockingIOError:
            return
        except OSError:
            word, descriptors = b"", []
        match word:
            case bytes(said) if said == CONNECT and descriptors:
                self._connect(server, socket.socket(fileno=descriptors[0]))
            case bytes(said) if said == DRAIN:
                ending.begin()
            case bytes(said) if said == DRAIN_NOW:
                ending.patient = False
                ending.begin()
            case bytes(said) if said == HURRY:
                ending.ask()
            case b"":
                # Without a supervisor nobody replaces this process, tells it anything or knows of it.
                asyncio.get_running_loop().remove_reader(self._channel)
                ending.begin()

    def _connect(self, server: HttpServer, connection: socket.socket) -> None:
        connection.setblocking(False)
        loop = asyncio.get_running_loop()
        task = loop.create_task(_served(server, connection))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _served(server: HttpServer, connection: socket.socket) -> None:
    with suppress(OSError):
        await asyncio.get_running_loop().connect_accepted_socket(server, connection)


def _nothing() -> None:
    return None
