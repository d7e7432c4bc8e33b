"""What is measured of local files, and the goal of each: throughput and request rate beside nginx, memory, start-up.

Every scenario starts its own processes, proves that they own their ports before and after, and compares the documents'
digests before it counts anything.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from benchmarks.clients import Reading, Request, WrongAnswer, stalled, verify
from benchmarks.results import Cost, Goal, Result, Spread, in_turns
from benchmarks.rig import GIB, KIB, MIB, Contender, Rig, binary, plain


@dataclass(frozen=True, slots=True)
class Work:
    """What a contender is measured in: the figure of a reading, how much work it was, how seconds per piece are written."""

    figure: Callable[[Reading], float]
    amount: Callable[[Reading], float]
    cost: Callable[[float], str]


def per_request(seconds: float) -> str:
    return f"{seconds * 1e6:.0f} µs/request"


MEGABYTES = Work(
    lambda reading: reading.size / 1e6 / reading.seconds,
    lambda reading: reading.size / 1e6,
    lambda seconds: f"{seconds * 1e3:.2f} s/GB",
)
REQUESTS = Work(lambda reading: reading.responses / reading.seconds, lambda reading: reading.responses, per_request)
LATENCY = Work(lambda reading: reading.median * 1e3, lambda reading: reading.responses, per_request)


class Measured(Protocol):
    """A contender whose processor time is counted."""

    @property
    def name(self) -> str: ...

    def processor_seconds(self) -> float: ...


Readers = Mapping[Measured, Callable[[], Reading]]
"""Contenders, and what reads from each of them once."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much of everything: rounds, bytes, seconds, readers. The last for a share, a repository, fills, and a manifest."""

    rounds: int = 9
    large: int = GIB
    medium: int = 100 * MIB
    repeats: int = 5
    rate_seconds: int = 3
    readers: int = 32
    starts: int = 7
    shared: int = 500 * MIB
    letters: int = 500
    stalled: int = 50
    retrieved: int = 300_000_000
    crowd: int = 1000
    rows: int = 10_000_000


QUICK = Plan(
    rounds=3,
    large=256 * MIB,
    repeats=3,
    rate_seconds=2,
    starts=3,
    shared=100 * MIB,
    letters=200,
    retrieved=60_000_000,
    rows=1_000_000,
)

Scenario = Callable[[Rig, Plan], Result]


@contextlib.contextmanager
def both(rig: Rig) -> Iterator[tuple[Contender, Contender]]:
    """The gateway and nginx over the same files; whatever is measured inside counts only if both stay themselves."""
    with rig.gateway() as ours, rig.nginx() as theirs:
        yield ours, theirs
        ours.check()
        theirs.check()


def throughput(
    name: str,
    representation: str,
    size: Callable[[Plan], int],
    goal: float,
    repeats: Callable[[Plan], int],
    *,
    processor: float | None = None,
) -> Scenario:
    """MB/s of bodies of one representation beside nginx serving the same bytes from a file.

    `processor` is the goal for the processor time, as a ratio to that of nginx.
    """

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
            readers: Readers = {
                one: partial(rig.sink.read, asked[one.name], repeats=repeats(plan)) for one in (ours, theirs)
            }
            figures, cost = beside(plan, readers, MEGABYTES)
        title = f"{representation}, {size_text(document.size)}, one reader"
        goals = [Goal(goal, at_least=True, peer="nginx")]
        if processor is not None:
            goals.append(Goal(processor, at_least=False, peer="nginx", processor=True))
        return Result(name, title, "MB/s", 0, figures, goals, cost)

    return measure


