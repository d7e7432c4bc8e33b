"""What changes in a process without a request's doing is logged, once each time: the cache, the loop, certificates.

Archives, key sets, the audit trail and the public certificate say for themselves how they are; what has no voice of its own is
looked at here, from time to time.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime

from gateway.observed import Observed

LOOK = 1.0
"""Seconds between two looks."""

LATE = 1.0
"""Seconds of lateness of the event loop from which on it is spoken of."""

AGAIN = 60.0
"""Seconds between two lines about a loop that goes on being late."""

SOON_DAYS = 14

DAILY = 86_400.0


class Notices:
    """Looks at one process."""

    def __init__(self, observed: Observed) -> None:
        self._observed = observed
        self._log = observed.telemetry.log
        self._cache_away = False
        self._late_at = self._certificates_at = float("-inf")

    async def watch(self) -> None:
        """For as long as the gateway runs."""
        while True:
            await asyncio.sleep(LOOK)
            self.look()

    def look(self) -> None:
        """Look once."""
        self._cache()
        self._loop()
        self._certificates()

    def _cache(self) -> None:
        cache = self._observed.cache
        away = cache is not None and cache.away
        if away != self._cache_away:
            self._cache_away = away
            if away:
                self._log.warning("cache is away", component="cache", detail="documents come from the archives alone")
            else:
                self._log.info("cache is back", component="cache")

    def _loop(self) -> None:
        now, lag = time.monotonic(), self._observed.heartbeat.lag
        if lag >= LATE and now - self._late_at >= AGAIN:
            self._late_at = now
            self._log.warning("event loop is late", seconds=round(lag, 3), detail="every request waited for so long")

    def _certificates(self) -> None:
        """Those that the public listener shows are told about by `renewal`, which knows them sooner."""
        certificates, now = self._observed.certificates, time.monotonic()
        if certificates is None or not certificates.ends or now - self._certificates_at < DAILY:
            return
        self._certificates_at = now
        for key, ends in certificates.ends.items():
            if key == "server.tls.certificate":
                continue
            days = None if ends is None else (ends - datetime.now(UTC)).days
            if days is None or days < SOON_DAYS:
                detail = f"{key}: cannot be read" if ends is None else f"{key}: it expires on {ends:%Y-%m-%d}"
                self._log.warning("certificate needs attention", detail=detail)
