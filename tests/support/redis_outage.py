"""A gateway under a steady load whose Redis hangs or is killed, and comes back: failures, waiting times, hits.

A request is begun every so often whatever became of those before, so that whoever waits makes nobody else wait.
"""

from __future__ import annotations

import asyncio
import random
import signal
import statistics
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tests.support.cache_model.reading import Client
from tests.support.cached_gateway import LETTERS, Place
from tests.support.gateway import Gateway
from tests.support.ports import free_port
from tests.support.redis import RedisServer, redis

OPENED = 1.0
"""Seconds after which a Redis that hangs is known to."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One request; times in seconds."""

    begun: float
    took: float
    right: bool
    hit: bool


@dataclass(frozen=True, slots=True)
class Figures:
    """What came of an outage. Waiting times in milliseconds, the 99th of a hundred."""

    how: str
    requests: int
    failed: int
    before: float
    during: float
    back_after: float | None
    """Seconds from the return of Redis to the first quarter of a second with as many hits as before; None if there was none."""

    def __str__(self) -> str:
        back = "never" if self.back_after is None else f"after {self.back_after:.2f} s"
        return (
            f"{self.how:8} {self.requests} requests, {self.failed} failed, p99 {self.before:.1f} ms before and "
            f"{self.during:.1f} ms while it was away, hits back {back}"
        )


async def outage(
    how: Literal["stopped", "killed"],
    folder: Path,
    *,
    rate: float = 200,
    before: float,
    away: float,
    after: float,
    to_the_end: bool = True,
) -> Figures:
    """Run the load for `before`, `away` and `after` seconds around an outage; unless `to_the_end`, until hits are back."""
    port = free_port()
    with ExitStack() as servers, ExitStack() as stack:
        server = servers.enter_context(redis(folder, port=port))
        place = Place("redis", folder, server)
        gateway = stack.enter_context(place.gateway())
        load = _Load(gateway, rate)
        running = asyncio.ensure_future(load.run())
        await asyncio.sleep(before)
        went = time.monotonic()
        if how == "stopped":
            server.process.signal(signal.SIGSTOP)
            await asyncio.sleep(away)
            server.process.signal(signal.SIGCONT)
        else:
            server.process.signal(signal.SIGKILL)
            await asyncio.to_thread(servers.close)
            await asyncio.sleep(away)
            await asyncio.to_thread(_again, servers, folder, port)
        returned = time.monotonic()
        while (left := returned + after - time.monotonic()) > 0:
            await asyncio.sleep(min(left, 0.25))
            if not to_the_end and _back_after(load.samples, went, returned) is not None:
                break
        load.over = True
        await running
    return _figures(how, load.samples, went, returned)


def _again(servers: ExitStack, folder: Path, port: int) -> RedisServer:
    return servers.enter_context(redis(folder, port=port))


class _Load:
    def __init__(self, gateway: Gateway, rate: float) -> None:
        self._gateway = gateway
        self._every = 1 / rate
        self._idle: list[Client] = []
        self.samples: list[Sample] = []
        self.over = False

    async def run(self) -> None:
        """Until it is `over`."""
        dice = random.Random(1)
        asking: set[asyncio.Task[None]] = set()
        began = time.monotonic()
        number = 0
        while not self.over:
            await asyncio.sleep(max(0.0, began + number * self._every - time.monotonic()))
            task = asyncio.ensure_future(self._ask(dice.choice(list(LETTERS))))
            asking.add(task)
            task.add_done_callback(asking.discard)
            number += 1
        await asyncio.gather(*asking)
        for client in self._idle:
            await client.__aexit__()

    async def _ask(self, id: str) -> None:
        client = self._idle.pop() if self._idle else Client(self._gateway.host, self._gateway.port)
        begun = time.monotonic()
        answer = await client.ask(f"/R4/Binary/{id}")
        took = time.monotonic() - begun
        self._idle.append(client)
        right = answer.status == 200 and answer.complete and answer.body == LETTERS[id].encode()
        self.samples.append(Sample(begun, took, right, "; hit" in answer.fields.get("cache-status", "")))


def _figures(how: str, samples: list[Sample], went: float, returned: float) -> Figures:
    opened = [one for one in samples if went + OPENED <= one.begun < returned]
    failed = sum(not one.right for one in samples)
    back = _back_after(samples, went, returned)
    return Figures(how, len(samples), failed, _p99(_calm(samples, went)), _p99(opened), back)


def _calm(samples: list[Sample], went: float) -> list[Sample]:
    """Requests before the outage, without the first ones of each document."""
    return [one for one in samples if one.begun < went - 0.5][len(LETTERS) * 4 :]


def _back_after(samples: list[Sample], went: float, returned: float) -> float | None:
    """See `Figures.back_after`."""
    calm = _calm(samples, went)
    usual = sum(one.hit for one in calm) / len(calm)
    last = max(one.begun for one in samples)
    for quarter in range(int((last - returned) * 4)):
        at = returned + quarter / 4
        window = [one for one in samples if at <= one.begun < at + 0.25]
        if window and sum(one.hit for one in window) / len(window) >= usual * 0.95:
            return quarter / 4 + 0.25
    return None


def _p99(samples: list[Sample]) -> float:
    return statistics.quantiles([one.took * 1000 for one in samples], n=100)[98]
