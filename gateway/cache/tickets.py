"""Tickets of a backend that is alone with its entries (K3): what was purged in this process, and when. Pure."""

from __future__ import annotations

from collections import deque

from gateway.cache import Key, Scope

REMEMBERED = 1024
"""Purges that are known one by one; a ticket from before all of them is refused whatever it is for."""


class _Ticket:
    """When the archive was asked: after so many purges of that backend."""

    __slots__ = ("after", "issuer")

    def __init__(self, issuer: Purges, after: int) -> None:
        self.issuer = issuer
        self.after = after


class Purges:
    """Counts purges. `ticket` is what a look-up hands out now."""

    __slots__ = ("_recent", "ticket")

    def __init__(self) -> None:
        self._recent: deque[Scope] = deque(maxlen=REMEMBERED)
        self.ticket = _Ticket(self, 0)

    def note(self, scope: Scope) -> None:
        """From now on tickets that were handed out before are of no use within `scope`."""
        self._recent.append(scope)
        self.ticket = _Ticket(self, self.ticket.after + 1)

    def refuse(self, ticket: object, key: Key) -> bool:
        """Whether nothing may be stored under `key` with `ticket`, which may be anything at all."""
        if not isinstance(ticket, _Ticket) or ticket.issuer is not self:
            return True
        since = self.ticket.after - ticket.after
        if since > len(self._recent):
            return True
        return any(self._recent[-number].covers(key) for number in range(1, since + 1))
