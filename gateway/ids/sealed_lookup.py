"""The look-up file of sealed ids: the locators of documents that fit into no id, one on each line, UTF-8.

Rules of this module:
1. Everything here blocks: it runs on the thread of `SealedScheme` or in a command, never on the event loop.
2. The file grows in whole lines. Ids are not in it: they follow from the locators and the keys, so that a key that is
   taken away takes its listed ids with it, and no line can lead an id to another document.
3. Messages name lines and reasons, never what stands there.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from adapters.errors import Unavailable
from gateway.ids import SHOWN_PROBLEMS, ManifestError, RowProblem
from gateway.ids.sealed import Address

Listed = Callable[[str], Iterable[str]]
"""The ids of a locator, without prefix: `Seal.listed`."""

Version = tuple[int, ...]
"""Inode, size and time of change: what tells one state of the file from another."""

_NOT_READ: Version = ()


class Lookup:
    """The documents in a look-up file, by id. One thread at a time."""

    def __init__(self, path: Path, listed: Listed) -> None:
        self._path = path
        self._listed = listed
        self._locators: dict[str, str] = {}
        self._ids: dict[str, tuple[str, ...]] = {}
        self._seen: Version | None = None
        self.failure: ManifestError | None = None
        """Why the file as it is now cannot be used; what was read before stays in use."""

    def find(self, rest: str) -> str | None:
        """The locator of a listed id; None when there is none. Raises `Unavailable` when that cannot be said."""
        self.refresh()
        locator = self._locators.get(rest)
        if locator is None and self.failure is not None:
            raise Unavailable("the look-up file of sealed ids cannot be used")
        return locator

    def refresh(self) -> None:
        """Read the file when it has changed. A file that was never there is an empty one."""
        try:
            version = _version(self._path)
            if version != self._seen:
                self._seen = _NOT_READ
                # A line more is no reason to compute the ids of all others again: that takes seconds of a long file.
                self._ids = {
                    locator: self._ids.get(locator) or tuple(self._listed(locator)) for locator in locators(self._path)
                }
                self._locators = {id: locator for locator, ids in self._ids.items() for id in ids}
                self._seen, self.failure = version, None
        except ManifestError as error:
            self._seen, self.failure = version, error
        except OSError as error:
            if self._seen is None and isinstance(error, FileNotFoundError):
                return
            self._seen = _NOT_READ
            problem = RowProblem(None, f"the look-up file cannot be read: {error.strerror}")
            self.failure = ManifestError([problem], passing=True)


def locators(path: Path) -> list[str]:
    """The locators in the file. Raises `OSError`, and `ManifestError` with the lines that are none."""
    return _parsed(_whole(path.read_bytes()))


def add(path: Path, locator: str) -> None:
    """List `locator`, unless it is; a new file is for its owner's eyes. Raises `OSError` and `ManifestError`."""
    line = locator.encode() + b"\n"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with open(descriptor, "r+b", buffering=0) as file:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        # What a full disk or a crash left of a line would become the beginning of this one.
        present = _whole(file.read())
        if locator in _parsed(present):
            return
        file.truncate(len(present))
        file.seek(len(present))
        if file.write(line) != len(line):
            file.truncate(len(present))
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        os.fsync(descriptor)


def _whole(text: bytes) -> bytes:
    """`text` up to its last line end: what follows is being written."""
    return text[: text.rfind(b"\n") + 1]


def _parsed(text: bytes) -> list[str]:
    found, problems = [], []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            found.append(Address.parse(line.decode()).locator)
        except ValueError:
            problems.append(RowProblem(number, "the look-up file has home^repository^document on each line"))
    if problems:
        raise ManifestError(problems[:SHOWN_PROBLEMS], len(problems))
    return found


def _version(path: Path) -> Version:
    facts = os.stat(path)
    return facts.st_ino, facts.st_size, facts.st_mtime_ns
