"""The adapter contract: everything an archive must be able to do to stand behind FHIR.

Rules of this module: standard library only, no HTTP, no I/O. It is the public face of `adapters`; a change here is a
change for every author and goes into the changelog's section for them.

An *adapter* is the class behind one configured archive (a *source*). A *locator* is the archive's own key for one
document, opaque to the gateway. Reading is one act: `open` yields facts and bytes together, inside an asynchronous
context whose exit releases everything.

The rules that tests and reviews cite:

C1   Entering `open` does all the work needed to know that the document exists and may be read: every error that
     deserves a status happens there, before the first chunk.
C2   The descriptor is of the object that was opened (open, then fstat), not of a name looked up before.
C3   No span support: return the whole and say so in `Content.span`; the gateway slices.
C4   A span that starts at or past the end raises `SpanNotSatisfiable`; a stop past the end is clamped.
C5   A given `version` that no longer matches raises `Changed`.
C6   Chunks are non-empty, at most `MAX_CHUNK`, and add up to the span. An early end is an error, never a quiet stop.
C7   Leaving the context releases everything on every path, and sees the exception.
C8   Many opens may be live at once; the gateway's permit lives as long as the body.
C9   Only `AdapterError` and `CancelledError` cross the border. Errors are translated around the adapter's own awaits,
     never around a `yield`: a reader that leaves is not the archive's fault and comes back unchanged.
C10  Blocking libraries run on `Services.executor`, this source's own and bounded, never on the loop or its default pool.
C11  Retries inside one call only before the first chunk, and then errors say `exhausted=True`.
C12  Messages carry no patient data: no locator, no path inside the archive, no title.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor
from contextlib import AbstractAsyncContextManager, AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Any, ClassVar, Protocol, Self, TypeVar

from adapters.errors import Unsupported

CONTRACT_VERSION = 1

MAX_CHUNK = 1 << 20
"""Largest chunk in bytes (C6). Memory per reader is a small multiple of it."""

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Span:
    """A half-open interval of bytes, like a slice: `start` included, `stop` excluded, None for "to the end"."""

    start: int
    stop: int | None = None

    def __post_init__(self) -> None:
        if self.start < 0 or (self.stop is not None and self.stop < self.start):
            raise ValueError(f"not a span: {self.start}..{self.stop}")

    def within(self, size: int) -> Span:
        """This span clamped to an object of `size` bytes; both ends are then numbers."""
        stop = size if self.stop is None else min(self.stop, size)
        return Span(min(self.start, stop), stop)

    def length(self, size: int | None = None) -> int | None:
        """Bytes covered; None when the end is open and `size` is not known."""
        if self.stop is not None:
            return self.stop - self.start
        return None if size is None else max(size - self.start, 0)


WHOLE = Span(0)


@dataclass(frozen=True, slots=True)
class Digest:
    """A digest as the archive states it: `algorithm` as `hashlib` names it, `value` the raw bytes."""

    algorithm: str
    value: bytes


@dataclass(frozen=True, slots=True)
class Descriptor:
    """Facts about the whole object that was opened (C2).

    `size` is in bytes, None when it is not known before the end. `media_type` is what the archive itself states, None
    when it states nothing (an extension is not a statement). `modified` is in UTC. `version` is public: equal strings
    mean equal bytes, and every replica computes the same one. `validator` is private and stronger (inode, FileId,
    change time). `title` may hold patient data: it never reaches a log. `estimate` is about how many bytes are to be expected
    where `size` is not known; nothing depends on its being right.
    """

    size: int | None
    media_type: str | None = None
    modified: datetime | None = None
    digest: Digest | None = None
    title: str | None = None
    version: str | None = None
    validator: str | None = None
    estimate: int | None = None


class LocalFile(Protocol):
    """An open regular file of a local file system: lets delivery read without a thread, or not read at all.

    Valid until the context of `open` is left.
    """

    @property
    def fd(self) -> int:
        """The file descriptor, for `sendfile`. Its position is not used."""

    def read_now(self, offset: int, length: int) -> bytes | None:
        """Exactly `length` bytes when the page cache has them; None when reading would wait for a disk."""

    def read_into(self, view: memoryview, offset: int) -> bool:
        """Fill all of `view` when the page cache has the bytes; False when reading would wait, `view` then holds anything."""

    async def read(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes at `offset`, from the page cache or on the source's executor.

        Raises `Changed` or `Corrupt` when the file ends early, `Unavailable` when it cannot be read.
        """

    def check(self) -> None:
        """Raise `Changed` when the file is no longer what was opened: size, times or identity differ."""


