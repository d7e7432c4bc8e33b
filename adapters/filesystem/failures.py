"""What an errno of the file system means to a reader. The only place where one becomes an adapter error.

The system's message is never copied and the system's exception never chained: both may hold a path (C12). So callers
note the number, leave their `except` block, and raise what `failure` gives.
"""

from __future__ import annotations

import errno
import os

from adapters.errors import AccessDenied, AdapterError, Busy, InvalidLocator, NotFound, TimedOut, Unavailable

RETRY_SOON = 1.0
"""Seconds a reader is asked to wait when this process or a lease on the file stands in the way."""

_MEANINGS: dict[int, type[AdapterError]] = {
    errno.ENOENT: NotFound,
    errno.ENOTDIR: NotFound,
    # A socket, or a device without a driver: something is there, and it is no document.
    errno.ENXIO: NotFound,
    errno.ENODEV: NotFound,
    # A symbolic link, or a step out of the root.
    errno.ELOOP: InvalidLocator,
    errno.EXDEV: InvalidLocator,
    # The file system cannot hold such a name: too long, or with characters that it refuses.
    errno.ENAMETOOLONG: InvalidLocator,
    errno.EINVAL: InvalidLocator,
    errno.EILSEQ: InvalidLocator,
    errno.EACCES: AccessDenied,
    errno.EPERM: AccessDenied,
    errno.EMFILE: Busy,
    errno.ENFILE: Busy,
    errno.ENOMEM: Busy,
    # With O_NONBLOCK: somebody holds a lease on the file and is being asked to give it up (fcntl(2), "Leases").
    errno.EAGAIN: Busy,
    errno.ETIMEDOUT: TimedOut,
}


def failure(number: int, doing: str) -> AdapterError:
    """The error to raise for `number`, when it came from `doing` ("open the document").

    A number not in the table (ESTALE, EIO, ENOTCONN, EHOSTDOWN, ENETDOWN and their kin) means that the archive could
    not be asked: `Unavailable`, never `NotFound`.
    """
    kind = _MEANINGS.get(number, Unavailable)
    detail = f"could not {doing}: {errno.errorcode.get(number, number)}"
    return kind(detail, retry_after=RETRY_SOON) if kind is Busy else kind(detail)


def status_of(descriptor: int, doing: str) -> os.stat_result:
    """The status of an open file or folder. Raises what `failure` gives."""
    try:
        return os.fstat(descriptor)
    except OSError as error:
        number = error.errno or errno.EIO
    raise failure(number, doing)


def broken_read(number: int) -> AdapterError:
    """The error to raise when an open document could not be read: whatever the number, it was there a moment ago."""
    kind = TimedOut if number == errno.ETIMEDOUT else Unavailable
    return kind(f"could not read the document: {errno.errorcode.get(number, number)}")
