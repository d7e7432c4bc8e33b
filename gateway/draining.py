"""The end of a serving process: who asked for it, and the steps in which it happens.

Nothing that began is broken off before its time: readiness is withdrawn first, and connections are still taken while load
balancers find out; then nobody new is let in, running answers end, and only what outlasts every deadline is reset.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from gateway.fills import Fills
from gateway.http_server import HttpServer
from gateway.listener import Listener
from gateway.server import Pipeline
from gateway.telemetry import Telemetry

STEP = 0.02
"""Seconds between two looks at what is waited for."""

FILL_SECONDS = 2.0
"""How long a read that nobody follows any more is waited for: the next process need not read it again."""

LEAVING = 10.0
"""Seconds after which the process ends itself, whatever hangs: archives, disks, threads."""


class Ending:
    """The wish that the process ends. Said again, it ends the wait of the moment."""

    def __init__(self) -> None:
        self._begun = asyncio.Event()
        self._hurry = asyncio.Event()
        self.patient = True
        """Whether others need time to find out."""

    def ask(self, *, patient: bool = True) -> None:
        """End, please; and when that is under way: wait no longer for what is waited for."""
        if self._begun.is_set():
            self._hurry.set()
        else:
            self.patient = patient
            self._begun.set()

    def begin(self) -> None:
        """End, please; changes nothing when that is under way."""
        self._begun.set()

    def on_signals(self) -> None:
        """Let SIGTERM say it, and SIGINT, after which nobody needs time to find out.

        SIGHUP, which would end a process that does not know it yet, does nothing until somebody listens to it.
        """
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGHUP, lambda: None)
        loop.add_signal_handler(signal.SIGTERM, self.ask)
        loop.add_signal_handler(signal.SIGINT, lambda: self.ask(patient=False))

    async def hurried(self) -> None:
        """Wait for the wish to be said again."""
        await self._hurry.wait()
        self._hurry.clear()

    async def asked(self) -> None:
        """Wait for the wish."""
        await self._begun.wait()

    async def until(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Wait for `condition`, for at most `seconds` and not beyond the next wish. What came of it."""
        deadline = time.monotonic() + seconds
        while not (good := condition()):
            left = deadline - time.monotonic()
            if left <= 0 or self._hurry.is_set():
                break
            try:
                await asyncio.wait_for(self._hurry.wait(), min(STEP, left))
            except TimeoutError:
                continue
        self._hurry.clear()
        return good


class Limits(Protocol):
    """How long each step may take, in seconds."""

    @property
    def drain_delay(self) -> float: ...
    @property
    def drain(self) -> float: ...


class Traffic:
    """What a serving process has to bring to an end."""

    def __init__(self, pipeline: Pipeline, server: HttpServer, listener: Listener, fills: Fills) -> None:
        self.pipeline = pipeline
        self.server = server
        self.listener = listener
        self.fills = fills

    def wound_up(self) -> bool:
        """Let every connection end with the answer that it is at. Whether nobody waits for anything any more."""
        self.server.wind_up()
        return self.pipeline.in_flight == 0 and not self.server.unsent and not self.server.expecting

    @property
    def read(self) -> bool:
        """Whether no archive is read any more."""
        return self.fills.running == 0


async def drain(traffic: Traffic, ending: Ending, limits: Limits, log: Any) -> None:
    """Bring the public listener to its end. Readiness is to be withdrawn by now."""
    pipeline, server = traffic.pipeline, traffic.server
    log.info("draining", open=pipeline.in_flight)
    pipeline.drain()
    if ending.patient:
        await ending.until(lambda: False, limits.drain_delay)
    traffic.listener.stop()
    if await ending.until(traffic.wound_up, limits.drain):
        await ending.until(lambda: traffic.read, FILL_SECONDS)
    server.pre_shutdown()
    pipeline.stopping = True
    cut_off = pipeline.in_flight
    await server.shutdown(1.0)
    log.info("stopped", open=cut_off)


def last_resort(telemetry: Telemetry, seconds: float = LEAVING) -> None:
    """End the process in `seconds`, with what was logged by then and nothing else, unless it ended by itself.

    For disks and archives that hang: nothing that waits for them must keep an orchestrator waiting.
    """

    def end() -> None:
        time.sleep(seconds)
        telemetry.log.error("ended with threads that hang", seconds=seconds)
        telemetry.close()
        os._exit(0)

    threading.Thread(target=end, name="last-resort", daemon=True).start()
