"""Which server has a key, and how a connection to it is set up: one server, whoever the sentinels name, or a cluster.

What lives here: addresses, log-on and the cluster's table of slots. `redis-py` sets connections up (TLS, log-on, database);
the sentinels and the table are asked with plain commands. A table that turned out wrong is fetched anew behind the back of
the readers, at most once a second: nobody is redirected, whoever came at a bad moment has a miss.
"""

from __future__ import annotations

import asyncio
import ssl
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import unquote, urlsplit

from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection, UnixDomainSocketConnection
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

from gateway.cache import redis_faults
from gateway.cache.redis_faults import Fault
from gateway.cache.redis_lane import Call, Connected
from gateway.cache.redis_link import Deadlines, Link
from gateway.cache.redis_questions import Question
from gateway.outgoing_tls import client_context
from gateway.unusable import UnusableFile

if TYPE_CHECKING:
    from gateway.settings.caching import RedisCaching, Sentinel

CLIENT_NAME = "fhir-gateway"
"""What Redis shows connections as. No name of a host: it would tell who else is there."""

DEFAULT_PORT = 6379

AGAIN = 1.0
"""Seconds between two looks at the cluster's table."""

Address = tuple[str, int]


class Dialler:
    """Sets connections up as the configuration says. `tls` is used for addresses with `rediss://`."""

    def __init__(self, settings: RedisCaching, password: str | None, tls: ssl.SSLContext | None) -> None:
        parts = urlsplit(settings.url)
        self._settings = settings
        self._tls = tls
        named = settings.cluster or settings.sentinel is not None
        self.socket = unquote(parts.path) if parts.scheme == "unix" and not named else None
        self.address: Address = (parts.hostname or "", parts.port or DEFAULT_PORT)
        database = parts.path[1:] if parts.scheme != "unix" else ""
        self._logon: dict[str, Any] = {
            "username": settings.username or (unquote(parts.username) if parts.username else None),
            "password": password,
            "db": int(database or 0),
            "client_name": CLIENT_NAME,
        }

    async def dial(self, address: Address | None = None) -> Connected:
        """A connection to the primary server at `address`, or to the configured one."""
        connection = self.connection(address or await self.located())
        try:
            await connection.connect()  # type: ignore[no-untyped-call]
            return await introduced(connection)
        except BaseException:
            await connection.disconnect(nowait=True)
            raise

    async def located(self) -> Address:
        """Where the primary server is: as configured, or as the sentinels say. Raises `Fault`."""
        return self.address if self._settings.sentinel is None else await self._primary(self._settings.sentinel)

    def connection(self, address: Address, *, anonymous: bool = False) -> AbstractConnection:
        """A connection that was not set up yet."""
        logon = {} if anonymous else self._logon
        timeout = self._settings.connect_timeout
        # Answers as of RESP 2: replies of the newer protocol have more kinds than the cache has use for.
        common: dict[str, Any] = {"protocol": 2, "driver_info": None}
        common |= {"socket_timeout": timeout, "socket_connect_timeout": timeout}
        if self.socket is not None:
            return UnixDomainSocketConnection(path=self.socket, **common, **logon)
        host, port = address
        if self._tls is None:
            return Connection(host=host, port=port, **common, **logon)
        secured = SSLConnection(host=host, port=port, **common, **logon)
        secured.ssl_context.context = self._tls
        return secured

    async def _primary(self, sentinel: Sentinel) -> Address:
        patience = self._settings.connect_timeout / (len(sentinel.addresses) + 1)
        answered = False
        for one in sentinel.addresses:
            host, _, port = one.rpartition(":")
            connection = self.connection((host.strip("[]"), int(port)), anonymous=True)
            try:
                async with asyncio.timeout(patience):
                    await connection.connect()  # type: ignore[no-untyped-call]
                    found = (await asked(connection, ("SENTINEL", "get-master-addr-by-name", sentinel.master)))[0]
                answered = True
                if found is not None:
                    return found[0].decode(), int(found[1])
            except Exception as error:
                fault = redis_faults.of_error(error)
                answered = answered or fault.kind == redis_faults.DENIED
            finally:
                await connection.disconnect(nowait=True)
        raise Fault("no-primary", "unknown to the sentinels" if answered else "no sentinel answers")


async def asked(connection: AbstractConnection, *commands: Sequence[str | int]) -> list[Any]:
    """The replies to commands on a connection that nobody else uses."""
    await connection.send_packed_command(connection.pack_commands(commands), check_health=False)
    return [await connection.read_response() for _ in commands]


async def introduced(connection: AbstractConnection) -> Connected:
    """Take the transport of a connection over once the server has said who it is. Raises `Fault` for a replica."""
    _, about, role = await asked(connection, ("PING",), ("INFO", "server"), ("INFO", "replication"))
    if facts(role).get("role", "master") != "master":
        raise Fault(redis_faults.READ_ONLY, "this server is a replica")
    writer = connection._writer
    assert writer is not None
    transport = cast(asyncio.Transport, writer.transport)
    connection._writer = connection._reader = None
    return Connected(transport, facts(about).get("run_id", ""), writer)


