"""What a durable audit trail costs: the same gateway with it and without, on the disk of this run's folder."""

from __future__ import annotations

import contextlib
import os
import statistics
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from benchmarks.clients import Request, many, verify
from benchmarks.results import Cost, Goal, Result, Spread, in_turns
from benchmarks.rig import KIB, Contender, Rig, binary
from benchmarks.scenarios import REQUESTS, Plan, Scenario, beside

READERS = 64
REPEATS = 400
"""Reads of one reader whose median is one figure."""

BARE = "gateway without audit"
SYNC = "one append and fdatasync"


@contextlib.contextmanager
def both(rig: Rig) -> Iterator[tuple[Contender, Contender]]:
    """The gateway with a trail, and without."""
    with rig.gateway("recorded", audit=True) as recorded, rig.gateway("unrecorded") as bare:
        yield recorded, replace(bare, name=BARE)
        recorded.check()
        bare.check()


def throughput(rig: Rig, plan: Plan) -> Result:
    """Requests per second for 10 KiB documents from 64 connections."""
    document = rig.document(10 * KIB)
    with both(rig) as (recorded, bare):
        asked = {one: binary(one, document) for one in (recorded, bare)}
        for one in asked.values():
            verify(one)
        read = partial(many, connections=READERS, seconds=plan.rate_seconds, before=rig.client_words)
        figures, cost = beside(plan, {one: partial(read, asked[one]) for one in asked}, REQUESTS)
    goal = Goal(0.75, at_least=True, peer=BARE)
    title = f"durable audit: native, 10 KiB, {READERS} connections"
    return Result("audit-rate", title, "requests/s", 0, figures, [goal], cost)


def wait(rig: Rig, plan: Plan) -> Result:
    """What one reader waits longer at the median, in milliseconds."""
    document = rig.document(10 * KIB)
    with both(rig) as (recorded, bare):
        asked = {one.name: binary(one, document) for one in (recorded, bare)}
        for one in asked.values():
            verify(one)

        def median(one: Request) -> float:
            return rig.sink.read(one, repeats=REPEATS).median * 1e3

        reads = {name: partial(median, one) for name, one in asked.items()}
        waits = in_turns(plan.rounds, reads | {SYNC: partial(sync_ms, rig.directory / "appended")})
    pairs = zip(waits[recorded.name].values, waits[BARE].values, strict=True)
    added = Spread(tuple(with_trail - without for with_trail, without in pairs))
    title = "durable audit: what one reader waits longer, median, 10 KiB"
    figures = {"gateway": added, SYNC: waits[SYNC]}
    return Result(
        "audit-wait",
        title,
        "ms",
        2,
        figures,
        [Goal(1, at_least=False)],
        {SYNC: Cost("of which nothing is the gateway's")},
    )


def sync_ms(path: Path) -> float:
    """The median of appending 700 bytes and making them durable on this disk: what no durable record can do without."""
    times = []
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        for _ in range(REPEATS // 4):
            began = time.perf_counter()
            os.write(descriptor, bytes(700))
            os.fdatasync(descriptor)
            times.append(time.perf_counter() - began)
    finally:
        os.close(descriptor)
    return statistics.median(times) * 1e3


SCENARIOS: dict[str, Scenario] = {"audit-rate": throughput, "audit-wait": wait}
