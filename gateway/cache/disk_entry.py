"""How an entry lies in its file, and reading it back. Works on open descriptors; which file is whose, others know.

    document · marks · head · footer

Encrypted, the document is its sealed chunks, one after the other, and there are no marks. In the open it is the document
as it is, so that it can be read like any local file, and the marks are the tags of its chunks. The footer says how long
the head is. None of it is believed: the head is authenticated, and what it says must add up to the size of the file.
"""

from __future__ import annotations

import os
import stat
import struct
from dataclasses import dataclass

from gateway.cache import Broken, Record
from gateway.cache.sealing import CHUNK, SEALED_CHUNK, TAG, Keyring, Sealer, chunk_count

SMALL = 1 << 18
"""Bytes up to which a document is read whole when it is looked up."""

FOOTER = struct.Struct(">4sI")
_MAGIC = b"fgc1"

LARGEST_HEAD = 1 << 16
_TAIL = 4096
"""Bytes read at the end of a file to find its head: nearly always all of it."""

Identity = tuple[int, int, int, int]
"""Inode, size, mtime and ctime: as long as it is the same, nobody has written to the file."""


def file_size(size: int, head: bytes) -> int:
    """Bytes of the file of a document of `size` bytes."""
    return size + chunk_count(size) * TAG + len(head) + FOOTER.size


def footer(head: bytes) -> bytes:
    """The end of a file. Raises `ValueError` for a head that nobody would read back."""
    if len(head) > LARGEST_HEAD:
        raise ValueError("the record is too long")
    return FOOTER.pack(_MAGIC, len(head))


def identity(status: os.stat_result) -> Identity:
    """What tells whether a file is still the same one."""
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


@dataclass(slots=True, eq=False)
class Entry:
    """An open entry: all of a small document, or a descriptor for reading a larger one."""

    record: Record
    sealer: Sealer
    whole: bytes | None
    descriptor: int = -1
    identity: Identity = (0, 0, 0, 0)

    def close(self) -> None:
        """Give the descriptor back. Only while nobody else uses it."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def open_entry(root: int, path: str, name: str, keyring: Keyring, verified: Identity | None) -> Entry:
    """Open the file at `path` below `root`. For threads: reads, and where documents lie in the open verifies them.

    `verified` is the identity with which this process has verified the file before. Raises `Broken` for what was not put
    there under `name`, `OSError` when it cannot be read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=root)
    try:
        entry = _opened(descriptor, name, keyring, verified)
    except BaseException:
        os.close(descriptor)
        raise
    if entry.whole is not None:
        os.close(descriptor)
    return entry


def _opened(descriptor: int, name: str, keyring: Keyring, verified: Identity | None) -> Entry:
    status = os.fstat(descriptor)
    size = status.st_size
    if not stat.S_ISREG(status.st_mode):
        raise Broken("not a file")
    small = size <= SMALL + 2 * TAG + _TAIL
    start = 0 if small else size - _TAIL
    tail = read_exactly(descriptor, start, size - start)
    head = _head(descriptor, tail, size)
    record, _, sealer = keyring.open(name, head)
    if file_size(record.size, head) != size:
        raise Broken("a file of another size")
    seen = identity(status)
    if small and record.size <= SMALL:
        return Entry(record, sealer, _whole(tail, record.size, sealer, keyring.encrypts))
    if not keyring.encrypts and seen != verified:
        _verify(descriptor, record.size, sealer)
        if identity(os.fstat(descriptor)) != seen:
            raise Broken("it changed while it was verified")
    return Entry(record, sealer, None, descriptor, seen)


def read_exactly(descriptor: int, offset: int, length: int) -> bytes:
    """Exactly `length` bytes, waiting for them. Raises `Broken` when the file ends early, `OSError`."""
    data = os.pread(descriptor, length, offset)
    while len(data) < length:
        more = os.pread(descriptor, length - len(data), offset + len(data))
        if not more:
            raise Broken("the file ends early")
        data += more
    return data


def _head(descriptor: int, tail: bytes, size: int) -> bytes:
    if len(tail) < FOOTER.size:
        raise Broken("too short for an entry")
    magic, length = FOOTER.unpack(tail[-FOOTER.size :])
    if magic != _MAGIC or length > min(LARGEST_HEAD, size - FOOTER.size):
        raise Broken("not the end of an entry")
    if length + FOOTER.size > len(tail):
        return read_exactly(descriptor, size - FOOTER.size - length, length)
    return tail[-FOOTER.size - length : -FOOTER.size]


def _whole(data: bytes, size: int, sealer: Sealer, encrypted: bool) -> bytes:
    """A small document out of all bytes of its file."""
    chunks = range(chunk_count(size))
    if encrypted:
        stop = size + len(chunks) * TAG
        sealed = [data[number * SEALED_CHUNK : min((number + 1) * SEALED_CHUNK, stop)] for number in chunks]
    else:
        sealed = [
            data[number * CHUNK : min((number + 1) * CHUNK, size)] + data[size + number * TAG :][:TAG]
            for number in chunks
        ]
    return b"".join(sealer.open(number, part) for number, part in zip(chunks, sealed, strict=True))


def _verify(descriptor: int, size: int, sealer: Sealer) -> None:
    """Raise `Broken` unless every chunk of a document that lies in the open is what was put there."""
    marks = read_exactly(descriptor, size, chunk_count(size) * TAG)
    for number in range(chunk_count(size)):
        start = number * CHUNK
        data = read_exactly(descriptor, start, min(CHUNK, size - start))
        sealer.open(number, data + marks[number * TAG : (number + 1) * TAG])
