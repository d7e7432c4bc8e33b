"""The cache directory itself: one process at a time, one file for each entry, nothing visible before it is whole.

    .lock                     held by the process that uses the directory
    .incoming/<random>        what is being written
    <source>/<2 digits>/<name>

Everything here blocks and is for one thread, the keeper's. All paths start at a descriptor of the directory: what is put
in its place under a running process is never touched. What is not ours is left alone.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import quote, unquote

from gateway.cache.unusable import DirectoryUnusable

Name = tuple[str, str]
"""The folder of the source, and the entry's name in it."""

_ENTRY = re.compile(r"[0-9a-f]{48}")
_FOLDER = re.compile(r"[0-9a-f]{2}")
LOCK, INCOMING = ".lock", ".incoming"


def folder_of(source: str) -> str:
    """The folder's name for a source. Raises `ValueError` for a name that no folder can have."""
    folder = quote(source, safe="", errors="surrogatepass")
    if folder.startswith("."):  # ours
        folder = "%2E" + folder[1:]
    if not folder or len(folder) > 255:
        raise ValueError("a source that cannot have a folder")
    return folder


def source_of(folder: str) -> str:
    """The source that a folder is for."""
    return unquote(folder, errors="surrogatepass")


def path_of(name: Name) -> str:
    """Where an entry lies, from the directory."""
    folder, entry = name
    return f"{folder}/{entry[:2]}/{entry}"


def _unusable(path: Path, error: OSError) -> DirectoryUnusable:
    cause = f"The cache directory {path} cannot be used: {os.strerror(error.errno or errno.EIO)}."
    if error.errno in (errno.EEXIST, errno.ENOTDIR):
        return DirectoryUnusable(cause, "A file stands in its way: move that away, or name another directory.")
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DirectoryUnusable(cause, "Make room on that disk, or name a directory on another one.")
    cure = f"Let the account that runs the gateway (user id {os.geteuid()}) read, write and make files there."
    return DirectoryUnusable(cause, cure)


class Directory:
    """The files of one cache."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.root = -1
        self.incoming = -1
        self._lock = -1
        self.foreign = 0

    def open(self) -> None:
        """Take the directory, making it if need be. Raises `DirectoryUnusable`."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.root = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            self._take()
            # A volume that somebody else owns may be open to a group; the folders in it are ours and never are.
            with contextlib.suppress(PermissionError):
                os.fchmod(self.root, 0o700)
            self.incoming = self._entered(INCOMING)
        except OSError as error:
            self.close()
            if isinstance(error, DirectoryUnusable):
                raise
            raise _unusable(self.path, error) from error

    def _take(self) -> None:
        self._lock = os.open(LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600, dir_fd=self.root)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            cause = f"The cache directory {self.path} is used by another process."
            raise DirectoryUnusable(cause, "Give each process a directory of its own.") from None

    def _entered(self, folder: str) -> int:
        with contextlib.suppress(FileExistsError):
            os.mkdir(folder, 0o700, dir_fd=self.root)
        return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=self.root)

    def close(self) -> None:
        """Let the directory go."""
        for descriptor in (self.incoming, self.root, self._lock):
            if descriptor >= 0:
                os.close(descriptor)
        self.incoming = self.root = self._lock = -1

    def stage(self, path: str, flags: int) -> int:
        """Open a new file for an entry on its way; an `opener` for `open`."""
        return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=self.incoming)

    def unstage(self, temporary: str) -> None:
        """Remove an entry that will not come. Never raises: a new process removes what is left over."""
        with contextlib.suppress(OSError):
            os.unlink(temporary, dir_fd=self.incoming)

    def settle(self, temporary: str, name: Name) -> os.stat_result:
        """Make a file that is written visible under its name, in the place of an older one. Raises `OSError`."""
        status = os.stat(temporary, dir_fd=self.incoming, follow_symlinks=False)
        path = path_of(name)
        try:
            os.rename(temporary, path, src_dir_fd=self.incoming, dst_dir_fd=self.root)
        except FileNotFoundError:
            for folder in (name[0], os.path.dirname(path)):
                with contextlib.suppress(FileExistsError):
                    os.mkdir(folder, 0o700, dir_fd=self.root)
            os.rename(temporary, path, src_dir_fd=self.incoming, dst_dir_fd=self.root)
        return status

    def remove(self, name: Name) -> None:
        """Remove an entry, which may be gone already. Raises `OSError`."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path_of(name), dir_fd=self.root)

    def mark_used(self, name: Name, used: float) -> None:
        """Note for the next process when an entry was used last (its atime). Never raises."""
        with contextlib.suppress(OSError):
            status = os.stat(path_of(name), dir_fd=self.root, follow_symlinks=False)
            times = (int(used * 1e9), status.st_mtime_ns)
            os.utime(path_of(name), ns=times, dir_fd=self.root, follow_symlinks=False)

    def make_last(self, names: Iterable[Name]) -> None:
        """Make sure that what was removed stays so when the machine loses power. Raises `OSError`."""
        for folder in {os.path.dirname(path_of(name)) for name in names}:
            with contextlib.suppress(FileNotFoundError):
                descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self.root)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)

    def scan(self) -> Iterator[tuple[Name, os.stat_result]]:
        """Remove what an earlier process left half-written, and tell what lies there. Counts what is `foreign`."""
        self.foreign = 0
        for temporary, _ in self._listed(self.incoming, "."):
            self.unstage(temporary)
        for folder, status in self._listed(self.root, "."):
            if folder in (LOCK, INCOMING):
                continue
            if stat.S_ISDIR(status.st_mode):
                yield from self._scan_source(folder)
            else:
                self.foreign += 1

    def _scan_source(self, folder: str) -> Iterator[tuple[Name, os.stat_result]]:
        for below, status in self._listed(self.root, folder):
            if not _FOLDER.fullmatch(below) or not stat.S_ISDIR(status.st_mode):
                self.foreign += 1
                continue
            for entry, found in self._listed(self.root, f"{folder}/{below}"):
                if _ENTRY.fullmatch(entry) and entry.startswith(below) and stat.S_ISREG(found.st_mode):
                    yield (folder, entry), found
                else:
                    self.foreign += 1

    def _listed(self, root: int, path: str) -> list[tuple[str, os.stat_result]]:
        """What is in a folder; one that cannot be listed is foreign."""
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=root)
        except OSError:
            self.foreign += 1
            return []
        try:
            with os.scandir(descriptor) as found:
                return [(entry.name, entry.stat(follow_symlinks=False)) for entry in found]
        finally:
            os.close(descriptor)
