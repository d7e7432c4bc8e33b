"""What a durable audit trail costs: the same gateway with it and without, on the disk of this run's folder."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from benchmarks.clients import Request, many, verify
from benchmarks.results import Goal, Result, Spread, in_turns
from benchmarks.rig import KIB, Contender, Rig, binary
from benchmarks.scenarios import REQUESTS, Plan, Scenario, beside

READERS = 64
REPEATS = 400
"""Reads of one reader whose median is one figure."""

BARE = "gateway without audit"


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

        waits = in_turns(plan.rounds, {name: partial(median, one) for name, one in asked.items()})
    pairs = zip(waits[recorded.name].values, waits[BARE].values, strict=True)
    added = Spread(tuple(with_trail - without for with_trail, without in pairs))
    title = "durable audit: what one reader waits longer, median, 10 KiB"
    return Result("audit-wait", title, "ms", 2, {"gateway": added}, [Goal(1, at_least=False)])


SCENARIOS: dict[str, Scenario] = {"audit-rate": throughput, "audit-wait": wait}
