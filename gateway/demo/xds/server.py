"""The fake repository itself: a listener, its shelf, and what it was told to do next.

Rules of this module: asyncio streams alone, so that it can misbehave at the level of bytes; one task for each connection,
all of them gone when it is closed. A defect of this package is raised when it is closed, not hidden in a log.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any, cast
from urllib.parse import unquote, urlsplit

from gateway.demo.xds.answering import ACTIONS, Answering, Endpoint
from gateway.demo.xds.documents import HOME, Document, Shelf
from gateway.demo.xds.exchange import Ending, Exchange
from gateway.demo.xds.faults import FAULTS, named
from gateway.demo.xds.pages import HEADER, page
from gateway.demo.xds.personality import Fault, Personality
from gateway.demo.xds.request import LARGEST_HEAD, BadRequest, Incoming, Request
from gateway.demo.xds.sending import BrokenOff, Sender
from gateway.demo.xds.tls import AlertFirst
from gateway.demo.xds.vendors import STANDARD


@dataclass(slots=True)
class _Next:
    """What the coming requests to some endpoints get."""

    faults: tuple[Fault, ...]
    times: int
    endpoint: Endpoint | None


class FakeRepository:
    """An XDS repository, an XCA responding gateway and a registry over one shelf of documents.

    `personality` may be changed at any time; `next` adds faults for the coming requests. `exchanges` holds every request
    in the order in which the heads came. Use it inside the event loop of `serving`.
    """

    def __init__(
        self,
        documents: Iterable[Document] = (),
        *,
        personality: Personality = STANDARD,
        home: str = HOME,
        tls: ssl.SSLContext | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        self.shelf = Shelf(documents)
        self.personality = personality
        self.exchanges: list[Exchange] = []
        self.host = host
        self.port = 0
        self.open_connections = 0
        self._answering = Answering(self.shelf, home)
        self._tls = tls
        if tls is not None:
            tls.sslobject_class = AlertFirst
        self._connections = count(1)
        self._next: list[_Next] = []
        self._released = asyncio.Event()
        self._news = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._listener: asyncio.Server | None = None
        self._defects: list[Exception] = []

    # --- for the test ----------------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """The base of all paths, without a trailing slash."""
        return f"{'https' if self._tls else 'http'}://{self.host}:{self.port}"

    def endpoint(self, which: Endpoint = "repository", *, personality: str | None = None) -> str:
        """The URL of an endpoint, with the name of a personality in its path if one is given."""
        prefix = f"/personality/{personality}" if personality else ""
        return f"{self.url}{prefix}/{which}"

    def next(self, *faults: Fault | str, times: int = 1, at: Endpoint | None = None) -> None:
        """Let the next `times` requests (to this endpoint) meet these faults together; later calls queue up behind.

        Raises `KeyError` for a name that is no fault.
        """
        found = tuple(FAULTS[fault] if isinstance(fault, str) else fault for fault in faults)
        self._next.append(_Next(found, times, at))

    def forget(self) -> None:
        """Take back what `next` arranged and no request has met."""
        self._next.clear()

    def release(self) -> None:
        """Let every answer that stalls go on, now and later."""
        self._released.set()

    async def arrived(self, number: int = 1) -> Exchange:
        """Wait for the request of this number, from 1, and return its record."""
        while len(self.exchanges) < number:
            await self._news.wait()
        return self.exchanges[number - 1]

    async def idle(self) -> None:
        """Wait until no connection is open."""
        while self.open_connections:
            await self._news.wait()

    @asynccontextmanager
    async def deaf(self) -> AsyncIterator[None]:
        """Refuse connections for a while; those that are open are cut."""
        await self._stop()
        try:
            yield
        finally:
            await self._start()

    # --- its life --------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def serving(self, port: int = 0) -> AsyncIterator[FakeRepository]:
        """Listen, on a free port unless one is given. Raises `OSError` when it is taken."""
        self.port = port
        await self._start()
        try:
            yield self
        except BaseException as error:
            for defect in self._defects:
                error.add_note(f"the fake repository has a defect: {defect!r}")
            raise
        finally:
            await self._stop()
        if self._defects:
            raise ExceptionGroup("the fake repository has defects", self._defects)

    async def _start(self) -> None:
        handshake: dict[str, Any] = {"ssl_handshake_timeout": 10} if self._tls else {}
        self._listener = await asyncio.start_server(
            self._connected, self.host, self.port, ssl=self._tls, limit=LARGEST_HEAD, **handshake
        )
        self.port = self._listener.sockets[0].getsockname()[1]

    async def _stop(self) -> None:
        assert self._listener is not None
        self._listener.close()
        await asyncio.sleep(0)  # connections that were accepted a moment ago become tasks
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._listener.wait_closed()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = cast("asyncio.Task[None]", asyncio.current_task())
        self._tasks.add(task)
        self.open_connections += 1
        try:
            await self._converse(Incoming(reader), Sender(writer, self._released), writer)
        except (OSError, BadRequest, BrokenOff, asyncio.CancelledError):
            # The log shows how the exchange ended; a cancelled one was cut by the end of the test.
            pass
        except Exception as error:
            self._defects.append(error)
        finally:
            writer.close()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()
            self.open_connections -= 1
            self._tasks.discard(task)
            self._tell()

    def _tell(self) -> None:
        """Wake everybody who waits for something to happen."""
        self._news.set()
        self._news = asyncio.Event()

    async def _converse(self, incoming: Incoming, sender: Sender, writer: asyncio.StreamWriter) -> None:
        connection = next(self._connections)
        personality = self.personality
        client = writer.get_extra_info("peercert")

        async def proceed(head: Request) -> None:
            if self._choose(head)[1].expects:
                await sender.proceed()

        while (request := await incoming.request(proceed)) is not None:
            exchange = Exchange(len(self.exchanges) + 1, connection, request, None, personality.name, client)
            endpoint, personality = self._choose(request, take=True)
            exchange.endpoint, exchange.personality = endpoint, personality.name
            self.exchanges.append(exchange)
            self._tell()
            if not await self._exchange(exchange, endpoint, personality, incoming, sender):
                return

    async def _exchange(
        self,
        exchange: Exchange,
        endpoint: Endpoint | None,
        personality: Personality,
        incoming: Incoming,
        sender: Sender,
    ) -> bool:
        """One answer, watched: a client that leaves ends it. Whether the connection can be used again."""
        answer = asyncio.ensure_future(self._send(exchange, endpoint, personality, sender))
        gone = asyncio.ensure_future(incoming.left())
        try:
            await asyncio.wait({answer, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                exchange.end(Ending.LEFT)
                return False
            lasting = answer.result()
            exchange.end(Ending.WHOLE)
            return lasting
        except BrokenOff:
            exchange.end(Ending.BROKEN)
            raise
        except OSError:
            exchange.end(Ending.LEFT)
            raise
        finally:
            for task in (answer, gone):
                task.cancel()
            await asyncio.gather(answer, gone, return_exceptions=True)
            exchange.end(Ending.BROKEN)

    async def _send(
        self, exchange: Exchange, endpoint: Endpoint | None, personality: Personality, sender: Sender
    ) -> bool:
        keep_alive = exchange.request.keeps_alive
        if endpoint is None:
            return await sender.send(page(self, exchange.request), STANDARD, exchange, keep_alive=keep_alive)
        if personality.instead is not None and personality.instead.status == 0:
            await sender.bare(personality.instead.body)
            raise BrokenOff
        reply = self._answering.reply(exchange, endpoint, personality)
        return await sender.send(reply, personality, exchange, keep_alive=keep_alive)

    # --- what a request gets ---------------------------------------------------------------------------------------

    def _choose(self, request: Request, *, take: bool = False) -> tuple[Endpoint | None, Personality]:
        """The endpoint that a request is for, and the personality that answers it; `take` uses up what `next` said."""
        personality = self.personality
        path = unquote(urlsplit(request.target).path)
        name = request.field(HEADER)
        if path.startswith("/personality/"):
            name, _, rest = path.removeprefix("/personality/").partition("/")
            path = f"/{rest}"
        endpoint = cast("Endpoint", path[1:]) if path[1:] in ACTIONS else None
        try:
            personality = named(name) if name else personality
        except KeyError:
            endpoint = None
        if endpoint is None:
            return None, personality
        for fault in self._due(endpoint, take=take):
            personality = fault.on(personality)
        return endpoint, personality

    def _due(self, endpoint: Endpoint, *, take: bool) -> tuple[Fault, ...]:
        for one in self._next:
            if one.endpoint in (None, endpoint):
                one.times -= take
                if not one.times:
                    self._next.remove(one)
                return one.faults
        return ()
