"""What the path of a request tells the audit trail: what is about to happen, and how it ended.

The seam between the handlers and whatever keeps the trail; nothing here keeps one.
"""

from __future__ import annotations

from typing import Any, Protocol

from gateway import errors
from gateway.calls import Call


class Trail(Protocol):
    """What handlers and pipeline tell of every request."""

    async def intended(self, call: Call) -> None:
        """A document is about to be sent as `call.reply` says. Raises `Problem` when that must not happen."""

    async def looked(self, call: Call) -> None:
        """`call.reply` is about to be sent, which holds no document. Raises `Problem` when that must not happen."""

    async def refused(self, call: Call, entry: errors.Entry) -> None:
        """An error is about to be sent. Raises `Problem` when another one must be sent in its place."""

    def ended(self, call: Call) -> None:
        """The request is over; `call` knows how."""

    def deliver(self) -> None:
        """Begin to hand records on, where somebody gets them."""

    async def state(self) -> dict[str, Any]:
        """How the trail stands, as plain values."""


class NoTrail:
    """Where no trail is kept."""

    async def intended(self, call: Call) -> None:
        pass

    async def looked(self, call: Call) -> None:
        pass

    async def refused(self, call: Call, entry: errors.Entry) -> None:
        pass

    def ended(self, call: Call) -> None:
        pass

    def deliver(self) -> None:
        pass

    async def state(self) -> dict[str, Any]:
        return {"state": "none"}


NO_TRAIL = NoTrail()
