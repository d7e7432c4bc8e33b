"""Looking at what a gateway would make, and leaving nothing: an administrator's look must not make what the service's account
then may not write.

Only directories that were not there before are taken away, and only while nothing is in them but what an empty cache has.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gateway.cache.disk_directory import INCOMING, LOCK


@contextmanager
def traceless(directories: Iterable[Path]) -> Iterator[None]:
    """Around a look that may make these directories, and those above them. Blocking."""
    missing = [list(_missing(directory)) for directory in directories]
    try:
        yield
    finally:
        for made in missing:
            with suppress(OSError):
                _take_away(made)


def _missing(directory: Path) -> Iterator[Path]:
    """`directory` and those above it that are not there, the lowest first."""
    while not os.path.exists(directory) and directory != directory.parent:
        yield directory
        directory = directory.parent


def _take_away(made: list[Path]) -> None:
    """Raises `OSError` when something is in the way: a gateway that began meanwhile keeps what it has."""
    if made and (made[0] / LOCK).exists():
        held = os.open(made[0] / LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            # Whoever comes now finds the cache in use, or makes a lock of its own, and the directory stays.
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            (made[0] / INCOMING).rmdir()
            (made[0] / LOCK).unlink()
        finally:
            os.close(held)
    for directory in made:
        directory.rmdir()
