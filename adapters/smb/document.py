"""One open document: its facts, its bytes, and the proof that they are of one moment.

Rules of this module: all facts are those that the server stated of the open file (C2); errors are translated around each
await of its own (C9). A document is handed over whole, or with an error before its last piece: the facts that the server
states when it closes the file must be those that it stated on opening.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Self

from adapters.contract import Descriptor
from adapters.errors import AdapterError, Busy, Changed, Corrupt, TimedOut, Unavailable, Unsupported
from adapters.smb.failures import Lost, Refused, broken_read
from adapters.smb.pool import Pooled
from adapters.smb.share import Facts, OpenFile
from adapters.smb.wire.status import STATUS_END_OF_FILE

REPARSE_POINT = 0x400
DIRECTORY = 0x10
"""FILE_ATTRIBUTE_* of [MS-FSCC] 2.6."""

EPOCH = 116_444_736_000_000_000
"""1970-01-01 as a FILETIME."""

TICKS = 10_000_000
"""FILETIME units in a second."""

SKEW = 300.0
"""Seconds by which a server's clock may be ahead, as much as Kerberos lets pass. What bears a later time was dated by hand."""

REMEMBERED_FACTS = 4096
"""Descriptors kept ready, about 2 MiB in all."""


@lru_cache(maxsize=REMEMBERED_FACTS)
def descriptor(facts: Facts) -> Descriptor:
    """The facts of a document.

    The version holds what moves when a document is replaced, by a new file or in place, and what every replica sees alike.
    The time of the last change of any kind is in the validator alone: it moves also when only rights or attributes do.
    The time of creation is in neither: Samba makes it up from the other times, and it moves when a document is read.
    """
    public = f"{facts.size} {facts.written} {facts.disk_id.hex()}"
    private = f"{public} {facts.changed}"
    return Descriptor(
        size=facts.size,
        modified=_utc(facts.written),
        version=f"{facts.size:x}-{_short_hash(public)}",
        validator=_short_hash(private),
    )


def unchanged(opened: Facts, now: Facts) -> bool:
    """Whether a file with facts `now` still holds the bytes it held when it had the facts `opened`.

    A writer can set back the time of writing, but not that of the change. So a moved time of change counts, although a
    new attribute moves it too: a false alarm costs one more read, silence could cost a wrong letter. The answer to CLOSE
    does not name the file on disk ([MS-SMB2] 2.2.16).
    Samba states the time of writing as that of the change too, so there a time that was set back goes unnoticed.
    """
    return (
        opened.size == now.size
        and opened.written == now.written
        and opened.changed == now.changed
        and now.disk_id in (b"", opened.disk_id)
    )


def refuse_stand_in(facts: Facts) -> None:
    """Raise `Unsupported` for a file that only stands for what is elsewhere (deduplicated, tiered, in a cloud)."""
    if facts.attributes & REPARSE_POINT:
        raise Unsupported(
            "the document is a reparse point: set `reparse_points: serve` if this server deduplicates or tiers its files"
        )


def refuse_unsettled(facts: Facts, settle: float, now: float) -> None:
    """Raise `Busy` for a document written less than `settle` seconds before `now` (in seconds since 1970).

    Also for one that was written up to `SKEW` after it: the server's clock is ahead.
    """
    if -SKEW <= now - (facts.written - EPOCH) / TICKS < settle:
        raise Busy("the document changed a moment ago and may not be complete", retry_after=settle)


def _utc(filetime: int) -> datetime | None:
    if not filetime:
        return None
    try:
        # Whole seconds, as HTTP and the filesystem adapter have them.
        return datetime.fromtimestamp((filetime - EPOCH) // TICKS, UTC)
    except (ValueError, OverflowError, OSError):  # a year that datetime cannot hold
        return None


def _short_hash(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


# --- the bytes -----------------------------------------------------------------------------------------------------


class Document:
    """One open file on a connection of the pool. `facts_again` looks the document up once more by its name."""

    __slots__ = ("_facts_again", "_file", "_pooled", "facts")

    def __init__(self, file: OpenFile, pooled: Pooled, facts_again: Callable[[], Awaitable[Facts]]) -> None:
        self._file = file
        self._pooled = pooled
        self._facts_again = facts_again
        self.facts = file.facts

    def pieces(self, start: int, stop: int) -> AsyncIterator[bytes]:
        """As `OpenFile.pieces`."""
        return self._file.pieces(start, stop)

    async def next(self, pieces: AsyncIterator[bytes]) -> bytes:
        """The next piece. Raises `Changed`, `Corrupt`, `Unavailable`, `TimedOut`."""
        try:
            piece = await self._pooled.listen(anext(pieces, b""))
        except Refused as error:
            if error.status == STATUS_END_OF_FILE:
                await self.close()
            raise broken_read(error) from error
        except Lost as error:
            raise broken_read(error) from error
        if not piece:
            raise Corrupt("the document ended before its size")
        return piece

    async def close(self) -> None:
        """Close the file. Raises `Changed` when it is no longer what was opened, and what `next` raises."""
        try:
            now = await self._pooled.listen(self._file.close())
        except (Refused, Lost) as error:
            raise broken_read(error) from error
        if now is None:
            now = await self._looked_up()
        if not unchanged(self.facts, now):
            raise Changed("the document changed while it was read")

    async def _looked_up(self) -> Facts:
        """What is found under the document's name now, for a server that could not say how the file was when it was closed.

        Raises `Changed` when there is nothing any more that may be read.
        """
        try:
            return await self._facts_again()
        except (TimedOut, Unavailable):
            raise
        except AdapterError as error:
            raise Changed("the document was taken away while it was read") from error

    def abandon(self) -> None:
        """Let go of the file without waiting."""
        self._file.abandon()


class Pieces:
    """The bytes [start, stop) of a document. The last piece waits until the file is closed and found unchanged."""

    __slots__ = ("_document", "_left", "_pieces", "_start", "_verified")

    def __init__(self, document: Document, start: int, stop: int) -> None:
        self._document = document
        self._start = start
        self._left = stop - start
        self._pieces: AsyncIterator[bytes] | None = None
        self._verified = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        piece = b""
        if self._left:
            if self._pieces is None:
                self._pieces = self._document.pieces(self._start, self._start + self._left)
            piece = await self._document.next(self._pieces)
            self._left -= len(piece)
            if self._left:
                return piece
        if not self._verified:
            await self._document.close()
            self._verified = True
        if not piece:
            raise StopAsyncIteration
        return piece
