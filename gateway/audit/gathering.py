"""Records gathered on the event loop, and handed to the writing thread many at a time.

Waking the thread for each record would let it take the interpreter from the loop in the middle of its work, which costs a
busy gateway half of its throughput. So the records of one turn of the loop go together; while a commit is under way the next
ones gather; and a record that nobody waits for waits a moment for company.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from gateway.audit.writing import MOST_AT_ONCE, Entry

LINGER_SECONDS = 0.02
"""How long a record that nobody waits for may wait for others."""


Waiter = asyncio.Future[None]


class Gathering:
    """Belongs to the event loop `loop`. `hand_over` takes the records and must not wait; `patience` is in seconds."""

    def __init__(self, loop: asyncio.AbstractEventLoop, hand_over: Callable[..., None], *, patience: float) -> None:
        self._loop = loop
        self._hand_over = hand_over
        self._patience = patience
        self._waiting: deque[tuple[float, Waiter]] = deque()
        self._watch: asyncio.TimerHandle | None = None
        self._gathered: list[Entry] = []
        self._urgent = self._soon = self._writing = False
        self._later: asyncio.TimerHandle | None = None

    def put(self, entry: Entry) -> None:
        """Have a record written."""
        self._gathered.append(entry)
        self._urgent = self._urgent or entry.waiter is not None
        if len(self._gathered) >= MOST_AT_ONCE:
            self.flush()
        elif self._urgent:
            self._turn()
        elif self._later is None:
            self._later = self._loop.call_later(LINGER_SECONDS, self.flush)

    def waiter(self) -> Waiter:
        """Something to wait on: raises `TimeoutError` when the record that it belongs to is not durable in time."""
        waiting, waiter = self._waiting, self._loop.create_future()
        while waiting and waiting[0][1].done():
            waiting.popleft()
        waiting.append((self._loop.time() + self._patience, waiter))
        if self._watch is None:
            self._watch = self._loop.call_later(self._patience, self._look)
        return waiter

    def _look(self) -> None:
        """Let those go who waited for too long. One timer for all of them: one for each takes longer than its request."""
        self._watch = None
        now = self._loop.time()
        while self._waiting and (self._waiting[0][1].done() or self._waiting[0][0] <= now):
            _, waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_exception(TimeoutError())
        if self._waiting:
            self._watch = self._loop.call_at(self._waiting[0][0], self._look)

    def committed(self, waiters: Sequence[Waiter], error: OSError | None) -> None:
        """A commit is done: those who waited for it go on, and the next one may begin."""
        self._writing = False
        if self._urgent:
            self._turn()
        for waiter in waiters:
            if waiter.done():
                continue
            if error is None:
                waiter.set_result(None)
            else:
                waiter.set_exception(error)

    def close(self) -> None:
        """Hand over what is left."""
        self.flush()
        if self._watch is not None:
            self._watch.cancel()

    def flush(self) -> None:
        """Hand over what was gathered."""
        self._soon = self._urgent = False
        if self._later is not None:
            self._later.cancel()
            self._later = None
        if self._gathered:
            self._writing = True
            gathered, self._gathered = self._gathered, []
            self._hand_over(*gathered)

    def _turn(self) -> None:
        """Hand over at the end of this turn of the loop, unless a commit is under way."""
        if not (self._soon or self._writing):
            self._soon = True
            self._loop.call_soon(self.flush)
