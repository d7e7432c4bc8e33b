"""The bounded threads of one source.

A blocking read of a hung mount cannot be interrupted: its thread stays until the kernel lets go. So each source owns its
threads (six hung reads in the loop's default pool would stop name resolution for the whole process), their number is
bounded, and `wedged` says when none of them can be expected to answer. Nothing else lives here.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

Result = TypeVar("Result")

SOURCE_THREADS = "source-"
"""What the names of these threads begin with."""


class Workers(ThreadPoolExecutor):
    """A thread pool that knows since when each of its threads has been busy."""

    def __init__(self, source: str, threads: int) -> None:
        super().__init__(max_workers=threads, thread_name_prefix=SOURCE_THREADS + source)
        self.threads = threads
        self._busy_since: dict[object, float] = {}

    def __repr__(self) -> str:
        return f"<Workers busy={len(self._busy_since)}/{self.threads}>"

    def submit(self, function: Callable[..., Result], /, *arguments: Any, **named: Any) -> Future[Result]:
        return super().submit(self._timed, function, arguments, named)

    def _timed(self, function: Callable[..., Result], arguments: tuple[Any, ...], named: dict[str, Any]) -> Result:
        token = object()
        self._busy_since[token] = time.monotonic()
        try:
            return function(*arguments, **named)
        finally:
            del self._busy_since[token]

    @property
    def busy(self) -> int:
        """How many threads are inside a call."""
        return len(self._busy_since)

    def hung(self, seconds: float) -> int:
        """How many threads have been inside one call for longer than `seconds`."""
        if not self._busy_since:
            return 0
        limit = time.monotonic() - seconds
        return sum(1 for since in tuple(self._busy_since.values()) if since < limit)

    def wedged(self, seconds: float) -> bool:
        """Whether every thread has been inside one call for longer than `seconds`."""
        return len(self._busy_since) >= self.threads and self.hung(seconds) >= self.threads
