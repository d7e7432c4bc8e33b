"""What answers requests between two reloads, and for how long it is still needed.

A request belongs to the epoch in which it began, to its end: a reload never changes what it is answered by.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.handlers import Handlers
    from gateway.security.door import Door


class Epoch:
    """The handlers of one configuration, and the door before them."""

    __slots__ = ("_idle", "_in_flight", "door", "handlers")

    def __init__(self, handlers: Handlers, door: Door) -> None:
        self.handlers = handlers
        self.door = door
        self._in_flight = 0
        self._idle: asyncio.Event | None = None

    def enter(self) -> None:
        """A request began."""
        self._in_flight += 1

    def leave(self) -> None:
        """It is over."""
        self._in_flight -= 1
        if self._idle is not None and not self._in_flight:
            self._idle.set()

    async def over(self) -> None:
        """Wait until no request of this epoch is in flight; for one in which no request begins any more."""
        if self._in_flight:
            self._idle = asyncio.Event()
            await self._idle.wait()
