"""The one thread that writes the trail: group commit, rotation, checkpoints, and what happens when the disk refuses.

Whoever wants records written puts them into a queue and goes on; the thread takes all that waits, writes it with one call,
makes it durable with one `fdatasync`, and reports once for all of it. So sixty-four readers share one wait for the disk.

When writing fails, nothing that was not durable is claimed (`appending`). Records that may not be lost, such as how a
disclosure ended, wait in memory for the next attempt; what does not fit there is counted, and a `gap` record says so.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

from gateway.audit import record
from gateway.audit.appending import OpenSegment, begun
from gateway.audit.chain import Checkpoint
from gateway.audit.keys import AuditKeys
from gateway.audit.retention import removable
from gateway.audit.segments import DIRECTORY_MODE, MODE, locked, synced

MOST_KEPT = 10_000
"""Records kept in memory while they cannot be written, about 8 MiB."""

MOST_AT_ONCE = 512
"""Records of one commit."""

RETRY_SECONDS = 1.0


class Entry(NamedTuple):
    """A record to write. `waiter` is told when it is durable; `keep`: not to be lost when it cannot be written now.

    `begins` and `ends` are the act that the record begins or ends.
    """

    body: bytes
    waiter: Any = None
    keep: bool = True
    begins: str | None = None
    ends: str | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in bytes, times in seconds; None means never."""

    rotate_bytes: int = 64 << 20
    rotate_after: float = 86_400.0
    checkpoint: float = 60.0
    retention: float | None = None
    min_free: int = 0


DEFAULTS = Limits()

Notify = Callable[[Sequence[Any], OSError | None], None]
"""Called by the thread after every commit with those who waited for it, and with what went wrong."""

Report = Callable[[str, OSError | None], None]
"""Called by the thread when the state of "trail" or "checkpoints" changed, with what is wrong now."""


class NoRoom(OSError):
    """Less room is left on the disk than `min_free`."""


