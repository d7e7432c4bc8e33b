"""How much one client may ask, and when it looks as if somebody were guessing ids.

Pure: counts over a clock that is handed in. Memory is bounded: of more clients than `REMEMBERED` those that asked longest ago
are forgotten, which at worst lets one of them begin again.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

REMEMBERED = 10_000
"""Clients whose counts are kept: about 2 MiB."""

Clock = Callable[[], float]
"""Seconds that only grow."""


@dataclass(slots=True)
class _Bucket:
    tokens: float
    filled: float


class Rates:
    """A bucket of requests for each client: `burst` at once, then as many as run in with `per_minute`."""

    def __init__(self, per_minute: int | None, burst: int, clock: Clock) -> None:
        """Without `per_minute` there is no limit."""
        self._per_second = None if per_minute is None else per_minute / 60
        self._burst = float(burst)
        self._clock = clock
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def wait(self, client: str) -> int:
        """Takes one request out of the client's bucket; 0 when it may be served, else after how many seconds to ask again."""
        if self._per_second is None:
            return 0
        now = self._clock()
        bucket = self._buckets.get(client)
        if bucket is None:
            bucket = self._buckets[client] = _Bucket(self._burst, now)
            if len(self._buckets) > REMEMBERED:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(client)
            bucket.tokens = min(self._burst, bucket.tokens + (now - bucket.filled) * self._per_second)
            bucket.filled = now
        if bucket.tokens >= 1:
            bucket.tokens -= 1
            return 0
        return max(1, math.ceil((1 - bucket.tokens) / self._per_second))


@dataclass(slots=True)
class _Window:
    began: float
    count: int = 0


class Enumeration:
    """Counts the ids that led a client to no document, in windows of time."""

    def __init__(self, limit: int | None, window: float, clock: Clock) -> None:
        """`window` in seconds; without `limit` nothing is ever alarming."""
        self._limit = limit
        self._window = window
        self._clock = clock
        self._seen: OrderedDict[str, _Window] = OrderedDict()

    def alarming(self, client: str) -> bool:
        """Notes one more; true for the one that reaches the limit, once in a window."""
        if self._limit is None:
            return False
        now = self._clock()
        window = self._seen.get(client)
        if window is None or now - window.began >= self._window:
            window = self._seen[client] = _Window(now)
            if len(self._seen) > REMEMBERED:
                self._seen.popitem(last=False)
        self._seen.move_to_end(client)
        window.count += 1
        return window.count == self._limit
