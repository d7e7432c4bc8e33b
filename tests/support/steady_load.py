"""Requests at a gateway that are begun every so often, whatever became of those before: whoever waits makes nobody wait.

`apart` makes them in a process of its own (`python -m tests.support.steady_load`), so that what else a test has to do is not in
the waiting times.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import random
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.support.cache_model.reading import Client
from tests.support.gateway import Gateway


@dataclass(frozen=True, slots=True)
class Sample:
    """One request; `begun` and `took` in seconds, `code` of the error table or "" for a document."""

    source: str
    begun: float
    took: float
    status: int
    code: str


@dataclass(frozen=True, slots=True)
class Address:
    """Where a gateway of another process listens."""

    host: str
    port: int


class Load:
    """Requests at a gateway, each on a connection that nobody else uses meanwhile."""

    def __init__(self, gateway: Gateway | Address) -> None:
        self._gateway = gateway
        self._idle: list[Client] = []
        self.samples: list[Sample] = []

    async def once(self, asked: Sequence[tuple[str, str]]) -> None:
        for source, id in asked:
            await self.ask(source, id)
        assert all(not sample.code for sample in self.samples), self.samples[-1]

    async def run(self, ids: Mapping[str, Sequence[str]], rates: Mapping[str, float], seconds: float) -> None:
        await asyncio.gather(*(self._paced(source, ids[source], rates[source], seconds) for source in ids))

    async def _paced(self, source: str, ids: Sequence[str], rate: float, seconds: float) -> None:
        dice, asking = random.Random(source), set[asyncio.Task[None]]()
        due = began = time.monotonic()
        # As readers come who know nothing of each other: evenly spaced, those of two sources would meet every time or never.
        while (due := due + dice.expovariate(rate)) < began + seconds:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            task = asyncio.ensure_future(self.ask(source, dice.choice(ids)))
            asking.add(task)
            task.add_done_callback(asking.discard)
        await asyncio.gather(*asking)

    async def ask(self, source: str, id: str) -> None:
        client = self._idle.pop() if self._idle else Client(self._gateway.host, self._gateway.port)
        begun = time.monotonic()
        answer = await client.ask(f"/R4/Binary/{id}")
        took = time.monotonic() - begun
        self._idle.append(client)
        code = "" if answer.status == 200 and answer.complete else _code(answer.body)
        self.samples.append(Sample(source, begun, took, answer.status, code))

    async def close(self) -> None:
        for client in self._idle:
            await client.__aexit__()


def _code(body: bytes) -> str:
    at = body.find(b"GW-")
    return "none" if at < 0 else body[at : at + 10].decode("ascii", "replace")


async def apart(
    gateway: Gateway,
    ids: Mapping[str, Sequence[str]],
    rates: Mapping[str, float],
    seconds: float,
    before: Sequence[str],
) -> list[Sample]:
    """What `Load.run` would have seen, from a process of its own; `before` are words put before its command."""
    order = {"host": gateway.host, "port": gateway.port, "ids": ids, "rates": rates, "seconds": seconds}
    process = await asyncio.create_subprocess_exec(
        *before, sys.executable, "-m", __name__, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    try:
        told, _ = await process.communicate(json.dumps(order, default=list).encode())
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 0
    return [Sample(*one) for one in json.loads(told)]


async def _ordered(order: dict[str, Any]) -> list[Sample]:
    load = Load(Address(order["host"], order["port"]))
    await load.run(order["ids"], order["rates"], order["seconds"])
    await load.close()
    return load.samples


def p99(samples: Sequence[Sample]) -> float:
    """The 99th of a hundred waiting times, in milliseconds; 0 for fewer than two."""
    times = [one.took * 1000 for one in samples]
    return statistics.quantiles(times, n=100)[98] if len(times) > 1 else 0.0


if __name__ == "__main__":
    print(json.dumps([dataclasses.astuple(one) for one in asyncio.run(_ordered(json.load(sys.stdin)))]))
