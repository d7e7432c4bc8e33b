"""A mount that stops answering holds the threads of its own source and nothing else, and everything is given back.

The mount is a FUSE file system in another process (`tests/support/stalling_fuse.py`). The deadlines here stand in for
the gateway's: the adapter has none of its own, it only lets itself be abandoned.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Awaitable, Iterator
from pathlib import Path

import pytest

from adapters.contract import Content
from adapters.errors import NotFound, Unavailable
from adapters.filesystem import FilesystemAdapter
from tests.support.folder import DATA, PIECE, archive, lent, read
from tests.support.stalling_fuse import StallingMount

DEADLINE = 0.2
"""Seconds that the gateway would wait."""

FREEZE = 0.5
"""Seconds for which the loop may stand still: far longer than it should, far shorter than a hang."""

THREADS = 2


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "letter.pdf").write_bytes(DATA)
    (folder / "other.pdf").write_bytes(DATA[::-1])
    (folder / "folder").mkdir()
    (folder / "folder" / "letter.pdf").write_bytes(DATA)
    return folder


@pytest.fixture
def mount(source: Path, tmp_path: Path) -> Iterator[StallingMount]:
    with StallingMount(source, tmp_path / "mount") as mounted:
        yield mounted


@pytest.fixture
async def adapter(mount: StallingMount) -> AsyncIterator[FilesystemAdapter]:
    async with archive(mount.mountpoint, threads=THREADS, chunk_size=PIECE) as entered:
        assert not entered.capabilities.local
        yield entered


@pytest.fixture(autouse=True)
async def _loop_never_stands_still(request: pytest.FixtureRequest) -> AsyncIterator[None]:
    if "mount" in request.fixturenames:
        request.getfixturevalue("mount")  # to mount takes as long as it takes, and no loop runs meanwhile
    worst = 0.0

    async def watch() -> None:
        nonlocal worst
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.005)
            worst = max(worst, time.monotonic() - before)

    watching = asyncio.create_task(watch())
    await asyncio.sleep(0)
    yield
    await asyncio.sleep(0.01)
    watching.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watching
    assert worst < FREEZE, f"the loop stood still for {worst:.1f} s"


async def given_up(attempt: Awaitable[object]) -> None:
    """What the gateway does with `attempt` on a mount that hangs; giving up itself must not wait."""
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(DEADLINE):
            await attempt
    assert time.monotonic() - began < DEADLINE + FREEZE


async def on_thread(function: object, *arguments: object) -> None:
    """Wait for the mirror without holding the loop."""
    await asyncio.to_thread(function, *arguments)  # type: ignore[arg-type]


@pytest.mark.requirement("SC-09")
async def test_a_hung_open_is_given_up_and_closed_when_it_returns(
    adapter: FilesystemAdapter, mount: StallingMount
) -> None:
    with mount.hanging("open"):
        await given_up(read(adapter, "letter.pdf"))
        mount.wait_for("open")
        assert mount.live == 0
    await on_thread(mount.wait_for, "release")
    assert (mount.seen("opened"), mount.live) == (1, 0)
    assert await read(adapter, "letter.pdf") == DATA


async def test_a_hung_read_is_given_up_and_the_next_one_reads(adapter: FilesystemAdapter, mount: StallingMount) -> None:
    async def half() -> None:
        async with adapter.open("letter.pdf") as content:
            assert await anext(content.chunks) == DATA[:PIECE]
            with mount.hanging("read"):
                await given_up(anext(content.chunks))
                assert mount.live == 1

    await half()
    await on_thread(mount.wait_closed)
    assert await read(adapter, "letter.pdf") == DATA


async def test_a_hung_read_that_resumes_goes_on_where_it_was(adapter: FilesystemAdapter, mount: StallingMount) -> None:
    async with adapter.open("letter.pdf") as content:
        pieces = [await anext(content.chunks)]
        with mount.hanging("read"):
            pull = asyncio.ensure_future(content.chunks.__anext__())
            await on_thread(mount.wait_for, "read")
            assert not pull.done()
        pieces.append(await pull)
        pieces += [piece async for piece in content.chunks]
    assert b"".join(pieces) == DATA


async def test_leaving_never_waits_for_the_mount(adapter: FilesystemAdapter, mount: StallingMount) -> None:
    opening = adapter.open("letter.pdf")
    content: Content = await opening.__aenter__()
    await anext(content.chunks)
    with mount.hanging("flush"):
        began = time.monotonic()
        await opening.__aexit__(None, None, None)
        assert time.monotonic() - began < FREEZE
        await on_thread(mount.wait_for, "flush")
        assert mount.live == 1
    await on_thread(mount.wait_closed)


@pytest.mark.requirement("SC-09")
async def test_many_hung_opens_hold_only_the_threads_of_their_source(
    adapter: FilesystemAdapter, mount: StallingMount, source: Path
) -> None:
    with mount.hanging("open"):
        waiting = [asyncio.create_task(given_up(read(adapter, "letter.pdf"))) for _ in range(20)]
        await on_thread(mount.wait_for, "open", THREADS)
        async with archive(source, local=False) as healthy:
            for _ in range(20):
                assert await read(healthy, "letter.pdf") == DATA
        await asyncio.gather(*waiting)
        assert mount.seen("open") == THREADS, "those that never began were taken out of the queue"
    assert await read(adapter, "other.pdf") == DATA[::-1]
    await on_thread(mount.wait_closed)


async def test_a_hung_folder_is_listed_by_one_thread_however_many_ask(
    adapter: FilesystemAdapter, mount: StallingMount
) -> None:
    with mount.hanging("readdir"):
        await asyncio.gather(*(given_up(adapter.resolve("folder/letter")) for _ in range(10)))
        assert mount.seen("readdir") == 1
        assert await read(adapter, "letter.pdf") == DATA
    assert await adapter.resolve("folder/letter") == "folder/letter.pdf"


async def test_a_hung_probe_is_given_up_and_touches_no_document(
    adapter: FilesystemAdapter, mount: StallingMount
) -> None:
    await adapter.probe()
    with mount.hanging("readdir"):
        await given_up(adapter.probe())
    await adapter.probe()
    assert mount.seen("opened") == 0


async def test_a_mount_that_hangs_at_the_start(mount: StallingMount) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with lent() as services:
        starting = FilesystemAdapter("test", FilesystemAdapter.Options(root=mount.mountpoint), services)
        with mount.hanging("opendir"):
            await given_up(starting.__aenter__())
            await starting.__aexit__(None, None, None)
        async with starting:
            assert await read(starting, "letter.pdf") == DATA
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("operation", ["open", "getattr"])
async def test_a_hung_mount_below_a_local_root_does_not_hold_the_loop(
    mount: StallingMount, tmp_path: Path, operation: str
) -> None:
    (tmp_path / "near.pdf").write_bytes(b"near")
    async with archive(tmp_path) as adapter:
        assert adapter.capabilities.local
        async with adapter.open("mount/letter.pdf") as content:
            assert content.file is None
            assert b"".join([piece async for piece in content.chunks]) == DATA
        with mount.hanging(operation):
            await given_up(read(adapter, "mount/letter.pdf"))
            assert await read(adapter, "near.pdf") == b"near"
            if operation == "getattr":
                await given_up(read(adapter, "mount"))
        with pytest.raises(NotFound):
            await adapter.stat("mount")
        await on_thread(mount.wait_closed)


async def test_a_mount_whose_server_died_is_unavailable_until_it_is_mounted_again(source: Path, tmp_path: Path) -> None:
    mountpoint = tmp_path / "mount"
    with contextlib.ExitStack() as later:
        first = StallingMount(source, mountpoint)
        await on_thread(later.enter_context, first)
        async with archive(mountpoint, chunk_size=PIECE) as adapter:
            async with adapter.open("letter.pdf") as content:
                assert await anext(content.chunks) == DATA[:PIECE]
                await on_thread(first.kill)
                with pytest.raises(Unavailable):
                    await anext(content.chunks)
            for attempt in (read(adapter, "letter.pdf"), adapter.stat("x"), adapter.resolve("letter"), adapter.probe()):
                with pytest.raises(Unavailable, match="ENOTCONN") as away:
                    await attempt
                assert "letter" not in str(away.value)
            await on_thread(first.__exit__)
            await on_thread(later.enter_context, StallingMount(source, mountpoint))
            await adapter.probe()
            assert await read(adapter, "letter.pdf") == DATA
