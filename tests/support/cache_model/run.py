"""One run of the model: readers, writers, purges and trouble at the same time, and what came of it.

`python -m tests.support.cache_model.run --backend memory --reads 20000` prints one line of JSON: what was counted, and what
the judge complains of. Exit status 1 when there is a complaint.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gateway.cache import Scope
from tests.support.cache_model.backends import BACKENDS, made
from tests.support.cache_model.evidence import IDS, evidence
from tests.support.cache_model.places import (
    LINGERS,
    POLICY,
    SOURCES,
    Place,
    archives,
    prefix,
)
from tests.support.cache_model.reading import Client
from tests.support.cache_model.truth import Paper, Read, Rules, Truth, etag_of
from tests.support.cache_model.weather import SIZES, WEIGHTS, Archived
from tests.support.fragile import Archive

PAPERS = 14
"""Documents of each source: two of each size."""

PURGED = 4
"""So many of them are purged again and again, the others now and then."""

READERS = 16
"""For each gateway."""

PROVED = 5
"""Complaints of a source that are told with all that happened around them."""

SEEN = ("hit", "stale", "gone", "broken off", "purges", "asked the archive")
"""What must be counted for a run to say anything."""

KINDS = {"native": 50, "range": 14, "conditional": 10, "json": 10, "head": 8, "xml": 8}


@dataclass
class Pace:
    """How often something happens; seconds on average between two of a kind."""

    write: float = 0.02
    purge: float = 0.05
    outage: float = 1.5
    outage_length: float = 0.25
    disturbance: float = 1.0
    papers: int = PAPERS
    """Documents of each source: the fewer there are, the more happens to each."""


@dataclass
class Tally:
    """What a run came to."""

    counts: Counter[str] = field(default_factory=Counter)
    complaints: list[str] = field(default_factory=list)
    evidence: list[list[str]] = field(default_factory=list)
    """What happened around the first answers that are complained of."""
    seconds: float = 0.0

    def __str__(self) -> str:
        counted = ", ".join(f"{count} {name}" for name, count in sorted(self.counts.items()))
        return f"{self.seconds:.1f} s: {counted}; {len(self.complaints)} complaints"


def rules(kind: str, *, strict_gone: bool) -> Rules:
    return Rules(
        validated=kind == "able",
        ttl=POLICY.ttl,
        stale_while_revalidate=POLICY.stale_while_revalidate,
        stale_if_error=POLICY.stale_if_error,
        patience=POLICY.patience,
        negative=POLICY.negative,
        strict_gone=strict_gone,
    )


class Run:
    """The load on one place."""

    def __init__(
        self, place: Place, stores: Mapping[str, Archive], *, seed: int, pace: Pace, strict_gone: bool = True
    ) -> None:
        self.place = place
        self.pace = pace
        self.dice = random.Random(seed)
        self.counts: Counter[str] = Counter()
        self.happened: list[tuple[float, str]] = []
        """What was done to servers and networks, and when."""
        self.sources: dict[str, Archived] = {}
        for name, store in stores.items():
            truth = Truth(name, rules(SOURCES[name], strict_gone=strict_gone))
            self.sources[name] = Archived(store, truth, random.Random(f"{seed} {name}"), LINGERS)
            self.sources[name].fill(pace.papers)

    async def go(self, enough: Callable[[Run], bool]) -> Tally:
        """Until `enough` says so."""
        began = time.monotonic()
        around = [asyncio.ensure_future(one.change(self.pace.write)) for one in self.sources.values()]
        around += [
            asyncio.ensure_future(one.fail(self.pace.outage, self.pace.outage_length)) for one in self.sources.values()
        ]
        around += [asyncio.ensure_future(self._purging()), asyncio.ensure_future(self._disturbing())]
        readers = [
            asyncio.ensure_future(self._reading(port, random.Random(f"{self.dice.random()} {number}"), enough))
            for port in self.place.ports
            for number in range(READERS)
        ]
        try:
            await asyncio.gather(*readers)
        finally:
            for task in [*around, *readers]:
                task.cancel()
            ended = await asyncio.gather(*around, *readers, return_exceptions=True)
        failed = [one for one in ended if isinstance(one, Exception)]
        if failed:
            raise failed[0]
        return self._tally(time.monotonic() - began)

    @property
    def reads(self) -> int:
        return sum(one.truth.counts["reads"] for one in self.sources.values())

    @property
    def so_far(self) -> Counter[str]:
        """What has happened, as its `Tally` will count it."""
        return self._tally(0.0).counts

    def _tally(self, seconds: float) -> Tally:
        tally = Tally(Counter(self.counts), seconds=seconds)
        for one in self.sources.values():
            tally.counts += one.truth.counts
            tally.counts["versions"] += one.count
            tally.complaints += one.truth.complaints
            tally.evidence += [self._evidence(one, *accused) for accused in one.truth.accused[:PROVED]]
        return tally

    def _evidence(self, source: Archived, paper: Paper, read: Read) -> list[str]:
        return evidence(
            source.truth,
            paper,
            read,
            answers=source.archive.answers.get(paper.name, ()),
            happened=self.happened,
            lines=self.place.lines(read.answer.fields.get(IDS, "-")),
        )

    # --- reading -----------------------------------------------------------------------------------------------------

    async def _reading(self, port: int, dice: random.Random, enough: Callable[[Run], bool]) -> None:
        names = list(self.sources)
        weights = [WEIGHTS[number % len(SIZES)] for number in range(self.pace.papers)]
        slots = range(self.pace.papers)
        kinds, kind_weights = list(KINDS), list(KINDS.values())
        async with Client("127.0.0.1", port) as client:
            while not enough(self):
                source = self.sources[dice.choice(names)]
                (slot,) = dice.choices(slots, weights)
                (kind,) = dice.choices(kinds, kind_weights)
                paper = source.truth.papers[f"p{slot}"]
                read = await _read(client, source.truth.name, paper, kind, dice)
                source.truth.judge(paper, read)
                if not read.answer.status:
                    await asyncio.sleep(0.02)  # the gateway is not there

    # --- what happens meanwhile --------------------------------------------------------------------------------------

    async def _purging(self) -> None:
        while True:
            await asyncio.sleep(self.dice.expovariate(1 / self.pace.purge))
            source = self.dice.choice(list(self.sources.values()))
            act = self.dice.random()
            if act < 0.97:
                # Of the others copies must grow old enough to be refused for it.
                paper = source.truth.papers[f"p{self.dice.randrange(min(PURGED, self.pace.papers))}"]
                if act < 0.7:
                    source.write(paper)  # as an operator does: right after a correction
                scope = Scope(source.truth.name, paper.name)
            elif act < 0.99:
                scope = Scope(source.truth.name)
            else:
                scope = Scope()
            began = time.monotonic()
            if await self.place.purge(self.dice.randrange(len(self.place.ports)), scope):
                self._purged(scope, began, time.monotonic())
                self.counts["purges"] += 1
            else:
                self.counts["purges pending"] += 1

    def _purged(self, scope: Scope, began: float, acknowledged: float) -> None:
        for one in self.sources.values():
            if scope.source in (None, one.truth.name):
                for paper in one.truth.papers.values():
                    if scope.locator in (None, paper.name):
                        paper.purged.add(acknowledged, began)

    def varied(self, each: int) -> bool:
        """Whether everything that can go wrong here has gone wrong, and there were so many answers of each kind."""
        counts = sum((one.truth.counts for one in self.sources.values()), Counter(self.counts))
        return all(counts[name] for name in self.place.disturbances) and all(counts[kind] >= each for kind in SEEN)

    async def _disturbing(self) -> None:
        acts = self.place.disturbances
        while acts:
            await asyncio.sleep(self.dice.uniform(0.5, 1.5) * self.pace.disturbance)
            # First what has not been yet, so that a short run has everything too.
            name = self.dice.choice([one for one in acts if not self.counts[one]] or list(acts))
            troubles = [one.truth.troubles for one in self.sources.values()]
            at = [len(one) for one in troubles]
            for one in troubles:
                one.append((time.monotonic(), float("inf")))
            self.happened.append((time.monotonic(), f"{name}: begins"))
            await acts[name](self.dice)
            self.happened.append((time.monotonic(), f"{name}: ends"))
            for one, index in zip(troubles, at, strict=True):
                one[index] = one[index][0], time.monotonic() + LINGERS
            self.counts[name] += 1


async def _read(client: Client, source: str, paper: Paper, kind: str, dice: random.Random) -> Read:
    target = f"/{dice.choice(['R4', 'STU3'])}/Binary/{prefix(source)}{paper.name}"
    fields: tuple[str, ...] = ()
    span, etag, method = None, None, "GET"
    if kind in ("json", "xml"):
        fields = (f"Accept: application/fhir+{kind}",)
    elif kind == "range":
        size = SIZES[int(paper.name[1:]) % len(SIZES)]
        first = dice.randrange(size)
        span = first, min(first + dice.randrange(size), size - 1)
        fields = (f"Range: bytes={span[0]}-{span[1]}",)
    elif kind == "head":
        method = "HEAD"
    elif kind == "conditional":
        version = dice.choice(paper.versions[-2:])
        etag = etag_of(version.number)
        fields = (f"If-None-Match: {etag}",)
    begun = time.monotonic()
    answer = await client.ask(target, *fields, method=method)
    return Read(kind, begun, time.monotonic(), answer, span, etag)


# --- from the command line -------------------------------------------------------------------------------------------


async def modelled(
    backend: str, folder: Path, *, reads: int, each: int, seconds: float, seed: int, killing: bool
) -> Tally:
    """A run that ends when there were so many reads, `each` of every kind and every trouble once; or after `seconds`."""
    stores = archives()
    async with made(backend, folder, stores, killing=killing) as place:
        # A Redis that cannot be reached keeps what it was to drop; the next purge reaches it all the same.
        run = Run(place, stores, seed=seed, pace=Pace(), strict_gone=backend != "redis")
        ends = time.monotonic() + seconds
        return await run.go(lambda run: (run.reads >= reads and run.varied(each)) or time.monotonic() >= ends)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.support.cache_model.run", description=__doc__.split("\n")[0])
    parser.add_argument("--backend", choices=BACKENDS, default="memory")
    parser.add_argument("--reads", type=int, default=20_000)
    parser.add_argument("--each", type=int, default=0, help="at least so many answers of each kind")
    parser.add_argument("--seconds", type=float, default=600.0, help="the longest that it may take (default 600)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kill", action="store_true", help="gateways that are processes, and are killed")
    given = parser.parse_args()
    import uvloop

    with (
        tempfile.TemporaryDirectory(prefix="model-") as folder,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        tally = runner.run(
            modelled(
                given.backend,
                Path(folder),
                reads=given.reads,
                each=given.each,
                seconds=given.seconds,
                seed=given.seed,
                killing=given.kill,
            )
        )
    figures = {"seconds": round(tally.seconds, 1), "counts": dict(sorted(tally.counts.items()))}
    complaints = {"complaints": tally.complaints[:20], "complained": len(tally.complaints)}
    print(json.dumps(figures | complaints | ({"evidence": tally.evidence} if tally.evidence else {})))
    return int(bool(tally.complaints))


if __name__ == "__main__":
    sys.exit(main())