def beside(plan: Plan, contenders: Readers, work: Work) -> tuple[dict[str, Spread], dict[str, Cost]]:
    """The figures of each contender in turns, and the processor time that a piece of work took, warm-up included."""
    done = dict.fromkeys(contenders, 0.0)

    def measure(contender: Measured) -> float:
        reading = contenders[contender]()
        done[contender] += work.amount(reading)
        return work.figure(reading)

    before = {one: one.processor_seconds() for one in contenders}
    figures = in_turns(plan.rounds, {one.name: partial(measure, one) for one in contenders})
    spent = {one.name: (one.processor_seconds() - before[one]) / done[one] for one in contenders}
    return figures, {name: Cost(work.cost(seconds), seconds) for name, seconds in spent.items()}


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
        title = f"peak memory: {representation}, {size_text(document.size)}, {plan.readers} readers at once"
        goal = Goal(150 + plan.readers, at_least=False)
        return Result(f"memory-{representation}", title, "MiB", 0, {"gateway": Spread((peak / MIB,))}, [goal])

    return measure


def cold_start(rig: Rig, plan: Plan) -> Result:
    """From starting the command to the first document, answered."""
    document = rig.document(10 * KIB)

    def started() -> float:
        began = time.monotonic()
        with rig.gateway() as ours:
            verify(binary(ours, document))
            return time.monotonic() - began

    started()  # unmeasured: byte code is compiled and files are read once per installation
    values = tuple(started() for _number in range(plan.starts))
    return Result("start", "start to first answer", "s", 2, {"gateway": Spread(values)}, [Goal(1.5, at_least=False)])


def idle_memory(rig: Rig, plan: Plan) -> Result:
    """What a gateway holds that has answered one document and the readiness question."""
    document = rig.document(10 * KIB)

    def resident() -> float:
        with rig.gateway() as ours:
            verify(binary(ours, document))
            return ours.memory("VmRSS") / MIB

    values = tuple(resident() for _number in range(min(3, plan.starts)))
    return Result("idle", "idle memory", "MiB", 0, {"gateway": Spread(values)}, [Goal(80, at_least=False)])


def stalled_bytes(contender: Contender, asked: Request, readers: int, *, before: int = 0) -> float:
    """Bytes of memory for each of so many readers who take the first 64 KiB and no more: the peak above what it had before.

    What the gateway keeps of freed memory would serve them. So it must not have served a large document, or `before` as many
    others stall already and use that up.
    """
    with stalled(asked, readers=before, first=64 * KIB):
        settle(contender)
        idle = contender.memory("VmRSS")
        contender.forget_peak()
        with stalled(asked, readers=readers, first=64 * KIB):
            settle(contender)
            return (contender.memory("VmHWM") - idle) / readers


def settle(contender: Contender) -> None:
    """Wait until its memory has stopped growing."""
    before = 0
    while (now := contender.memory("VmRSS")) - before > MIB:
        before = now
        time.sleep(1)


def size_text(size: int) -> str:
    return f"{size // GIB} GiB" if size >= GIB else f"{size // MIB} MiB" if size >= MIB else f"{size // KIB} KiB"


def once(_plan: Plan) -> int:
    return 1


def again(plan: Plan) -> int:
    return plan.repeats


SCENARIOS: dict[str, Scenario] = {
    "native-10m": throughput("native-10m", "native", lambda _plan: 10 * MIB, 1.0, lambda plan: 10 * plan.repeats),
    "native-100m": throughput("native-100m", "native", lambda plan: plan.medium, 1.0, again, processor=1.2),
    "native-1g": throughput("native-1g", "native", lambda plan: plan.large, 0.9, once, processor=1.2),
    "json-100m": throughput("json-100m", "json", lambda plan: plan.medium, 0.9, again),
    "json-1g": throughput("json-1g", "json", lambda plan: plan.large, 1.1, once),
    "xml-100m": throughput("xml-100m", "xml", lambda plan: plan.medium, 0.9, again),
    "xml-1g": throughput("xml-1g", "xml", lambda plan: plan.large, 1.1, once),
    "memory-native": peak_memory("native"),
    "memory-json": peak_memory("json"),
    "memory-xml": peak_memory("xml"),
    "start": cold_start,
    "idle": idle_memory,
}
