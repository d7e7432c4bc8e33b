"""Trails for tests: written without a gateway, read back, judged."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from gateway.audit import record
from gateway.audit.files import FileTrail
from gateway.audit.keys import AuditKeys
from gateway.audit.reading import Record, records
from gateway.audit.segments import listed
from gateway.audit.verifying import Verdict, verify
from gateway.audit.writing import Entry, Limits, Writer
from gateway.telemetry import Logger

Result = TypeVar("Result")

SECRET = bytes(range(32))
KEYS = AuditKeys(SECRET)

NEVER = Limits(checkpoint=3600)
"""No checkpoint, no rotation, no retention while a test runs."""


class Waiting:
    """What a writer tells: waiters are numbers here, errors are kept beside them."""

    def __init__(self) -> None:
        self.told: dict[int, OSError | None] = {}
        self.reports: list[tuple[str, OSError | None]] = []
        self._changed = threading.Condition()

    def notify(self, waiters: Sequence[int], error: OSError | None) -> None:
        with self._changed:
            self.told.update(dict.fromkeys(waiters, error))
            self._changed.notify_all()

    def report(self, what: str, error: OSError | None) -> None:
        with self._changed:
            self.reports.append((what, error))
            self._changed.notify_all()

    def until(self, condition: Any, seconds: float = 10) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: condition(self), seconds), (self.told, self.reports)


def act(number: int, event: str = "intended", **more: Any) -> bytes:
    """A record as a request leaves it, without a request."""
    return record.own(event, act=f"act-{number}", request=f"request-{number}", **more)


@contextmanager
def writing(directory: Path, waiting: Waiting | None = None, **options: Any) -> Iterator[tuple[Writer, Waiting]]:
    """A writer that runs, and is closed in the end."""
    waiting = waiting or Waiting()
    writer = Writer(directory, KEYS, waiting.notify, waiting.report, **{"limits": NEVER} | options)
    writer.start()
    try:
        yield writer, waiting
    finally:
        assert writer.close()


def written(directory: Path, count: int, **options: Any) -> None:
    """A trail with `count` acts that began and were completed, closed in order."""
    with writing(directory, **options) as (writer, waiting):
        for number in range(count):
            writer.put(Entry(act(number), waiter=number, begins=f"act-{number}"))
            writer.put(Entry(act(number, "completed", bytes=7), ends=f"act-{number}"))
        waiting.until(lambda now: len(now.told) == count)


def crashed(directory: Path, numbers: Sequence[int], *, open_act: int | None = None) -> Path:
    """A trail whose process was killed: nothing says that the file ends. Returns the file."""
    written(directory, 0)
    path = listed(directory)[-1].path(directory)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:1]))
    _append(path, [act(number, event) for number in numbers for event in ("intended", "completed")])
    if open_act is not None:
        _append(path, [act(open_act)])
    return path


def _append(path: Path, bodies: Sequence[bytes]) -> None:
    from gateway.audit import chain

    lines = path.read_bytes().splitlines()
    number, previous = len(lines), bytes.fromhex(lines[-1][-66:-2].decode())
    with path.open("ab") as file:
        for body in bodies:
            line, previous = chain.written(number, body, previous)
            number += 1
            file.write(line)


def judged(directory: Path, **options: Any) -> Verdict:
    return aside(lambda: verify(directory, KEYS.public, **options))


def found(directory: Path, *events: str) -> list[Record]:
    """The records of these events, all without one; what is sealed is opened."""
    return aside(lambda: [one for one in records(directory, KEYS) if not events or one.event in events])


def acts(directory: Path) -> list[Record]:
    """The records of requests."""
    return [one for one in found(directory) if "act" in one.fields]


def aside(work: Callable[[], Result]) -> Result:
    """Read files in a thread, since on a test's event loop the product may not."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(work).result()


def trail(directory: Path, **options: Any) -> Any:
    """What makes the trail of a test's gateway."""

    def make(log: Logger) -> FileTrail:
        return FileTrail(directory, KEYS, log, **{"limits": NEVER} | options)

    return make
