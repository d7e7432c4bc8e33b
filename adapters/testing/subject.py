"""The adapter under test, as checks use it: entered, read, provoked.

Rules of this module: what several checks need to drive one adapter, and nothing that judges it, except `expecting`.
Every wait has an end, and a reader stops at a limit, so that a wrong adapter fails and does not fill the memory.
"""

from __future__ import annotations

import asyncio
import functools
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
)
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from adapters.contract import Adapter, Content, Descriptor, Span
from adapters.testing.check import Violation, capabilities_of, is_site
from adapters.testing.harness import Harness
from adapters.testing.site import Document

MiB = 1 << 20

READ_LIMIT = 16 * MiB
"""Bytes after which a read is taken as endless: more than three times the largest document that checks store."""

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Subject:
    """One entered adapter."""

    harness: Harness
    adapter: Adapter

    def open(
        self, locator: str, span: Span | None = None, *, version: str | None = None
    ) -> AbstractAsyncContextManager[Content]:
        return self.adapter.open(locator, span, version=version, **self._caller())

    async def stat(self, locator: str) -> Descriptor:
        return await self.adapter.stat(locator, **self._caller())

    async def read(
        self, locator: str, span: Span | None = None, *, version: str | None = None
    ) -> tuple[Content, bytes]:
        """Open, read to the end, close: what was said and the bytes that came."""
        async with self.open(locator, span, version=version) as content:
            return content, b"".join(await chunks_of(content))

    def _caller(self) -> dict[str, Any]:
        return {"caller": self.harness.caller} if capabilities_of(self.harness).per_caller else {}


@asynccontextmanager
async def entered(harness: Harness) -> AsyncIterator[Subject]:
    """A fresh adapter of `harness`, entered."""
    async with harness.adapter() as adapter:
        yield Subject(harness, adapter)


async def chunks_of(content: Content) -> list[bytes]:
    """All chunks, as they came. Raises `Violation` when they do not end."""
    chunks: list[bytes] = []
    total = 0
    async for chunk in content.chunks:
        chunks.append(chunk)
        total += len(chunk)
        if total > READ_LIMIT or len(chunks) > READ_LIMIT:
            raise Violation(f"the chunks do not end: {total} bytes in {len(chunks)} chunks so far")
    return chunks


async def first_chunk(content: Content) -> bytes:
    """The first chunk. Raises `Violation` when there is none."""
    async for chunk in content.chunks:
        return chunk
    raise Violation("no chunk came of a document that is not empty")


CANCELLED = "CancelledError"
DONE = "its work"

MOMENTS = (*((turns, 0.0) for turns in range(9)), (1, 0.001), (1, 0.003), (1, 0.006))
"""When a reader is cancelled: after so many turns of the loop and so many seconds. Adapters that answer at once are
caught in the middle by the turns, those that wait for a thread or a server by the seconds."""

FEW_MOMENTS = ((2, 0.0), (5, 0.0), (1, 0.001))


async def cancelled_at(
    subject: Subject, locator: str, moments: Iterable[tuple[int, float]] = MOMENTS
) -> AsyncIterator[str]:
    """Read `locator` again and again, cancelled each time at another moment; yields what each reader ended with.

    That is `CANCELLED` as it should be, `DONE` when it was over before, else the name of what came instead.
    """
    for turns, seconds in moments:
        reader = asyncio.ensure_future(_read_slowly(subject, locator))
        for _ in range(turns):
            await asyncio.sleep(0)
        if seconds:
            await asyncio.sleep(seconds)
        caught = reader.cancel()
        patience = subject.harness.patience
        done, _ = await asyncio.wait({reader}, timeout=patience)
        if not done:
            raise Violation(f"a reader that was cancelled went on for {patience:g} seconds")
        if reader.cancelled():
            yield CANCELLED
        elif error := reader.exception():
            yield type(error).__name__
        else:
            yield "no error at all" if caught else DONE


async def _read_slowly(subject: Subject, locator: str) -> None:
    async with subject.open(locator) as content:
        async for _ in content.chunks:
            await asyncio.sleep(0)


@contextmanager
def expecting(*kinds: type[Exception], doing: str) -> Iterator[None]:
    """The enclosed statements raise one of `kinds`; anything else, and nothing, is a `Violation` about `doing`."""
    names = " or ".join(kind.__name__ for kind in kinds)
    try:
        yield
    except kinds:
        return
    except Violation:
        raise
    except Exception as error:
        raise Violation(f"{doing} raised {type(error).__name__}; {names} is due") from error
    raise Violation(f"{doing} raised nothing; {names} is due")


async def outcome(action: Awaitable[Any]) -> Exception | None:
    """The exception that `action` ends with, or None."""
    try:
        await action
    except Violation:
        raise
    except Exception as error:
        return error
    return None


async def eventually(harness: Harness, met: Callable[[], bool]) -> bool:
    """Whether `met` becomes true within the harness's patience."""
    loop = asyncio.get_running_loop()
    end = loop.time() + harness.patience
    while not met():
        if loop.time() > end:
            return False
        await asyncio.sleep(0.002)
    return True


@asynccontextmanager
async def entering(context: Any) -> AsyncIterator[Any]:
    """Enter either kind of context manager."""
    if isinstance(context, AbstractAsyncContextManager):
        async with context as value:
            yield value
    else:
        with cast(AbstractContextManager[Any], context) as value:
            yield value


async def settled(value: Value | Awaitable[Value]) -> Value:
    """The value of a harness method, which may be plain or `async`."""
    return await value if isinstance(value, Awaitable) else value


async def seed(harness: Harness, data: bytes, media_type: str | None = None) -> str:
    """Store `data` behind the adapter's back; its locator."""
    return await settled(harness.seed(data, media_type=media_type))


async def documents(harness: Harness, *sizes: int, media_type: str | None = None) -> Sequence[Document]:
    """Documents to read: new ones of these sizes, no two alike; in a site's archive its own, the largest first."""
    if is_site(harness):
        return harness.documents
    stored = [sample(size, variant) for variant, size in enumerate(sizes)]
    return [Document(await seed(harness, data, media_type), data, media_type) for data in stored]


async def document(harness: Harness, size: int, *, media_type: str | None = None) -> Document:
    """One document to read: a new one of `size` bytes; in a site's archive its largest."""
    return (await documents(harness, size, media_type=media_type))[0]


def sample(size: int, variant: int = 0) -> bytes:
    """`size` bytes without any pattern, the same in every run; variants differ from one another at every offset."""
    return _noise()[variant * 101 : variant * 101 + size]


@functools.cache
def _noise() -> bytes:
    return random.Random(20).randbytes(6 * MiB)  # noqa: S311 - test data, not a secret
