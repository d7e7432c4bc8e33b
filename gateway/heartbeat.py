"""Whether the event loop turns, and how late it is: a timer that says when it was called after the time it had asked for.

What blocks the loop (a slow disk that should have been on a thread, a computation) delays every request of the process and
shows nowhere else. Nothing but time is looked at here.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque

BEAT = 0.5
"""Seconds between two beats."""

REMEMBERED = 30
"""Beats that are looked back on: 15 seconds."""

STILL = 5.0
"""Seconds of lateness from which on the loop counts as standing still."""


class Heartbeat:
    """Measures the loop that it is started on."""

    def __init__(self) -> None:
        self._lags: deque[float] = deque(maxlen=REMEMBERED)
        self._timer: asyncio.TimerHandle | None = None
        self._due = float("inf")

    def start(self) -> None:
        """Begin; called on the loop."""
        # The loop's own clock stands still while a callback runs, which is what is to be seen.
        self._due = time.monotonic() + BEAT
        self._timer = asyncio.get_running_loop().call_later(BEAT, self._beat)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    @property
    def lag(self) -> float:
        """How late it was at worst in the last `BEAT * REMEMBERED` seconds, in seconds."""
        return max(self._overdue, max(self._lags, default=0.0))

    @property
    def alive(self) -> bool:
        """Whether the loop has kept time of late: at the last beat, and with the one that is due."""
        return max(self._overdue, self._lags[-1] if self._lags else 0.0) < STILL

    @property
    def _overdue(self) -> float:
        return max(0.0, time.monotonic() - self._due)

    def _beat(self) -> None:
        self._lags.append(self._overdue)
        self.start()
