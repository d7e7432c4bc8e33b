"""What the C library does with memory that was freed: keep some, since the next piece of a document needs as much again.

Rules of this module: the allocator of this process and nothing else. A piece is a few hundred kilobytes that live for a
fraction of a millisecond. Left to itself glibc gives each back to the kernel and asks for it again, and the kernel clears
every page anew: a third of the processor time of a document from a share.
"""

from __future__ import annotations

import ctypes
from contextlib import suppress

# malloc.h: the parameters of mallopt(3).
_TRIM_THRESHOLD = -1
_MMAP_THRESHOLD = -3
_ARENA_MAX = -8

HEAPS = 2
"""Heaps of the process, for all its threads together: each keeps what was freed in it, and by itself glibc makes eight for each
processor."""

KEPT = 8 << 20
"""Most bytes of freed memory at the end of one heap that are kept: a few pieces for each of a handful of readers."""

LARGEST = 4 << 20
"""Bytes from which on a block gets a mapping of its own, and is given back as soon as it is free. No piece is as large."""


def keep_freed_memory() -> None:
    """Keep up to `KEPT` bytes of what is freed in each of `HEAPS`; nothing where the C library has no mallopt(3), as musl."""
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_ARENA_MAX, HEAPS)
        mallopt(_MMAP_THRESHOLD, LARGEST)
        mallopt(_TRIM_THRESHOLD, KEPT)
