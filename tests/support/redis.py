"""A real Redis server for one test: in memory alone, on a free port or a socket, gone afterwards.

    with redis(tmp_path) as server:
        async with server.cache(encryption=...) as cache:
            ...

Sentinels and clusters are made of the same program. `Raw` is a plain client of the tests' own, so that what lies in Redis
is looked at without the code under test.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import hiredis

from gateway.cache import Limits
from gateway.cache.redis import RedisCache
from gateway.cache.sealing import CacheKey, Keyring
from gateway.settings.caching import RedisCaching
from tests.support.ports import LOOPBACK, free_port
from tests.support.process import Server, require, running

KEYS = (CacheKey("k1", bytes(range(32))),)

PLAIN = {"mode": "none"}
"""The setting `encryption`, which `RedisCache` itself does not read."""

PATIENCE = 2.0
"""Seconds for an operation where its deadline is not what a test is about: the machine may be busy."""


class Raw:
    """A blocking client: one connection, replies as hiredis gives them, error replies raised."""

    def __init__(self, address: str | tuple[str, int]) -> None:
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._socket.settimeout(10)
        try:
            self._socket.connect(address)
        except OSError:
            self._socket.close()
            raise
        self._reader = hiredis.Reader(notEnoughData=...)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, *command: Any) -> None:
        self._socket.sendall(hiredis.pack_command(command))

    def receive(self) -> Any:
        while (reply := self._reader.gets()) is ...:
            data = self._socket.recv(1 << 16)
            if not data:
                raise ConnectionError("Redis closed the connection")
            self._reader.feed(data)
        return reply

    def __call__(self, *command: Any) -> Any:
        self.send(*command)
        reply = self.receive()
        if isinstance(reply, hiredis.ReplyError):
            raise reply
        return reply


@dataclass
class RedisServer:
    """A server that runs."""

    process: Server
    port: int
    directory: Path
    socket: Path | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    """Settings that this server needs from whoever connects."""

    @property
    def url(self) -> str:
        return f"redis://{LOOPBACK}:{self.port}/0"

    def raw(self) -> Raw:
        """A client to look into it with."""
        return Raw((LOOPBACK, self.port))

    def ask(self, *command: Any) -> Any:
        """One command on a connection of its own."""
        with self.raw() as raw:
            return raw(*command)

    def names(self, pattern: str = "*") -> list[str]:
        """The names of the keys it holds."""
        return sorted(key.decode() for key in self.ask("KEYS", pattern))

    def cache(self, **settings: Any) -> RedisCache:
        """A cache over it; `keep`, `keys` and `max_document` are the cache's own, all others settings."""
        return cache(**{"url": self.url, **self.settings, **settings})


def cache(
    *,
    keep: float = 60.0,
    keys: Sequence[CacheKey] = KEYS,
    max_document: int = 128 << 20,
    **settings: Any,
) -> RedisCache:
    """A cache with these settings and deadlines for a busy machine."""
    patient = {"connect_timeout": f"{PATIENCE}s", "operation_timeout": f"{PATIENCE}s"}
    chosen = RedisCaching.model_validate({"backend": "redis", "encryption": PLAIN, **patient, **settings})
    return RedisCache(Limits(keep, max_document), Keyring(keys), chosen)


@contextlib.contextmanager
def redis(
    directory: Path,
    *options: str,
    name: str = "redis",
    port: int | None = None,
    settings: dict[str, Any] | None = None,
    ready: bool = True,
) -> Iterator[RedisServer]:
    """Start a server with these command line options; keeps nothing on disk unless they say so."""
    port = free_port() if port is None else port
    home = directory / f"{name}-{port}"
    home.mkdir(exist_ok=True)
    given = [] if "--port" in options else ["--port", str(port)]
    command = [
        require("redis-server"), *given, "--bind", LOOPBACK, "--save", "", "--appendonly", "no",
        "--dir", str(home), "--daemonize", "no", *options,
    ]  # fmt: skip
    server = RedisServer(None, port, home, settings=settings or {})  # type: ignore[arg-type]
    with running(name, command, log=home / "log", ready=lambda _: not ready or _answers(server)) as process:
        server.process = process
        yield server


def _answers(server: RedisServer) -> bool:
    try:
        return bool(server.ask("PING"))
    except OSError:
        return False
    except hiredis.ReplyError as error:
        return str(error).startswith("NOAUTH")


@contextlib.contextmanager
def sentinel(directory: Path, primary: int) -> Iterator[RedisServer]:
    """A sentinel that watches the primary server at this port under the name "letters"; two of three decide."""
    port = free_port()
    file = directory / f"sentinel-{port}.conf"
    watched = f"sentinel monitor letters {LOOPBACK} {primary} 2\nsentinel down-after-milliseconds letters 500\n"
    file.write_text(f"{watched}sentinel failover-timeout letters 3000\nport {port}\nbind {LOOPBACK}\n")
    command = [require("redis-server"), str(file), "--sentinel"]
    server = RedisServer(None, port, directory)  # type: ignore[arg-type]
    log = directory / f"sentinel-{port}.log"
    with running("sentinel", command, log=log, ready=lambda _: _answers(server)) as process:
        server.process = process
        yield server


class Bytes:
    """A body in memory. `before` is awaited with the offset of each read."""

    def __init__(self, data: bytes, *, before: Callable[[int], Awaitable[None]] | None = None) -> None:
        self.data = data
        self._before = before

    @property
    def size(self) -> int:
        return len(self.data)

    async def read(self, offset: int, length: int) -> bytes:
        if self._before is not None:
            await self._before(offset)
        return self.data[offset : offset + length]


def eventually(condition: Callable[[], bool], *, seconds: float = 5.0) -> None:
    """Wait, blocking, until something holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.01)
