"""What an adapter does to the process around it: a blocked loop, foreign threads, left-overs, I/O at the wrong time.

Rules of this module: watch and name, never judge. The watching must not blame an adapter for a busy machine: time
counts only while the loop's own thread is seen inside code that is neither the event loop's nor the kit's.
"""

from __future__ import annotations

import asyncio
import functools
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Self

from adapters.testing.harness import THREAD_NAME

BLOCKED = 0.05
"""Seconds for which the loop may stand still (C10): every other reader of the process waits that long."""

_OURS = ("asyncio.", "selectors.", "uvloop.", "adapters.testing.")
_LISTING = next((path for path in ("/proc/self/fd", "/dev/fd") if os.path.isdir(path)), None)
_RESOLVING = {"getaddrinfo", "getnameinfo", "_getaddrinfo_debug"}
_IO_EVENTS = {
    "open",
    "os.listdir",
    "os.scandir",
    "os.mkdir",
    "os.remove",
    "socket.__new__",
    "socket.connect",
    "socket.getaddrinfo",
    "socket.gethostbyname",
    "sqlite3.connect",
    "subprocess.Popen",
}


class LoopWatch:
    """Notes for how long the running loop stood still at the longest (`seconds`), and in which code (`place`)."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.place = ""
        self._beat = 0.0
        self._over = threading.Event()
        self._sampler = threading.Thread(target=self._sample, name="conformance-watch", daemon=True)

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._tick()
        self._sampler.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._sampler.join()
        self._timer.cancel()

    def _tick(self) -> None:
        self._beat = time.monotonic()
        self._timer = self._loop.call_later(0.005, self._tick)

    def _sample(self) -> None:
        while not self._over.wait(0.01):
            beat = self._beat
            still = time.monotonic() - beat
            if still > max(BLOCKED, self.seconds):
                place = _foreign_place(sys._current_frames().get(self._thread))
                if place and beat == self._beat:
                    self.seconds, self.place = still, place


def _foreign_place(frame: FrameType | None) -> str:
    """Where a thread is, innermost first, when that is neither the event loop's code nor the kit's; else nothing."""
    places: list[str] = []
    while frame is not None and len(places) < 3:
        if f"{frame.f_globals.get('__name__')}.".startswith(_OURS):
            break
        places.append(f"{os.path.basename(frame.f_code.co_filename)}:{frame.f_lineno} {frame.f_code.co_name}")
        frame = frame.f_back
    return " < ".join(places)


@contextmanager
def default_pool_calls() -> Iterator[list[str]]:
    """Collects the names of functions handed to the loop's default executor, name resolution excepted."""
    loop: Any = asyncio.get_running_loop()
    original = loop.run_in_executor
    names: list[str] = []

    def recording(executor: Any, function: Any, *arguments: Any) -> Any:
        name = _function_name(function)
        if executor is None and name not in _RESOLVING:
            names.append(name)
        return original(executor, function, *arguments)

    loop.run_in_executor = recording
    try:
        yield names
    finally:
        del loop.run_in_executor


def _function_name(function: Any) -> str:
    while isinstance(function, functools.partial):
        # `asyncio.to_thread` hands over Context.run with the real function as its argument.
        function = function.args[0] if function.args else function.func
    return str(getattr(function, "__name__", type(function).__name__))


class Footprint:
    """What the process holds at the moment of construction: tasks of the loop, threads, open file descriptors."""

    def __init__(self) -> None:
        self._tasks = asyncio.all_tasks()
        self._threads = _foreign_threads()
        self._descriptors = _open_descriptors()

    def new_tasks(self) -> list[str]:
        """Names of unfinished tasks that were not there."""
        return sorted(task.get_name() for task in asyncio.all_tasks() - self._tasks if not task.done())

    def new_threads(self) -> list[str]:
        """Names of threads that were not there; the source's own executor and the loop's pool are not counted."""
        return sorted(thread.name for thread in _foreign_threads() - self._threads if thread.is_alive())

    def new_descriptors(self) -> list[str]:
        """Open descriptors that were not there, each with what it points to."""
        now = _open_descriptors()
        return sorted(f"{number} ({now[number]})" for number in now.keys() - self._descriptors.keys())


def countable_descriptors() -> bool:
    """Whether this system lets a process list its descriptors."""
    return _LISTING is not None


def _foreign_threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if not thread.name.startswith((THREAD_NAME, "asyncio_"))}


def _open_descriptors() -> dict[int, str]:
    found: dict[int, str] = {}
    for name in os.listdir(_LISTING) if _LISTING else []:
        try:
            found[int(name)] = os.readlink(f"{_LISTING}/{name}")
        except OSError:  # the descriptor of the listing itself
            continue
    return found


class _Audited(threading.local):
    events: list[str] | None = None


_audited = _Audited()


@functools.cache
def _install_audit_hook() -> None:
    # A hook cannot be removed again: it is installed on first need, and looks at one attribute when nobody listens.
    def listen(event: str, arguments: Any) -> None:
        if _audited.events is not None and event in _IO_EVENTS:
            _audited.events.append(event)

    sys.addaudithook(listen)


@contextmanager
def io_events() -> Iterator[list[str]]:
    """Collects the names of I/O operations that this thread does (PEP 578 audit events; `stat` raises none)."""
    _install_audit_hook()
    events: list[str] = []
    _audited.events = events
    try:
        yield events
    finally:
        _audited.events = None
