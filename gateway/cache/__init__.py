"""The cache contract: what a place that keeps documents for the next reader must do, and what it must never do.

Types and rules only; each backend is a module of its own, and when an entry may be used is decided in `cache.policy`. A
backend knows no HTTP and no archive. The rules that tests cite:

K1  A cache never fails a request. `look`, `put`, `drop` and `claim` raise nothing but `CancelledError`: whatever goes wrong
    is a miss, or not stored, and is counted in `Counts.faults`. Each answers within the backend's own short deadlines.
K2  An entry is whole or it is not there. `put` makes it visible at once and only after every byte was written and counted.
K3  What was purged stays away. A ticket is taken before the archive is asked, and `put` under a ticket from before a purge
    leaves nothing that a later `look` could find. When `purge` returns, no `look` of any process that starts afterwards
    finds an entry that was put before; when that cannot be promised it raises `PurgePending`.
K4  An entry's bytes are those that were put under its key: flipped, swapped, moved, cut or foreign ones are a miss, or
    `Broken` in mid-body, and are counted in `Counts.damaged`.
K5  A backend keeps to its budget and forgets what was used least recently. An entry goes by itself after `Limits.keep` seconds.
K6  What is at rest outside this process is encrypted unless the configuration says otherwise, and no name of a key or a file
    can be read back to a locator.
K7  A `Hit` stays readable until it is closed, or breaks (`Broken`); closing is idempotent and never raises.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from types import TracebackType
from typing import ClassVar, Protocol, Self

from adapters.contract import Descriptor, LocalFile, Span


@dataclass(frozen=True, slots=True)
class Key:
    """What an entry is kept under.

    `epoch` stands for the configuration of the source: an archive under another root has other entries. `partition` is who
    may see the entry, where the archive's answer depends on who asks; empty where it does not.
    """

    source: str
    epoch: str
    locator: str
    partition: str = ""


@dataclass(frozen=True, slots=True)
class Scope:
    """What to purge: everything, one source, or one document of a source in all its partitions and epochs."""

    source: str | None = None
    locator: str | None = None

    def covers(self, key: Key) -> bool:
        """Whether an entry under `key` is to go."""
        return (self.source is None or self.source == key.source) and self.locator in (None, key.locator)


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of a stored document. The descriptor's size is a number and its title is never stored.

    `sniffed` is the media type told from the first bytes, None when nobody had to tell it. `stored` is in seconds since 1970.
    """

    descriptor: Descriptor
    sniffed: str | None
    stored: float

    @property
    def size(self) -> int:
        size = self.descriptor.size
        assert size is not None
        return size


@dataclass(frozen=True, slots=True)
class Limits:
    """`keep` is how many seconds an entry may stay, `max_document` the size in bytes above which nothing is stored."""

    keep: float = 3900.0
    max_document: int = 32 << 20


class Broken(Exception):
    """The rest of an entry cannot be had any more: evicted, damaged, or the cache went away. Holds no patient data."""


class PurgePending(Exception):
    """Not every process is known to have forgotten what was purged; the message says why, for an operator."""


class Body(Protocol):
    """A whole document as `put` reads it, several times if need be."""

    @property
    def size(self) -> int:
        """Bytes in all."""

    async def read(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes at `offset`, fewer at the end only."""


class Hit(ABC):
    """An entry that was found. Closed by whoever was given it."""

    record: Record
    file: LocalFile | None = None
    """For entries that lie in a file as they are: lets delivery read without a thread."""
    whole: bytes | None = None
    """All bytes, for an entry so small that they came with the look-up."""

    @abstractmethod
    def chunks(self, span: Span) -> AsyncGenerator[bytes, None]:
        """The bytes of `span` (both ends numbers within the document) in pieces of at most 1 MiB. Raises `Broken`."""

    def close(self) -> None:
        """Let go of the entry."""
        return None


Ticket = object
"""Proof of when the archive was asked; opaque outside its backend. None where nothing may be stored.

Hashable, and equal to every other ticket of the same key between the same two purges: whoever holds an equal one may share a
read of the archive that is under way."""


@dataclass(frozen=True, slots=True)
class Look:
    """The answer to a look-up: the entry, if it is there, and the ticket for putting one."""

    hit: Hit | None
    ticket: Ticket | None


NOTHING = Look(None, None)


@dataclass(slots=True)
class Counts:
    """What came of a backend's work since it was opened; `faults` by the class of what went wrong."""

    hits: int = 0
    misses: int = 0
    stored: int = 0
    dropped: int = 0
    damaged: int = 0
    faults: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Stats:
    """How much is kept. None where the backend cannot say."""

    backend: str
    entries: int | None
    bytes: int | None
    limit: int | None
    state: str = "ok"
    """One word: ok, or away when the backend is given up for a moment."""


class Cache(ABC):
    """A backend. Entering opens it, leaving releases everything and never raises."""

    backend: ClassVar[str]
    shared: ClassVar[bool] = False
    """Whether other processes see the same entries."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.counts = Counts()

    @property
    def away(self) -> bool:
        """Whether the backend is given up for a moment, as far as is known without asking it."""
        return False

    async def __aenter__(self) -> Self:
        """Open. Raises `OSError` or `ValueError` with a sentence when the configuration cannot work."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    @abstractmethod
    async def look(self, key: Key) -> Look:
        """The entry under `key`, and a ticket."""

    @abstractmethod
    async def put(self, key: Key, ticket: Ticket, record: Record, body: Body) -> bool:
        """Keep a whole document; whether it is now there. `body` is read from offset 0 on and not kept."""

    @abstractmethod
    async def drop(self, key: Key) -> None:
        """Forget one entry because the archive has another document by now; no promise, and no purge."""

    @abstractmethod
    async def purge(self, scope: Scope) -> None:
        """Forget everything in `scope`, and refuse what is on its way (K3). Raises `PurgePending`."""

    async def claim(self, key: Key, seconds: float) -> bool:
        """Whether this process shall be the one to ask the archive now; holds for `seconds`. Renewed by asking again."""
        return True

    async def release(self, key: Key) -> None:
        """Give a claim back. Claims of other processes are not touched."""
        return None

    @abstractmethod
    async def stats(self) -> Stats:
        """How much is kept."""


class NoCache(Cache):
    """Keeps nothing."""

    backend = "none"

    async def look(self, key: Key) -> Look:
        return NOTHING

    async def put(self, key: Key, ticket: Ticket, record: Record, body: Body) -> bool:
        return False

    async def drop(self, key: Key) -> None:
        return None

    async def purge(self, scope: Scope) -> None:
        return None

    async def stats(self) -> Stats:
        return Stats(self.backend, 0, 0, 0)
