"""Certificates that are renewed while the gateway runs.

The files are looked at every `LOOK` seconds, on a thread of their own: an event loop never waits for a disk. What changed is
used only when it makes sense as a whole, and when it looked the same twice, since a certificate and its key are two files; else
the old context stays and one log line says why.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from gateway.security.certificates import SOON, Loaded, load, marks
from gateway.security.unusable_tls import TlsProblem
from gateway.settings.server import TlsSettings
from gateway.workers import Workers

LOOK = 2.0
"""Seconds between two looks at the files."""

REMIND = 86_400.0
"""Seconds between two warnings that the certificate is about to expire."""


class Renewal:
    """The TLS context in use, and the watch over its files."""

    def __init__(self, settings: TlsSettings, *, demand: bool, log: Any, look: float = LOOK) -> None:
        self._settings = settings
        self._demand = demand
        self._log = log
        self._look = look
        self._workers = Workers("tls", 1)
        self._marks: tuple[object, ...] = ()
        self._ends = datetime.max.replace(tzinfo=UTC)
        self._reminded = float("-inf")
        self.context: ssl.SSLContext | None = None
        """The one in use; None before `load`."""

    async def load(self) -> None:
        """Read the files for the first time. Raises `TlsProblem`."""
        self._marks = await self._on_thread(marks, self._settings)
        loaded: Loaded = await self._on_thread(lambda: load(self._settings, demand=self._demand))
        self._say(loaded)
        self.context = loaded.context

    async def watch(self, use: Callable[[ssl.SSLContext], None]) -> None:
        """For as long as the gateway runs: hand every good new context to `use`."""
        seen = self._marks
        while True:
            await asyncio.sleep(self._look)
            self._remind()
            found: tuple[object, ...] = await self._on_thread(marks, self._settings)
            settled, seen = found == seen, found
            if found == self._marks or not settled:
                continue
            self._marks = found
            try:
                loaded: Loaded = await self._on_thread(lambda: load(self._settings, demand=self._demand))
            except TlsProblem as problem:
                self._log.error(
                    "new TLS files cannot be used, the old ones stay in use",
                    detail=f"server.tls.{problem.option}: {problem} {problem.cure}",
                )
                continue
            if await self._on_thread(marks, self._settings) != found:
                # They changed while they were read: what was read may be half old and half new.
                self._marks = ()
                continue
            self._log.info("TLS files read again", detail=f"valid until {loaded.ends:%Y-%m-%d}")
            self._say(loaded)
            self.context = loaded.context
            use(loaded.context)

    def close(self) -> None:
        """Give the thread back; one that hangs in a disk is not waited for."""
        self._workers.shutdown(wait=False)

    def _say(self, loaded: Loaded) -> None:
        self._ends = loaded.ends
        for remark in loaded.remarks:
            say = self._log.error if remark.serious else self._log.warning
            say("TLS certificate needs attention", detail=f"server.tls.{remark.option}: {remark.text}. {remark.cure}")
        self._reminded = asyncio.get_running_loop().time()

    def _remind(self) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._reminded >= REMIND and self._ends - datetime.now(UTC) < SOON:
            self._reminded = now
            self._log.warning("TLS certificate needs attention", detail=f"it expires on {self._ends:%Y-%m-%d}")

    async def _on_thread(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._workers, function, *arguments)
