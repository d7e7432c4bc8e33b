"""What happens to archives while they are read: new versions, deletions, broken reads, outages.

Every act is entered into the truth in the same breath, so that no answer can fall between the two.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from dataclasses import dataclass

from adapters.errors import Busy, Corrupt, TimedOut, Unavailable
from tests.support.cache_model.truth import Paper, Truth
from tests.support.fragile import Archive

SIZES = (200, 3_000, 17_000, 40_000, 70_000, 300_000, 1_200_000)
"""In bytes; the last is above the largest document that is kept."""

WEIGHTS = (30, 30, 20, 10, 6, 3, 1)

NOISE = random.Random(4).randbytes(4 << 20)
"""Where documents are cut from: no two places in it are alike."""

AWAY = (Unavailable("lost"), TimedOut("late"), Busy("busy"))
BREAKS = (Unavailable("lost"), TimedOut("silence"), Corrupt("short"), None)


@dataclass
class Archived:
    """One source: what its archive does, what is true of it, and how long its failures linger."""

    archive: Archive
    truth: Truth
    dice: random.Random
    lingers: float
    """Seconds after an outage for which what was asked during it may still fail."""
    count: int = 0

    def fill(self, papers: int) -> None:
        """Put the first documents there."""
        for number in range(papers):
            name = f"p{number}"
            self.truth.papers[name] = Paper(name)
            self.write(self.truth.papers[name])

    def chosen(self) -> Paper:
        return self.dice.choice(list(self.truth.papers.values()))

    def write(self, paper: Paper) -> None:
        """A new version: of the same size for every other document, so that no size gives it away."""
        self.count += 1
        slot = int(paper.name[1:])
        size = SIZES[slot % len(SIZES)] + (0 if slot % 2 else self.count % 1000)
        at = self.dice.randrange(len(NOISE) - size)
        data = self.dice.randbytes(16) + NOISE[at + 16 : at + size]
        if self.dice.random() < 0.3 and paper.current is not None:
            # What comes late differs only: a comparison that stops early takes it for the same.
            keep = min(size, len(paper.current.data)) // 2
            data = data[:16] + paper.current.data[16:keep] + data[max(16, keep) :]
        before = time.monotonic()
        self.archive.put(paper.name, data, str(self.count), tells_size=slot % 5 != 4)
        paper.write(self.count, data, before, time.monotonic())

    def delete(self, paper: Paper) -> None:
        before = time.monotonic()
        self.archive.papers.pop(paper.name, None)
        paper.delete(before, time.monotonic())

    async def change(self, pause: float) -> None:
        """Write, delete and break off, for ever; `pause` seconds on average between two acts."""
        while True:
            await asyncio.sleep(self.dice.expovariate(1 / pause))
            act = self.dice.random()
            paper = self.chosen()
            if act < 0.70 or paper.current is None:
                self.write(paper)
            elif act < 0.85:
                self.delete(paper)
            else:
                self._break_off()

    def _break_off(self) -> None:
        """Some of the next reads end early. Quietly where the archive tells sizes, so that it can be noticed."""
        if not self.truth.rules.validated:
            # What was asked is read, and may fail; where it is only asked about, breaks excuse nothing.
            now = time.monotonic()
            self.truth.troubles.append((now, now + self.lingers / 2))
        for _ in range(self.dice.randrange(1, 4)):
            self.archive.breaks.append(
                (self.dice.choice([0, 100, 2_500, 30_000, 66_000, 250_000]), self.dice.choice(BREAKS))
            )
        del self.archive.breaks[:-20]

    async def fail(self, pause: float, length: float) -> None:
        """Be away or hang for `length` seconds, again and again."""
        while True:
            await asyncio.sleep(self.dice.uniform(0.5, 1.5) * pause)
            self.truth.troubles.append((time.monotonic(), math.inf))
            at = len(self.truth.troubles) - 1
            if self.dice.random() < 0.4:
                self.archive.hangs = True
            else:
                self.archive.away = self.dice.choice(AWAY)
            await asyncio.sleep(length)
            self.archive.hangs, self.archive.away = False, None
            self.truth.troubles[at] = self.truth.troubles[at][0], time.monotonic() + self.lingers
