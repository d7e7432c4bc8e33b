"""One finding of `check` about a key, before it has its place in the file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["wrong", "away", "note"]
"""wrong: a gateway does not start so. away: it starts, and something does not answer. note: it works, and could be better."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """What is the matter with the value at the key `path`. `cause` and `cure` are sentences."""

    path: tuple[str | int, ...]
    cause: str
    cure: str
    state: State = "wrong"
