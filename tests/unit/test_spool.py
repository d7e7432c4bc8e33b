"""The spool holds bodies of unknown length: in memory, then in a file without a name, within one budget."""

from __future__ import annotations

import asyncio
import os
import resource
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from gateway.spool import PIECE, Spool, SpoolEntry, SpoolFull

MEMORY, BUDGET = 100, 1000


@pytest.fixture
async def spool(tmp_path: Path) -> AsyncIterator[Spool]:
    made = Spool(tmp_path, memory=MEMORY, max_bytes=BUDGET)
    yield made
    made.close()


async def whole(entry: SpoolEntry) -> bytes:
    return b"".join([piece async for piece in entry.chunks()])


def open_files(directory: Path) -> list[str]:
    """What this process holds open below `directory`, named or not."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except OSError:  # the listing's own descriptor
            continue
        if target.startswith(str(directory)):
            found.append(target)
    return found


@pytest.mark.parametrize("size", [0, 1, MEMORY - 1, MEMORY, MEMORY + 1, BUDGET])
async def test_what_was_written_comes_back(spool: Spool, tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    async with spool.entry() as entry:
        for at in range(0, size, 37):
            await entry.write(data[at : at + 37])
        assert entry.size == size
        assert await whole(entry) == data
        assert bool(open_files(tmp_path)) == (size > MEMORY)
    assert open_files(tmp_path) == []


async def test_large_bodies_come_back_in_pieces(tmp_path: Path) -> None:
    spool = Spool(tmp_path, memory=0, max_bytes=1 << 30)
    data = os.urandom(PIECE * 2 + 5)
    async with spool.entry() as entry:
        await entry.write(data)
        pieces = [piece async for piece in entry.chunks()]
    spool.close()
    assert b"".join(pieces) == data
    assert max(map(len, pieces)) <= PIECE


async def test_a_file_has_no_name_from_its_birth_on(spool: Spool, tmp_path: Path) -> None:
    async with spool.entry() as entry:
        await entry.write(b"x" * (MEMORY + 1))
        assert list(tmp_path.iterdir()) == []
        (held,) = open_files(tmp_path)
        assert held.endswith("(deleted)")


async def test_the_budget_is_one_over_all_entries_and_comes_back(spool: Spool) -> None:
    async with spool.entry() as first:
        await first.write(b"x" * 600)
        async with spool.entry() as second:
            await second.write(b"y" * 300)
            with pytest.raises(SpoolFull, match=str(BUDGET)):
                await second.write(b"y" * 101)
            await second.write(b"y" * 100)
            assert await whole(second) == b"y" * 400
        assert spool.used == 600
    assert spool.used == 0
    async with spool.entry() as third:
        await third.write(b"z" * BUDGET)


@pytest.mark.parametrize("size", [MEMORY - 1, MEMORY + 1], ids=["memory", "file"])
async def test_an_entry_that_is_left_by_an_error_gives_everything_back(spool: Spool, tmp_path: Path, size: int) -> None:
    with pytest.raises(RuntimeError):
        async with spool.entry() as entry:
            await entry.write(b"x" * size)
            raise RuntimeError
    assert spool.used == 0
    assert open_files(tmp_path) == []


async def test_a_directory_that_cannot_be_written_is_a_full_spool(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "nowhere", memory=MEMORY, max_bytes=BUDGET)
    async with spool.entry() as entry:
        await entry.write(b"x" * MEMORY)
        with pytest.raises(SpoolFull) as failed:
            await entry.write(b"x")
    assert "nowhere" not in str(failed.value)
    assert spool.used == 0
    spool.close()


@pytest.fixture
def small_disk() -> Iterator[int]:
    """Files of this process may not grow beyond so many bytes, as if their disk were full."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))
    yield 1 << 20
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


async def test_a_disk_without_room_is_a_full_spool(tmp_path: Path, small_disk: int) -> None:
    spool = Spool(tmp_path, memory=0, max_bytes=1 << 30)
    async with spool.entry() as entry:
        await entry.write(b"x" * small_disk)
        with pytest.raises(SpoolFull):
            await entry.write(b"x" * small_disk)
    assert (spool.used, open_files(tmp_path)) == (0, [])
    spool.close()


async def test_files_are_written_on_threads_of_its_own(spool: Spool) -> None:
    async with spool.entry() as entry:
        await entry.write(b"x" * (MEMORY + 1))
        assert [one.name for one in threading.enumerate() if one.name.startswith("spool")]
        assert not [one.name for one in threading.enumerate() if one.name.startswith("asyncio")]


async def test_a_reader_that_leaves_in_the_middle_leaves_no_file_open(spool: Spool, tmp_path: Path) -> None:
    async def spooled() -> None:
        async with spool.entry() as entry:
            await entry.write(b"x" * (MEMORY + 1))
            reached.set()
            await asyncio.Event().wait()

    reached = asyncio.Event()
    reading = asyncio.create_task(spooled())
    await reached.wait()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert (spool.used, open_files(tmp_path)) == (0, [])
