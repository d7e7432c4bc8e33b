"""The Redis cache obeys the contract, over a real server."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager

import pytest

from gateway.cache import Limits
from gateway.cache.redis import RedisCache
from gateway.cache.sealing import CacheKey
from tests.conformance.cache_kit import BUDGET, KEYS, CacheConformance, CacheHarness
from tests.support.redis import RedisServer, redis


class RedisHarness(CacheHarness):
    """A server of its own kind for all checks, emptied before each."""

    shared = persistent = at_rest = encrypted = vanishes = True
    evicts = False
    overhead = 16 << 20  # what it says is kept is what the whole server uses

    def __init__(self, server: RedisServer) -> None:
        self.server = server

    def cache(
        self, *, limits: Limits | None = None, budget: int = BUDGET, keys: Sequence[CacheKey] = KEYS
    ) -> RedisCache:
        limits = limits or Limits()
        return self.server.cache(
            keep=limits.keep, max_document=limits.max_document, keys=keys, operation_timeout="500ms"
        )

    async def entries(self) -> Mapping[str, Mapping[str, bytes]]:
        return await asyncio.to_thread(self._entries)

    def _entries(self) -> dict[str, dict[str, bytes]]:
        with self.server.raw() as raw:
            found = {}
            for key in raw("KEYS", "*:d"):
                flat = raw("HGETALL", key)
                found[key.decode()] = {name.decode(): data for name, data in zip(flat[::2], flat[1::2], strict=True)}
            return found

    async def lay(self, entry: str, part: str, data: bytes | None) -> None:
        words = ("HDEL", entry, part) if data is None else ("HSET", entry, part, data)
        await asyncio.to_thread(self.server.ask, *words)

    async def everything(self) -> Sequence[bytes]:
        with self.server.raw() as raw:
            names: list[bytes] = raw("KEYS", "*")
            return [*names, *(raw("DUMP", name) for name in names), *await super().everything()]

    @asynccontextmanager
    async def away(self) -> AsyncIterator[None]:
        self.server.process.signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.server.process.signal(signal.SIGCONT)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


class TestRedisCache(CacheConformance):
    harness_class = RedisHarness

    @pytest.fixture
    def harness(self, server: RedisServer) -> RedisHarness:
        server.ask("FLUSHALL")
        return RedisHarness(server)
