"""A document that changes while it is read never ends quietly; one that only got another name is read to its end."""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from adapters.errors import Busy, Changed, Corrupt, Unavailable
from adapters.filesystem import FilesystemAdapter
from tests.support.folder import DATA, PIECE, age, archive, read, refusing


@pytest.fixture(params=[True, False], ids=["local", "remote"])
async def adapter(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[FilesystemAdapter]:
    """An adapter over a folder with `letter.pdf`, told that the folder is its machine's own, or that it is not."""
    (tmp_path / "letter.pdf").write_bytes(DATA)
    async with archive(tmp_path, local=request.param, chunk_size=PIECE) as entered:
        yield entered


@pytest.fixture
def letter(tmp_path: Path) -> Path:
    return tmp_path / "letter.pdf"


def tick(path: Path) -> None:
    """Wait until the clock of the file system has moved on since the file last changed: some count in steps of 4 ms."""
    other = path.with_suffix(".clock")
    while True:
        other.touch()
        if other.stat().st_mtime_ns > path.stat().st_ctime_ns:
            break
    other.unlink()


def _rewrite(path: Path) -> None:
    with path.open("rb+") as file:
        file.write(DATA[::-1])


def _rewrite_and_set_back(path: Path) -> None:
    status = path.stat()
    _rewrite(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def _truncate_and_grow(path: Path) -> None:
    os.truncate(path, 0)
    os.truncate(path, len(DATA))


def _append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


SPOILING: dict[str, Callable[[Path], object]] = {
    "truncated to nothing": lambda path: os.truncate(path, 0),
    "truncated in the middle": lambda path: os.truncate(path, 2 * PIECE + 5),
    "truncated by a byte": lambda path: os.truncate(path, len(DATA) - 1),
    "truncated and grown again": _truncate_and_grow,
    "grown": _append,
    "written in place": _rewrite,
    "written in place, mtime set back": _rewrite_and_set_back,
    "touched": lambda path: path.touch(),
    # These two keep the bytes, and cannot be told from a writer that sets mtime back.
    "moved": lambda path: path.rename(path.with_name("moved.pdf")),
    "mode changed": lambda path: path.chmod(0o600),
}

SPARING: dict[str, Callable[[Path], object]] = {
    "deleted": lambda path: path.unlink(),
    "given a second name": lambda path: path.with_name("second.pdf").hardlink_to(path),
    "read by somebody": lambda path: path.read_bytes(),
}


async def drained(chunks: AsyncIterator[bytes], pieces: list[bytes]) -> None:
    async for piece in chunks:
        pieces.append(piece)


@pytest.mark.requirement("SC-11")
@pytest.mark.parametrize("change", SPOILING.values(), ids=SPOILING.keys())
@pytest.mark.parametrize("pulled", [0, 1, 10])
async def test_a_change_is_noticed_before_the_last_piece(
    adapter: FilesystemAdapter, letter: Path, change: Callable[[Path], object], pulled: int
) -> None:
    tick(letter)
    pieces = []
    async with adapter.open("letter.pdf") as content:
        for _ in range(pulled):
            pieces.append(await anext(content.chunks))
        change(letter)
        for _ in range(2):
            with pytest.raises(Changed):
                await drained(content.chunks, pieces)
    assert len(b"".join(pieces)) < len(DATA)


@pytest.mark.parametrize("change", SPOILING.values(), ids=SPOILING.keys())
async def test_the_check_notices_too(tmp_path: Path, change: Callable[[Path], object]) -> None:
    letter = tmp_path / "letter.pdf"
    letter.write_bytes(DATA)
    tick(letter)
    async with archive(tmp_path, local=True) as adapter, adapter.open("letter.pdf") as content:
        assert content.file is not None
        content.file.check()
        change(letter)
        with pytest.raises(Changed):
            content.file.check()


@pytest.mark.parametrize("change", SPARING.values(), ids=SPARING.keys())
async def test_what_leaves_the_bytes_alone_does_not_stop_a_reader(
    adapter: FilesystemAdapter, letter: Path, change: Callable[[Path], object]
) -> None:
    tick(letter)
    async with adapter.open("letter.pdf") as content:
        first = await anext(content.chunks)
        change(letter)
        assert first + b"".join([piece async for piece in content.chunks]) == DATA


@pytest.mark.parametrize("names", [1, 2])
async def test_a_document_replaced_by_rename_is_read_to_its_old_end(
    adapter: FilesystemAdapter, letter: Path, names: int
) -> None:
    if names == 2:
        letter.with_name("second.pdf").hardlink_to(letter)
    fresh = letter.with_name("fresh")
    fresh.write_bytes(b"the next version")
    tick(letter)
    async with adapter.open("letter.pdf") as content:
        first = await anext(content.chunks)
        os.replace(fresh, letter)
        assert first + b"".join([piece async for piece in content.chunks]) == DATA
        if content.file is not None:
            content.file.check()
    assert await read(adapter, "letter.pdf") == b"the next version"


async def test_a_file_that_ends_early_although_nothing_changed_is_corrupt(
    adapter: FilesystemAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    pread = os.pread
    monkeypatch.setattr(os, "preadv", refusing(errno.EAGAIN))
    monkeypatch.setattr(os, "pread", lambda fd, length, offset: pread(fd, max(min(length, 20_000 - offset), 0), offset))
    with pytest.raises(Corrupt):
        await read(adapter, "letter.pdf")


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ENOENT, errno.EACCES])
async def test_a_fault_while_reading_is_unavailable(
    adapter: FilesystemAdapter, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(os, "preadv", refusing(number))
    monkeypatch.setattr(os, "pread", refusing(number))
    with pytest.raises(Unavailable, match=errno.errorcode[number]):
        await read(adapter, "letter.pdf")


async def test_a_document_that_was_just_written_is_busy(tmp_path: Path) -> None:
    letter = tmp_path / "letter.pdf"
    letter.write_bytes(DATA)
    async with archive(tmp_path, settle="1m") as adapter:
        for attempt in (read(adapter, "letter.pdf"), adapter.stat("letter.pdf")):
            with pytest.raises(Busy) as busy:
                await attempt
            assert busy.value.retry_after == 60.0
        for seconds in (61, -3600):
            age(letter, seconds)
            assert await read(adapter, "letter.pdf") == DATA
