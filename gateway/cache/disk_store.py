"""The books and the files of a disk cache, which must never disagree for a reader.

The books are small and locked: any thread may look something up, reserve room or strike an entry out, and what is struck
out is found no more. The files are changed by one thread alone, the keeper, in the order it is told: so a file is removed
only while the books know no entry of its name, and a `commit` enters an entry only under a ticket that still counts. What
could not be removed is remembered, since the next process would find it.
"""

from __future__ import annotations

import errno
import threading
import time
from collections import Counter
from collections.abc import Iterable

from gateway.cache import Key, Limits, Scope
from gateway.cache.disk_directory import Directory, Name, folder_of, source_of
from gateway.cache.disk_entry import Identity
from gateway.cache.ledger import Item, Ledger
from gateway.cache.sealing import STEM, Keyring
from gateway.cache.tickets import Purges

BLOCK = 4096
"""Bytes that file systems hand out at least."""

SLICE = 500
"""Entries that a purge strikes out while others wait, about half a millisecond."""

_DIGITS = slice(0, STEM)


Entered = Item[Identity | None]
"""An entry in the books. What is kept with it: with which identity its file was verified, where documents lie in the open."""


def weight_of(file_size: int) -> int:
    """What a file of so many bytes takes of the budget: its blocks, and one for its place in the file system."""
    return -(-file_size // BLOCK) * BLOCK + BLOCK


class Store:
    """Books and files of one directory."""

    def __init__(self, directory: Directory, keyring: Keyring, limits: Limits, max_bytes: int) -> None:
        self.directory = directory
        self.purges = Purges()
        self.faults: Counter[str] = Counter()
        self.max_bytes = max_bytes
        self._keyring = keyring
        self._keep = limits.keep
        self._lock = threading.Lock()
        self._ledger: Ledger[Name, Identity | None] = Ledger()
        self._reserved = 0
        self._stuck: set[Name] = set()

    # --- the books: any thread ---

    def find(self, name: Name) -> Entered | None:
        """The entry, which counts as a use of it."""
        with self._lock:
            return self._ledger.find(name, time.time())

    def figures(self) -> tuple[int, int]:
        """How many entries there are, and the bytes they take."""
        with self._lock:
            return len(self._ledger), self._ledger.used

    def reserve(self, weight: int) -> list[Name] | None:
        """Room for an entry that is to be written; what was struck out for it. None when there cannot be any."""
        with self._lock:
            room = self.max_bytes - self._reserved - weight
            if room < 0:
                return None
            self._reserved += weight
            return self._surplus(room)

    def _surplus(self, room: int) -> list[Name]:
        struck = []
        for name in self._ledger.surplus(room):
            self._ledger.pop(name)
            struck.append(name)
        return struck

    def strike(self, names: Iterable[Name], only: Entered | None = None) -> list[Name]:
        """Find these no more; with `only`, where it is that very entry. What was struck out."""
        with self._lock:
            return [
                name
                for name in names
                if (item := self._ledger.get(name)) is not None
                and (only is None or item is only)
                and self._ledger.pop(name)
            ]

    def refuse_from_before(self, scope: Scope) -> None:
        """Refuse tickets from before in `scope`: the first half of a purge."""
        with self._lock:
            self.purges.note(scope)

    def _covered(self, scope: Scope) -> list[Name]:
        """All names in `scope` that the books know, or that could not be removed."""
        try:
            folder = None if scope.source is None else folder_of(scope.source)
        except ValueError:
            return []
        with self._lock:
            names = [*self._ledger.names(), *self._stuck] if folder is None or scope.locator is None else []
        if scope.locator is None:
            return [name for name in names if folder in (None, name[0])]
        folders = {name[0] for name in names} if folder is None else {folder}
        groups = {(one, stem) for one in folders for stem in self._keyring.stems(source_of(one), scope.locator)}
        with self._lock:
            stuck = [name for name in self._stuck if (name[0], name[1][_DIGITS]) in groups]
            return [name for group in groups for name in self._ledger.group(group)] + stuck

    # --- the files: the keeper's thread alone ---

    def open(self) -> None:
        """Take the directory and enter what lies there into the books. Raises `OSError` with a sentence."""
        self.directory.open()
        now = time.time()
        found = [
            (max(status.st_atime, status.st_mtime), name, status.st_size, status.st_mtime)
            for name, status in self.directory.scan()
        ]
        found.sort()
        with self._lock:
            for _, name, size, put in found:
                self._enter(name, size, min(put, now))
            late = self._ledger.overdue(now)
            for name in late:
                self._ledger.pop(name)
            late += self._surplus(self.max_bytes)
        self.remove(late)

    def _enter(self, name: Name, size: int, put: float) -> None:
        group = name[0], name[1][_DIGITS]
        self._ledger.add(name, Item(group, weight_of(size), put + self._keep, None))

    def close(self) -> None:
        """Note what was used last, and let the directory go."""
        with self._lock:
            used = [(name, item.used) for name, item in self._ledger.items() if item.used]
            self._ledger.clear()
        if self.directory.root >= 0:
            for name, when in used:
                self.directory.mark_used(name, when)
        self.directory.close()

    def commit(self, temporary: str, name: Name, weight: int, ticket: object, key: Key) -> bool:
        """Let a written file be found under its name, unless it was purged meanwhile; whether it is. Raises `OSError`."""
        try:
            if self.purges.refuse(ticket, key):
                self.directory.unstage(temporary)
                return False
            try:
                status = self.directory.settle(temporary, name)
            except OSError:
                self.directory.unstage(temporary)
                raise
        finally:
            with self._lock:
                self._reserved -= weight
        with self._lock:
            refused = self.purges.refuse(ticket, key)
            if refused:
                self._ledger.pop(name)
            else:
                self._stuck.discard(name)
                self._enter(name, status.st_size, min(status.st_mtime, time.time()))
        if refused:
            self.remove([name])
        return not refused

    def abandon(self, temporary: str, weight: int) -> None:
        """Take back an entry that will not come."""
        self.directory.unstage(temporary)
        with self._lock:
            self._reserved -= weight

    def remove(self, names: Iterable[Name]) -> list[Name]:
        """Remove the files of names that the books do not know; those that could not be removed."""
        stuck = []
        for name in names:
            with self._lock:
                if self._ledger.get(name) is not None:
                    continue
            try:
                self.directory.remove(name)
            except OSError as error:
                self.faults[errno.errorcode.get(error.errno or 0, "OSError")] += 1
                stuck.append(name)
                with self._lock:
                    self._stuck.add(name)
            else:
                with self._lock:
                    self._stuck.discard(name)
        return stuck

    def purge(self, scope: Scope) -> list[Name]:
        """Forget everything in `scope`, so that no loss of power brings it back; what could not be removed. Raises `OSError`.

        Struck out in slices: a look-up never waits for more than one of them.
        """
        names = self._covered(scope)
        for start in range(0, len(names), SLICE):
            self.strike(names[start : start + SLICE])
        stuck = self.remove(names)
        self.directory.make_last(names)
        return stuck

    def sweep(self) -> None:
        """Forget what is overdue, and try again what could not be removed."""
        with self._lock:
            late = self._ledger.overdue(time.time())
            for name in late:
                self._ledger.pop(name)
            late += self._stuck
        self.remove(late)
