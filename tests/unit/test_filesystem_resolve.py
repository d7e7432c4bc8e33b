"""A document found by the beginning of its name, from listings that are used again and never too long."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from adapters.errors import AccessDenied, Ambiguous, InvalidLocator, NotFound, Unsupported
from adapters.filesystem import listing, names
from adapters.filesystem.listing import Listing, read_listing
from tests.support.folder import age, archive, fill, read, unprivileged


@pytest.mark.parametrize("local", [True, False])
async def test_a_stem_and_its_suffixes(tmp_path: Path, local: bool) -> None:
    fill(tmp_path, ["one.pdf", "two.pdf", "two.tif", "none", "ab/deep.tif", "12"])
    (tmp_path / "folder.pdf").mkdir()
    async with archive(tmp_path, local=local) as adapter:
        assert await adapter.resolve("one", (".pdf", ".tif")) == "one.pdf"
        assert await adapter.resolve("one", (".tif", ".pdf", ".pdf")) == "one.pdf"
        assert await adapter.resolve("two", (".tif",)) == "two.tif"
        assert await adapter.resolve("none", (".pdf", "")) == "none"
        assert await adapter.resolve("ab/deep", (".pdf", ".tif")) == "ab/deep.tif"
        with pytest.raises(Ambiguous) as ambiguous:
            await adapter.resolve("two", (".pdf", ".tif"))
        assert "two." not in str(ambiguous.value)
        for stem in ("three", "folder", "ab", "zz/deep", "one.pdf"):
            with pytest.raises(NotFound):
                await adapter.resolve(stem, (".pdf", ".tif"))


@pytest.mark.parametrize("local", [True, False])
async def test_a_stem_and_anything(tmp_path: Path, local: bool) -> None:
    fill(tmp_path, ["one.pdf", "two.pdf", "two.tif", "none", "ab/deep.tif", "archive.tar.gz", "1.2.3.pdf", "one1.pdf"])
    (tmp_path / "folder.pdf").mkdir()
    (tmp_path / "link.pdf").symlink_to("one.pdf")
    os.mkfifo(tmp_path / "fifo.pdf")
    async with archive(tmp_path, local=local) as adapter:
        assert await adapter.resolve("one") == "one.pdf"
        assert await adapter.resolve("ab/deep") == "ab/deep.tif"
        assert await adapter.resolve("archive.tar") == "archive.tar.gz"
        assert await adapter.resolve("1.2.3") == "1.2.3.pdf"
        with pytest.raises(Ambiguous) as ambiguous:
            await adapter.resolve("two")
        assert "two." not in str(ambiguous.value)
        for stem in (
            "archive",
            "1",
            "1.2",
            "none",
            "three",
            "folder",
            "link",
            "fifo",
            "zz/deep",
            "one.pdf",
            "one/deep",
            "on",
            "ab",
        ):
            with pytest.raises(NotFound):
                await adapter.resolve(stem)
        for stem in ("", "ab/", "../one", "ab/..", "/one", "a\\b"):
            with pytest.raises(InvalidLocator):
                await adapter.resolve(stem)


async def test_what_tools_leave_behind_is_no_candidate(tmp_path: Path) -> None:
    leftovers = [
        "~",
        ".tmp",
        ".pdf.tmp",
        ".pdf.TMP",
        ".pdf.part",
        ".pdf.filepart",
        ".pdf.crdownload",
        ".pdf~",
        ".pdf.bak",
    ]
    fill(tmp_path, [*(f"one{ending}" for ending in leftovers), ".one.pdf", "._one.pdf", "one.pdf"])
    fill(tmp_path, [f"two{ending}" for ending in leftovers])
    async with archive(tmp_path) as adapter:
        assert await adapter.resolve("one") == "one.pdf"
        with pytest.raises(NotFound):
            await adapter.resolve("two")
        assert await read(adapter, "two.tmp") == b"two.tmp", "asked by its whole name it is a document like any other"


async def test_a_folder_that_may_not_be_listed(tmp_path: Path) -> None:
    fill(tmp_path, ["closed/one.pdf", "open/one.pdf"])
    for folder, mode in ((tmp_path, 0o755), (tmp_path / "closed", 0o711), (tmp_path / "open", 0o755)):
        os.chmod(folder, mode)
    async with archive(tmp_path) as adapter:
        with unprivileged():
            assert await adapter.resolve("open/one") == "open/one.pdf"
            assert await adapter.resolve("closed/one", (".pdf",)) == "closed/one.pdf"
            with pytest.raises(AccessDenied):
                await adapter.resolve("closed/one")


async def test_a_link_to_a_folder_is_not_listed(tmp_path: Path) -> None:
    fill(tmp_path, ["ab/one.pdf"])
    (tmp_path / "link").symlink_to("ab")
    async with archive(tmp_path, case_insensitive=True) as adapter:
        with pytest.raises(InvalidLocator):
            await adapter.resolve("link/one")


# --- listings are used again, and never too long ---------------------------------------------------------------------


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> list[Listing]:
    """Every listing that was read."""
    made: list[Listing] = []

    def noted(*arguments: Any) -> Listing:
        made.append(read_listing(*arguments))
        return made[-1]

    monkeypatch.setattr(names, "read_listing", noted)
    return made


@pytest.mark.parametrize("local", [True, False])
async def test_a_folder_at_rest_is_read_once(tmp_path: Path, local: bool, readings: list[Listing]) -> None:
    fill(tmp_path, ["one.pdf", "ab/two.pdf"])
    age(tmp_path)
    age(tmp_path / "ab")
    async with archive(tmp_path, local=local) as adapter:
        for _ in range(20):
            assert await adapter.resolve("one") == "one.pdf"
            assert await adapter.resolve("ab/two") == "ab/two.pdf"
            with pytest.raises(NotFound):
                await adapter.resolve("three")
    assert len(readings) == 2


async def test_a_folder_that_just_changed_is_read_again(tmp_path: Path, readings: list[Listing]) -> None:
    # Its next change may fall into the same tick of a coarse clock, and leave the folder's times as they are.
    fill(tmp_path, ["one.pdf"])
    async with archive(tmp_path) as adapter:
        for _ in range(3):
            assert await adapter.resolve("one") == "one.pdf"
    assert len(readings) == 3


@pytest.mark.parametrize("local", [True, False])
async def test_a_change_is_seen_at_once(tmp_path: Path, local: bool) -> None:
    fill(tmp_path, ["zero.pdf"])
    async with archive(tmp_path, local=local) as adapter:
        for number in range(100):
            with pytest.raises(NotFound):
                await adapter.resolve(f"letter{number}")
            fill(tmp_path, [f"letter{number}.pdf"])
            assert await adapter.resolve(f"letter{number}") == f"letter{number}.pdf"
            os.rename(tmp_path / f"letter{number}.pdf", tmp_path / f"letter{number}.tif")
            assert await adapter.resolve(f"letter{number}") == f"letter{number}.tif"
            os.unlink(tmp_path / f"letter{number}.tif")


async def test_a_change_in_a_folder_that_was_at_rest_is_seen_at_once(tmp_path: Path, readings: list[Listing]) -> None:
    fill(tmp_path, ["one.pdf"])
    age(tmp_path)
    async with archive(tmp_path) as adapter:
        assert await adapter.resolve("one") == "one.pdf"
        fill(tmp_path, ["one.tif"])
        age(tmp_path, 1800)
        with pytest.raises(Ambiguous):
            await adapter.resolve("one")
    assert len(readings) == 2


async def test_many_at_once_share_a_reading(tmp_path: Path, readings: list[Listing]) -> None:
    fill(tmp_path, [f"{number}.pdf" for number in range(50)])
    async with archive(tmp_path) as adapter:
        found = await asyncio.gather(*(adapter.resolve(str(number)) for number in range(50)))
    assert found == [f"{number}.pdf" for number in range(50)]
    assert len(readings) == 1


async def test_one_that_gives_up_does_not_stop_the_others(tmp_path: Path, readings: list[Listing]) -> None:
    fill(tmp_path, ["one.pdf"])
    async with archive(tmp_path) as adapter:
        first, second = (asyncio.create_task(adapter.resolve("one")) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        assert await second == "one.pdf"
        with pytest.raises(asyncio.CancelledError):
            await first
    assert len(readings) == 1


async def test_one_that_came_later_does_not_take_an_older_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, readings: list[Listing]
) -> None:
    fill(tmp_path, ["one.pdf"])
    began, go_on = threading.Event(), threading.Event()

    def slow(*arguments: Any) -> Listing:
        made = read_listing(*arguments)
        readings.append(made)
        began.set()
        go_on.wait(10)
        return made

    monkeypatch.setattr(names, "read_listing", slow)
    async with archive(tmp_path) as adapter:
        early = asyncio.create_task(adapter.resolve("two"))
        while not began.is_set():  # noqa: ASYNC110 - set by a thread
            await asyncio.sleep(0.001)
        fill(tmp_path, ["two.pdf"])
        late = asyncio.create_task(adapter.resolve("two"))
        await asyncio.sleep(0)
        go_on.set()
        assert await late == "two.pdf"
        with pytest.raises(NotFound):
            await early
    assert len(readings) == 2


async def test_too_many_names_say_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, [f"letter{number}.pdf" for number in range(10)])
    monkeypatch.setattr(listing, "LARGEST", 100)
    async with archive(tmp_path) as adapter:
        with pytest.raises(Unsupported, match="pattern"):
            await adapter.resolve("letter1")
        assert await adapter.resolve("letter1", (".pdf", ".tif")) == "letter1.pdf"


async def test_listings_are_forgotten_oldest_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, readings: list[Listing]
) -> None:
    for folder in "abc":
        fill(tmp_path, [f"{folder}/one.pdf"])
        age(tmp_path / folder)
    monkeypatch.setattr(listing, "LARGEST", 2 * len("\0one.pdf\x01"))
    async with archive(tmp_path) as adapter:
        for folder, expected in (("a", 1), ("b", 2), ("a", 2), ("c", 3), ("a", 3), ("b", 4), ("c", 5)):
            assert await adapter.resolve(f"{folder}/one") == f"{folder}/one.pdf"
            assert len(readings) == expected
