"""One question for many who ask the same: asked anew only when the last one began before somebody asked.

Whoever asks gets an answer to a question that was put after it came, never one that was on its way already: what it tells is
at least as new as the request. At most two questions about one thing are open at a time, one asked and one waiting.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

Thing = TypeVar("Thing")
Answer = TypeVar("Answer")


class Together(Generic[Thing, Answer]):
    """Asks `question` once for all who ask about the same thing at the same time."""

    def __init__(self, question: Callable[[Thing], Awaitable[Answer]]) -> None:
        self._question = question
        self._asked: dict[Thing, asyncio.Task[Answer]] = {}
        self._next: dict[Thing, asyncio.Task[Answer]] = {}

    async def ask(self, thing: Thing) -> Answer:
        """The answer; raises what the question raises. Being cancelled does not take it from others who wait."""
        waiting = self._next.get(thing)
        if waiting is None:
            asked = self._asked.get(thing)
            waiting = asyncio.get_running_loop().create_task(self._put(thing, asked))
            (self._asked if asked is None else self._next)[thing] = waiting
            waiting.add_done_callback(_looked_at)
        return await asyncio.shield(waiting)

    async def _put(self, thing: Thing, before: asyncio.Task[Answer] | None) -> Answer:
        if before is not None:
            await asyncio.wait((before,))
            self._asked[thing] = self._next.pop(thing)
        try:
            return await self._question(thing)
        finally:
            if self._asked.get(thing) is asyncio.current_task():
                del self._asked[thing]


def _looked_at(task: asyncio.Task[Answer]) -> None:
    # Everybody who asked may be gone.
    if not task.cancelled():
        task.exception()
