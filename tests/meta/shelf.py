"""A small archive, and adapters for it that are right: what `wrong_adapters` breaks in one place each.

Rules of this module: no tests. Every hook of the conformance harness is there, so that every check of the kit applies.
`Shelf` keeps documents in memory and counts its handles; `Folder` keeps them as files, for `Content.file`.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from adapters.contract import Adapter, Caller, Capabilities, Content, Descriptor, Digest, Span
from adapters.errors import (
    AdapterError,
    Changed,
    Corrupt,
    InvalidLocator,
    NotFound,
    SpanNotSatisfiable,
    Unavailable,
    translate,
)
from adapters.testing import Harness

PASSWORD = "correct-horse-battery"
PIECE = 65_536
FOREIGN: dict[type[BaseException], type[AdapterError]] = {FileNotFoundError: NotFound, OSError: Unavailable}

CAPABILITIES = Capabilities(
    local=False,
    spans=True,
    cheap_stat=True,
    strong_versions=True,
    immutable=False,
    per_caller=False,
    max_open=None,
)


@dataclass
class Document:
    data: bytes
    media_type: str | None
    modified: datetime = datetime(2020, 2, 29, 12, tzinfo=UTC)

    @cached_property
    def digest(self) -> bytes:
        return hashlib.sha256(self.data).digest()


@dataclass
class Shelf:
    documents: dict[str, Document] = field(default_factory=dict)
    handles: list[Handle] = field(default_factory=list)
    away: bool = False
    cut: int | None = None
    over: threading.Event = field(default_factory=threading.Event)
    """Set when the test ends: what a wrong adapter left running waits for it."""

    def open(self, locator: str) -> Handle:
        self.ask()
        if locator not in self.documents:
            raise FileNotFoundError(2, "no such document", locator)
        handle = Handle(self, locator, self.documents[locator])
        self.handles.append(handle)
        return handle

    def ask(self) -> None:
        if self.away:
            raise ConnectionRefusedError(111, "connection refused")


@dataclass(eq=False)
class Handle:
    shelf: Shelf
    locator: str
    document: Document
    given: int = 0
    closed: bool = False

    def read(self, offset: int, length: int) -> bytes:
        """Up to `length` bytes; fewer, and then none, when the shelf is cut off or the document ends."""
        if self.closed:
            raise OSError(9, "the handle is closed")
        self.shelf.ask()
        if self.shelf.cut is not None:
            length = min(length, self.shelf.cut - self.given)
        piece = self.document.data[offset : offset + length]
        self.given += len(piece)
        return piece

    def close(self) -> None:
        self.closed = True
        if self in self.shelf.handles:
            self.shelf.handles.remove(self)


class ShelfOptions(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    shelf: Any = Field(repr=False, description="The archive.")
    password: SecretStr = Field(default=SecretStr(PASSWORD), description="What the archive asks for.")


class ShelfAdapter(Adapter):
    """Right in every respect. Each method is one place where a wrong adapter differs."""

    Options: ClassVar[type[Any]] = ShelfOptions

    @property
    def shelf(self) -> Shelf:
        shelf: Shelf = self.options.shelf
        return shelf

    @property
    def capabilities(self) -> Capabilities:
        return CAPABILITIES

    @asynccontextmanager
    async def open(
        self, locator: str, span: Span | None = None, *, version: str | None = None, caller: Caller | None = None
    ) -> AsyncIterator[Content]:
        self.refuse(locator)
        handle = self.attach(locator)
        try:
            facts = self.facts(handle)
            self.judge_version(facts, version)
            carried = self.carried(span, len(handle.document.data))
            async with aclosing(self.pieces(handle, carried)) as pieces:
                yield Content(facts, carried, pieces)
        finally:
            handle.close()

    async def stat(self, locator: str, *, caller: Caller | None = None) -> Descriptor:
        self.refuse(locator)
        handle = self.attach(locator)
        try:
            return self.facts(handle)
        finally:
            handle.close()

    async def probe(self) -> None:
        with translate(FOREIGN, doing="ask the archive"):
            self.shelf.ask()

    def refuse(self, locator: str) -> None:
        if ".." in locator or locator.startswith("/"):
            raise InvalidLocator("the key leads out of the archive")

    def attach(self, locator: str) -> Handle:
        with translate(FOREIGN, doing="open the document"):
            return self.shelf.open(locator)

    def facts(self, handle: Handle) -> Descriptor:
        document = handle.document
        return Descriptor(
            size=len(document.data),
            media_type=document.media_type,
            modified=document.modified,
            digest=Digest("sha256", document.digest),
            version=document.digest.hex(),
        )

    def judge_version(self, facts: Descriptor, version: str | None) -> None:
        if version is not None and version != facts.version:
            raise Changed("the document is another one now")

    def carried(self, span: Span | None, size: int) -> Span:
        if span is not None and span.start >= size:
            raise SpanNotSatisfiable(size)
        return (span or Span(0)).within(size)

    async def pieces(self, handle: Handle, carried: Span) -> AsyncGenerator[bytes, None]:
        offset, stop = carried.start, carried.stop or 0
        while offset < stop:
            await asyncio.sleep(0)
            with translate(FOREIGN, doing="read the document"):
                piece = handle.read(offset, min(PIECE, stop - offset))
            if not piece:
                raise Corrupt("the document ended early")
            offset += len(piece)
            yield piece


class ShelfHarness(Harness):
    capabilities = CAPABILITIES
    secrets = (PASSWORD,)
    missing: str = "letters/no-such-4711"
    patience = 0.2
    hostile: Sequence[str] = ("../../etc/passwd", "/etc/passwd")
    adapter_class: ClassVar[type[ShelfAdapter]] = ShelfAdapter

    def __init__(self) -> None:
        self.shelf = Shelf()

    def adapter(self) -> Adapter:
        options = self.adapter_class.Options.model_validate({"shelf": self.shelf})
        return self.adapter_class("shelf", options, self.services())

    def seed(self, data: bytes, *, media_type: str | None = None) -> str:
        locator = f"letters/letter-{len(self.shelf.documents):04}"
        self.shelf.documents[locator] = Document(data, media_type)
        return locator

    def live(self) -> int:
        return len(self.shelf.handles)

    @contextmanager
    def cut_after(self, count: int) -> Iterator[None]:
        self.shelf.cut = count
        yield
        self.shelf.cut = None

    @asynccontextmanager
    async def offline(self) -> AsyncIterator[None]:
        self.shelf.away = True
        yield
        self.shelf.away = False

    def replace(self, locator: str, data: bytes) -> None:
        before = self.shelf.documents[locator]
        later = before.modified + timedelta(seconds=1)
        self.shelf.documents[locator] = Document(data, before.media_type, later)

    async def withdraw(self, locator: str) -> None:
        del self.shelf.documents[locator]


class OpenFile:
    """A right `LocalFile`."""

    def __init__(self, path: Path, span: Span | None) -> None:
        self.span = span
        self.fd = os.open(path, os.O_RDONLY)
        self.first = self.now()

    def now(self) -> tuple[int, ...]:
        facts = os.fstat(self.fd)
        return facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_nlink

    def read_now(self, offset: int, length: int) -> bytes | None:
        data = os.pread(self.fd, length, offset)
        return data if len(data) == length else None

    def read_into(self, view: memoryview, offset: int) -> bool:
        return os.preadv(self.fd, [view], offset) == len(view)

    async def read(self, offset: int, length: int) -> bytes:
        data = os.pread(self.fd, length, offset)
        if len(data) < length:
            raise Changed("the file became shorter")
        return data

    def check(self) -> None:
        if self.now() != self.first:
            raise Changed("the file is another one now")


class FolderAdapter(ShelfAdapter):
    """Right; offers `Content.file`. Only what concerns the file is done properly, the rest is the shelf's."""

    file: ClassVar[type[OpenFile]] = OpenFile

    @asynccontextmanager
    async def open(
        self, locator: str, span: Span | None = None, *, version: str | None = None, caller: Caller | None = None
    ) -> AsyncIterator[Content]:
        async with super().open(locator, span, version=version, caller=caller) as content:
            file = self.file(self.options.folder / locator.replace("/", "-"), span)
            try:
                yield Content(content.descriptor, content.span, content.chunks, file)
            finally:
                os.close(file.fd)


class FolderOptions(ShelfOptions):
    folder: Path = Field(description="Where the files are.")


class FolderHarness(ShelfHarness):
    """The shelf's documents, each also as a file."""

    offers_file = True
    adapter_class = FolderAdapter

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def adapter(self) -> Adapter:
        options = FolderOptions(shelf=self.shelf, folder=self.folder)
        return self.adapter_class("folder", options, self.services())

    def seed(self, data: bytes, *, media_type: str | None = None) -> str:
        locator = super().seed(data, media_type=media_type)
        self._path(locator).write_bytes(data)
        return locator

    def replace(self, locator: str, data: bytes) -> None:
        super().replace(locator, data)
        fresh = self.folder / "fresh"
        fresh.write_bytes(data)
        fresh.replace(self._path(locator))

    def _path(self, locator: str) -> Path:
        return self.folder / locator.replace("/", "-")
