"""What one configuration shares with the next: a part whose settings did not change is taken over, with all its state.

A part is an object together with what has to be closed with it. It knows by its mark what it was made from. Every epoch lets go
of its parts when its last request is over; whoever lets go last closes the part. Nothing here knows what parts there are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, TypeVar

Value = TypeVar("Value")

Key = tuple[str, ...]

Make = Callable[[AsyncExitStack], Awaitable[Value]]
"""Makes the object; what has to be closed with it goes onto the stack."""

IDLE_SECONDS = 0.1
"""How often a part that nobody needs is asked whether it is still at work."""


def never_busy() -> bool:
    return False


class _Part:
    __slots__ = ("busy", "mark", "stack", "users", "value")

    def __init__(self, mark: object, value: Any, stack: AsyncExitStack, busy: Callable[[], bool]) -> None:
        self.mark = mark
        self.value = value
        self.stack = stack
        self.busy = busy
        self.users = 0


class Parts:
    """The parts of one epoch."""

    def __init__(self, former: Parts | None = None) -> None:
        """`former` are those of the epoch that runs: the ones that can be taken over."""
        self._former = {} if former is None else former._parts
        self._parts: dict[Key, _Part] = {}

    async def take(
        self, key: Key, mark: object, make: Make[Value], *, busy: Callable[[Value], bool] | None = None
    ) -> Value:
        """The part under `key`, taken over when its mark is equal, else made. `busy` keeps it open when nobody uses it.

        Raises what `make` raises.
        """
        part = self._former.get(key)
        if part is None or part.mark != mark:
            stack = AsyncExitStack()
            try:
                value = await make(stack)
            except BaseException:
                await stack.aclose()
                raise
            part = _Part(mark, value, stack, never_busy if busy is None else lambda: busy(value))
        part.users += 1
        self._parts[key] = part
        return part.value  # type: ignore[no-any-return]

    def taken_over(self, key: Key) -> bool:
        """Whether the part under `key` was there before; known until `settle`."""
        return key in self._former and self._former[key] is self._parts.get(key)

    def settle(self) -> None:
        """Forget what was before."""
        self._former = {}

    async def close(self, *, wait: bool = True) -> None:
        """Let go of all. What nobody else uses is closed; with `wait` not before its work is done.

        Raises the first failure once all were closed.
        """
        left, self._parts = [*self._parts.values()], {}
        for part in left:
            part.users -= 1
        closing = (_closed(part, wait) for part in reversed(left) if not part.users)
        for failure in await asyncio.gather(*closing, return_exceptions=True):
            if isinstance(failure, BaseException):
                raise failure


async def _closed(part: _Part, wait: bool) -> None:
    try:
        while wait and part.busy():  # noqa: ASYNC110 # nothing tells; and nobody waits for this
            await asyncio.sleep(IDLE_SECONDS)
    finally:
        # Also when the process ends and waits no longer.
        await part.stack.aclose()
