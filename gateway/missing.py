"""What archives said they do not have, believed for a few seconds, so that a client that asks again and again is not a burden.

Each process for itself. Only "not found" and "withdrawn" are remembered: everything else may be different at once. The seconds
count from the moment at which the archive was asked: it may have decided its answer right then, and have the document since.
"""

from __future__ import annotations

import time
from collections.abc import Hashable

from adapters.errors import Deleted, NotFound

REMEMBERED = 10_000
"""Documents that an archive does not have; about 3 MiB when full."""


class Remembered(NotFound):
    """The archive said a moment ago that there is no such document, and was not asked again."""


class RememberedDeleted(Remembered, Deleted):
    """The archive said a moment ago that it withdrew the document, and was not asked again."""


class Missing:
    """The documents that the archive `source` does not have, each for `seconds`."""

    def __init__(self, source: str, seconds: float) -> None:
        self._source = source
        self._seconds = seconds
        self._known: dict[Hashable, tuple[type[Remembered], str, float]] = {}

    def believed(self, asked: float, now: float) -> bool:
        """Whether an answer to what was asked then counts now; both in seconds of the monotonic clock."""
        return now - asked < self._seconds

    def remember(self, key: Hashable, error: NotFound, asked: float) -> None:
        """The archive said so when it was `asked`, in seconds of the monotonic clock."""
        if not self.believed(asked, time.monotonic()):
            return
        if len(self._known) >= REMEMBERED:
            self._known.clear()
        kind = RememberedDeleted if isinstance(error, Deleted) else Remembered
        self._known[key] = kind, error.detail, asked

    def refuse(self, key: Hashable) -> None:
        """Raise `Remembered` when the archive said a moment ago that it does not have `key`."""
        known = self._known.get(key)
        if known is None:
            return
        kind, detail, asked = known
        if not self.believed(asked, time.monotonic()):
            del self._known[key]
            return
        error = kind(detail)
        error.source = self._source
        raise error

    def forget(self) -> None:
        """Believe nothing any more."""
        self._known.clear()
