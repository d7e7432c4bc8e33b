"""One open document: its facts, its bytes, and whether it is still what was opened.

Rules of this module: all facts come from the open descriptor (C2). A document of this machine's own disks is read on
the loop when the page cache has it (preadv2(2), RWF_NOWAIT) and on a thread when not; any other is read on a thread.
The last piece is handed over only after the file was found unchanged.
"""

from __future__ import annotations

import errno
import mmap
import os
import stat
from concurrent.futures import Executor
from datetime import UTC, datetime
from functools import lru_cache
from typing import Self

from adapters.contract import MAX_CHUNK, Descriptor, Span
from adapters.errors import Changed, Corrupt, NotFound
from adapters.filesystem.confinement import LOOK, READ
from adapters.filesystem.failures import broken_read, status_of
from adapters.filesystem.handle import Handle
from adapters.filesystem.root import Root

OPENING = "open the document"

NO_FILE = "there is no document, but a folder, device, FIFO or socket"

REMEMBERED_FACTS = 4096
"""Descriptors kept ready, about 2 MiB in all: building one takes longer than the system calls of an open."""


Opened = tuple[int, os.stat_result, bool]
"""A descriptor of a regular file, its status, and whether it lies on this machine's own disks."""


def open_document(descriptor: int, stay: bool, root: Root, path: bytes) -> Opened:
    """Open the regular file at `path` for reading. `stay` as in `Root.ask`; raises what `Root.reach` raises."""
    opened = root.reach(descriptor, stay, path, READ, OPENING)
    try:
        status = status_of(opened, OPENING)
        if not stat.S_ISREG(status.st_mode):
            raise NotFound(NO_FILE)
        return opened, status, stay or root.owns(opened)
    except BaseException:
        os.close(opened)
        raise


def stat_document(descriptor: int, stay: bool, root: Root, path: bytes) -> os.stat_result:
    """The status of the regular file at `path`; raises what `open_document` raises."""
    opened, status, _ = open_document(descriptor, stay, root, path)
    os.close(opened)
    return status


def find_document(descriptor: int, stay: bool, root: Root, path: bytes) -> None:
    """Raise unless there is a regular file at `path`; it need not be readable."""
    opened = root.reach(descriptor, stay, path, LOOK, OPENING)
    try:
        if stat.S_ISREG(status_of(opened, OPENING).st_mode):
            return
    finally:
        os.close(opened)
    raise NotFound(NO_FILE)


