"""How far each receiver was served: one small file for each of its segments, replaced whole. Blocking.

Who delivers a segment to a receiver holds the lock beside its position, so that several processes over one directory never
deliver the same segment at the same time.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from gateway.audit.segments import DIRECTORY_MODE, MODE

FOLDER = "delivered"


@dataclass(frozen=True, slots=True)
class Position:
    """The next record to deliver, where it begins, the hash before it; `done` when nothing more will come."""

    number: int = 0
    offset: int = 0
    digest: str = ""
    done: bool = False


class Positions:
    """The positions of one receiver."""

    def __init__(self, directory: Path, receiver: str) -> None:
        self._folder = directory / FOLDER / receiver
        self._locks: dict[str, int] = {}

    def claimed(self, segment: str) -> bool:
        """Whether this process may deliver the segment: it holds the lock, or just got it."""
        if segment in self._locks:
            return True
        self._folder.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
        descriptor = os.open(self._folder / f"{segment}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, MODE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return False
        self._locks[segment] = descriptor
        return True

    def read(self, segment: str) -> Position:
        """Where to go on; the beginning when nothing was delivered yet, or it is not known."""
        return _read(self._folder / f"{segment}.json")

    def write(self, segment: str, position: Position) -> None:
        """Note durably how far it came."""
        path = self._folder / f"{segment}.json"
        passing = path.with_suffix(".new")
        descriptor = os.open(passing, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, MODE)
        try:
            os.write(descriptor, json.dumps(asdict(position)).encode())
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)
        passing.replace(path)

    def release(self, segment: str | None = None) -> None:
        """Let go of one lock, or of all."""
        for name in [*self._locks] if segment is None else [segment]:
            descriptor = self._locks.pop(name, None)
            if descriptor is not None:
                os.close(descriptor)

    def forget(self, segments: Iterable[str]) -> None:
        """Remove the positions of segments that are no more."""
        kept = set(segments)
        with suppress(FileNotFoundError):
            for name in os.listdir(self._folder):
                segment, _, kind = name.rpartition(".")
                if kind in ("json", "lock") and segment not in kept:
                    with suppress(FileNotFoundError):
                        (self._folder / name).unlink()

    def set_aside(self, record: str, detail: str) -> None:
        """Note a record that the receiver refuses, so that it can be looked at and sent again."""
        line = json.dumps({"record": record, "detail": detail}).encode() + b"\n"
        descriptor = os.open(
            self._folder / "refused.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, MODE
        )
        try:
            os.write(descriptor, line)
        finally:
            os.close(descriptor)


def delivered(directory: Path, receivers: Iterable[str]) -> Callable[[str], bool]:
    """What says whether every one of `receivers` was given all of a segment."""
    folders = [directory / FOLDER / name for name in receivers]

    def everywhere(segment: str) -> bool:
        return all(_read(folder / f"{segment}.json").done for folder in folders)

    return everywhere


def _read(path: Path) -> Position:
    with suppress(OSError, ValueError, TypeError):
        return Position(**json.loads(path.read_bytes()))
    return Position()
