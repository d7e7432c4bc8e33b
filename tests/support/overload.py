"""A gateway whose archive can take so many at once, and five times as many readers: what still gets through, and how fast.

The archive is an adapter that takes a while for each document and no processor time, so that its capacity is known and does
not depend on this machine. The crowd are connections that ask at a steady rate together; beside it a few well-behaved readers
measure how long answers and refusals take.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from adapters import registry
from gateway.errors import SOURCE_BUSY
from tests.support.gateway import serving
from tests.support.process import require
from tests.support.steady_load import Load, Sample, p99

TAKES = 0.05
"""Seconds that the archive takes for one document."""

DOCUMENTS = 2000

SLOW = f'''
import asyncio
from contextlib import asynccontextmanager
from pydantic import BaseModel
from adapters.contract import Adapter, Capabilities, Content, Descriptor, Span

DATA = b"%PDF-1.4" + bytes(10240)

class Options(BaseModel, frozen=True, extra="forbid"):
    pass

class SlowAdapter(Adapter):
    """Every document is the same, and takes a while."""
    Options = Options
    capabilities = Capabilities(local=False, spans=False, cheap_stat=False, strong_versions=True, immutable=True,
                                per_caller=False, max_open=None)
    @asynccontextmanager
    async def open(self, locator, span=None, *, version=None, caller=None):
        await asyncio.sleep({TAKES})
        yield Content(Descriptor(len(DATA), "application/pdf", version="1"), Span(0, len(DATA)), _chunks())
    async def probe(self):
        pass

async def _chunks():
    yield DATA
'''

PACED = """
answered, refused, other, statuses = 0, 0, 0, ""
local tick = %d
local threads = {}
function setup(thread) table.insert(threads, thread) end
function init(args) math.randomseed(os.time()) end
function delay() return math.random(0, 2 * tick) end
function request() return wrk.format("GET", "/R4/Binary/" .. math.random(1, %d)) end
function response(status, headers, body)
    if status == 200 then answered = answered + 1
    elseif status == 503 then refused = refused + 1
    else other, statuses = other + 1, statuses .. " " .. status end
end
function done(summary, latency, requests)
    local a, r, o, s = 0, 0, 0, ""
    for _, thread in ipairs(threads) do
        a, r, o = a + thread:get("answered"), r + thread:get("refused"), o + thread:get("other")
        s = s .. thread:get("statuses")
    end
    local e = summary.errors
    local broken = e.connect + e.read + e.write + e.timeout
    print(string.format("COUNTED %%d %%d %%d %%d %%d", a, r, o, broken, summary.duration) .. s)
end
"""
"""A script for wrk: each connection waits between its requests, so that all together ask at a rate of their own."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What came of it; rates a second, times in milliseconds."""

    capacity: float
    offered: float
    goodput: float
    refused: int
    other: int
    """Answers that were neither a document nor 503."""
    broken: int
    """Connections of the crowd that broke, or that wrk had waited on for twenty seconds."""
    admitted_median: tuple[float, float]
    """Median of documents before and in the crowd."""
    refusal_median: float
    refusal_p99: float
    memory: tuple[float, float]
    """MiB when the crowd had been there for a while, and in the end."""
    recovered_after: float
    """Seconds from the end of the crowd until everybody was answered as fast as before."""

    def __str__(self) -> str:
        share, (before, during), (middle, end) = self.goodput / self.capacity, self.admitted_median, self.memory
        return (
            f"capacity {self.capacity:.0f}/s, offered {self.offered:.0f}/s, goodput {self.goodput:.0f}/s ({share:.0%}); "
            f"{self.refused} refused, {self.other} otherwise, {self.broken} broken; documents took {before:.0f} -> "
            f"{during:.0f} ms (median), refusals {self.refusal_median:.1f} ms (p99 {self.refusal_p99:.1f}); memory "
            f"{middle:.1f} -> {end:.1f} MiB; recovered after {self.recovered_after:.2f} s"
        )


def installed(directory: Path) -> Path:
    """A directory that holds the adapter `slow` as an installer leaves it."""
    facts = directory / "slow_adapter-1.0.dist-info"
    facts.mkdir(parents=True)
    (directory / "slow_adapter.py").write_text(SLOW)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: slow-adapter\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text(f"[{registry.GROUP}]\nslow = slow_adapter:SlowAdapter\n")
    return directory


