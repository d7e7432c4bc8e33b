"""A file descriptor that the loop and threads use together.

Rule of this module: a descriptor is closed when its last user lets go and never under one. Closed too early its number
would be given to another file, and a thread that still waits for its turn would read or enter that one.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, TypeVar

from adapters.errors import Unavailable

Result = TypeVar("Result")

_counting = threading.Lock()
"""Guards the users of every handle; held for an addition."""


async def on_executor(
    executor: Executor,
    function: Callable[..., Result],
    /,
    *arguments: Any,
    undo: Callable[[Result], object] | None = None,
) -> Result:
    """Run `function` on a thread. Cancelling abandons the wait only; a result nobody waits for is given to `undo`."""
    return await _awaited(_submit(executor, function, *arguments), undo)


def close_later(executor: Executor, descriptor: int) -> None:
    """Close a descriptor where closing may wait for a server (FUSE and SMB flush on close).

    Also when the executor takes no more work, or drops what waits in its queue: that is how a source ends.
    """
    try:
        future = executor.submit(os.close, descriptor)
    except RuntimeError:
        _close_apart(descriptor)
    else:
        future.add_done_callback(lambda dropped: _close_apart(descriptor) if dropped.cancelled() else None)


def _close_apart(descriptor: int) -> None:
    threading.Thread(target=os.close, args=(descriptor,), daemon=True).start()


class Handle:
    """One descriptor and how many use it. `quick`: closing it never waits, so it needs no thread."""

    __slots__ = ("_closed", "_descriptor", "_executor", "_quick", "_users")

    def __init__(self, descriptor: int, executor: Executor, *, quick: bool) -> None:
        self._descriptor = descriptor
        self._executor = executor
        self._quick = quick
        self._closed = False
        self._users = 1

    @property
    def fd(self) -> int:
        """The descriptor; -1, which no call accepts, once `close` was called."""
        return -1 if self._closed else self._descriptor

    async def call(
        self, function: Callable[..., Result], /, *arguments: Any, undo: Callable[[Result], object] | None = None
    ) -> Result:
        """Run `function(descriptor, *arguments)` on a thread, with the descriptor open until the thread is done."""
        with _counting:
            if self._closed:
                raise Unavailable("it was closed before")
            self._users += 1
        try:
            future = _submit(self._executor, function, self._descriptor, *arguments)
        except BaseException:
            self._let_go()
            raise
        future.add_done_callback(self._let_go)
        return await _awaited(future, undo)

    def close(self) -> None:
        """Let go. Never waits; calling it again does nothing."""
        if not self._closed:
            self._closed = True
            self._let_go()

    def _let_go(self, _future: Future[Any] | None = None) -> None:
        with _counting:
            self._users -= 1
            last = not self._users
        if not last:
            return
        if self._quick:
            os.close(self._descriptor)
        else:
            close_later(self._executor, self._descriptor)


def _submit(executor: Executor, function: Callable[..., Result], /, *arguments: Any) -> Future[Result]:
    try:
        return executor.submit(function, *arguments)
    except RuntimeError:  # the executor was shut down
        pass
    raise Unavailable("this source is closing")


async def _awaited(future: Future[Result], undo: Callable[[Result], object] | None) -> Result:
    try:
        return await asyncio.wrap_future(future)
    except BaseException:
        if undo is not None:
            future.add_done_callback(_Undo(undo))
        raise


class _Undo:
    """Gives the result of a call that nobody waits for any more to the function that takes it back."""

    __slots__ = ("_undo",)

    def __init__(self, undo: Callable[[Any], object]) -> None:
        self._undo = undo

    def __call__(self, future: Future[Any]) -> None:
        if not future.cancelled() and future.exception() is None:
            self._undo(future.result())
