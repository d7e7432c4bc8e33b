"""One configured archive as the rest of the gateway sees it: the portable type around an adapter.

What lives here is everything that must hold for every adapter and that no author should have to write: the permit held
for the life of a body (C8), the deadlines, slicing for adapters without spans (C3), counting and digest checking (C6),
the last piece held back until they agree, and the archive's name on every error (C9). Nothing here knows HTTP.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from adapters.contract import (
    MAX_CHUNK,
    WHOLE,
    Adapter,
    Capabilities,
    Content,
    Descriptor,
    LocalFile,
    Services,
    Span,
)
from adapters.errors import AdapterError, Busy, Corrupt, SpanNotSatisfiable, TimedOut, Unavailable
from gateway.deadline import within
from gateway.errors import Wedged
from gateway.workers import Workers


@dataclass(frozen=True, slots=True)
class Limits:
    """Deadlines in seconds and the number of documents open at once."""

    max_open: int = 64
    queue_timeout: float = 2.0
    open_timeout: float = 5.0
    idle_timeout: float = 10.0


class Source:
    """A named adapter with its permits, its threads and its deadlines.

    Used as an asynchronous context manager for the adapter's life. Every method raises `AdapterError` and nothing else.
    """

    def __init__(self, name: str, adapter: Adapter, *, limits: Limits, workers: Workers) -> None:
        self.name = name
        self.adapter = adapter
        self.limits = limits
        self._workers = workers
        self._permits = asyncio.Semaphore(limits.max_open)
        self.open_count = 0

    def __repr__(self) -> str:
        return f"<Source {self.name} open={self.open_count} {self._workers!r}>"

    @property
    def capabilities(self) -> Capabilities:
        return self.adapter.capabilities

    async def __aenter__(self) -> Self:
        with _Blame(self.name):
            async with asyncio.timeout(self.limits.open_timeout):
                await self.adapter.__aenter__()
        declared = self.adapter.capabilities.max_open
        if declared is not None and declared < self.limits.max_open:
            self._permits = asyncio.Semaphore(declared)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            async with asyncio.timeout(self.limits.open_timeout):
                await self.adapter.__aexit__(kind, error, trace)
        except Exception as failure:
            # A wedged archive cannot be waited for; its threads end with the process.
            self.not_released(failure)
        finally:
            # What is queued still runs: an adapter closes its descriptors there.
            self._workers.shutdown(wait=False)

    def open(
        self, locator: str, span: Span | None = None, *, version: str | None = None
    ) -> AbstractAsyncContextManager[Opened]:
        """The document, or exactly the part `span` of it, as content whose chunks are counted and checked.

        Entering raises what `Adapter.open` raises, `Busy` when no permit came free in `queue_timeout` seconds or every
        thread of the archive hangs, `TimedOut` after `open_timeout`. Pulling raises `Corrupt`, `Changed`,
        `Unavailable` or `TimedOut`; a stream that ends is whole.
        """
        return _Opening(self, locator, span, version)

    async def stat(self, locator: str) -> Descriptor:
        """The facts of a document, under the open deadline."""
        self._refuse_when_wedged()
        with _Blame(self.name):
            return await within(self.limits.open_timeout, self.adapter.stat(locator))

    async def resolve(self, stem: str, suffixes: tuple[str, ...] | None = None) -> str:
        """The one locator that begins with `stem`, under the open deadline."""
        self._refuse_when_wedged()
        with _Blame(self.name):
            return await within(self.limits.open_timeout, self.adapter.resolve(stem, suffixes))

    async def probe(self) -> None:
        """Whether the archive would answer now, under the open deadline."""
        self._refuse_when_wedged()
        with _Blame(self.name):
            async with asyncio.timeout(self.limits.open_timeout):
                await self.adapter.probe()

    def not_released(self, failure: Exception) -> None:
        """Log that the adapter failed to let go of something: whoever read it got what it was promised."""
        self.adapter.services.log.warning("not released", error=type(failure).__name__)

    def _refuse_when_wedged(self) -> None:
        if self._workers.wedged(self.limits.open_timeout):
            error = Wedged("every thread of this archive has hung for longer than its deadline")
            error.source = self.name
            raise error


class _Blame:
    """Puts the source's name on adapter errors and turns anything foreign into one (C9)."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, Exception) and blamed(error, self.name) is not error:
            raise blamed(error, self.name)


