"""A filesystem adapter over a test's folder, and an account with no rights.

Nothing here writes through the adapter: tests make and change files themselves.
"""

from __future__ import annotations

import contextlib
import os
import random
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from adapters.contract import Services, Span
from adapters.errors import AdapterError
from adapters.filesystem import FilesystemAdapter, FilesystemOptions
from adapters.testing.harness import RecordingLog

NOBODY = 65534

PIECE = 3000
"""Bytes of a chunk in tests that look at chunks."""

DATA = random.Random(1).randbytes(10 * PIECE + 17)
"""A document of eleven such chunks."""


@contextlib.contextmanager
def lent(threads: int = 2) -> Iterator[Services]:
    """Services with an executor that ends with the test."""
    executor = ThreadPoolExecutor(threads, thread_name_prefix="folder")
    try:
        yield Services(executor=executor, log=RecordingLog(), clock=time.monotonic)
    finally:
        executor.shutdown()


@contextlib.asynccontextmanager
async def archive(root: Path | str, *, threads: int = 2, **options: Any) -> AsyncIterator[FilesystemAdapter]:
    """An entered adapter over `root`."""
    with lent(threads) as services:
        async with FilesystemAdapter("test", FilesystemOptions(root=Path(root), **options), services) as adapter:
            yield adapter


async def read(adapter: FilesystemAdapter, locator: str, span: Span | None = None) -> bytes:
    """The bytes of a document."""
    async with adapter.open(locator, span) as content:
        return b"".join([piece async for piece in content.chunks])


@contextlib.contextmanager
def unprivileged() -> Iterator[None]:
    """Inside, this process has the rights of an ordinary account, also when an administrator runs the tests."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def fill(root: Path, contents: Iterable[str]) -> None:
    """Write files whose content is their locator."""
    for locator in contents:
        path = root / locator
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.fsencode(locator))


def age(path: Path, seconds: float = 3600.0) -> None:
    """Set back the modification time of a file or folder, as if it had last changed `seconds` ago."""
    then = time.time() - seconds
    os.utime(path, (then, then), follow_symlinks=False)


def evict(path: Path) -> None:
    """Put a file out of the page cache, so that reading it waits for the disk."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def refusing(number: int) -> Callable[..., int]:
    """A system call that fails, and whose error names the document as those of Python do."""

    def refuse(*_: object) -> int:
        raise OSError(number, os.strerror(number), "letter.pdf")

    return refuse


async def outcomes(adapter: FilesystemAdapter, locator: str) -> list[type[AdapterError]]:
    """What open, stat and both forms of resolve raise; a failure when one of them does not."""
    raised = []
    for attempt in (
        lambda: read(adapter, locator),
        lambda: adapter.stat(locator),
        lambda: adapter.resolve(locator),
        lambda: adapter.resolve(locator, ("", ".pdf")),
    ):
        try:
            answer = await attempt()
        except AdapterError as error:
            no_trace(error, locator)
            raised.append(type(error))
        else:
            pytest.fail(f"{locator!r} was answered: {answer!r}")
    return raised


def no_trace(error: BaseException, locator: str) -> None:
    """The error and all that it carries say nothing of the locator (C12)."""
    at: BaseException | None = error
    while at is not None:
        words = f"{at!r} {at} {getattr(at, 'filename', '')} {getattr(at, 'detail', '')}"
        assert len(locator) < 5 or locator not in words
        at = at.__cause__ or at.__context__
