"""One question for many who ask the same: asked anew only when the last one began before somebody asked.

Whoever asks gets an answer to a question that was put after it came, never one that was on its way already: what it tells is
at least as new as the request. At most two questions about one thing are open at a time, one asked and one waiting; one that
nobody waits for any more is given up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from gateway.deadline import unlimited

Thing = TypeVar("Thing")
Answer = TypeVar("Answer")


class Together(Generic[Thing, Answer]):
    """Asks `question` once for all who ask about the same thing at the same time."""

    def __init__(self, question: Callable[[Thing], Awaitable[Answer]]) -> None:
        self._question = question
        self._asked: dict[Thing, _Question[Answer]] = {}
        self._next: dict[Thing, _Question[Answer]] = {}

    async def ask(self, thing: Thing) -> Answer:
        """The answer; raises what the question raises. Being cancelled does not take it from others who wait."""
        question = self._next.get(thing)
        if question is None:
            before = self._asked.get(thing)
            question = _Question(asyncio.get_running_loop().create_task(self._put(thing, before)))
            (self._asked if before is None else self._next)[thing] = question
            question.task.add_done_callback(partial(self._over, thing, question))
        question.waiting += 1
        try:
            return await asyncio.shield(question.task)
        finally:
            question.waiting -= 1
            if not question.waiting and not question.task.done():
                # Whoever comes before its task has ended must not be given up with it.
                if self._next.get(thing) is question:
                    del self._next[thing]
                question.task.cancel()

    async def _put(self, thing: Thing, before: _Question[Answer] | None) -> Answer:
        # It is put for all who ask, whatever the deadline of the first of them.
        unlimited()
        if before is not None:
            await asyncio.wait((before.task,))
            self._asked[thing] = self._next.pop(thing)
        return await self._question(thing)

    def _over(self, thing: Thing, question: _Question[Answer], task: asyncio.Task[Answer]) -> None:
        # Not in the task: one that is cancelled before it began runs no line.
        for place in (self._asked, self._next):
            if place.get(thing) is question:
                del place[thing]
        if not task.cancelled():
            task.exception()  # whoever waited for it may be gone


@dataclass(slots=True, eq=False)
class _Question(Generic[Answer]):
    """A question that was put, and how many wait for its answer."""

    task: asyncio.Task[Answer]
    waiting: int = 0
