"""The folder that holds the archive: found once, held by a descriptor, asked now and then whether it is still there.

Rules of this module: `Root.reach` is the one way from the root to anything below it. Whether the root is this machine's
own is what statfs(2) says of it, since a path on a network or FUSE mount may hang for ever and must not be touched on
the event loop.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, TypeVar

from adapters.errors import AccessDenied, AdapterError, OptionError, Unavailable
from adapters.filesystem import confinement
from adapters.filesystem.confinement import HERE, LIST, LOOK
from adapters.filesystem.failures import failure
from adapters.filesystem.handle import Handle

Result = TypeVar("Result")

LOCAL = frozenset(
    {
        0xEF53,  # ext2, ext3, ext4
        0x58465342,  # XFS
        0x9123683E,  # Btrfs
        0xCA451A4E,  # bcachefs
        0xF2F52010,  # F2FS
        0x2FC12FC1,  # ZFS
        0x3153464A,  # JFS
        0x01021994,  # tmpfs
        0x858458F6,  # ramfs
        0x794C7630,  # overlayfs
        0x73717368,  # SquashFS
        0xE0F5E1E2,  # EROFS
        0x9660,  # ISO 9660
        0x15013346,  # UDF
        0x4D44,  # FAT
        0x2011BAB0,  # exFAT
        0x7366746E,  # NTFS (ntfs3)
    }
)
"""f_type of file systems on this machine's own disks or in its memory (statfs(2)). All others may wait for a server."""

_libc = ctypes.CDLL(None, use_errno=True)


class Crossing(Exception):
    """The path leads to another mount, and the caller wanted to stay on the root's."""


def is_local(descriptor: int) -> bool:
    """Whether the file system behind `descriptor` is one of `LOCAL`. May wait for a server."""
    # struct statfs begins with f_type, a long; 120 bytes in all where a long has 64 bits.
    answer = (ctypes.c_ulong * 32)()
    return _libc.fstatfs(descriptor, ctypes.byref(answer)) == 0 and (answer[0] & 0xFFFFFFFF) in LOCAL


def enter(path: Path, *, require_mount: bool) -> int:
    """A descriptor of the folder that `path` leads to now. Links on the way are the operator's own.

    May wait for a server. Raises `OptionError` when the path cannot be a root, `Unavailable` when it cannot be asked.
    """
    try:
        descriptor = os.open(path, LIST)
    except OSError as error:
        number = error.errno or errno.EIO
    else:
        try:
            # The right to list is not the right to reach what is in it.
            os.close(os.open(HERE, LOOK, dir_fd=descriptor))
            if not require_mount or os.stat("..", dir_fd=descriptor).st_dev != os.fstat(descriptor).st_dev:
                return descriptor
            number = 0
        except OSError as error:
            number = error.errno or errno.EIO
        os.close(descriptor)
    raise _no_root(number)


def _no_root(number: int) -> AdapterError:
    match number:
        case 0:
            return Unavailable("the root folder is not a mount point: mount the share, or turn off `require_mount`")
        case errno.ENOENT:
            detail, cure = "the root folder does not exist", "create it, mount its share, or correct the path"
        case errno.ENOTDIR:
            detail, cure = "the root is not a folder", "name the folder that holds the documents"
        case errno.EACCES | errno.EPERM:
            detail = "the root folder may not be read"
            cure = "give the gateway's account the rights to list and to enter it (r and x)"
        case errno.ELOOP | errno.ENAMETOOLONG | errno.EINVAL:
            detail, cure = "the root's path leads nowhere", "correct the path"
        case _:
            return Unavailable(f"the root folder does not answer: {errno.errorcode.get(number, number)}")
    return OptionError(detail, option="root", cure=cure)


class Root(Handle):
    """The open root folder: `descriptor` is what `enter` gave for `path`.

    `declared_local` overrides what statfs says, for this folder and every mount below it.
    """

    __slots__ = ("_declared_local", "_opener", "_path", "_require_mount", "local")

    def __init__(
        self, descriptor: int, path: Path, executor: Executor, *, declared_local: bool | None, require_mount: bool
    ) -> None:
        self._declared_local = declared_local
        self.local = self._is_own(descriptor)
        super().__init__(descriptor, executor, quick=self.local)
        self._path = path
        self._require_mount = require_mount
        self._opener = confinement.opener(descriptor)

    @classmethod
    def at(cls, path: Path, executor: Executor, declared_local: bool | None, require_mount: bool) -> Root:
        """The root at `path`. May wait for a server; raises what `enter` raises."""
        path = path.absolute()
        descriptor = enter(path, require_mount=require_mount)
        return cls(descriptor, path, executor, declared_local=declared_local, require_mount=require_mount)

    async def ask(
        self, function: Callable[..., Result], *arguments: Any, undo: Callable[[Result], object] | None = None
    ) -> Result:
        """`function(descriptor, stay, *arguments)` where it may wait: here when the root is local, else on a thread.

        Here it has to stay on the root's mount; when the path leads on, `function` raises `Crossing` and goes to a
        thread after all.
        """
        if self.local:
            try:
                return function(self.fd, True, *arguments)
            except Crossing:
                pass
        return await self.call(function, False, *arguments, undo=undo)

    def reach(self, descriptor: int, stay: bool, path: bytes, flags: int, doing: str) -> int:
        """A descriptor for `path` below the root's `descriptor`. Raises `AdapterError`; `Crossing` only when `stay`."""
        try:
            return self._opener(descriptor, path, flags, stay)
        except OSError as error:
            number = error.errno or errno.EIO
        if stay and number == errno.EXDEV:
            raise Crossing
        raise failure(number, doing)

    def owns(self, descriptor: int) -> bool:
        """Whether an open document is this machine's own. A mount of another kind may lie below a local root.

        What was reached with `stay` is the root's own and need not be asked about.
        """
        return self.local and self._is_own(descriptor)

    def probe(self, descriptor: int) -> None:
        """Ask the folder that the path leads to now for its first name, and from now on use that one.

        So a share that was mounted late, or again, is found without a restart. The folder used so far is not asked:
        what is left of an old mount may hang. May wait for a server; raises `Unavailable` or `AccessDenied`.
        """
        try:
            fresh = enter(self._path, require_mount=self._require_mount)
        except OptionError as error:
            wrong: AdapterError = Unavailable(f"{error.detail}: {error.cure}")
        else:
            try:
                os.statvfs(fresh)
                with os.scandir(fresh) as names:
                    next(names, None)
                self._follow(fresh, descriptor)
                return
            except OSError as error:
                found = failure(error.errno or errno.EIO, "list the root folder")
            finally:
                os.close(fresh)
            wrong = found if isinstance(found, AccessDenied | Unavailable) else Unavailable(found.detail)
        raise wrong

    def _follow(self, fresh: int, descriptor: int) -> None:
        own = self._is_own(fresh)
        # What is not ours is off the loop before the first look at it.
        self._quick = self.local = self.local and own
        # dup2 changes what the number means in one step: no thread ever holds a number that is closed.
        os.dup2(fresh, descriptor, inheritable=False)
        self._quick = self.local = own

    def _is_own(self, descriptor: int) -> bool:
        return is_local(descriptor) if self._declared_local is None else self._declared_local
