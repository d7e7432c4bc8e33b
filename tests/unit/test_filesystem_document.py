"""An open document: its facts, and its bytes whole and in part."""

from __future__ import annotations

import errno
import os
import re
import threading
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from adapters.contract import MAX_CHUNK, WHOLE, Span
from adapters.errors import Changed, Corrupt, SpanNotSatisfiable
from adapters.filesystem import document as document_module
from adapters.filesystem.adapter import LOCAL_CHUNK, REMOTE_CHUNK, FilesystemAdapter
from adapters.filesystem.document import facts
from tests.support.folder import DATA, PIECE, archive, read, refusing


@pytest.fixture(params=[True, False], ids=["local", "remote"])
async def adapter(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[FilesystemAdapter]:
    """An adapter over a folder with `letter.pdf`, told that the folder is its machine's own, or that it is not."""
    (tmp_path / "letter.pdf").write_bytes(DATA)
    async with archive(tmp_path, local=request.param, chunk_size=PIECE) as entered:
        yield entered


@pytest.fixture
def letter(tmp_path: Path) -> Path:
    return tmp_path / "letter.pdf"


# --- facts -----------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("SC-13")
async def test_the_facts_are_of_the_open_file(adapter: FilesystemAdapter, letter: Path) -> None:
    os.utime(letter, ns=(0, 1_700_000_000_999_999_999))
    async with adapter.open("letter.pdf") as content:
        letter.unlink()
        letter.write_bytes(b"another letter")
        status = os.stat(letter)
        facts = content.descriptor
    assert facts.size == len(DATA)
    assert facts.modified == datetime.fromtimestamp(1_700_000_000, UTC), "a fraction of a second rounds down"
    assert facts.version == f"{len(DATA):x}-{1_700_000_000_999_999_999:x}"
    assert (facts.media_type, facts.digest, facts.title) == (None, None, None)
    assert facts.validator is not None
    assert f"{status.st_ino:x}" not in facts.validator.split("-")


@pytest.mark.parametrize("mtime", [-1, 0, 1, 4_000_000_000])
async def test_any_time_makes_a_version_that_fhir_takes(adapter: FilesystemAdapter, letter: Path, mtime: int) -> None:
    os.utime(letter, (0, mtime))
    facts = await adapter.stat("letter.pdf")
    assert re.fullmatch(r"[A-Za-z0-9\-.]{1,64}", facts.version or "")


def test_a_year_that_no_calendar_holds_is_left_out() -> None:
    year_10000 = 253_402_300_800 * 10**9
    descriptor, _ = facts(1, year_10000, 0, 0, 0)
    assert descriptor.modified is None
    assert descriptor.version == f"1-{year_10000:x}"


@pytest.mark.requirement("SC-12")
async def test_the_version_and_the_validator_follow_the_file(adapter: FilesystemAdapter, letter: Path) -> None:
    first = await adapter.stat("letter.pdf")
    assert await adapter.stat("letter.pdf") == first
    status = os.stat(letter)
    letter.write_bytes(DATA[::-1])
    os.utime(letter, ns=(status.st_atime_ns, status.st_mtime_ns))
    second = await adapter.stat("letter.pdf")
    assert second.version == first.version, "size and mtime are all that replicas share"
    assert second.validator != first.validator, "ctime cannot be set back"
    os.utime(letter, ns=(0, status.st_mtime_ns + 1))
    assert (await adapter.stat("letter.pdf")).version != first.version


async def test_another_version_than_asked_is_changed(adapter: FilesystemAdapter) -> None:
    version = (await adapter.stat("letter.pdf")).version
    async with adapter.open("letter.pdf", version=version):
        pass
    with pytest.raises(Changed):
        async with adapter.open("letter.pdf", version="0-0"):
            pytest.fail("opened")


# --- bytes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE, 3 * PIECE + 1])
async def test_every_size_comes_whole(adapter: FilesystemAdapter, letter: Path, size: int) -> None:
    letter.write_bytes(DATA[:size])
    async with adapter.open("letter.pdf") as content:
        pieces = [piece async for piece in content.chunks]
    assert b"".join(pieces) == DATA[:size]
    assert all(len(piece) == PIECE for piece in pieces[:-1])
    assert all(0 < len(piece) <= PIECE for piece in pieces)
    assert content.span == Span(0, size)


@pytest.mark.parametrize(
    "span",
    [
        WHOLE,
        Span(1),
        Span(0, 1),
        Span(5, 5),
        Span(PIECE, 2 * PIECE),
        Span(PIECE - 1, 2 * PIECE + 1),
        Span(len(DATA) - 1),
        Span(0, len(DATA)),
        Span(7, len(DATA) + 100),
    ],
)
async def test_a_span_is_what_a_slice_is(adapter: FilesystemAdapter, span: Span) -> None:
    async with adapter.open("letter.pdf", span) as content:
        data = b"".join([piece async for piece in content.chunks])
    assert data == DATA[span.start : span.stop]
    assert content.span == span.within(len(DATA))
    assert content.descriptor.size == len(DATA)


@pytest.mark.parametrize("start", [len(DATA), len(DATA) + 1, 10**18])
async def test_a_span_past_the_end(adapter: FilesystemAdapter, start: int) -> None:
    with pytest.raises(SpanNotSatisfiable) as past:
        async with adapter.open("letter.pdf", Span(start)):
            pytest.fail("opened")
    assert past.value.size == len(DATA)


async def test_a_piece_is_a_multiple_of_three_and_no_larger_than_allowed() -> None:
    for size in (LOCAL_CHUNK, REMOTE_CHUNK):
        assert size % 3 == 0
        assert size <= MAX_CHUNK


async def test_a_file_outside_the_page_cache_is_read_on_a_thread(
    adapter: FilesystemAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = set()
    whole = document_module.read_whole

    def noted(*arguments: object) -> bytes:
        threads.add(threading.current_thread())
        return whole(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(document_module, "read_whole", noted)
    monkeypatch.setattr(os, "preadv", refusing(errno.EAGAIN))
    assert await read(adapter, "letter.pdf") == DATA
    assert threads
    assert threading.main_thread() not in threads


async def test_a_file_system_that_cannot_tell_what_it_caches(
    adapter: FilesystemAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def unsupported(*_: object) -> int:
        asked.append(True)
        raise OSError(errno.EOPNOTSUPP, "")

    monkeypatch.setattr(os, "preadv", unsupported)
    assert await read(adapter, "letter.pdf") == DATA
    assert len(asked) == adapter.capabilities.local, "asked once for each file, and never of a remote one"


async def test_the_file_for_sendfile(adapter: FilesystemAdapter, letter: Path) -> None:
    async with adapter.open("letter.pdf") as content:
        file = content.file
        assert (file is not None) == adapter.capabilities.local
        if file is None:
            return
        assert os.pread(file.fd, len(DATA), 0) == DATA
        assert file.read_now(3, 5) == DATA[3:8]
        assert file.read_now(0, 0) == b""
        assert await file.read(1, len(DATA) - 1) == DATA[1:]
        assert file.read_now(len(DATA) - 1, 2) is None
        with pytest.raises(Corrupt):
            await file.read(len(DATA) - 1, 2)
        letter.write_bytes(os.urandom(2 * MAX_CHUNK))
        assert file.read_now(0, 2 * MAX_CHUNK) == letter.read_bytes()
        with pytest.raises(Changed):
            file.check()
