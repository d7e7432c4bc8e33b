"""How long calls took lately: the last few hundred durations, kept in a ring.

Pure. Noting one costs an assignment; the quantiles are made when somebody looks.
"""

from __future__ import annotations

KEPT = 512
"""Durations that are kept."""


class Latencies:
    """The last `KEPT` durations in seconds."""

    __slots__ = ("_ring", "count")

    def __init__(self) -> None:
        self._ring: list[float] = [0.0] * KEPT
        self.count = 0

    def note(self, seconds: float) -> None:
        """One more call took so long."""
        self._ring[self.count & (KEPT - 1)] = seconds
        self.count += 1

    def quantiles(self) -> tuple[float, float, int]:
        """Median, 99th of a hundred, and of how many; zeros where nothing was noted."""
        kept = sorted(self._ring[: self.count] if self.count < KEPT else self._ring)
        if not kept:
            return 0.0, 0.0, 0
        return kept[len(kept) // 2], kept[min(len(kept) - 1, len(kept) * 99 // 100)], len(kept)
