"""What was measured, judged and written down: values only, no measuring."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Spread:
    """Several measurements of one thing."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def low(self) -> float:
        return min(self.values)

    @property
    def high(self) -> float:
        return max(self.values)

    def text(self, digits: int) -> str:
        """The median, and how far the rounds lay apart."""
        if len(self.values) == 1:
            return f"{self.median:,.{digits}f}"
        return f"{self.median:,.{digits}f} ({self.low:,.{digits}f}..{self.high:,.{digits}f})"


@dataclass(frozen=True, slots=True)
class Goal:
    """A limit that a value has to keep: at least or at most `limit`."""

    limit: float
    at_least: bool

    def met(self, value: float) -> bool:
        return value >= self.limit if self.at_least else value <= self.limit

    def text(self, unit: str) -> str:
        return f"{'>=' if self.at_least else '<='} {self.limit:g}{unit}"


@dataclass(frozen=True, slots=True)
class Result:
    """One line of the table.

    `figures` holds each contender's measurements in `unit`; `cost` their processor time, in words. With a peer, the
    goal speaks of the ratio of the gateway to it, round by round; without one, of the gateway's own figure.
    """

    name: str
    title: str
    unit: str
    digits: int
    figures: Mapping[str, Spread]
    goal: Goal
    cost: Mapping[str, str] = field(default_factory=dict)

    @property
    def ratio(self) -> Spread | None:
        if "nginx" not in self.figures:
            return None
        pairs = zip(self.figures["gateway"].values, self.figures["nginx"].values, strict=True)
        return Spread(tuple(ours / theirs for ours, theirs in pairs))

    @property
    def met(self) -> bool:
        return self.goal.met((self.ratio or self.figures["gateway"]).median)

    def row(self) -> list[str]:
        """Title, gateway, peer, ratio, goal, verdict, processor time."""
        figures = {name: f"{spread.text(self.digits)} {self.unit}" for name, spread in self.figures.items()}
        return [
            self.title,
            figures["gateway"],
            figures.get("nginx", ""),
            self.ratio.text(2) if self.ratio else "",
            self.goal.text(" x" if self.ratio else f" {self.unit}"),
            "met" if self.met else "missed",
            "; ".join(self._cost(name) for name in self.cost),
        ]

    def _cost(self, name: str) -> str:
        """A contender's processor time; one that has no column of its own shows its figure here too."""
        figure = "" if name in ("gateway", "nginx") else f" {self.figures[name].text(self.digits)} {self.unit},"
        return f"{name}{figure} {self.cost[name]}"

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "name": self.name,
            "title": self.title,
            "unit": self.unit,
            "figures": {name: list(spread.values) for name, spread in self.figures.items()},
            "ratio": self.ratio and round(self.ratio.median, 3),
            "goal": {"at_least" if self.goal.at_least else "at_most": self.goal.limit},
            "met": self.met,
            "cost": dict(self.cost),
        }


HEADINGS = ["what", "gateway", "nginx", "ratio", "goal", "", "processor time"]


def markdown(results: Sequence[Result], machine: Mapping[str, str], rounds: str) -> str:
    """The table and what it was measured on."""
    rows = [HEADINGS, ["---"] * len(HEADINGS), *(result.row() for result in results)]
    table = "\n".join("| " + " | ".join(row) + " |" for row in rows)
    facts = "; ".join(f"{name} {value}" for name, value in machine.items())
    return f"{table}\n\n{rounds} Median (lowest..highest).\n\n{facts}.\n"


def in_turns(rounds: int, contenders: Mapping[str, Callable[[], float]]) -> dict[str, Spread]:
    """Measure each in every round, each round in the other order, so that drift of the machine hits both alike."""
    values: dict[str, list[float]] = {name: [] for name in contenders}
    for measure in contenders.values():
        measure()  # unmeasured: warms the page cache and the processes
    for number in range(rounds):
        order = list(contenders)[:: 1 if number % 2 == 0 else -1]
        for name in order:
            values[name].append(contenders[name]())
    return {name: Spread(tuple(found)) for name, found in values.items()}
