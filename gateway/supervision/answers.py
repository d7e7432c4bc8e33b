"""What several workers say as one: numbers are added up, states are as bad as the worst. Pure.

Made for what the admin side of a worker answers: `/cache`, `/audit`, `/status`, `/log`. The numbers for Prometheus have
rules of their own, in `gateway.metrics`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

WELL = ("ok", "ready", "delivering", "written", "closed", "none")
"""Words for what is as it should be; any other one wins against them."""

LARGEST = ("_ms", "_seconds", "p50", "p99", "max", "reloads", "keys", "applied", "refused", "at", "ending")
"""Ends of the names of numbers that make no sense as a sum: times, and what all workers have in common."""

SMALLEST = ("days",)

MEAN = ("_ratio",)

RATIO = "hit_ratio"
"""The end of the names of parts that were found; the numbers that they are of stand beside them."""

SHARED = ("entries", "bytes", "limit")
"""Numbers of a cache that are the same for all where it is Redis."""

NAMES = ("name", "issuer", "key")
"""What tells the entries of a list apart."""


def merged(said: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One answer out of those of all workers; a key that only some have counts as far as it is there."""
    names = dict.fromkeys(name for one in said for name in one)
    whole = {name: _value(name, [one[name] for one in said if name in one]) for name in names}
    for name in [name for name in whole if name.endswith(RATIO)]:
        hits, misses = (whole.get(name.removesuffix(RATIO) + part) for part in ("hits", "misses"))
        if isinstance(hits, int) and isinstance(misses, int) and hits + misses:
            # Of all that was looked up, however the workers shared it.
            whole[name] = round(hits / (hits + misses), 4)
    if whole.get("backend") == "redis":
        whole |= {name: said[0].get(name) for name in SHARED if name in whole}
    return whole


def _value(name: str, values: Sequence[Any]) -> Any:
    there = [value for value in values if value is not None]
    if not there:
        return None
    first = there[0]
    if isinstance(first, Mapping):
        return merged([value for value in there if isinstance(value, Mapping)])
    if isinstance(first, bool):
        return all(there)
    if isinstance(first, int | float):
        return _number(name, [value for value in there if isinstance(value, int | float)])
    if isinstance(first, list):
        return _lists([value for value in there if isinstance(value, list)])
    return next((value for value in there if value not in WELL), first)


def _number(name: str, numbers: Sequence[int | float]) -> int | float:
    if name.endswith(MEAN):
        return round(sum(numbers) / len(numbers), 4)
    if name.endswith(SMALLEST):
        return min(numbers)
    return max(numbers) if name.endswith(LARGEST) else sum(numbers)


def _lists(lists: Sequence[list[Any]]) -> list[Any]:
    """Entries of the same name are one; all others stand as they are, none twice."""
    found: dict[str, list[Any]] = {}
    others: list[Any] = []
    for entry in (entry for one in lists for entry in one):
        name = next((entry[key] for key in NAMES if key in entry), None) if isinstance(entry, Mapping) else None
        if isinstance(name, str):
            found.setdefault(name, []).append(entry)
        elif entry not in others:
            others.append(entry)
    return [*(merged(entries) for entries in found.values()), *others]
