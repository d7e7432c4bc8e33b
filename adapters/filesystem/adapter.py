"""The filesystem adapter itself: the contract, told in terms of the other modules of this package.

Rules of this module: no name is opened here and no errno read. On this machine's own disks an open is a handful of
system calls on the loop, with no thread, no generator and no task; on any other every call is made on the source's
threads, and leaving never waits for one of them.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, suppress
from types import TracebackType
from typing import Self, TypeVar

from adapters.contract import Adapter, Caller, Capabilities, Content, Descriptor, Services, Span
from adapters.errors import Ambiguous, Busy, Changed, NotFound, SpanNotSatisfiable
from adapters.filesystem.confinement import HERE, decode, encode
from adapters.filesystem.document import (
    OpenDocument,
    Opened,
    Pieces,
    Scratch,
    facts,
    find_document,
    open_document,
    stat_document,
)
from adapters.filesystem.handle import close_later, on_executor
from adapters.filesystem.listing import FILE, FOLDER
from adapters.filesystem.names import Names, spellings
from adapters.filesystem.options import FilesystemOptions
from adapters.filesystem.root import Crossing, Root

Result = TypeVar("Result")

LOCAL_CHUNK = 196_608
"""192 KiB in bytes, a multiple of 3 so that base64 never carries."""

REMOTE_CHUNK = 786_432
"""768 KiB in bytes, a multiple of 3: a thread for each piece costs more than the memory."""

SHARE_OF_DESCRIPTORS = 4
"""One in so many of the descriptors this process may have can be a document of one source; the rest are sockets."""


class FilesystemAdapter(Adapter):
    """The documents below one folder. A locator is a path relative to it, with / between folders.

    Symbolic links below the root are refused, also those that stay inside: what a name leads to is then decided by the
    name alone. Hard links and mounts below the root are followed; only an administrator can make them.
    """

    Options = FilesystemOptions

    options: FilesystemOptions

    def __init__(self, name: str, options: FilesystemOptions, services: Services) -> None:
        super().__init__(name, options, services)
        self._scratch = Scratch()
        self._settle = options.settle
        self._chunk_size = options.chunk_size
        self._capabilities = _capabilities(local=bool(options.local), max_open=None)
        self._root: Root
        self._names: Names

    async def __aenter__(self) -> Self:
        options = self.options
        executor = self.services.executor
        self._root = await on_executor(
            executor, Root.at, options.root, executor, options.local, options.require_mount, undo=Root.close
        )
        self._names = Names(self._root, case_insensitive=options.case_insensitive)
        self._describe()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if hasattr(self, "_root"):
            self._names.close()
            self._root.close()

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    def open(
        self,
        locator: str,
        span: Span | None = None,
        *,
        version: str | None = None,
        caller: Caller | None = None,
    ) -> AbstractAsyncContextManager[Content]:
        return _Opening(self, locator, span, version)

    async def stat(self, locator: str, *, caller: Caller | None = None) -> Descriptor:
        status = await self._reach(locator, self._stat_at)
        self._refuse_unsettled(status)
        return _facts(status)[0]

    async def resolve(self, stem: str, suffixes: tuple[str, ...] | None = None) -> str:
        encode(stem)
        if suffixes is None:
            folder, slash, beginning = stem.rpartition("/")
            if not slash:
                return await self._names.beginning(HERE, stem + ".")
            return await self._reach(folder, lambda path: self._begins_at(path, beginning + "."), FOLDER)
        found = set()
        for suffix in suffixes:
            with suppress(NotFound):
                found.add(await self._reach(stem + suffix, self._exists_at))
        if not found:
            raise NotFound("no document begins with this key")
        if len(found) > 1:
            raise Ambiguous(f"{len(found)} documents begin with this key")
        return found.pop()

    async def probe(self) -> None:
        await self._root.call(self._root.probe)
        self._describe()

    def _describe(self) -> None:
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        max_open = None if soft == resource.RLIM_INFINITY else max(soft // SHARE_OF_DESCRIPTORS, 1)
        self._capabilities = _capabilities(local=self._root.local, max_open=max_open)

    # --- one path --------------------------------------------------------------------------------------------------

    async def _reach(self, locator: str, attempt: Callable[[bytes], Awaitable[Result]], kind: str = FILE) -> Result:
        """What `attempt` makes of the locator's path, or of another spelling of it when there is no such path."""
        try:
            return await attempt(encode(locator))
        except NotFound:
            if locator.isascii() and not self.options.case_insensitive:
                raise
        for other in spellings(locator):
            with suppress(NotFound):
                return await attempt(encode(other))
        if not self.options.case_insensitive:
            raise NotFound("no document has this name in any normalisation form")
        return await attempt(encode(await self._names.spelled(locator, kind)))

    def _open_here(self, locator: str) -> OpenDocument | None:
        """The document at once; None where waiting or another spelling may help. For speed: `_reach` finds it too."""
        root = self._root
        if not root.local:
            return None
        try:
            opened = open_document(root.fd, True, root, encode(locator))
        except (Crossing, NotFound):
            return None
        return OpenDocument(opened, self.services.executor, self._scratch)

    async def _open_at(self, path: bytes) -> OpenDocument:
        opened = await self._root.ask(open_document, self._root, path, undo=self._take_back)
        return OpenDocument(opened, self.services.executor, self._scratch)

    def _take_back(self, opened: Opened) -> None:
        descriptor, _, _ = opened
        close_later(self.services.executor, descriptor)

    async def _stat_at(self, path: bytes) -> os.stat_result:
        return await self._root.ask(stat_document, self._root, path)

    async def _exists_at(self, path: bytes) -> str:
        await self._root.ask(find_document, self._root, path)
        return decode(path)

    async def _begins_at(self, folder: bytes, beginning: str) -> str:
        return f"{decode(folder)}/{await self._names.beginning(folder, beginning)}"

    # --- one document ----------------------------------------------------------------------------------------------

    def _content(self, document: OpenDocument, span: Span | None, version: str | None) -> Content:
        status = document.status
        if self._settle:
            self._refuse_unsettled(status)
        descriptor, whole = _facts(status)
        if version is not None and version != descriptor.version:
            raise Changed("the document has another version by now")
        if span is None:
            span = whole
        elif span.start >= status.st_size:
            raise SpanNotSatisfiable(status.st_size)
        else:
            span = span.within(status.st_size)
        own = document.own
        size = self._chunk_size or (LOCAL_CHUNK if own else REMOTE_CHUNK)
        return Content(descriptor, span, Pieces(document, span, size), document if own else None)

    def _refuse_unsettled(self, status: os.stat_result) -> None:
        if self._settle and 0 <= time.time() - status.st_mtime < self._settle:
            raise Busy("the document changed a moment ago and may not be complete", retry_after=self._settle)


def _capabilities(*, local: bool, max_open: int | None) -> Capabilities:
    return Capabilities(
        local=local,
        spans=True,
        cheap_stat=True,
        strong_versions=True,
        immutable=False,
        per_caller=False,
        max_open=max_open,
    )


def _facts(status: os.stat_result) -> tuple[Descriptor, Span]:
    return facts(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_dev, status.st_ino)


class _Opening:
    """The context of one open document. A class, not a generator: this runs for every request."""

    __slots__ = ("_adapter", "_document", "_locator", "_span", "_version")

    def __init__(self, adapter: FilesystemAdapter, locator: str, span: Span | None, version: str | None) -> None:
        self._adapter = adapter
        self._locator = locator
        self._span = span
        self._version = version
        self._document: OpenDocument | None = None

    async def __aenter__(self) -> Content:
        adapter = self._adapter
        document = adapter._open_here(self._locator)
        if document is None:
            document = await adapter._reach(self._locator, adapter._open_at)
        try:
            content = adapter._content(document, self._span, self._version)
        except BaseException:
            document.close()
            raise
        self._document = document
        return content

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._document is not None:
            self._document.close()
