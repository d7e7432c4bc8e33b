"""How a locator is held below the root: refused by its text first, then by the kernel while it is opened.

Rules of this module: `encode` decides by the text alone and touches no disk. The two openers reach a path relative to
the root's descriptor and follow no symbolic link at any step, so that there is no moment between a check and its use:
realpath() and a comparison of prefixes leaks when names change in between. Nothing else in the package opens by name.

`openat2` asks the kernel to do the whole walk (RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, RESOLVE_NO_MAGICLINKS).
`walk` takes one step at a time, each relative to the last and with O_NOFOLLOW; it is for kernels before 5.6 and for
containers whose seccomp filter refuses openat2. Both refuse and allow the same names.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import stat
from collections.abc import Callable

from adapters.errors import InvalidLocator

READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
"""To read a document. O_NONBLOCK: a FIFO or a device must not hold the caller; regular files ignore it."""

LOOK = os.O_PATH | os.O_CLOEXEC
"""To see that something is there, without the right to read it."""

ENTER = LOOK | os.O_DIRECTORY
"""To take a folder as the start of another step."""

LIST = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
"""To read the names in a folder."""

HERE = b"."
"""The folder of the descriptor itself. The only path that does not come from `encode`."""

LONGEST = 4095
"""Bytes of a whole locator: PATH_MAX without its terminating NUL (limits.h)."""

Opener = Callable[[int, bytes, int, bool], int]
"""`(root, path, flags, stay)` to a new descriptor, or OSError. `stay`: fail with EXDEV where the path would leave the
mount of the root, since behind a mount point a file system may be away and would hang the caller."""

# One to 255 bytes (NAME_MAX) without slash and control characters, and not "." or "..". A backslash is refused: Linux
# takes it as a letter, but servers behind a mount may take it as a separator, and in an index it is a Windows path that
# nobody translated.
_COMPONENT = rb"(?!\.\.?(?:/|\Z))[^/\\\x00-\x1f\x7f]{1,255}"
_confined = re.compile(rb"%b(?:/%b)*\Z" % (_COMPONENT, _COMPONENT)).match

_REASONS: tuple[tuple[re.Pattern[bytes], str], ...] = (
    (re.compile(rb"\Z"), "is empty"),
    (re.compile(rb"/"), "begins with a slash; it is relative to the root"),
    (re.compile(rb".*[\x00-\x1f\x7f]", re.DOTALL), "holds a control character"),
    (re.compile(rb".*\\", re.DOTALL), "holds a backslash; folders are separated by /"),
    (re.compile(rb"(.*/)?\.\.?(/|\Z)"), "has a component . or .."),
    (re.compile(rb".*//|.*/\Z"), "has an empty component"),
)


def encode(locator: str) -> bytes:
    """The bytes of a locator as the file system holds them. Raises `InvalidLocator`; touches no disk.

    Bytes that are not UTF-8 travel in the locator as `os.fsdecode` writes them (PEP 383). Percent signs are letters.
    """
    try:
        path = locator.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        path = None
    if path is None:
        raise InvalidLocator("the locator holds half of a surrogate pair")
    if len(path) <= LONGEST and _confined(path):
        return path
    reasons = (reason for pattern, reason in _REASONS if pattern.match(path))
    raise InvalidLocator(f"the locator {next(reasons, 'is longer than the file system allows')}")


def decode(path: bytes) -> str:
    """The locator that `encode` turns into `path`."""
    return path.decode("utf-8", "surrogateescape")


# --- one call ------------------------------------------------------------------------------------------------------

_NO_XDEV, _NO_MAGICLINKS, _NO_SYMLINKS, _BENEATH = 0x01, 0x02, 0x04, 0x08
"""RESOLVE_* of linux/openat2.h."""


class _OpenHow(ctypes.Structure):
    """struct open_how of linux/openat2.h."""

    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def _how(flags: int, stay: bool) -> object:
    resolve = _BENEATH | _NO_SYMLINKS | _NO_MAGICLINKS | (_NO_XDEV if stay else 0)
    return ctypes.byref(_OpenHow(flags, 0, resolve))


# What never changes is built once, and no argtypes are set: converting the arguments would cost a tenth of the call.
_HOW = {(flags, stay): _how(flags, stay) for flags in (READ, LOOK, ENTER, LIST) for stay in (True, False)}
_NUMBER = ctypes.c_long(437)
_SIZE = ctypes.c_size_t(ctypes.sizeof(_OpenHow))
_syscall = ctypes.CDLL(None, use_errno=True).syscall
_syscall.restype = ctypes.c_long


def openat2(root: int, path: bytes, flags: int, stay: bool) -> int:
    """`Opener` in one system call. `path` has no NUL: C would end it there."""
    how = _HOW[flags, stay]
    while True:
        descriptor: int = _syscall(_NUMBER, root, path, how, _SIZE)
        if descriptor >= 0:
            return descriptor
        number = ctypes.get_errno()
        # Python retries interrupted calls only where it makes them itself (PEP 475).
        if number != errno.EINTR:
            raise OSError(number, os.strerror(number))


# --- step by step --------------------------------------------------------------------------------------------------


def walk(root: int, path: bytes, flags: int, stay: bool) -> int:
    """`Opener` by one openat(2) for each component.

    It cannot see mount points, so with `stay` it goes no further than the root's own names.
    """
    *folders, name = path.split(b"/")
    if folders and stay:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
    here = root
    try:
        for folder in folders:
            outer, here = here, _step(here, folder, ENTER)
            if outer != root:
                os.close(outer)
        return _step(here, name, flags)
    finally:
        if here != root:
            os.close(here)


def _step(folder: int, name: bytes, flags: int) -> int:
    try:
        descriptor = os.open(name, flags | os.O_NOFOLLOW, dir_fd=folder)
    except OSError as error:
        number = error.errno or errno.EIO
        # O_PATH | O_DIRECTORY says of a link that it is no directory (open(2)).
        if number == errno.ENOTDIR and _is_link(os.stat(name, dir_fd=folder, follow_symlinks=False)):
            number = errno.ELOOP
    else:
        # O_PATH alone opens the link itself.
        if not (flags & os.O_PATH and _is_link(os.fstat(descriptor))):
            return descriptor
        os.close(descriptor)
        number = errno.ELOOP
    raise OSError(number, os.strerror(number))


def _is_link(status: os.stat_result) -> bool:
    return stat.S_ISLNK(status.st_mode)


def opener(root: int) -> Opener:
    """The best opener that this kernel and its filters allow."""
    try:
        os.close(openat2(root, HERE, ENTER, True))
    except OSError:
        return walk
    return openat2
