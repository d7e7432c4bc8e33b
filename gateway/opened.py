"""What an archive sends, held against what it promised.

The count, the bounds of each piece and the digest are checked while a document is pulled, and its last piece is held back
until they agree (C3, C6): a stream that ends is whole. Each pull runs under the source's idle deadline. No HTTP here.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from contextlib import aclosing
from typing import TYPE_CHECKING, Self

from adapters.contract import MAX_CHUNK, Content, Descriptor, LocalFile, Span
from adapters.errors import AdapterError, Corrupt
from gateway.blame import Blame, blamed
from gateway.deadline import within

if TYPE_CHECKING:
    from gateway.source import Source


class Opened:
    """An adapter's content as the gateway reads it: cut to what was asked, checked while it is pulled."""

    __slots__ = ("chunks", "descriptor", "file", "span")

    def __init__(self, descriptor: Descriptor, span: Span, chunks: Checked, file: LocalFile | None) -> None:
        self.descriptor = descriptor
        self.span = span
        self.chunks = chunks
        self.file = file


class Checked:
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
    with Blame(source.name):
        hasher = hashlib.new(digest.algorithm, usedforsecurity=False) if digest else None
    position, held = given.start, b""
    if position > asked.start or (given_stop is not None and wanted is not None and given_stop < wanted):
        raise _broken(Corrupt("the adapter answered another span than was asked"), source)
    async with aclosing(_pulled(content.chunks, source)) as chunks:
        async for chunk in chunks:
            start, position = position, position + len(chunk)
            if cut is None and given_stop is not None and position > given_stop:
                raise _broken(Corrupt("the archive sent more than it announced"), source)
            if held:
                yield held
            if hasher is not None:
                hasher.update(chunk)
            held = chunk if start >= asked.start else chunk[asked.start - start :]
            if cut is not None and position >= cut:
                yield held[: len(held) - (position - cut)]
                return
            if given_stop is not None and position < given_stop and held:
                # More must come, so this is not the piece that makes a document whole.
                yield held
                held = b""
    if cut is not None or (given_stop is not None and position < given_stop):
        raise _broken(Corrupt("the archive ended the document early"), source)
    if digest is not None and hasher is not None and hasher.digest() != digest.value:
        raise _broken(Corrupt("the document does not match the archive's digest"), source)
    if held:
        yield held


def _broken(error: Exception, source: Source) -> AdapterError:
    """`error` with the archive's name, counted."""
    failure = blamed(error, source.name)
    source.meter.failed(failure)
    return failure


async def _pulled(chunks: AsyncIterator[bytes], source: Source) -> AsyncGenerator[bytes, None]:
    """The adapter's chunks, each under the idle deadline. Only these waits are the archive's to answer for."""
    try:
        while True:
            try:
                chunk = await within(source.limits.idle_timeout, anext(chunks))
            except StopAsyncIteration:
                return
            except Exception as error:
                raise _broken(error, source)
            if not chunk or len(chunk) > MAX_CHUNK:
                raise _broken(Corrupt("the adapter sent a piece out of bounds"), source)
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
        raise _broken(error, source)
