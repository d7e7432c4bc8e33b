"""How many calls may be under way at once, and who waits when they are: a bulkhead with a queue that sheds.

A pure state machine over an injected clock. The queue has an end: whoever comes when it is full is refused at once, since an
answer that comes too late is work for nobody. While it is now and then empty, everybody waits in order of arrival for up to
`patience`. A queue that has stood for that long is overload, and then the other order serves more people: the newest first,
whose reader is surely still there, and whoever has waited for `target` is shed (controlled delay with adaptive LIFO:
K. Nichols and V. Jacobson, "Controlling Queue Delay", 2012; B. Maurer, "Fail at Scale", 2015).

All of that holds among the turns of one client. Clients get their places one after the other, however many turns each has, and
in a full queue whoever has most makes room: one that asks a thousand times at once waits for itself (fair queueing: J. Nagle,
RFC 970).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any


class Turn:
    """One who waits. `token` is the caller's own, `client` whom it is for."""

    __slots__ = ("client", "since", "token")

    def __init__(self, token: Any, since: float, client: str = "") -> None:
        self.token = token
        self.since = since
        self.client = client


class Bulkhead:
    """`places` calls at once, `max_queued` more in the queue. `patience` and `target` in seconds.

    A place is taken by `enter`, or handed over by `leave` to a turn that waits; it is given back by `leave`, once.
    """

    __slots__ = (
        "_clients",
        "_clock",
        "_displaced",
        "_empty_at",
        "_patience",
        "_queue",
        "_target",
        "in_use",
        "max_queued",
        "places",
    )

    def __init__(
        self, places: int, *, max_queued: int, patience: float, target: float, clock: Callable[[], float]
    ) -> None:
        self.places = places
        self.max_queued = max_queued
        self.in_use = 0
        self._patience = patience
        self._target = min(target, patience)
        self._clock = clock
        self._queue: dict[Turn, None] = {}
        self._clients: OrderedDict[str, dict[Turn, None]] = OrderedDict()
        self._displaced: list[Turn] = []
        self._empty_at = clock()

    @property
    def queued(self) -> int:
        """How many wait."""
        return len(self._queue)

    @property
    def full(self) -> bool:
        """Whether whoever comes now finds neither a free place nor the end of the queue."""
        return self.in_use >= self.places and len(self._queue) >= self.max_queued

    def refuses(self, client: str) -> bool:
        """Whether a turn of `client` would be refused at once: it is full, and nobody has to make room."""
        return self.full and self._largest(client) is None

    @property
    def overloaded(self) -> bool:
        """Whether the queue has stood for so long that it will not get shorter by waiting."""
        return bool(self._queue) and self._clock() - self._empty_at >= self._patience

    def enter(self) -> bool:
        """Take a place if one is free. Nobody waits then: a place that comes free goes to who does."""
        if self.in_use >= self.places:
            return False
        self.in_use += 1
        return True

    def wait(self, token: Any, client: str = "") -> Turn | None:
        """Join the queue, None when it is full and nobody in it has more turns than `client`. One may be `overdue` then."""
        if len(self._queue) >= self.max_queued and not self._make_room(client):
            return None
        now = self._clock()
        if not self._queue:
            self._empty_at = now
        turn = Turn(token, now, client)
        self._queue[turn] = None
        self._clients.setdefault(client, {})[turn] = None
        return turn

    def _make_room(self, client: str) -> bool:
        largest = self._largest(client)
        if largest is None:
            return False
        oldest = next(iter(largest))
        self.quit(oldest)
        self._displaced.append(oldest)
        return True

    def _largest(self, client: str) -> dict[Turn, None] | None:
        """The turns of whoever has most, if those are more than `client` would have with one more."""
        largest = max(self._clients.values(), key=len, default={})
        return largest if len(largest) > len(self._clients.get(client, ())) + 1 else None

    def leave(self) -> Turn | None:
        """Give a place back. The turn that has it now, None when nobody waits.

        With fewer places than are in use, as after `places` was lowered, nobody gets it.
        """
        if self._queue and self.in_use <= self.places:
            client, turns = next(iter(self._clients.items()))
            turn = next(reversed(turns)) if self.overloaded else next(iter(turns))
            self._clients.move_to_end(client)
            self.quit(turn)
            return turn
        self.in_use -= 1
        return None

    def quit(self, turn: Turn) -> bool:
        """Leave the queue without a place. False when the turn is not in it: it was handed a place, or shed."""
        if turn not in self._queue:
            return False
        del self._queue[turn]
        turns = self._clients[turn.client]
        del turns[turn]
        if not turns:
            del self._clients[turn.client]
        return True

    def overdue(self) -> list[Turn]:
        """Those who made room, and who have waited for longer than anybody may now, the oldest first. They are out."""
        shed, self._displaced = self._displaced, []
        if self._queue:
            limit = self._clock() - (self._target if self.overloaded else self._patience)
            late = []
            for turn in self._queue:
                if turn.since > limit:
                    break
                late.append(turn)
            for turn in late:
                self.quit(turn)
            shed += late
        return shed

    def clear(self) -> list[Turn]:
        """All who wait, out of the queue: there is no sense in waiting any more."""
        everybody = list(self._queue)
        self._queue.clear()
        self._clients.clear()
        return everybody
