"""Where the keys of one issuer come from, and how they stay fresh: one reading at a time, not too often, a good set kept.

Rules of this module:
1. A request waits for a reading only when its token names a key that is not known, and only when a reading is allowed: at
   most one per cooldown, whoever asks for it. All who need one wait for the same one.
2. A key that was looked for and not found is remembered for a while, so that one bad token cannot cause a reading each time.
3. A reading that fails changes nothing but the log: the set in use stays, for at least a day. Then it is no longer believed.
4. Where the bytes come from (a file, a web address) is a `Fetch`; nothing here does I/O of its own.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from gateway.following import Follower
from gateway.security.fetching import Fetch, Unreadable
from gateway.security.jose import Parts
from gateway.security.keyset import KeySet, TrustedKey, UnusableKeySet, read_key_set

REMEMBERED_KIDS = 1024
"""Ids of keys that are not in the set, about 100 KiB when full."""

KID_SECONDS = 300.0
"""How long an id that is in no set is not looked for again."""

REFRESH_PART = 0.8
"""The part of the refresh time after which the set is read again in the background, so that no request meets an old one."""


class KeysUnavailable(Exception):
    """There is no key set, or none that is young enough to be believed."""


@dataclass(frozen=True, slots=True)
class Freshness:
    """How often a set is read, in seconds: when it is old, how far readings are apart, how long the last good one is kept."""

    refresh: float = 300.0
    cooldown: float = 30.0
    keep: float = 86_400.0


class KeySource:
    """The keys of one issuer. An asynchronous context: entering reads them, leaving stops the reading."""

    def __init__(
        self,
        algorithms: Sequence[str],
        fetch: Fetch,
        log: Any,
        freshness: Freshness = Freshness(),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._algorithms = algorithms
        self._fetch = fetch
        self._log = log
        self._freshness = freshness
        self._clock = clock
        self._reading: asyncio.Task[None] | None = None
        self._follower = Follower(self._read_once, self._wait, name="key set", failed=self._defect)
        self._tried: float | None = None
        self._good_at = 0.0
        self._text = b""
        self._missing: OrderedDict[str, float] = OrderedDict()
        self.keys: KeySet | None = None
        self.failure: str | None = None
        self.generation = 0
        """Grows whenever a key leaves or changes: what was verified before has to be verified again."""

    async def __aenter__(self) -> Self:
        """An issuer that is away is no reason not to start: `failure` says so, and it is asked again."""
        await self._read_once()
        self._follower.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._follower.stop()
        reading, self._reading = self._reading, None
        if reading is not None:
            reading.cancel()
            with suppress(asyncio.CancelledError):
                await reading

    async def find(self, parts: Parts) -> TrustedKey | None:
        """The key that is said to have signed; None when the issuer has no such key. Raises `KeysUnavailable`, `Refused`."""
        key = self._known(parts)
        if key is None and self._may_look_again(parts.key_id):
            await self._read_once()
            key = self._known(parts)
            if key is None and self.failure is None:
                self._remember(parts.key_id)
        if key is None and (self.keys is None or self.stale):
            raise KeysUnavailable
        return key

    @property
    def stale(self) -> bool:
        """Whether the set is too old to be believed."""
        return self._clock() - self._good_at > self._freshness.keep

    @property
    def believed(self) -> float:
        """For how many seconds more the set is believed if it cannot be read again; negative when it is not any more."""
        return self._freshness.keep - (self._clock() - self._good_at)

    def _known(self, parts: Parts) -> TrustedKey | None:
        return None if self.keys is None or self.stale else self.keys.find(parts.key_id, parts.algorithm)

    def _may_look_again(self, key_id: str | None) -> bool:
        if self._reading is not None:
            # One is on its way, and nothing more is asked of the issuer by waiting for it.
            return True
        if self._tried is not None and self._clock() - self._tried < self._freshness.cooldown:
            return False
        return self._clock() >= self._missing.get(key_id or "", 0.0)

    def _remember(self, key_id: str | None) -> None:
        self._missing[key_id or ""] = self._clock() + KID_SECONDS
        self._missing.move_to_end(key_id or "")
        while len(self._missing) > REMEMBERED_KIDS:
            self._missing.popitem(last=False)

    async def _read_once(self) -> None:
        """Read the set, or wait for the reading that is under way. A request that leaves does not end it for the others."""
        if self._reading is None:
            self._tried = self._clock()
            self._reading = asyncio.create_task(self._read(), name="reading a key set")
            self._reading.add_done_callback(self._read_ended)
        await asyncio.shield(self._reading)

    def _read_ended(self, task: asyncio.Task[None]) -> None:
        self._reading = None

    async def _read(self) -> None:
        try:
            text = await self._fetch()
            keys = self.keys if text == self._text and self.keys else read_key_set(text, self._algorithms)
        except (Unreadable, UnusableKeySet) as error:
            self._failed(str(error))
            return
        except Exception as error:
            self._defect(error)
            return
        self._good_at, self._text = self._clock(), text
        self._took(keys)

    def _defect(self, error: Exception) -> None:
        self._failed(type(error).__name__)

    def _failed(self, failure: str) -> None:
        if self.failure != failure:
            self._log.warning("key set could not be read", detail=failure, state="none" if self.keys is None else "old")
        self.failure = failure

    def _took(self, keys: KeySet) -> None:
        if self.failure is not None:
            self._log.info("key set is readable again")
            self.failure = None
        if self.keys is not None and (keys is self.keys or _same(keys, self.keys)):
            return
        if self.keys is not None:
            self.generation += 1
            self._log.info("key set changed", count=len(keys.keys))
        for reason in keys.ignored:
            self._log.info("key ignored", detail=reason)
        self.keys = keys
        self._missing.clear()

    def _wait(self) -> float:
        waits = self._freshness.refresh * REFRESH_PART
        return min(waits, self._freshness.cooldown) if self.failure is not None else waits


def _same(one: KeySet, other: KeySet) -> bool:
    return [_facts(key) for key in one.keys] == [_facts(key) for key in other.keys]


def _facts(key: TrustedKey) -> tuple[object, ...]:
    return key.id, key.algorithms, key.key.thumbprint()
