"""One process at a time asks the archive for a document; the others wait a little for what it stores, then ask themselves.

A claim spares the archive, and nothing depends on it: it ends by itself, and a process that died with one delays the others by
no more than `FOLLOW_SECONDS`.
"""

from __future__ import annotations

import asyncio
import time

from gateway.cache import Cache, Key, Record

CLAIM_SECONDS = 2.0
"""How long a claim on a document holds unless it is renewed."""

FOLLOW_SECONDS = 1.0
"""How long a process waits for another one's claim to become an entry before it asks the archive itself."""

POLL_SECONDS = 0.05


class Claim:
    """The claim of this process on one document, of which it has `seen` an entry that is of no use, or none."""

    def __init__(self, cache: Cache, key: Key, seen: Record | None) -> None:
        self._cache = cache
        self._key = key
        self._seen = seen
        self._renewed = 0.0

    async def elsewhere(self) -> bool:
        """Whether another process stored the document while this one waited for it."""
        until = time.monotonic() + FOLLOW_SECONDS
        while not await self._cache.claim(self._key, CLAIM_SECONDS):
            if time.monotonic() >= until:
                return False
            await asyncio.sleep(POLL_SECONDS)
            look = await self._cache.look(self._key)
            if look.hit is not None:
                look.hit.close()
                if look.hit.record != self._seen:
                    return True
        self._renewed = time.monotonic()
        return False

    async def renew(self) -> None:
        """Keep the claim while bytes come."""
        now = time.monotonic()
        if self._renewed and now - self._renewed > CLAIM_SECONDS / 3:
            self._renewed = now
            await self._cache.claim(self._key, CLAIM_SECONDS)

    async def release(self) -> None:
        """Let the others ask."""
        if self._renewed:
            self._renewed = 0.0
            await self._cache.release(self._key)
