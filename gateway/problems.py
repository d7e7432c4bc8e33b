"""What is wrong with a configuration, as values: where, which key, what, and what to do about it.

Standard library only, so that the cheapest command can report a problem. A problem never holds the value of a secret.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from difflib import get_close_matches


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to put right.

    `file` is the configuration file as it was given, None when there is none; `line` and `column` count from 1.
    `variable` is the environment variable that said it, when it was not the file. `key` is the key's path with dots, ""
    for the file as a whole. `cause` and `cure` are sentences. `code` is a stable word for programs.
    """

    code: str
    cause: str
    cure: str
    key: str = ""
    file: str | None = None
    line: int | None = None
    column: int | None = None
    variable: str | None = None

    @property
    def place(self) -> str:
        """Where to look: `gateway.yaml:7:3`, the variable's name, or the file."""
        if self.variable is not None:
            return self.variable
        return ":".join(
            str(part) for part in (self.file or "configuration", self.line, self.column) if part is not None
        )

    @property
    def order(self) -> tuple[bool, int, int]:
        """Sorts problems as they stand in the file, those of variables behind them."""
        return self.variable is not None, self.line or 0, self.column or 0

    def __str__(self) -> str:
        key = f" {self.key}:" if self.key else ""
        return f"{self.place}:{key} {self.cause} {self.cure}"

    def as_dict(self) -> dict[str, str | int | None]:
        """The same facts for a machine."""
        return asdict(self)


class SettingsError(Exception):
    """The configuration cannot be used. `problems` holds all of them, in the order of the file."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda problem: problem.order))
        super().__init__("\n".join(str(problem) for problem in self.problems))


def did_you_mean(word: str, known: Sequence[str], *, what: str = "key") -> str:
    """The cure for an unknown word: the nearest known one, else all of them."""
    by_lower_case = {name.lower().replace("-", "_"): name for name in known}
    nearest = get_close_matches(word.lower().replace("-", "_"), by_lower_case, n=1, cutoff=0.6)
    if nearest:
        return f"Did you mean `{by_lower_case[nearest[0]]}`?"
    if not known:
        return f"No {what} is possible here; remove it."
    return f"Known here: {', '.join(f'`{name}`' for name in known)}."


def raised_at(error: BaseException) -> str:
    """Where `error` came from, as in "KeyError in consent.py:12". Never its message: that may quote data."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" in {frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{where}"


def sentence(text: str) -> str:
    """`text` with a capital and a full stop."""
    text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "!", "?")) else f"{text}."
