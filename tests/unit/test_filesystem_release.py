"""However a read ends, its descriptor is closed: once, late enough, and without making anybody wait."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import resource
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from adapters.contract import Span
from adapters.errors import Busy, Changed, SpanNotSatisfiable, Unavailable
from adapters.filesystem import FilesystemAdapter
from tests.support.folder import DATA, PIECE, archive, evict, lent, read, refusing


@pytest.fixture(params=[True, False], ids=["local", "remote"])
async def adapter(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[FilesystemAdapter]:
    """An adapter over a folder with `letter.pdf`, told that the folder is its machine's own, or that it is not."""
    (tmp_path / "letter.pdf").write_bytes(DATA)
    async with archive(tmp_path, local=request.param, chunk_size=PIECE) as entered:
        yield entered


@pytest.fixture
def letter(tmp_path: Path) -> Path:
    return tmp_path / "letter.pdf"


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - a descriptor closes without an event
            await asyncio.sleep(0.001)


async def whole(adapter: FilesystemAdapter, _: int) -> None:
    assert await read(adapter, "letter.pdf") == DATA


async def abandoned(adapter: FilesystemAdapter, _: int) -> None:
    async with adapter.open("letter.pdf") as content:
        await anext(content.chunks)


async def failing(adapter: FilesystemAdapter, _: int) -> None:
    with contextlib.suppress(ConnectionResetError):
        async with adapter.open("letter.pdf") as content:
            await anext(content.chunks)
            raise ConnectionResetError


async def refused(adapter: FilesystemAdapter, _: int) -> None:
    for span, version in ((Span(10**9), None), (None, "0-0")):
        with pytest.raises((SpanNotSatisfiable, Changed)):
            async with adapter.open("letter.pdf", span, version=version):
                pass


async def cancelled(adapter: FilesystemAdapter, cycle: int) -> None:
    task = asyncio.create_task(read(adapter, "letter.pdf"))
    for _ in range(cycle % 12):
        await asyncio.sleep(0)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


ENDINGS = (whole, abandoned, failing, refused, cancelled)


async def test_a_thousand_reads_however_they_end_leave_nothing_open(adapter: FilesystemAdapter, letter: Path) -> None:
    before = descriptors()
    for cycle in range(1000 // len(ENDINGS)):
        if cycle % 10 == 0:
            evict(letter)
        for ending in ENDINGS:
            await ending(adapter, cycle)
    await until(lambda: descriptors() == before)


async def test_a_reader_that_leaves_gets_its_own_error_back(adapter: FilesystemAdapter) -> None:
    gone = ConnectionResetError("the reader's own")
    with pytest.raises(ConnectionResetError) as back:
        async with adapter.open("letter.pdf"):
            raise gone
    assert back.value is gone


async def test_a_descriptor_is_not_closed_under_a_thread_that_reads(
    adapter: FilesystemAdapter, letter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, go_on = threading.Event(), threading.Event()
    seen: list[bytes] = []
    pread = os.pread

    def slow(descriptor: int, length: int, offset: int) -> bytes:
        began.set()
        go_on.wait(10)
        seen.append(pread(descriptor, length, offset))
        return seen[-1]

    monkeypatch.setattr(os, "preadv", refusing(errno.EAGAIN))
    monkeypatch.setattr(os, "pread", slow)
    before = descriptors()
    reader = asyncio.create_task(read(adapter, "letter.pdf"))
    try:
        await until(began.is_set)
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader
        assert descriptors() == before + 1
    finally:
        go_on.set()
    await until(lambda: descriptors() == before)
    assert seen == [DATA[:PIECE]]


async def test_nothing_is_read_after_leaving(adapter: FilesystemAdapter) -> None:
    async with adapter.open("letter.pdf") as content:
        await anext(content.chunks)
    with pytest.raises(Unavailable):
        await anext(content.chunks)
    if content.file is not None:
        assert content.file.fd == -1
        assert content.file.read_now(0, 1) is None
        for attempt in (content.file.read(0, 1), content.chunks.__anext__()):
            with pytest.raises(Unavailable):
                await attempt
        with pytest.raises(Unavailable):
            content.file.check()


async def test_out_of_descriptors_is_busy(adapter: FilesystemAdapter) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    await adapter.probe()
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))), hard))
    try:
        with contextlib.ExitStack() as stack:
            with contextlib.suppress(OSError):
                while True:
                    stack.callback(os.close, os.dup(0))
            with pytest.raises(Busy, match="EMFILE") as busy:
                await read(adapter, "letter.pdf")
            assert busy.value.retry_after
            assert not busy.value.unhealthy
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert await read(adapter, "letter.pdf") == DATA


async def test_a_source_that_ends_with_a_hung_thread_closes_what_was_waiting(tmp_path: Path) -> None:
    (tmp_path / "letter.pdf").write_bytes(DATA)
    before = descriptors()
    go_on = threading.Event()
    with lent(threads=1) as services:
        adapter = FilesystemAdapter("test", FilesystemAdapter.Options(root=tmp_path, local=False), services)
        async with adapter:
            opening = adapter.open("letter.pdf")
            await opening.__aenter__()
            services.executor.submit(go_on.wait, 10)
            await opening.__aexit__(None, None, None)
        assert descriptors() == before + 2
        services.executor.shutdown(wait=False, cancel_futures=True)
        await until(lambda: descriptors() == before)
        go_on.set()
