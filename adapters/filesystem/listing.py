"""The names in one folder, in little memory, found by their beginning.

Rules of this module: pure but for `read_listing`, which runs on a thread. A folder of an archive may hold a million
names, so they are neither kept as objects nor sorted in one go: sorting holds the interpreter's lock.

An entry is the folded name, a letter for its kind, and the name itself where folding changed it. Sorted entries are
joined into blocks; a block is found by bisecting the blocks' first entries and searched as one string.
"""

from __future__ import annotations

import heapq
import os
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from adapters.errors import InvalidLocator, Unsupported
from adapters.filesystem.confinement import encode

FILE, FOLDER = "\x01", "\x02"
"""Kinds of entries. Control characters, since no name that a locator can hold has one (`confinement.encode`)."""

_SEPARATOR = "\0"

BLOCK = 128
"""Entries of one block: about 3 KiB, which is searched in a microsecond."""

RUN = 16_384
"""Entries sorted at once: some ten milliseconds during which no other thread runs."""

LARGEST = 64 * 1024 * 1024
"""Characters of all listings together: about three million names."""

SETTLED_AFTER = 2.0
"""Seconds after its last change from which a folder's mtime is trusted to tell of the next one. The coarsest clock of
a file system in use is that of FAT: two seconds."""

Stamp = tuple[int, int, int, int]
"""What changes when a folder changes: device, inode, mtime and ctime in nanoseconds."""

Fold = Callable[[str], str]
"""The form of a name in which spellings that mean the same are equal."""


@dataclass(frozen=True, slots=True)
class Listing:
    """The regular files and folders in a folder when it had `stamp`.

    `settled`: a later change cannot leave the stamp as it is. `size` is in characters.
    """

    stamp: Stamp
    settled: bool
    size: int
    heads: list[str]
    blocks: list[str]

    def beginning(self, prefix: str, kind: str) -> Iterator[str]:
        """The names of `kind` whose folded form begins with `prefix`, in the order of their folded forms."""
        for entry in self._entries(prefix):
            folded, is_kind, name = entry.partition(kind)
            if is_kind:
                yield name or folded

    def equal(self, folded: str, kind: str) -> Iterator[str]:
        """The names of `kind` whose folded form is `folded`."""
        for entry in self._entries(folded + kind):
            yield entry[len(folded) + 1 :] or folded

    def _entries(self, prefix: str) -> Iterator[str]:
        first = max(bisect_left(self.heads, prefix) - 1, 0)
        wanted = _SEPARATOR + prefix
        for number in range(first, len(self.blocks)):
            block = self.blocks[number]
            start = block.find(wanted)
            if start < 0 and number > first:
                return
            while start >= 0:
                end = block.find(_SEPARATOR, start + 1)
                yield block[start + 1 : end] if end >= 0 else block[start + 1 :]
                start = block.find(wanted, end) if end >= 0 else -1


def stamp_of(status: os.stat_result) -> Stamp:
    """The stamp of a folder with this status."""
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns


def read_listing(descriptor: int, fold: Fold) -> Listing:
    """List the folder open as `descriptor`, without symbolic links, devices, FIFOs, sockets and names no locator has.

    Raises `Unsupported` for a folder past `LARGEST`, else OSError.
    """
    began = time.time()
    status = os.fstat(descriptor)
    runs: list[list[str]] = []
    size = 0
    with os.scandir(descriptor) as found:
        entries = _described(found, fold)
        while run := list(islice(entries, RUN)):
            run.sort()
            runs.append(list(_joined(run)))
            size += sum(map(len, runs[-1]))
            if size > LARGEST:
                raise Unsupported(
                    "a folder holds too many names to be listed: name the endings in the id pattern, as in "
                    "{id}.{pdf,tif}, or use a manifest"
                )
    blocks = runs[0] if len(runs) == 1 else list(_joined(heapq.merge(*map(_split, runs))))
    heads = [block[1 : block.find(_SEPARATOR, 1)] if block.count(_SEPARATOR) > 1 else block[1:] for block in blocks]
    settled = began - status.st_mtime_ns / 1e9 >= SETTLED_AFTER
    return Listing(stamp_of(status), settled, size, heads, blocks)


def _described(found: Iterable[os.DirEntry[str]], fold: Fold) -> Iterator[str]:
    for entry in found:
        kind = FILE if entry.is_file(follow_symlinks=False) else FOLDER if entry.is_dir(follow_symlinks=False) else ""
        if not kind:
            continue
        name = entry.name
        try:
            encode(name)
        except InvalidLocator:
            continue
        folded = fold(name)
        yield folded + kind + (name if folded != name else "")


def _joined(entries: Iterable[str]) -> Iterator[str]:
    remaining = iter(entries)
    while block := list(islice(remaining, BLOCK)):
        yield _SEPARATOR + _SEPARATOR.join(block)


def _split(blocks: list[str]) -> Iterator[str]:
    for block in blocks:
        yield from block[1:].split(_SEPARATOR)
