"""The filesystem adapter: the documents below one folder, which no locator can leave.

    from adapters.filesystem import FilesystemAdapter

The rest of this package may move. Each module has one idea: `confinement` (what a locator may be, and how the kernel
is held to it), `root` (the folder, and whether it is this machine's own), `handle` (a descriptor that threads may
share), `document` (an open file and whether it is still what was opened), `listing` and `names` (finding a document by
a part or another spelling of its name), `failures` (errno to adapter error), `adapter` (the contract). Linux only: it
stands on openat2(2), O_PATH and preadv2(2) with RWF_NOWAIT.
"""

from adapters.filesystem.adapter import FilesystemAdapter
from adapters.filesystem.options import FilesystemOptions

__all__ = ["FilesystemAdapter", "FilesystemOptions"]
