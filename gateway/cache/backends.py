"""From the settings of the cache to the cache: which backend, with which keys, under which policy.

The one place that knows all backends, each imported only when it is configured. Key files are read here.
"""

from __future__ import annotations

from adapters.contract import Log
from gateway.cache import Cache, Limits, NoCache
from gateway.cache.policy import Policy
from gateway.keyfile import read_key
from gateway.settings.caching import (
    Caching,
    DiskCaching,
    Encrypted,
    MemoryCaching,
    NoCaching,
    Unencrypted,
)

SPOOLED = 32 << 20
"""The largest document that a fill reads whole where nothing is kept."""


def policy_of(settings: Caching) -> Policy:
    """When what is stored may be used."""
    if isinstance(settings, NoCaching):
        return Policy()
    return Policy(
        ttl=settings.ttl,
        stale_while_revalidate=settings.stale_while_revalidate,
        stale_if_error=settings.stale_if_error,
        patience=settings.patience,
        negative=settings.negative_ttl,
    )


def max_document_of(settings: Caching) -> int:
    """The size in bytes up to which a document is read whole for all who ask."""
    return SPOOLED if isinstance(settings, NoCaching) else settings.max_document


def make_cache(settings: Caching, log: Log | None = None) -> Cache:
    """The configured backend, not yet entered; `log` is for what an operator has to know of it.

    Raises `OSError` or `ValueError` when a key file cannot be used.
    """
    if isinstance(settings, NoCaching):
        return NoCache(Limits())
    limits = Limits(keep=policy_of(settings).keep, max_document=settings.max_document)
    if isinstance(settings, MemoryCaching):
        from gateway.cache.memory import MemoryCache

        return MemoryCache(limits, max_bytes=settings.max_bytes)
    from gateway.cache.sealing import CacheKey, Keyring

    encryption: Encrypted | Unencrypted = settings.encryption
    keys = encryption.keys if isinstance(encryption, Encrypted) else ()
    keyring = Keyring([CacheKey(key.id, read_key(key.file)) for key in keys])
    if isinstance(settings, DiskCaching):
        from gateway.cache.disk import DiskCache

        return DiskCache(limits, keyring, settings.directory, max_bytes=settings.max_bytes, log=log)
    from gateway.cache.redis import RedisCache

    return RedisCache(limits, keyring, settings)
