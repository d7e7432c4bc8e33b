"""What is measured, and the goal of each: throughput and request rate beside nginx, memory, start-up.

Every scenario starts its own processes, proves that they own their ports before and after, and compares the documents'
digests before it counts anything.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from benchmarks.clients import Reading, Request, WrongAnswer, many, verify
from benchmarks.results import Goal, Result, Spread, in_turns
from benchmarks.rig import GIB, KIB, MIB, Contender, Rig, binary, plain


@dataclass(frozen=True, slots=True)
class Work:
    """What a contender is measured in: how much a reading holds, and how seconds per piece are written."""

    amount: Callable[[Reading], float]
    cost: Callable[[float], str]


MEGABYTES = Work(lambda reading: reading.size / 1e6, lambda seconds: f"{seconds * 1e3:.2f} s/GB")
REQUESTS = Work(lambda reading: reading.responses, lambda seconds: f"{seconds * 1e6:.0f} µs/request")


@dataclass(frozen=True, slots=True)
class Plan:
    """How much of everything: rounds, bytes, seconds, readers."""

    rounds: int = 9
    large: int = GIB
    medium: int = 100 * MIB
    repeats: int = 5
    rate_seconds: int = 3
    readers: int = 32
    starts: int = 7


QUICK = Plan(rounds=3, large=256 * MIB, repeats=3, rate_seconds=2, starts=3)

Scenario = Callable[[Rig, Plan], Result]


@contextlib.contextmanager
def both(rig: Rig) -> Iterator[tuple[Contender, Contender]]:
    """The gateway and nginx over the same files; whatever is measured inside counts only if both stay themselves."""
    with rig.gateway() as ours, rig.nginx() as theirs:
        yield ours, theirs
        ours.check()
        theirs.check()


def throughput(
    name: str, representation: str, size: Callable[[Plan], int], goal: float, repeats: Callable[[Plan], int]
) -> Scenario:
    """MB/s of bodies of one representation beside nginx serving the same bytes from a file."""

    def measure(rig: Rig, plan: Plan) -> Result:
        document = rig.document(size(plan))
        with both(rig) as (ours, theirs):
            asked = {"gateway": binary(ours, document, representation), "nginx": plain(theirs, document)}
            verify(asked["gateway"])
            if representation != "native":
                encoded = f"{document.id}.{representation}"
                rig.pre_encoded(asked["gateway"], encoded)
                asked["nginx"] = plain(theirs, document, encoded)
            verify(asked["nginx"])
            read = partial(rig.sink.read, repeats=repeats(plan))
            figures, cost = beside(plan, {ours: asked["gateway"], theirs: asked["nginx"]}, read, MEGABYTES)
        title = f"{representation}, {_size(document.size)}, one reader"
        return Result(name, title, "MB/s", 0, figures, Goal(goal, at_least=True), cost)

    return measure


def beside(
    plan: Plan, asked: Mapping[Contender, Request], read: Callable[[Request], Reading], work: Work
) -> tuple[dict[str, Spread], dict[str, str]]:
    """Work per second of each contender in turns, and the processor time that a piece of it took, warm-up included."""
    done = dict.fromkeys(asked, 0.0)

    def measure(contender: Contender) -> float:
        reading = read(asked[contender])
        amount = work.amount(reading)
        done[contender] += amount
        return amount / reading.seconds

    before = {one: one.processor_seconds() for one in asked}
    figures = in_turns(plan.rounds, {one.name: partial(measure, one) for one in asked})
    cost = {one.name: work.cost((one.processor_seconds() - before[one]) / done[one]) for one in asked}
    return figures, cost


def small_documents(rig: Rig, plan: Plan) -> Result:
    """Requests per second for 10 KiB documents from 32 connections; a bare aiohttp handler says what the ceiling is."""
    document = rig.document(10 * KIB)
    with both(rig) as (ours, theirs), rig.bare(document) as ceiling:
        asked = {ours: binary(ours, document), theirs: plain(theirs, document), ceiling: plain(ceiling, document)}
        for one in asked.values():
            verify(one)
        read = partial(many, connections=32, seconds=plan.rate_seconds, before=rig.client_words)
        figures, cost = beside(plan, asked, read, REQUESTS)
    return Result("small", "native, 10 KiB, 32 connections", "requests/s", 0, figures, Goal(0.22, at_least=True), cost)


def peak_memory(representation: str) -> Scenario:
    """The most memory the process ever had while readers at once read a large document, after all stalled together."""

    def measure(rig: Rig, plan: Plan) -> Result:
        document = rig.document(plan.large)
        with rig.gateway() as ours:
            asked = binary(ours, document, representation)
            reading = rig.sink.read(asked, connections=plan.readers, pause_bytes=8 * MIB, pause_ms=500)
            peak = ours.memory("VmHWM")
            if reading.responses != plan.readers or reading.size < plan.readers * document.size:
                raise WrongAnswer(f"{reading.responses} responses of {plan.readers}, {reading.size} bytes")
            verify(asked)
            ours.check()
        title = f"peak memory: {representation}, {_size(document.size)}, {plan.readers} readers at once"
        goal = Goal(150 + plan.readers, at_least=False)
        return Result(f"memory-{representation}", title, "MiB", 0, {"gateway": Spread((peak / MIB,))}, goal)

    return measure


def cold_start(rig: Rig, plan: Plan) -> Result:
    """From starting the command to the first document, answered."""
    document = rig.document(10 * KIB)

    def once() -> float:
        began = time.monotonic()
        with rig.gateway() as ours:
            verify(binary(ours, document))
            return time.monotonic() - began

    once()  # unmeasured: byte code is compiled and files are read once per installation
    values = tuple(once() for _number in range(plan.starts))
    return Result("start", "start to first answer", "s", 2, {"gateway": Spread(values)}, Goal(1.5, at_least=False))


def idle_memory(rig: Rig, plan: Plan) -> Result:
    """What a gateway holds that has answered one document and the readiness question."""
    document = rig.document(10 * KIB)

    def once() -> float:
        with rig.gateway() as ours:
            verify(binary(ours, document))
            return ours.memory("VmRSS") / MIB

    values = tuple(once() for _number in range(min(3, plan.starts)))
    return Result("idle", "idle memory", "MiB", 0, {"gateway": Spread(values)}, Goal(80, at_least=False))


def _size(size: int) -> str:
    return f"{size // GIB} GiB" if size >= GIB else f"{size // MIB} MiB" if size >= MIB else f"{size // KIB} KiB"


SCENARIOS: dict[str, Scenario] = {
    "native-100m": throughput("native-100m", "native", lambda plan: plan.medium, 1.0, lambda plan: plan.repeats),
    "native-1g": throughput("native-1g", "native", lambda plan: plan.large, 0.65, lambda _plan: 1),
    "json-100m": throughput("json-100m", "json", lambda plan: plan.medium, 0.8, lambda plan: plan.repeats),
    "xml-100m": throughput("xml-100m", "xml", lambda plan: plan.medium, 0.8, lambda plan: plan.repeats),
    "small": small_documents,
    "memory-native": peak_memory("native"),
    "memory-json": peak_memory("json"),
    "memory-xml": peak_memory("xml"),
    "start": cold_start,
    "idle": idle_memory,
}
