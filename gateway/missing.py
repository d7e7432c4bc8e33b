"""What archives said they do not have, believed for a few seconds, so that a client that asks again and again is not a burden.

Each process for itself. Only "not found" and "withdrawn" are remembered: everything else may be different at once.
"""

from __future__ import annotations

import time
from collections.abc import Hashable

from adapters.errors import Deleted, NotFound

REMEMBERED = 10_000
"""Documents that an archive does not have; about 3 MiB when full."""


class Missing:
    """The documents that the archive `source` does not have, each for `seconds`."""

    def __init__(self, source: str, seconds: float) -> None:
        self._source = source
        self._seconds = seconds
        self._known: dict[Hashable, tuple[type[NotFound], str, float]] = {}

    def remember(self, key: Hashable, error: NotFound) -> None:
        """The archive said so just now."""
        if len(self._known) >= REMEMBERED:
            self._known.clear()
        kind = Deleted if isinstance(error, Deleted) else NotFound
        self._known[key] = kind, error.detail, time.monotonic() + self._seconds

    def refuse(self, key: Hashable) -> None:
        """Raise what the archive said of `key`, if that was a moment ago."""
        known = self._known.get(key)
        if known is None:
            return
        kind, detail, until = known
        if time.monotonic() >= until:
            del self._known[key]
            return
        error = kind(detail)
        error.source = self._source
        raise error

    def forget(self) -> None:
        """Believe nothing any more."""
        self._known.clear()