def facts(info: Any) -> dict[str, str]:
    """The lines `name:value` of an INFO reply."""
    text = info.decode("utf-8", "replace") if isinstance(info, bytes) else str(info)
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)


def dialler(settings: RedisCaching) -> Dialler:
    """What connects as `settings` say. Reads files: not on the loop. Raises `OSError`, `UnusableFile`."""
    password = None
    if settings.password_file is not None:
        password = settings.password_file.read_text(encoding="utf-8").rstrip("\r\n")
        if not password:
            cause = f"The password file {settings.password_file} is empty."
            raise UnusableFile("password_file", cause, "Write the password into it, or remove the line.")
    return Dialler(settings, password, client_context(settings.tls) if settings.url.startswith("rediss:") else None)


class Servers(ABC):
    """Who is asked about a key."""

    async def ask(self, question: Question) -> tuple[list[Any], str]:
        """The replies to its commands, and the run id of the server that had the last of the keys.

        On one server they are carried out in this order. Raises `Fault`.
        """
        links = [self.link(key) for key, _ in question.keyed]
        if all(link is links[0] for link in links):
            call = await links[0].send(question.batch)
            return call.replies, call.run
        calls = [link.call(command) for link, (_, command) in zip(links, question.keyed, strict=True)]
        done = await asyncio.gather(*calls, return_exceptions=True)
        for one in done:
            if isinstance(one, BaseException):
                raise one
        answered = cast(list[Call], done)
        return [call.replies[0] for call in answered], answered[-1].run

    @abstractmethod
    def link(self, key: str) -> Link:
        """The server that has `key`. Raises `Fault`."""

    @abstractmethod
    def links(self) -> list[Link]:
        """All servers that have keys. Raises `Fault` when that is not known."""

    def doubt(self, fault: Fault) -> None:
        """Something went wrong: perhaps another server has the keys by now."""
        return None

    @abstractmethod
    async def warm(self) -> None:
        """Wait for connections, or for the failure to get them."""

    @abstractmethod
    async def close(self) -> None:
        """Reset all connections."""


class OneServer(Servers):
    """A single server, or the primary one that sentinels watch."""

    def __init__(self, dialler: Dialler, deadlines: Deadlines, lanes: int) -> None:
        self._link = Link(dialler.dial, deadlines=deadlines, lanes=lanes)

    async def ask(self, question: Question) -> tuple[list[Any], str]:
        call = await self._link.send(question.batch)
        return call.replies, call.run

    def link(self, key: str) -> Link:
        return self._link

    def links(self) -> list[Link]:
        return [self._link]

    async def warm(self) -> None:
        await self._link.warm()

    async def close(self) -> None:
        await self._link.close()


class Cluster(Servers):
    """A Redis Cluster: 16384 slots of keys, spread over primary servers (Redis cluster specification)."""

    def __init__(self, dialler: Dialler, deadlines: Deadlines, lanes: int) -> None:
        self._dialler = dialler
        self._deadlines = deadlines
        self._lanes = lanes
        self._links: dict[Address, Link] = {}
        self._table: list[Link | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        self._seed = self._linked(dialler.address)
        self._fetching: asyncio.Task[None] | None = None
        self._fetched = float("-inf")
        self._closed = False

    def link(self, key: str) -> Link:
        link = self._table[key_slot(key.encode())]
        if link is None:
            raise Fault("cluster-down")
        return link

    def links(self) -> list[Link]:
        if None in self._table:
            raise Fault("cluster-down")
        return list({id(link): link for link in self._table if link is not None}.values())

    def doubt(self, fault: Fault) -> None:
        loop = asyncio.get_running_loop()
        if self._fetching is None and not self._closed and loop.time() - self._fetched >= AGAIN:
            self._fetched = loop.time()
            self._fetching = loop.create_task(self._fetch())

    async def warm(self) -> None:
        self.doubt(Fault("cluster-down"))
        if self._fetching is not None:
            await asyncio.wait([self._fetching])
        await asyncio.gather(*(link.warm() for link in self._links.values()))

    async def close(self) -> None:
        self._closed = True
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait([self._fetching])
        for link in self._links.values():
            await link.close()

    def _linked(self, address: Address) -> Link:
        link = self._links.get(address)
        if link is None:
            dial = partial(self._dialler.dial, address)
            link = self._links[address] = Link(dial, deadlines=self._deadlines, lanes=self._lanes)
        return link

    async def _fetch(self) -> None:
        """Ask one server after the other for the table, until one has it."""
        try:
            for address, link in list(self._links.items()):
                try:
                    ranges = (await link.call(("CLUSTER", "SLOTS"))).replies[0]
                    self._take(ranges, address)
                except (Fault, ValueError, TypeError, IndexError, AttributeError):
                    continue
                return
        finally:
            self._fetching = None

    def _take(self, ranges: Any, asked: Address) -> None:
        table: list[Link | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        for first, last, primary, *_ in ranges:
            # A server that does not know its own name leaves it out.
            link = self._linked(((primary[0] or b"").decode() or asked[0], int(primary[1])))
            table[int(first) : int(last) + 1] = [link] * (int(last) + 1 - int(first))
        self._table = table[:REDIS_CLUSTER_HASH_SLOTS]
