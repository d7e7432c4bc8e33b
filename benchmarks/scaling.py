"""What grows with what: memory and time with a document's size, a look-up with the number of documents, memory with readers.

Whatever should stay flat is measured at both ends in the same turns.
"""

from __future__ import annotations

import contextlib
import random
import statistics
import threading
import time
from collections.abc import Iterator
from functools import partial

from benchmarks.clients import WrongAnswer, verify
from benchmarks.results import Goal, Result, Spread, in_turns
from benchmarks.rig import KIB, MIB, Rig, binary
from benchmarks.scenarios import Plan, Scenario, size_text, stalled_bytes
from benchmarks.soak_manifest import id_of, write
from gateway.ids import ManifestIds
from gateway.ids.manifest_index import Index, load

SIZES = (10 * MIB, 100 * MIB)
"""Of the documents whose cost is compared with that of the largest."""

LOOK_UPS = 2000
"""Look-ups whose median is one figure."""


def stalled_readers(representation: str, limit: int) -> Scenario:
    """The memory that readers of a local file cost who stop reading, above what the gateway had, for each."""

    def measure(rig: Rig, plan: Plan) -> Result:
        document = rig.document(plan.medium)
        with rig.gateway("stalled") as ours:
            asked = binary(ours, document, representation)
            verify(binary(ours, rig.document(10 * KIB), representation))
            each = stalled_bytes(ours, asked, plan.stalled)
            verify(asked)
            ours.check()
        title = f"{representation}, {size_text(document.size)}: memory for each of {plan.stalled} stalled readers"
        figures = {"gateway": Spread((each / KIB,))}
        return Result(f"stalled-{representation}", title, "KiB", 0, figures, [Goal(limit, at_least=False)])

    return measure


def memory_by_size(rig: Rig, plan: Plan) -> Result:
    """How much more memory one reader of the largest document takes than one of the smallest, at the peak."""
    peaks = []
    for size in (*SIZES, plan.large):
        document = rig.document(size)
        with rig.gateway("sized") as ours:
            reading = rig.sink.read(binary(ours, document, "json"))
            if reading.responses != 1:
                raise WrongAnswer(f"{reading.responses} responses")
            peaks.append(ours.memory("VmHWM") / MIB)
    title = f"json: peak memory at {size_text(plan.large)} beyond that at {size_text(SIZES[0])}, one reader"
    figures = {"gateway": Spread((peaks[-1] - peaks[0],))}
    return Result("size-memory", title, "MiB", 1, figures, [Goal(8, at_least=False)])


def time_by_size(rig: Rig, plan: Plan) -> Result:
    """Seconds per gigabyte of the largest document beside those of a medium one: linear is 1."""
    medium, large = rig.document(SIZES[-1]), rig.document(plan.large)
    with rig.gateway("sized") as ours:
        reads = {"gateway": binary(ours, large), size_text(SIZES[-1]): binary(ours, medium)}
        for asked in reads.values():
            verify(asked)

        def pace(name: str) -> float:
            repeats = 1 if name == "gateway" else max(1, plan.large // SIZES[-1])
            reading = rig.sink.read(reads[name], repeats=repeats)
            return reading.seconds / reading.size * 1e9

        figures = in_turns(plan.rounds, {name: partial(pace, name) for name in reads})
    goal = Goal(1.2, at_least=False, peer=size_text(SIZES[-1]))
    return Result("size-time", f"native, {size_text(plan.large)}: time for a gigabyte", "s", 2, figures, [goal])


def manifest(rig: Rig, plan: Plan) -> Result:
    """A look-up in the index of the largest manifest beside one in that of a small one, none of them remembered.

    On this process's own thread: the way there and back, which is the same for all, would hide what grows.
    """
    with contextlib.ExitStack() as stack:
        indexes = {"gateway": plan.rows, FEW: 1000}
        finds = {name: partial(look_up, stack.enter_context(index(rig, rows)), rows) for name, rows in indexes.items()}
        figures = in_turns(plan.rounds, finds)
    title = f"look-up in a manifest of {plan.rows:,} rows, median"
    return Result("manifest", title, "µs", 1, figures, [Goal(1.2, at_least=False, peer=FEW)])


@contextlib.contextmanager
def index(rig: Rig, rows: int) -> Iterator[Index]:
    """The index of a manifest of so many rows, made in this run's folder and gone with it."""
    path = rig.directory / f"manifest-{rows}.csv"
    write(path, rows, "scans")
    settings = ManifestIds(scheme="manifest", file=path, index=rig.directory / f"manifest-{rows}.index")
    with contextlib.closing(load("scans", settings, "", stop=threading.Event())) as made:
        yield made


def look_up(made: Index, rows: int) -> float:
    """The median of some look-ups, in microseconds."""
    taken = []
    for number in CHOSEN.sample(range(rows), min(LOOK_UPS, rows)):
        if number % 1000 != 7:  # withdrawn
            id = id_of(number)
            began = time.perf_counter()
            made.find(id)
            taken.append((time.perf_counter() - began) * 1e6)
    return statistics.median(taken)


FEW = "1,000 rows"
CHOSEN = random.Random(7)


SCENARIOS: dict[str, Scenario] = {
    "stalled-native": stalled_readers("native", 64),
    "stalled-json": stalled_readers("json", 512),
    "size-memory": memory_by_size,
    "size-time": time_by_size,
    "manifest": manifest,
}