async def overload(
    folder: Path, *, at_once: int, calm: float, crowd: float, times: float = 5.0, wrk: bool = False
) -> Figures:
    """Measure capacity for `calm` seconds with as many readers as the archive has places, then let `times` as many come for
    `crowd` seconds, and see when it is over. The crowd is made by `wrk`, or by this process."""
    configuration = {
        "log": {"level": "error"},
        # Longer than any reader here leaves a connection alone: one that is closed just as it is used is nobody's fault.
        "server": {"limits": {"keep_alive": "10m"}},
        "sources": {
            "slow": {
                "adapter": "slow",
                "ids": {"scheme": "template", "pattern": "{id}"},
                "limits": {"max_open": at_once, "max_queued": at_once * 4},
            }
        },
    }
    environ = {**os.environ, "PYTHONPATH": str(installed(folder / "installed"))}
    async with AsyncExitStack() as stack:
        gateway = stack.enter_context(serving(configuration, folder / "gateway", environ=environ))
        load = Load(gateway)
        stack.push_async_callback(load.close)
        ids = [str(number) for number in range(1, DOCUMENTS)]
        await load.ask("slow", "1")
        capacity = await _capacity(load, ids, at_once, calm)
        nominal = [one.took * 1000 for one in load.samples if not one.code]
        load.samples.clear()
        beside, rate = Load(gateway), min(20.0, capacity / 10)
        stack.push_async_callback(beside.close)
        watching = asyncio.ensure_future(beside.run({"slow": ids}, {"slow": rate}, crowd))
        memory: list[float] = []
        remembering = asyncio.ensure_future(_remember(gateway.pid, memory, crowd))
        if wrk:
            counted = await _wrk(gateway.port, folder, capacity * times, crowd)
        else:
            counted = await _clients(load, ids, capacity * times, crowd)
        ended = time.monotonic()
        await watching
        await remembering
        measured = list(beside.samples)
        for line in [line for line in gateway.lines() if line.get("level") == "error"][:5]:
            print("logged:", line, flush=True)
        recovered = await _recovered(load, ids, capacity / 2, statistics.median(nominal) * 2, ended)
    documents = [one.took * 1000 for one in measured if not one.code]
    refusals = [one for one in measured if one.code == SOURCE_BUSY.code and one.took < TAKES * 4]
    answered, refused, other, broken, seconds = counted
    strange = [f"{one.status} {one.code}" for one in measured if one.code not in ("", SOURCE_BUSY.code)]
    if strange:
        print("strange answers:", *strange, flush=True)
    return Figures(
        capacity=capacity,
        offered=(answered + refused + other) / seconds,
        goodput=answered / seconds + sum(not one.code for one in measured) / crowd,
        refused=refused,
        other=other + len(strange),
        broken=broken,
        admitted_median=(statistics.median(nominal), statistics.median(documents or [0.0])),
        refusal_median=statistics.median([one.took * 1000 for one in refusals] or [0.0]),
        refusal_p99=p99(refusals),
        memory=(memory[len(memory) // 3], memory[-1]),
        recovered_after=recovered,
    )


async def _capacity(load: Load, ids: Sequence[str], at_once: int, seconds: float) -> float:
    """Documents a second for readers who each ask for the next one when they have theirs."""
    until = time.monotonic() + seconds

    async def reader(number: int) -> None:
        turn = number
        while time.monotonic() < until:
            await load.ask("slow", ids[turn % len(ids)])
            turn += at_once

    load.samples.clear()
    began = time.monotonic()
    await asyncio.gather(*(reader(number) for number in range(at_once)))
    return sum(not one.code for one in load.samples) / (time.monotonic() - began)


Counted = tuple[int, int, int, int, float]
"""Answered, refused, answered otherwise, broken off; in how many seconds."""


async def _clients(load: Load, ids: Sequence[str], rate: float, seconds: float) -> Counted:
    began = time.monotonic()
    await load.run({"slow": ids}, {"slow": rate}, seconds)
    took = time.monotonic() - began
    answered = sum(not one.code for one in load.samples)
    refused = sum(one.code == SOURCE_BUSY.code for one in load.samples)
    broken = sum(not one.status for one in load.samples)
    return answered, refused, len(load.samples) - answered - refused - broken, broken, took


async def _wrk(port: int, folder: Path, rate: float, seconds: float) -> Counted:
    # So many that what each waits between its requests is far longer than an answer takes: the rate is then theirs to set.
    connections = max(64, int(rate / 2))
    script = folder / "paced.lua"
    script.write_text(PACED % (connections / rate * 1000, DOCUMENTS - 1))
    command = [require("wrk"), "-t1", f"-c{connections}", f"-d{seconds:.0f}s", "--timeout", "20s", "-s", str(script)]
    said = await asyncio.to_thread(
        subprocess.run, [*command, f"http://127.0.0.1:{port}/"], check=True, capture_output=True, text=True
    )
    words = said.stdout.partition("COUNTED ")[2].split()
    if words[5:]:
        print("other statuses:", *words[5:], flush=True)
    answered, refused, other, broken, microseconds = map(int, words[:5])
    return answered, refused, other, broken, microseconds / 1e6


async def _remember(pid: int, memory: list[float], seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])  # of /proc, which waits for nothing
        memory.append(pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20))
        await asyncio.sleep(seconds / 30)


async def _recovered(load: Load, ids: Sequence[str], rate: float, milliseconds: float, ended: float) -> float:
    """Seconds since `ended` until a quarter of a second in which everybody got a document, the most of them in time."""
    while time.monotonic() < ended + 15:
        load.samples.clear()
        began = time.monotonic()
        await load.run({"slow": ids}, {"slow": rate}, 0.25)
        if _well(load.samples, milliseconds):
            return began - ended
    return 15.0


def _well(samples: Sequence[Sample], milliseconds: float) -> bool:
    documents = [one.took * 1000 for one in samples if not one.code]
    return len(documents) == len(samples) and statistics.median(documents) <= milliseconds