def blamed(error: Exception, source: str) -> AdapterError:
    """`error` as an adapter error that carries the source's name.

    `TimeoutError` is a deadline of ours that passed. Anything else foreign breaks C9: the archive could not be asked.
    """
    if isinstance(error, AdapterError):
        if error.source is None:
            error.source = source
        return error
    if isinstance(error, TimeoutError):
        translated: AdapterError = TimedOut("the archive did not answer within its deadline")
    else:
        translated = Unavailable(f"the adapter failed with {type(error).__name__}")
    translated.source = source
    translated.__cause__ = error
    return translated


class _Opening:
    """The context of one open document. A class, not a generator: this runs for every request."""

    __slots__ = ("_context", "_locator", "_permit", "_source", "_span", "_version")

    def __init__(self, source: Source, locator: str, span: Span | None, version: str | None) -> None:
        self._source = source
        self._locator = locator
        self._span = span
        self._version = version
        self._permit: asyncio.Semaphore | None = None
        self._context: AbstractAsyncContextManager[Content] | None = None

    async def __aenter__(self) -> Opened:
        source = self._source
        adapter = source.adapter
        if source._workers.busy:
            source._refuse_when_wedged()
        permits = source._permits
        if permits.locked():
            await self._queue(permits)
        else:
            await permits.acquire()
        self._permit = permits
        source.open_count += 1
        try:
            context = adapter.open(self._locator, self._span, version=self._version)
            content = await within(source.limits.open_timeout, context.__aenter__())
            self._context = context
            return self._checked(content)
        except asyncio.CancelledError:
            await self._release(None, None, None)
            raise
        except Exception as error:
            await self._release(type(error), error, error.__traceback__)
            raise blamed(error, source.name)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._release(kind, error, trace)

    async def _queue(self, permits: asyncio.Semaphore) -> None:
        """Wait for a permit. Raises `Busy` after the queue deadline."""
        source = self._source
        try:
            async with asyncio.timeout(source.limits.queue_timeout):
                await permits.acquire()
        except TimeoutError:
            busy = Busy("as many documents as allowed are open in this archive", retry_after=2)
            busy.source = source.name
            raise busy from None

    async def _release(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._context is not None:
                context, self._context = self._context, None
                await context.__aexit__(kind, error, trace)
        except Exception as failure:
            # Raised here it would replace an answer that was sent, or the reason why it was not.
            if failure is not error:
                self._source.not_released(failure)
        finally:
            if self._permit is not None:
                permit, self._permit = self._permit, None
                self._source.open_count -= 1
                permit.release()

    def _checked(self, content: Content) -> Opened:
        """The adapter's content cut to the span that was asked, with its promises checked while they are pulled."""
        size, asked = content.descriptor.size, self._span
        if asked is None:
            asked = content.span if content.span.start == 0 and content.span.stop == size else WHOLE
        elif size is not None:
            if asked.start >= size:
                raise SpanNotSatisfiable(size)
            asked = asked.within(size)
        return Opened(content.descriptor, asked, _Checked(content, asked, self._source), content.file)


class Opened:
    """An adapter's content as the gateway reads it: cut to what was asked, checked while it is pulled."""

    __slots__ = ("chunks", "descriptor", "file", "span")

    def __init__(self, descriptor: Descriptor, span: Span, chunks: _Checked, file: LocalFile | None) -> None:
        self.descriptor = descriptor
        self.span = span
        self.chunks = chunks
        self.file = file


class _Checked:
    """The checked chunks of a content, made when they are first pulled: a local file is mostly read without them."""

    __slots__ = ("_asked", "_content", "_source", "_stream")

    def __init__(self, content: Content, asked: Span, source: Source) -> None:
        self._content = content
        self._asked = asked
        self._source = source
        self._stream: AsyncGenerator[bytes, None] | None = None

    def __aiter__(self) -> Self:
        return self

    def __anext__(self) -> Awaitable[bytes]:
        if self._stream is None:
            self._stream = _verified(self._content, self._asked, source=self._source)
        return anext(self._stream)

    async def aclose(self) -> None:
        if self._stream is not None:
            await self._stream.aclose()


async def _verified(content: Content, asked: Span, *, source: Source) -> AsyncGenerator[bytes, None]:
    """The bytes of `asked` out of `content`; the last piece only when count and digest agree (C3, C6).

    When the adapter answered more than was asked, pulling stops with the last byte wanted: the rest is not checked.
    """
    given, size = content.span, content.descriptor.size
    expected = given.length(size)
    given_stop = None if expected is None else given.start + expected
    wanted = size if asked.stop is None else asked.stop
    cut = asked.stop if asked.stop is not None and (given_stop is None or asked.stop < given_stop) else None
    whole = cut is None and asked.start == given.start == 0 and given_stop == size
    digest = content.descriptor.digest if whole else None
    with _Blame(source.name):
        hasher = hashlib.new(digest.algorithm, usedforsecurity=False) if digest else None
    position, held = given.start, b""
    if position > asked.start or (given_stop is not None and wanted is not None and given_stop < wanted):
        raise blamed(Corrupt("the adapter answered another span than was asked"), source.name)
    async with aclosing(_pulled(content.chunks, source)) as chunks:
        async for chunk in chunks:
            if held:
                yield held
            start, position = position, position + len(chunk)
            if hasher is not None:
                hasher.update(chunk)
            held = chunk if start >= asked.start else chunk[asked.start - start :]
            if cut is not None and position >= cut:
                yield held[: len(held) - (position - cut)]
                return
            if given_stop is not None and position > given_stop:
                raise blamed(Corrupt("the archive sent more than it announced"), source.name)
    if cut is not None or (given_stop is not None and position < given_stop):
        raise blamed(Corrupt("the archive ended the document early"), source.name)
    if digest is not None and hasher is not None and hasher.digest() != digest.value:
        raise blamed(Corrupt("the document does not match the archive's digest"), source.name)
    if held:
        yield held


async def _pulled(chunks: AsyncIterator[bytes], source: Source) -> AsyncGenerator[bytes, None]:
    """The adapter's chunks, each under the idle deadline. Only these waits are the archive's to answer for."""
    try:
        while True:
            try:
                chunk = await within(source.limits.idle_timeout, anext(chunks))
            except StopAsyncIteration:
                return
            except Exception as error:
                raise blamed(error, source.name)
            if not chunk or len(chunk) > MAX_CHUNK:
                raise blamed(Corrupt("the adapter sent a piece out of bounds"), source.name)
            yield chunk
    finally:
        close = getattr(chunks, "aclose", None)
        if close is not None:
            try:
                await close()
            except Exception as failure:
                source.not_released(failure)


async def read_file(file: LocalFile, offset: int, length: int, *, source: Source) -> bytes:
    """`length` bytes of a local file from the page cache, else through the source's threads under the idle deadline."""
    data = file.read_now(offset, length)
    if data is not None:
        return data
    try:
        return await within(source.limits.idle_timeout, file.read(offset, length))
    except Exception as error:
        raise blamed(error, source.name)


def services(workers: Workers, log: object) -> Services:
    """What an adapter of this gateway is lent."""
    return Services(executor=workers, log=log, clock=time.monotonic)  # type: ignore[arg-type]