class Writer:
    """Writes the files of one process below `directory`. `delivered` says whether retention may take a segment."""

    def __init__(
        self,
        directory: Path,
        keys: AuditKeys,
        notify: Notify,
        report: Report,
        *,
        limits: Limits = DEFAULTS,
        checkpoints: Path | None = None,
        delivered: Callable[[str], bool] = lambda _segment: True,
    ) -> None:
        self._directory = directory
        self._keys = keys
        self._notify = notify
        self._report = report
        self._limits = limits
        self._checkpoints = checkpoints
        self._delivered = delivered
        self._queue: SimpleQueue[Sequence[Entry] | None] = SimpleQueue()
        self._queued = 0
        self._kept: deque[Entry] = deque()
        self._acts: dict[str, bytes] = {}
        self._file: OpenSegment | None = None
        self._unfinished: list[OpenSegment] = []
        self._own: set[str] = set()
        self._looked = time.monotonic()
        self.busy_since: float | None = None
        self._dropped = self._overflowed = self._told_lost = self._taken_up = 0
        self.written = 0
        self.error: OSError | None = None
        self.elsewhere: OSError | None = None
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="audit-writer", daemon=True)

    def start(self) -> None:
        """Begin a file, telling what crashed processes left, and start the thread. Blocking; raises `OSError`."""
        self._directory.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
        self._begin()
        self._thread.start()

    def put(self, *entries: Entry) -> None:
        """Have records written. Never waits; for one thread beside the writing one."""
        if self.waiting >= MOST_KEPT:
            self._dropped += len(entries)
            return
        self._queued += len(entries)
        self._queue.put(entries)

    @property
    def waiting(self) -> int:
        """Records that were put and are not durable yet."""
        return self._queued - self._taken_up + len(self._kept)

    @property
    def lost(self) -> int:
        """Records that could be neither written nor kept, and that no `gap` record tells about yet."""
        return self._dropped + self._overflowed - self._told_lost

    @property
    def lost_in_all(self) -> int:
        """Records that could be neither written nor kept since the start."""
        return self._dropped + self._overflowed

    def close(self, timeout: float = 5.0) -> bool:
        """Write what waits, close the file, end. Blocking. False when a disk that hangs kept that from happening."""
        self._queue.put(None)
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def owns(self, segment: str) -> bool:
        """Whether this process began the file."""
        return segment in self._own

    def durable(self, segment: str) -> int | None:
        """How many bytes of this file are durable; None when it is not the one being written, and all of it is."""
        file = self._file
        return file.size if file is not None and file.name == segment and not file.lost else None

    def state(self) -> dict[str, Any]:
        """Where it stands, as plain values."""
        file = self._file
        return {
            "state": "written" if self.error is None else "failing",
            "error": None if self.error is None else type(self.error).__name__,
            "segment": None if file is None else file.name,
            "last": None if file is None else file.last,
            "head": None if file is None else file.digest.hex(),
            "records": self.written,
            "waiting": self.waiting,
            "lost": self.lost,
            "lost_in_all": self.lost_in_all,
        }

    # --- the thread --------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._closing:
            batch = self._taken()
            self.busy_since = time.monotonic()
            if batch or self._kept or (self.lost and self.error is None):
                self._commit(batch)
            if self.error is None:
                self._tend()
            self.busy_since = None
        self._close()

    def _taken(self) -> list[Entry]:
        """What waits, once something does or it is time to look after the files."""
        batch: list[Entry] = []
        timeout = RETRY_SECONDS if self._kept or self.error else min(1.0, self._limits.checkpoint)
        with suppress(Empty):
            entries = self._queue.get(timeout=timeout)
            while True:
                if entries is None:
                    self._closing = True
                else:
                    batch += entries
                if len(batch) >= MOST_AT_ONCE:
                    break
                entries = self._queue.get_nowait()
        self._taken_up += len(batch)
        return batch

    def _commit(self, batch: list[Entry]) -> None:
        lost, no_room = self.lost, None
        try:
            file = self._writable()
            no_room = self._no_room()
            refused = [entry for entry in batch if no_room and not entry.keep]
            entries = [*self._kept, *(entry for entry in batch if not no_room or entry.keep)]
            bodies = [record.own("gap", lost=lost)] if lost else []
            file.append([*bodies, *(entry.body for entry in entries)])
        except OSError as error:
            self._failed(error, batch)
            return
        self._told_lost += lost
        self.written += len(entries)
        self._kept.clear()
        for entry in entries:
            if entry.begins is not None:
                self._acts[entry.begins] = entry.body
            if entry.ends is not None:
                self._acts.pop(entry.ends, None)
        self._is(no_room)
        if refused:
            self._tell(refused, no_room)
        self._tell(entries, None)

    def _is(self, error: OSError | None) -> None:
        """Note the state, and report a change."""
        changed, self.error = (error is None) != (self.error is None), error
        if changed:
            self._report("trail", error)

    def _failed(self, error: OSError, batch: list[Entry]) -> None:
        self._is(error)
        for entry in batch:
            if not entry.keep:
                continue
            if len(self._kept) < MOST_KEPT:
                self._kept.append(entry._replace(waiter=None))
            else:
                self._overflowed += 1
        self._tell(batch, error)

    def _tell(self, entries: Sequence[Entry], error: OSError | None) -> None:
        self._notify([entry.waiter for entry in entries if entry.waiter is not None], error)

    def _no_room(self) -> NoRoom | None:
        room = os.statvfs(self._directory)
        if room.f_bavail * room.f_frsize < self._limits.min_free:
            return NoRoom("less room is left than `audit.min_free`")
        return None

    # --- files -------------------------------------------------------------------------------------------------------

    def _begin(self) -> OpenSegment:
        """A new file, which the chain goes on in. Raises `OSError`."""
        file = begun(self._directory, self._keys, self._acts)
        self._own.add(file.name)
        self._file = file
        return file

    def _writable(self) -> OpenSegment:
        """The file to write to. Raises `OSError`."""
        if self._file is None or self._file.lost:
            self._file = None
            return self._begin()
        return self._file

    def _close(self) -> None:
        for file in (*self._unfinished, *([] if self._file is None else [self._file])):
            with suppress(OSError):
                self._kept_elsewhere(file.finish(self._keys))
            file.let_go()

    def _tend(self) -> None:
        """What has to be done from time to time."""
        now = time.monotonic()
        try:
            file = self._writable()
            if file.grown >= self._limits.rotate_bytes or now - file.began >= self._limits.rotate_after:
                # The next one first: what is under way stands in it before this one says that nothing more will come.
                self._begin()
                self._unfinished.append(file)
            while self._unfinished:
                self._kept_elsewhere(self._unfinished[0].finish(self._keys))
                self._unfinished.pop(0)
            if now - self._looked >= self._limits.checkpoint:
                self._looked = now
                file = self._writable()
                self._kept_elsewhere(file.vouch(self._keys))
                self._remove(file)
        except OSError as error:
            self._is(error)

    def _kept_elsewhere(self, checkpoint: Checkpoint | None) -> None:
        if checkpoint is None or self._checkpoints is None:
            return
        failure = None
        try:
            _appended(self._checkpoints, checkpoint.line())
        except OSError as error:
            failure = error
        if (failure is None) != (self.elsewhere is None):
            self._report("checkpoints", failure)
        self.elsewhere = failure

    def _remove(self, file: OpenSegment) -> None:
        """Remove the oldest files that are past their time, saying so first."""
        if self._limits.retention is None:
            return
        with locked(self._directory):
            for segment, facts in removable(self._directory, self._limits.retention, self._delivered):
                file.append([record.own("removed", segment=segment.name, **facts)])
                # Signed before the file is gone: anybody could write that it was removed.
                self._kept_elsewhere(file.vouch(self._keys))
                segment.path(self._directory).unlink()
            synced(self._directory)


def _appended(path: Path, line: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, MODE)
    try:
        os.write(descriptor, line)
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)
