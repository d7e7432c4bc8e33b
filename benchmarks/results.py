"""What was measured, judged and written down: values only, no measuring."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

OURS = "gateway"
"""The contender that the others are compared with."""


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
class Cost:
    """Processor time of one contender: `seconds` for a piece of work, NaN where not measured; `text` says it in words."""

    text: str
    seconds: float = math.nan


@dataclass(frozen=True, slots=True)
class Goal:
    """A limit to keep: at least or at most `limit`.

    With a peer it is a limit for the ratio of the gateway to it, round by round; without, for the gateway's own figure.
    With `processor` it is one for the processor time that a piece of work takes, as a ratio to the peer's. A limit that is
    NaN is none: the row is there to look at.
    """

    limit: float
    at_least: bool
    peer: str | None = None
    processor: bool = False

    def met(self, value: float) -> bool:
        return math.isnan(self.limit) or self._keeps(value)

    def verdict(self, value: float) -> str:
        """One word; nothing where there is no limit."""
        if math.isnan(self.limit):
            return ""
        return "met" if self._keeps(value) else "missed"

    def _keeps(self, value: float) -> bool:
        return value >= self.limit if self.at_least else value <= self.limit

    def text(self, unit: str) -> str:
        if math.isnan(self.limit):
            return ""
        return f"{'>=' if self.at_least else '<='} {self.limit:g}{unit}"


def look(peer: str) -> Goal:
    """No goal: this peer stands beside the gateway to be looked at."""
    return Goal(math.nan, at_least=True, peer=peer)


@dataclass(frozen=True, slots=True)
class Result:
    """One scenario: `figures` holds each contender's measurements in `unit`, `cost` their processor time."""

    name: str
    title: str
    unit: str
    digits: int
    figures: Mapping[str, Spread]
    goals: Sequence[Goal]
    cost: Mapping[str, Cost] = field(default_factory=dict)

    def ratio(self, peer: str) -> Spread:
        """The gateway to this peer, round by round."""
        pairs = zip(self.figures[OURS].values, self.figures[peer].values, strict=True)
        return Spread(tuple(ours / theirs for ours, theirs in pairs))

    @property
    def titles(self) -> set[str]:
        """What its rows begin with."""
        return {self.title, *(row[0] for row in self.rows())}

    @property
    def verdicts(self) -> list[bool]:
        """Whether each goal is met, those left out that are only to be looked at."""
        return [goal.met(self._judged(goal)) for goal in self.goals if math.isfinite(goal.limit)]

    def rows(self) -> list[list[str]]:
        """One for each goal: title, gateway, peer, ratio, goal, verdict, processor time."""
        return [self._row(goal) for goal in self.goals]

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "name": self.name,
            "title": self.title,
            "unit": self.unit,
            "figures": {name: list(spread.values) for name, spread in self.figures.items()},
            "goals": [
                {
                    "peer": goal.peer,
                    "of": "processor time" if goal.processor else self.unit,
                    "at_least" if goal.at_least else "at_most": goal.limit,
                    "judged": round(self._judged(goal), 3),
                    "met": goal.met(self._judged(goal)),
                }
                for goal in self.goals
            ],
            "cost": {name: cost.text for name, cost in self.cost.items()},
        }

    def _judged(self, goal: Goal) -> float:
        if goal.processor and goal.peer:
            return self.cost[OURS].seconds / self.cost[goal.peer].seconds
        return (self.ratio(goal.peer) if goal.peer else self.figures[OURS]).median

    def _row(self, goal: Goal) -> list[str]:
        if goal.processor and goal.peer:
            ratio = self._judged(goal)
            ours, theirs = self.cost[OURS].text, f"{goal.peer} {self.cost[goal.peer].text}"
            return [
                f"{self.title}: processor time",
                ours,
                theirs,
                f"{ratio:.2f}",
                goal.text(" x"),
                goal.verdict(ratio),
                "",
            ]
        return [
            self.title,
            self._figure(OURS),
            f"{goal.peer} {self._figure(goal.peer)}" if goal.peer else "",
            self.ratio(goal.peer).text(2) if goal.peer else "",
            goal.text(" x" if goal.peer else f" {self.unit}"),
            goal.verdict(self._judged(goal)),
            "; ".join(self._costs(goal)),
        ]

    def _figure(self, name: str) -> str:
        return f"{self.figures[name].text(self.digits)} {self.unit}"

    def _costs(self, goal: Goal) -> Iterator[str]:
        """Processor time of the gateway and this peer, and of those that are no goal's peer, with their figure."""
        peers = {one.peer for one in self.goals}
        for name, cost in self.cost.items():
            if name in (OURS, goal.peer):
                yield f"{name} {cost.text}"
            elif name not in peers:
                yield ", ".join(filter(None, (f"{name} {self._figure(name)}", cost.text)))


HEADINGS = ["what", "gateway", "peer", "ratio", "goal", "", "processor time"]


def markdown(results: Sequence[Result], said: str) -> str:
    """The table, and below it what it was measured on."""
    return "\n".join([_line(HEADINGS), _line(["---"] * len(HEADINGS)), *_lines(results), "", said])


def footer(machine: Mapping[str, str], rounds: str, only: Sequence[str] | None = None) -> str:
    """What was measured when and on what; `only` names what alone was."""
    facts = "; ".join(f"{name} {value}" for name, value in machine.items())
    scope = "".join(f"`{name}`, " for name in only or ())
    return f"{scope}{rounds} Median (lowest..highest).\n\n{facts}.\n"


def spliced(old: str, results: Sequence[Result], said: str) -> str:
    """`old`, a table with what is below it, with the rows of `results` in place of those that are about the same.

    What is about something new comes behind all other rows, and `said` at the end, in place of what was said there of the same.
    """
    begin, *below = re.split(r"\n\n(?!\|)", old.strip())
    rows = {title: _lines([result]) for result in results for title in result.titles}
    lines: list[str] = []
    for line in begin.splitlines():
        title = line.removeprefix("| ").partition(" | ")[0]
        if title not in rows:
            lines.append(line)
        elif rows[title][0] not in lines:
            lines += rows[title]
    lines += [line for result in results for line in rows[result.title] if line not in lines]
    about = said.partition(", 2")[0]
    stays = [part for part in zip(below[::2], below[1::2], strict=True) if part[0].partition(", 2")[0] != about]
    return "\n\n".join(["\n".join(lines), *(text.strip() for part in stays for text in part), said])


def _lines(results: Sequence[Result]) -> list[str]:
    return [_line(row) for result in results for row in result.rows()]


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


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
