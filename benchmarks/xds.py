"""A repository's large document through the gateway, beside nginx that passes the raw answer on and a gateway built on zeep.

The document comes by XOP or as base64 in the envelope, and goes out as it is or as FHIR JSON. Throughput is of the document in
it, whatever stands around its bytes: all contenders have delivered it when they have delivered it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from typing import get_args

from benchmarks.clients import Reading, WrongAnswer, verify
from benchmarks.machine import unlinked
from benchmarks.repository import Answer, Packing, SlowRepository, gateway, origin, passed_on, prepared, proxy, zeep
from benchmarks.results import Goal, Result, Spread
from benchmarks.rig import MIB, Contender, Rig, binary
from benchmarks.scenarios import MEGABYTES, Plan, Readers, Scenario, beside, stalled_bytes

TITLES: dict[Packing, str] = {"xop": "by XOP", "inline": "inline base64"}

SPOOL = 2 << 30
"""Bytes that the gateway may spool: `spool.max_bytes` as it comes."""


def title(packing: Packing, representation: str, size: int) -> str:
    return f"XDS {TITLES[packing]}, {representation}, {size // 1_000_000} MB"


def throughput(packing: Packing, representation: str, peers: Mapping[str, float]) -> Scenario:
    """MB/s of the document for one reader; `peers` holds the goal against each."""
    name = f"xds-{packing}-{representation}"

    def measure(rig: Rig, plan: Plan) -> Result:
        answer = prepared(rig, packing, plan.retrieved)
        document, sink = answer.document, replace(rig.sink, before=())
        with origin(rig, answer) as far, ExitStack() as stack:
            ours = stack.enter_context(gateway(rig, far.port))
            front = stack.enter_context(proxy(rig, far.port))
            asked = {ours: binary(ours, document, representation), front: passed_on(front, answer)}
            if "zeep" in peers:
                peer = stack.enter_context(zeep(rig, far.port, document))
                asked[peer] = replace(binary(peer, document), target="/document")

            def read(contender: Contender) -> Reading:
                reading = sink.read(asked[contender])
                return replace(reading, size=document.size * reading.responses)

            for one in asked.values():
                verify(one)
            readers: Readers = {one: partial(read, one) for one in asked}
            figures, cost = beside(plan, readers, MEGABYTES)
            for one in asked:
                one.check()
        goals = [Goal(goal, at_least=True, peer=name) for name, goal in peers.items()]
        return Result(
            name, f"{title(packing, representation, document.size)}, one reader", "MB/s", 0, figures, goals, cost
        )

    return measure


@contextmanager
def reading_from(rig: Rig, packing: Packing, size: int) -> Iterator[tuple[Contender, Answer]]:
    """A fresh gateway over a fast repository, and the answer that it gets there."""
    answer = prepared(rig, packing, size)
    with origin(rig, answer) as far, gateway(rig, far.port) as ours:
        yield ours, answer
        ours.check()


def peak_memory(packing: Packing, representation: str) -> Scenario:
    """The most memory that a gateway ever had which passed the document on, twice."""

    def measure(rig: Rig, plan: Plan) -> Result:
        with reading_from(rig, packing, plan.retrieved) as (ours, answer):
            asked = binary(ours, answer.document, representation)
            verify(asked)
            rig.sink.read(asked)
            peak = ours.memory("VmHWM")
        return memory(
            f"xds-memory-{packing}-{representation}", f"{title(packing, representation, plan.retrieved)}", peak, 100
        )

    return measure


def readers_at_once(packing: Packing, representation: str) -> Scenario:
    """The same for readers at once, after all stalled together; what they have the gateway write to its disk has a limit."""

    def measure(rig: Rig, plan: Plan) -> Result:
        with reading_from(rig, packing, plan.retrieved) as (ours, answer), ThreadPoolExecutor() as pool:
            asked = binary(ours, answer.document, representation)
            read = partial(rig.sink.read, asked, connections=plan.readers, pause_bytes=8 * MIB, pause_ms=500)
            spooled, reading = 0, pool.submit(read)
            while not reading.done():
                spooled = max(spooled, unlinked(ours.pid))
                time.sleep(0.05)
            peak = ours.memory("VmHWM")
            done = reading.result()
            if done.responses != plan.readers or done.size < plan.readers * answer.document.size:
                raise WrongAnswer(f"{done.responses} responses of {plan.readers}, {done.size} bytes")
            if spooled > SPOOL:
                raise WrongAnswer(f"{spooled} bytes were spooled, and {SPOOL} may be")
            verify(asked)
        what = f"{title(packing, representation, plan.retrieved)}, {plan.readers} readers at once"
        return memory(f"xds-readers-{packing}-{representation}", what, peak, 150 + 2 * plan.readers)

    return measure


def memory(name: str, what: str, peak: int, limit: float) -> Result:
    figures = {"gateway": Spread((peak / MIB,))}
    return Result(name, f"peak memory: {what}", "MiB", 0, figures, [Goal(limit, at_least=False)])


def stalled_readers(packing: Packing, representation: str) -> Scenario:
    """The memory that readers cost who stop reading: the gateway's peak above what it had before they came, for each."""

    def measure(rig: Rig, plan: Plan) -> Result:
        with reading_from(rig, packing, plan.retrieved) as (ours, answer):
            asked = binary(ours, answer.document, representation)
            each = stalled_bytes(ours, asked, plan.stalled)
            verify(asked)
        what = f"{title(packing, representation, plan.retrieved)}: memory for each of {plan.stalled} stalled readers"
        figures = {"gateway": Spread((each / MIB,))}
        return Result(f"xds-stalled-{packing}-{representation}", what, "MiB", 2, figures, [Goal(2, at_least=False)])

    return measure


def first_byte(packing: Packing, representation: str) -> Scenario:
    """From the document's first byte leaving a slow repository to a first byte at the client."""

    def measure(rig: Rig, plan: Plan) -> Result:
        answer = prepared(rig, packing, plan.retrieved)
        with SlowRepository(answer).serving() as far, gateway(rig, far.port) as ours:
            asked = binary(ours, answer.document, representation)
            verify(asked)
            waits = []
            for _round in range(plan.rounds):
                reading = rig.sink.read(asked)
                waits.append((reading.first - far.began[-1]) * 1e3)
            ours.check()
        what = f"first byte: {title(packing, representation, plan.retrieved)}, after the repository's first of it"
        figures = {"gateway": Spread(tuple(waits))}
        return Result(f"xds-first-{packing}-{representation}", what, "ms", 1, figures, [Goal(50, at_least=False)])

    return measure


def _scenarios() -> Iterator[tuple[str, Scenario]]:
    peers: dict[Packing, dict[str, float]] = {"xop": {"nginx": 0.65, "zeep": 4}, "inline": {"nginx": 0.5}}
    ways = [(packing, representation) for packing in get_args(Packing) for representation in ("native", "json")]
    for way in ways:
        yield "xds-{}-{}".format(*way), throughput(*way, peers[way[0]])
    for kind, scenario in (
        ("first", first_byte),
        ("memory", peak_memory),
        ("readers", readers_at_once),
        ("stalled", stalled_readers),
    ):
        for way in ways:
            yield "xds-{}-{}-{}".format(kind, *way), scenario(*way)


SCENARIOS: dict[str, Scenario] = dict(_scenarios())
