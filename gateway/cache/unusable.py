"""What keeps a cache from being opened. A value for whoever starts the gateway, apart from what it is raised by."""

from __future__ import annotations


class DirectoryUnusable(OSError):
    """The directory cannot be the cache's: a sentence, and what to do about it."""

    def __init__(self, cause: str, cure: str) -> None:
        super().__init__(cause)
        self.cure = cure
