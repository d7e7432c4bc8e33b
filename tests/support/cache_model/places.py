"""The gateways that a model asks: objects in this process, or processes that may be killed, one or two over one cache.

A place tells its addresses, purges, and breaks what a place can break. Everything is the product's own code but the archive.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from adapters.testing.proxy import LoopbackProxy
from gateway.cache import Cache, PurgePending, Scope
from gateway.cache.policy import Policy
from gateway.shared import Sharing
from gateway.source import Limits
from tests.support.cache_model.archive import KINDS, archive_server, lay_out
from tests.support.cache_model.network import spoiled
from tests.support.cache_model.reading import Client
from tests.support.fragile import Archive
from tests.support.gateway import PROJECT, Gateway, serving
from tests.support.ports import free_port
from tests.support.service import Service, service

POLICY = Policy(ttl=0.4, stale_while_revalidate=0.2, stale_if_error=1.5, patience=0.3, negative=0.2)
MAX_DOCUMENT = 1 << 20
LIMITS = Limits(queue_timeout=0.3, open_timeout=0.6, idle_timeout=0.6, repair_timeout=0.5, breaker_pause=0.1)
LINGERS = LIMITS.open_timeout + LIMITS.repair_timeout + LIMITS.breaker_pause
"""Seconds for which what an archive did has consequences: then every call of that time has ended, and so has its rest."""

SOURCES = {"letters": "able", "scans": "stable", "faxes": "mute"}
"""Each kind of archive under a name; the first has the ids without a prefix."""


class Place(ABC):
    """Gateways over one cache."""

    ports: list[int]

    def __init__(self) -> None:
        self.disturbances: dict[str, Callable[[random.Random], Any]] = {}
        """What can go wrong here, by name: coroutine functions that do it once and let it pass."""

    @abstractmethod
    async def purge(self, replica: int, scope: Scope) -> bool:
        """Purge by one of the gateways; whether it was acknowledged."""

    def lines(self, request_id: str) -> list[dict[str, Any]]:
        """What the gateways logged of one request."""
        return []


# --- in this process -------------------------------------------------------------------------------------------------


class Objects(Place):
    """Gateways as objects of this process, each with its own cache object."""

    def __init__(self, running: Sequence[Service]) -> None:
        super().__init__()
        self._running = running
        self.ports = [one.port for one in running]

    async def purge(self, replica: int, scope: Scope) -> bool:
        upkeep = self._running[replica].upkeep
        assert upkeep is not None
        try:
            if scope.locator is not None:
                await upkeep.purge_id(prefix(str(scope.source)) + scope.locator)
            elif scope.source is not None:
                await upkeep.purge_source(scope.source)
            else:
                await upkeep.purge_all()
        except PurgePending:
            return False
        return True


@asynccontextmanager
async def objects(archives: Mapping[str, Archive], caches: Sequence[Cache], **more: Any) -> AsyncIterator[Objects]:
    """One gateway for each cache, in this process."""
    async with AsyncExitStack() as stack:
        running = []
        for cache in caches:
            await stack.enter_async_context(cache)
            settings: dict[str, Any] = {
                "sharing": Sharing(keeps=True, max_document=MAX_DOCUMENT),
                "cache": cache,
                "policy": POLICY,
                "limits": LIMITS,
                "spool_bytes": 64 << 20,
            }
            makers = {name: archive.make() for name, archive in archives.items()}
            running.append(await stack.enter_async_context(service(makers, **settings | more)))
        yield Objects(running)


def prefix(source: str) -> str:
    return "" if source == next(iter(SOURCES)) else f"{source}."


# --- processes -------------------------------------------------------------------------------------------------------


class Processes(Place):
    """Gateways as processes, started anew when they were killed; their archive is behind a network that fails."""

    def __init__(self, folder: Path, cache: Mapping[str, Any], replicas: int, proxy: LoopbackProxy) -> None:
        super().__init__()
        self._folder = folder
        self._environ = dict(os.environ) | {
            "PYTHONPATH": os.pathsep.join([str(lay_out(folder / "site")), str(PROJECT)])
        }
        self._cache = cache
        self._proxy = proxy
        self.ports = [free_port() for _ in range(replicas)]
        self._admin = [free_port() for _ in range(replicas)]
        self._stacks = [ExitStack() for _ in range(replicas)]
        self._running: list[Gateway] = []
        self._starts = 0
        self.disturbances = {"gateway killed": self._kill, "network": self._network}

    async def __aenter__(self) -> Processes:
        self._running = list(
            await asyncio.gather(*(asyncio.to_thread(self._start, at) for at in range(len(self.ports))))
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        for stack in self._stacks:
            await asyncio.to_thread(stack.close)

    def _start(self, replica: int) -> Gateway:
        self._starts += 1
        sources = {
            name: {
                "adapter": "model",
                "prefix": prefix(name),
                "ids": {"scheme": "template", "pattern": "{id}"},
                "options": {"port": self._proxy.port, "kind": kind},
                "cache": True,
                "limits": {
                    "queue_timeout": "300ms",
                    "open_timeout": "600ms",
                    "idle_timeout": "600ms",
                    "repair_timeout": "500ms",
                    "breaker_pause": "100ms",
                },
            }
            for name, kind in SOURCES.items()
        }
        configuration = {
            "server": {"port": self.ports[replica]},
            "admin": {"port": self._admin[replica]},
            "log": {"level": "info"},
            "cache": {
                "ttl": "400ms",
                "stale_while_revalidate": "200ms",
                "stale_if_error": "1500ms",
                "patience": "300ms",
                "negative_ttl": "200ms",
                "max_document": "1MiB",
                **self._cache,
            },
            "sources": sources,
        }
        home = self._folder / f"gateway-{replica}-{self._starts}"
        return self._stacks[replica].enter_context(serving(configuration, home, environ=self._environ))

    def lines(self, request_id: str) -> list[dict[str, Any]]:
        texts = [log.read_text(errors="replace") for log in sorted(self._folder.glob("gateway-*/gateway.log"))]
        return [json.loads(line) for text in texts for line in text.splitlines() if f'"{request_id}"' in line]

    async def purge(self, replica: int, scope: Scope) -> bool:
        if scope.locator is not None:
            asked: dict[str, Any] = {"id": prefix(str(scope.source)) + scope.locator}
        else:
            asked = {"source": scope.source} if scope.source is not None else {"all": True}
        body = json.dumps(asked).encode()
        fields = ("Content-Type: application/json", f"Content-Length: {len(body)}")
        async with Client("127.0.0.1", self._admin[replica]) as client:
            answer = await client.ask("/cache/purge", *fields, method="POST", body=body)
        return answer.status == 200

    async def _kill(self, dice: random.Random) -> None:
        replica = dice.randrange(len(self._running))
        self._running[replica].server.signal(signal.SIGKILL)
        await asyncio.to_thread(self._stacks[replica].close)
        self._stacks[replica] = ExitStack()
        self._running[replica] = await asyncio.to_thread(self._start, replica)

    async def _network(self, dice: random.Random) -> None:
        """Between the gateways and the archive."""
        await spoiled(self._proxy, dice)


@asynccontextmanager
async def processes(
    archives: Mapping[str, Archive], folder: Path, cache: Mapping[str, Any], replicas: int = 1
) -> AsyncIterator[Processes]:
    """Gateways as processes, with these settings of the cache."""
    from tests.support.smb_share import lent

    with lent() as services:
        adapters = {name: archive.make()(name, services) for name, archive in archives.items()}
        async with archive_server(adapters) as port:
            with LoopbackProxy("127.0.0.1", port) as proxy:
                async with Processes(folder, cache, replicas, proxy) as place:
                    yield place


def archives() -> dict[str, Archive]:
    """Empty ones, so slow that reads of them overlap with each other and with what is written."""
    return {name: Archive(capabilities=KINDS[kind], chunk=32_000, pause=0.004) for name, kind in SOURCES.items()}
