"""The files of a trail: names, locks, and reading them line by line. Blocking; for threads and commands.

A *segment* is one file of one process, `NNNNNNNN-RANDOM.jsonl`, numbered in the order of creation under the directory's lock.
While its process lives, it holds a lock on the file (flock); so whoever can lock a file knows that nobody writes it any more.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gateway.audit import chain
from gateway.audit.chain import Broken, Line

MODE = 0o600
DIRECTORY_MODE = 0o700

PIECE = 1 << 20

_NAME = re.compile(r"([0-9]{8,})-[0-9a-f]{8}")
_SUFFIX = ".jsonl"


@dataclass(frozen=True, slots=True, order=True)
class Segment:
    """One file of the trail."""

    number: int
    name: str

    def path(self, directory: Path) -> Path:
        return directory / (self.name + _SUFFIX)


def listed(directory: Path) -> list[Segment]:
    """The segments in the order in which they were begun. Raises `OSError`."""
    found = []
    for name in os.listdir(directory):
        match = _NAME.fullmatch(name.removesuffix(_SUFFIX))
        if match and name.endswith(_SUFFIX):
            found.append(Segment(int(match[1]), match[0]))
    return sorted(found)


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Holds the directory's lock: for a moment, while files are begun and removed. Raises `OSError`."""
    descriptor = os.open(directory / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, MODE)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def created(directory: Path) -> tuple[Segment, int]:
    """A new file, locked and open for appending. The directory's lock must be held. Raises `OSError`."""
    number = max((segment.number for segment in listed(directory)), default=0) + 1
    segment = Segment(number, f"{number:08d}-{secrets.token_hex(4)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
    descriptor = os.open(segment.path(directory), flags, MODE)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        synced(directory)
    except OSError:
        os.close(descriptor)
        raise
    return segment, descriptor


def synced(directory: Path) -> None:
    """Make the names in `directory` durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def alive(directory: Path, segment: Segment) -> bool:
    """Whether a process still writes this file."""
    descriptor = os.open(segment.path(directory), os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return True
        raise
    finally:
        os.close(descriptor)
    return False


@dataclass(slots=True)
class Reading:
    """Reads the lines of one file in their order. `torn` is what stands behind the last whole line, in bytes."""

    directory: Path
    segment: Segment
    number: int = 0
    offset: int = 0
    digest: bytes = b""
    torn: int = 0

    def __post_init__(self) -> None:
        self.digest = self.digest or chain.beginning(self.segment.name)

    def lines(self, limit: int | None = None) -> Iterator[Line]:
        """The lines from `offset` on, and before the byte `limit`, each judged. What comes later is found by the next call.

        Raises `Broken` where the chain ends before the file does, and `OSError`. A last piece without a line end is left
        alone: it is being written, or a crash tore it.
        """
        with self.segment.path(self.directory).open("rb") as file:
            file.seek(self.offset)
            rest = b""
            while data := file.read(PIECE):
                *texts, rest = (rest + data).split(b"\n")
                for text in texts:
                    if limit is not None and self.offset + len(text) >= limit:
                        return
                    line = chain.read(self.segment.name, self.number, self.offset, text, self.digest)
                    self.number, self.offset, self.digest = line.number + 1, line.stop, line.digest
                    yield line
            self.torn = len(rest)

    @property
    def head(self) -> str:
        """The hash of the last line read, in hexadecimal."""
        return self.digest.hex()


__all__ = ["DIRECTORY_MODE", "MODE", "Broken", "Reading", "Segment", "alive", "created", "listed", "locked", "synced"]
