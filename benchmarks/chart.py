"""The table of docs/benchmarks.md as a picture: how far each figure lies from its goal. Text in, SVG out; no measuring.

A bar to the right of the line is a goal that was met, one to the left a goal that was missed; its length is the logarithm of
the distance, so that twice as good and half as good are bars of the same length.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

ROW = 20
TITLES, BARS, FIGURES = 560, 360, 150
"""Widths of the three columns in pixels."""

WIDEST = 2.0
"""Doublings that a bar can show; a longer one is cut."""

MET, MISSED = "#2a7f62", "#c4572e"


@dataclass(frozen=True, slots=True)
class Bar:
    """One goal: what was measured, how often better than the goal it is (below 1: worse), and both in words."""

    title: str
    times: float
    text: str

    @property
    def met(self) -> bool:
        return self.times >= 1


def bars(table: str) -> list[Bar]:
    """The rows of the table that have a goal."""
    found = []
    for line in table.splitlines():
        cells = [cell.strip() for cell in line.strip("|\n ").split(" | ")]
        if len(cells) < 6 or (goal := re.match(r"([<>]=) ([\d.]+)", cells[4])) is None:
            continue
        judged = re.match(r"-?[\d.,]+", cells[3] or cells[1])
        if judged is None:
            continue
        value, limit = float(judged[0].replace(",", "")), float(goal[2])
        peer = re.match(r"[A-Za-z][A-Za-z -]*[A-Za-z]", cells[2])
        title = cells[0] + (f" / {peer[0].strip()}" if cells[3] and peer else "")
        found.append(Bar(title, _times(value, limit, goal[1] == ">="), f"{judged[0]} (goal {cells[4]})"))
    return found


def _times(value: float, limit: float, at_least: bool) -> float:
    if value <= 0:
        return 0.0 if at_least else math.inf
    return value / limit if at_least else limit / value


def svg(rows: Sequence[Bar]) -> str:
    """The picture, as wide as its columns and as high as its rows."""
    width, height = TITLES + BARS + FIGURES, ROW * (len(rows) + 1)
    middle = TITLES + BARS / 2
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="{middle}" y="14" text-anchor="middle">missed | met</text>',
    ]
    for number, row in enumerate(rows, 1):
        y = ROW * number
        doublings = max(-WIDEST, min(WIDEST, math.log2(row.times) if row.times else -WIDEST))
        length = abs(doublings) / WIDEST * BARS / 2
        left = middle if row.met else middle - length
        parts += [
            f'<text x="{TITLES - 8}" y="{y + 14}" text-anchor="end">{escape(row.title)}</text>',
            f'<rect x="{left:.1f}" y="{y + 3}" width="{max(length, 1):.1f}" height="{ROW - 6}" '
            f'fill="{MET if row.met else MISSED}"/>',
            f'<text x="{TITLES + BARS + 8}" y="{y + 14}">{escape(row.text)}</text>',
        ]
    parts += [f'<path d="M{middle} {ROW}V{height}" stroke="black"/>', "</svg>"]
    return "\n".join(parts) + "\n"
