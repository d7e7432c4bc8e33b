"""What an engine gives the adapter: one connected share, and documents open in it.

Rules of this module: protocols and values only. Two engines stand behind it, `adapters.smb.native` (our own asynchronous
data path) and `adapters.smb.library` (smbprotocol alone, on threads), and the same tests hold both to it. Paths are relative
to the share, with backslashes, already found harmless by `adapters.smb.names`; the empty path is the share's root folder.
Both engines raise `adapters.smb.failures.Refused` for what the server refuses and `Lost` when the connection ends.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

FIRST_READ = 255 << 10
"""Bytes asked for in the same round trip that opens a document: all of most letters. A multiple of 3 as all pieces are, so that
base64 never carries."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the server states of one open file, in the answer to its CREATE or CLOSE ([MS-SMB2] 2.2.14, 2.2.16).

    Times are FILETIMEs: units of 100 ns since 1601-01-01 UTC, 0 for "not kept". `disk_id` is what the server calls the
    file on disk (the 32 bytes of SMB2_CREATE_QUERY_ON_DISK_ID, [MS-SMB2] 2.2.14.2.9), empty when it does not say.
    """

    size: int
    created: int
    written: int
    changed: int
    attributes: int
    disk_id: bytes = b""


@dataclass(frozen=True, slots=True)
class Entry:
    """One name in a folder, as the server writes it. `attributes` as in [MS-FSCC] 2.6."""

    name: str
    attributes: int
    size: int


class OpenFile(Protocol):
    """One open document. Used by one reader at a time."""

    @property
    def facts(self) -> Facts:
        """As the server stated them when it opened the file."""

    def pieces(self, start: int, stop: int) -> AsyncIterator[bytes]:
        """Exactly the bytes [start, stop) in order, in pieces of at most 1 MiB; called once.

        What came with the opening is used and not asked for again. Raises `Refused`, `Lost`; `Short` never: a server that
        says "end of file" before `stop` is `Refused(STATUS_END_OF_FILE)`.
        """

    async def close(self) -> Facts | None:
        """Close the file and wait for the server's answer: the facts as they were at that moment, `disk_id` empty.

        None when the server would not say. Raises `Refused`, `Lost`. After it, or after `abandon`, a second call is None.
        """

    def abandon(self) -> None:
        """Close the file without waiting; never raises. Replies that are still on their way are dropped."""


class Share(Protocol):
    """One share of one server on one connection. Any number of files may be open on it at once."""

    @property
    def broken(self) -> bool:
        """Whether this connection is of no more use."""

    @property
    def encrypted(self) -> bool:
        """Whether what it carries is encrypted."""

    @property
    def dfs(self) -> bool:
        """Whether the server says that this share is part of a DFS namespace."""

    @property
    def open_count(self) -> int:
        """How many files are open on it."""

    @property
    def heard(self) -> float:
        """When the server last sent anything, be it a part of an answer: a moment of `time.monotonic`."""

    async def open(self, path: str, offset: int, length: int) -> OpenFile:
        """Open a file for reading, share everything with others, and begin to read `length` bytes at `offset`.

        One round trip, at most two. A read that starts past the end is not an error here. Raises `Refused`, `Lost`.
        """

    async def entries(self, folder: str, pattern: str) -> list[Entry]:
        """The names in `folder` that match `pattern` (`*` and `?`), without `.` and `..`. Raises `Refused`, `Lost`."""

    async def echo(self) -> None:
        """Ask the server whether it is there ([MS-SMB2] 2.2.28). Raises `Lost`."""

    async def aclose(self) -> None:
        """Log off and let go of the connection, at once when it is broken. Idempotent, never raises."""

    def sever(self, reason: str) -> None:
        """Drop the connection now: whatever waits on it raises `Lost(reason)`. Idempotent, never raises, never waits."""