@lru_cache(maxsize=REMEMBERED_FACTS)
def facts(size: int, mtime: int, ctime: int, device: int, inode: int) -> tuple[Descriptor, Span]:
    """The descriptor and the whole span of a file with this status. Times in nanoseconds since 1970."""
    try:
        modified = datetime.fromtimestamp(mtime // 1_000_000_000, UTC)
    except (ValueError, OverflowError, OSError):  # a year that datetime cannot hold
        modified = None
    descriptor = Descriptor(
        size=size,
        modified=modified,
        version=f"{size:x}-{mtime:x}",
        validator=f"{device:x}-{inode:x}-{ctime:x}",
    )
    return descriptor, Span(0, size)


def unchanged(opened: os.stat_result, now: os.stat_result) -> bool:
    """Whether a file with status `now` still holds the bytes it held when it had the status `opened`.

    Whoever writes into a file moves its mtime and its ctime; mtime can be set back, ctime cannot. But ctime moves also
    when a name is added or taken away, and that is how a careful archive replaces a document: it renames a new file
    over the old name. The old file, which is open here, loses a name and keeps every byte. So a moved ctime is forgiven
    when the number of names moved too while size and mtime stand still. A rename to another folder or a chmod moves
    ctime alone and cannot be told from a writer that sets mtime back: a false alarm costs one more read, silence could
    cost a wrong letter.
    """
    return (
        opened.st_size == now.st_size
        and opened.st_mtime_ns == now.st_mtime_ns
        and opened.st_ino == now.st_ino
        and (opened.st_ctime_ns == now.st_ctime_ns or opened.st_nlink != now.st_nlink)
    )


def read_whole(descriptor: int, status: os.stat_result, offset: int, length: int, last: bool) -> bytes:
    """Exactly `length` bytes, waiting for them; for threads. With `last` the file is checked after the read.

    Raises `Changed` or `Corrupt` when the file ends early, `Unavailable` when it cannot be read.
    """
    try:
        data = os.pread(descriptor, length, offset)
        while len(data) < length and (more := os.pread(descriptor, length - len(data), offset + len(data))):
            data += more
        now = os.fstat(descriptor) if last or len(data) < length else None
    except OSError as error:
        number = error.errno or errno.EIO
    else:
        if now is not None and not unchanged(status, now):
            raise Changed("the file changed while it was read")
        if len(data) < length:
            raise Corrupt("the file ends before its size")
        return data
    raise broken_read(number)


class Scratch:
    """Where `preadv` puts bytes before they become an object: one for all documents, used only between two awaits.

    A mapping, because it begins at a page. The kernel's copy into memory that begins 16 bytes into a page, as large
    blocks of malloc do, takes eight times as long (measured: 77 us instead of 10 us for 192 KiB).
    """

    __slots__ = ("_view",)

    def __init__(self) -> None:
        self._view = memoryview(mmap.mmap(-1, MAX_CHUNK, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))

    def read(self, descriptor: int, offset: int, length: int) -> bytes | None:
        """Exactly `length` bytes if the page cache has them. OSError as from preadv2(2)."""
        view = self._view[:length] if length <= MAX_CHUNK else memoryview(mmap.mmap(-1, length))
        if os.preadv(descriptor, (view,), offset, os.RWF_NOWAIT) == length:
            return view.tobytes()
        return None


class OpenDocument(Handle):
    """A document as `adapters.contract.LocalFile` has it, and the same for documents that are not local."""

    __slots__ = ("_cached", "_scratch", "own", "status")

    def __init__(self, opened: Opened, executor: Executor, scratch: Scratch) -> None:
        descriptor, self.status, own = opened
        super().__init__(descriptor, executor, quick=own)
        self.own = own
        self._cached = own
        self._scratch = scratch

    def read_now(self, offset: int, length: int) -> bytes | None:
        """Exactly `length` bytes when the page cache has them; None when reading would wait for a disk."""
        if not self._cached:
            return None
        try:
            return self._scratch.read(self.fd, offset, length)
        except BlockingIOError:
            return None
        except OSError:
            # Not every file system can say what its cache holds (EOPNOTSUPP); a real fault comes back from the thread.
            self._cached = False
            return None

    def read_into(self, view: memoryview, offset: int) -> bool:
        """Fill all of `view` when the page cache has the bytes; False when reading would wait for a disk."""
        if not self._cached:
            return False
        try:
            return os.preadv(self.fd, (view,), offset, os.RWF_NOWAIT) == len(view)
        except BlockingIOError:
            return False
        except OSError:
            self._cached = False
            return False

    async def read(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes at `offset`. Raises `Changed` or `Corrupt` when the file ends early, `Unavailable`."""
        data = self.read_now(offset, length)
        return await self.call(read_whole, self.status, offset, length, False) if data is None else data

    async def read_last(self, offset: int, length: int) -> bytes:
        """As `read`, and the file has not changed before it ended. Raises `Changed`."""
        data = self.read_now(offset, length)
        if data is None:
            return await self.call(read_whole, self.status, offset, length, True)
        self.check()
        return data

    def check(self) -> None:
        """Raise `Changed` when the file is no longer what was opened: size, times or identity differ."""
        try:
            now = os.fstat(self.fd)
        except OSError as error:
            number = error.errno or errno.EIO
        else:
            if unchanged(self.status, now):
                return
            raise Changed("the file changed while it was read")
        raise broken_read(number)


class Pieces:
    """The bytes of a span of a document, piece by piece. Not a generator: one that is left behind would close late."""

    __slots__ = ("_document", "_position", "_size", "_stop")

    def __init__(self, document: OpenDocument, span: Span, size: int) -> None:
        self._document = document
        self._position = span.start
        self._stop = span.stop or 0
        self._size = size

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        position, left = self._position, self._stop - self._position
        if left <= 0:
            raise StopAsyncIteration
        if left <= self._size:
            data = await self._document.read_last(position, left)
        else:
            data = await self._document.read(position, self._size)
        self._position = position + len(data)
        return data
