"""What a look-up asks of Redis, worked out once for each document: names, commands, and the bytes that go out.

A document that is asked for is mostly asked for again. Names are HMACs and commands have to be packed; together that would be
an eighth of what a hit of a small document costs. Nothing in here depends on time or on an answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gateway.cache import Key
from gateway.cache.redis_lane import Batch, Command, packed

REMEMBERED = 2048
"""Documents whose questions are remembered; about 3 MiB when full."""


class Question:
    """Commands, each with the key that it is about, which are sent together."""

    __slots__ = ("batch", "keyed")

    def __init__(self, keyed: Sequence[tuple[str, Command]]) -> None:
        self.keyed = keyed
        self.batch: Batch = packed(*(command for _, command in keyed))


class LookUp(Question):
    """What is asked about one document: its entry under each of its names, and behind them its tokens."""

    __slots__ = ("entries", "names", "tokens_at")

    def __init__(self, names: Sequence[str], entries: Sequence[str], tokens: tuple[str, Command]) -> None:
        # The tokens are read behind the entry: one that was put before a purge is not seen with tokens after it.
        super().__init__([*((entry, ("HMGET", entry, "m", 0)) for entry in entries), tokens])
        self.names = names
        self.entries = entries
        self.tokens_at = tokens[0]


class LookUps:
    """The look-ups of the documents that were asked for last, made by `make`."""

    def __init__(self, make: Callable[[Key], LookUp]) -> None:
        self._make = make
        self._known: dict[Key, LookUp] = {}

    def about(self, key: Key) -> LookUp:
        """What is asked about the document under `key`."""
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            known = self._known[key] = self._make(key)
        return known