@dataclass(frozen=True, slots=True)
class Content:
    """One opened document: its facts, the span that `chunks` really carries, and the bytes.

    `chunks` is pulled once, by one reader. When `file` is given the gateway may use it in place of `chunks`, for any
    span of the object.
    """

    descriptor: Descriptor
    span: Span
    chunks: AsyncIterator[bytes]
    file: LocalFile | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What this configured adapter can do; constant once entered. The gateway branches on every field.

    `local`: bytes come from this machine's own disks, so a cache gains nothing. `spans`: `open` honours a span.
    `cheap_stat`: `stat` costs far less than `open`. `strong_versions`: `Descriptor.version` is always given.
    `immutable`: a locator never changes its bytes. `per_caller`: the answer depends on who asks. `max_open`: how many
    documents the archive can have open at once, None for no limit of its own. `reads_ahead`: the next chunk is on its way
    while one is taken, so that the gateway need not hold another of a document that is too large to be kept.
    """

    local: bool
    spans: bool
    cheap_stat: bool
    strong_versions: bool
    immutable: bool
    per_caller: bool
    max_open: int | None
    reads_ahead: bool = False


@dataclass(frozen=True, slots=True)
class Caller:
    """On whose behalf an archive is asked; given only to adapters whose capabilities say `per_caller`."""

    identity: str


class Log(Protocol):
    """The bound logger an adapter is handed; it already carries the source's name. Values obey C12."""

    def info(self, event: str, **fields: Any) -> Any: ...
    def warning(self, event: str, **fields: Any) -> Any: ...


Guard = Callable[[], AbstractContextManager[None]]
"""One server of an archive, as the gateway watches over it: each call gives the context of one call to that server.

Entering it raises `Unavailable` while the server is given a rest; leaving it sees how the call ended. Put it around the
adapter's own awaits only, like everything that judges errors (C9), and not around the body.
"""


def _unguarded(name: str) -> Guard:
    return nullcontext


def _no_trace() -> str | None:
    """Nobody makes a trace."""
    return None


@dataclass(frozen=True, slots=True)
class Services:
    """What the gateway lends to an adapter for its life.

    `open_timeout` is how many seconds entering `open`, `stat` and `probe` may take before the gateway gives them up; None
    where nobody does. An adapter need not look at it: it may, to say by then what it is that it waits for.

    `endpoint` gives the guard of one server by its name. An archive of one server needs none, the gateway watches over it as
    a whole. An adapter that asks several takes one for each in its `__init__`, so that a server that is away does not stop
    calls to the others. Names go into log lines and metrics: short, and none of a person or a document.

    `traceparent` gives the header of this name (https://www.w3.org/TR/trace-context/) for what is asked over HTTP on behalf of
    the request that is being served; None where no trace is made.
    """

    executor: Executor
    log: Log
    clock: Callable[[], float]
    open_timeout: float | None = None
    endpoint: Callable[[str], Guard] = _unguarded
    traceparent: Callable[[], str | None] = _no_trace

    async def call(self, function: Callable[..., Result], /, *arguments: Any) -> Result:
        """Run a blocking `function` on this source's executor (C10)."""
        return await asyncio.get_running_loop().run_in_executor(self.executor, function, *arguments)


class Options(Protocol):
    """A frozen pydantic model with one described field per option; unknown keys are refused."""

    @classmethod
    def model_validate(cls, obj: Any) -> Self: ...


class Adapter(ABC):
    """One configured archive.

    An author writes `Options`, `capabilities`, `open` and `probe`; the rest has defaults. The gateway guarantees: one
    `__aenter__` before any other call, one or more `__aexit__` after the last, locators are non-empty text without NUL,
    `version` only when `strong_versions`, `caller` only when `per_caller`.
    """

    contract: ClassVar[int] = CONTRACT_VERSION
    Options: ClassVar[type[Options]]

    def __init__(self, name: str, options: Any, services: Services) -> None:
        """Keep the arguments. No I/O: an adapter that is only constructed holds nothing."""
        self.name = name
        self.options = options
        self.services = services

    async def __aenter__(self) -> Self:
        """Acquire pools. Raises `OptionError` when the options cannot work, `Unavailable` when the archive is away."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release everything. Idempotent, and works after a failed or partial enter."""
        return None

    @property
    @abstractmethod
    def capabilities(self) -> Capabilities:
        """What this instance can do, given its options and what it found on entering."""

    @abstractmethod
    def open(
        self,
        locator: str,
        span: Span | None = None,
        *,
        version: str | None = None,
        caller: Caller | None = None,
    ) -> AbstractAsyncContextManager[Content]:
        """The document behind `locator`, or the part `span` of it (C1 to C9).

        Raises on entering: `NotFound`, `Deleted`, `InvalidLocator`, `AccessDenied`, `CredentialsRejected`,
        `Unavailable`, `Busy`, `TimedOut`, `Changed`, `SpanNotSatisfiable`, `Unsupported`, `Corrupt`.
        Raises while pulling: `Changed`, `Corrupt`, `Unavailable`, `TimedOut`.
        """

    async def stat(self, locator: str, *, caller: Caller | None = None) -> Descriptor:
        """The facts alone; raises what entering `open` raises. Override it where a cheaper way exists."""
        async with self.open(locator, caller=caller) as content:
            return content.descriptor

    async def resolve(self, stem: str, suffixes: tuple[str, ...] | None = None) -> str:
        """The one locator that is `stem` followed by one of `suffixes`, or by "." and an ending without a dot when None.

        Raises `NotFound`, `Ambiguous` when more than one fits, `Unsupported` when the archive has no such look-up.
        """
        raise Unsupported("this archive cannot look up a document by the beginning of its key")

    @abstractmethod
    async def probe(self) -> None:
        """Ask the archive whether it would answer: cheap, read-only, touches no patient's document.

        Raises `Unavailable`, `CredentialsRejected`, `TimedOut` or `AccessDenied` with a detail that names the cure.
        """
