"""The backends of a model: small ones, so that entries are thrown out too, and a Redis that has every trouble."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from gateway.cache import Cache, Limits
from gateway.cache.disk import DiskCache
from gateway.cache.memory import MemoryCache
from gateway.cache.redis import RedisCache
from gateway.cache.sealing import CacheKey, Keyring
from gateway.settings.caching import RedisCaching
from tests.support.cache_model.places import MAX_DOCUMENT, POLICY, Place, objects, processes
from tests.support.cache_model.troubled_redis import troubled_redis
from tests.support.fragile import Archive

BACKENDS = ("memory", "disk", "redis")


def make_caches(backend: str, folder: Path, port: int) -> list[Cache]:
    """The caches of gateways in one process. Small ones, so that entries are thrown out too."""
    limits = Limits(keep=POLICY.keep, max_document=MAX_DOCUMENT)
    if backend == "memory":
        return [MemoryCache(limits, max_bytes=4 << 20)]
    keyring = Keyring([CacheKey("k1", bytes(32))])
    if backend == "disk":
        return [DiskCache(limits, keyring, folder / "cache", max_bytes=4 << 20)]
    settings = RedisCaching.model_validate(make_settings(backend, folder, port))
    return [RedisCache(limits, keyring, settings) for _ in range(2)]


def make_settings(backend: str, folder: Path, port: int) -> dict[str, Any]:
    """The settings of the cache of gateways that are processes."""
    if backend == "memory":
        return {"backend": "memory", "max_bytes": "4MiB"}
    key = folder / "cache.key"
    key.write_bytes(bytes(range(32)))
    encryption = {"mode": "aes-256-gcm", "keys": [{"id": "k1", "file": str(key)}]}
    if backend == "redis":
        return {"backend": "redis", "url": f"redis://127.0.0.1:{port}/0", "encryption": encryption}
    return {"backend": "disk", "directory": str(folder / "cache"), "max_bytes": "4MiB", "encryption": encryption}


@asynccontextmanager
async def made(backend: str, folder: Path, stores: Mapping[str, Archive], *, killing: bool) -> AsyncIterator[Place]:
    """The place for a backend; two gateways over one Redis."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(troubled_redis(folder)) if backend == "redis" else None
        port = server.port if server else 0
        place: Place
        if killing:
            settings = make_settings(backend, folder, port)
            place = await stack.enter_async_context(processes(stores, folder, settings, 2 if server else 1))
        else:
            place = await stack.enter_async_context(objects(stores, make_caches(backend, folder, port)))
        if server:
            place.disturbances.update(server.disturbances())
        yield place
