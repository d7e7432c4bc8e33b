"""A real Redis for a model: killed, stopped, emptied, too small, and behind a network that fails."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from adapters.testing.proxy import LoopbackProxy
from tests.support.cache_model.network import spoiled
from tests.support.ports import free_port
from tests.support.redis import RedisServer, redis

ROOM = ("--maxmemory", "6mb", "--maxmemory-policy", "allkeys-lru")
"""Less than the documents of a model take, so that entries are evicted all the time."""


class TroubledRedis:
    """`port` is that of the network in front of it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = ExitStack()
        self._port = free_port()
        self.server: RedisServer = self._start()
        self.proxy = LoopbackProxy("127.0.0.1", self._port)
        self.port = self.proxy.port

    def _start(self) -> RedisServer:
        return self._stack.enter_context(redis(self._folder, *ROOM, port=self._port))

    def close(self) -> None:
        self.proxy.close()
        self._stack.close()

    def disturbances(self) -> Mapping[str, Callable[[random.Random], Any]]:
        return {
            "redis killed": self._kill,
            "redis stopped": self._stop,
            "redis emptied": self._empty,
            "redis network": self._network,
        }

    async def _kill(self, dice: random.Random) -> None:
        self.server.process.signal(signal.SIGKILL)
        await asyncio.to_thread(self._stack.close)
        await asyncio.sleep(dice.uniform(0, 0.5))
        self.server = await asyncio.to_thread(self._start)

    async def _stop(self, dice: random.Random) -> None:
        self.server.process.signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(dice.uniform(0.05, 0.6))
        finally:
            self.server.process.signal(signal.SIGCONT)

    async def _empty(self, dice: random.Random) -> None:
        with suppress(OSError):
            await asyncio.to_thread(self.server.ask, "FLUSHALL")

    async def _network(self, dice: random.Random) -> None:
        await spoiled(self.proxy, dice)


@asynccontextmanager
async def troubled_redis(folder: Path) -> AsyncIterator[TroubledRedis]:
    server = await asyncio.to_thread(TroubledRedis, folder)
    try:
        yield server
    finally:
        await asyncio.to_thread(server.close)
