"""Finding a document on a share by the beginning of its name, whatever its capitals."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from adapters.contract import Services
from adapters.errors import AccessDenied, Ambiguous, InvalidLocator, NotFound
from adapters.smb.failures import Refused
from adapters.smb.wire import status as nt
from tests.support.folder import lent
from tests.unit.smb.fake_archive import FakeArchive, entered


@pytest.fixture
def archive() -> FakeArchive:
    return FakeArchive()


@pytest.fixture
def services() -> Iterator[Services]:
    with lent() as given:
        yield given


@pytest.fixture
def shelf(archive: FakeArchive) -> FakeArchive:
    for name in (
        "2024\\Brief.PDF",
        "2024\\brief.bak",
        "2024\\brief.v2.pdf",
        "2024\\briefs.pdf",
        "2024\\twice.pdf",
        "2024\\twice.tif",
        "root.tif",
        "folder.d\\x.pdf",
        "odd.p\x7ff",
    ):
        archive.put(name, b"x")
    return archive


@pytest.mark.parametrize(
    ("stem", "found"),
    [
        ("2024/Brief", "2024/Brief.PDF"),
        ("2024/brief", "2024/Brief.PDF"),
        ("2024/brief.v2", "2024/brief.v2.pdf"),
        ("root", "root.tif"),
        ("2024/twice", Ambiguous),
        ("2024/none", NotFound),
        ("2023/brief", NotFound),
        ("folder", NotFound),
        ("odd", NotFound),
        ("2024/*", InvalidLocator),
        ("2024/brie?", InvalidLocator),
    ],
)
async def test_any_ending(shelf: FakeArchive, services: Services, stem: str, found: Any) -> None:
    async with entered(shelf, services) as adapter:
        if isinstance(found, str):
            assert await adapter.resolve(stem) == found
        else:
            with pytest.raises(found):
                await adapter.resolve(stem)
        assert all(pattern.count("*") == 1 and pattern.endswith(".*") for pattern in shelf.patterns)


@pytest.mark.parametrize(
    ("stem", "suffixes", "found"),
    [
        ("root", (".pdf", ".tif"), "root.tif"),
        ("ROOT", (".tif",), "ROOT.tif"),
        ("2024/brief", (".pdf", ".PDF"), "2024/brief.pdf"),
        ("2024/twice", (".pdf", ".tif"), Ambiguous),
        ("2024/none", (".pdf", ".tif"), NotFound),
        ("2024", ("", ".pdf"), NotFound),
        ("a:b", (".pdf", ".tif"), InvalidLocator),
    ],
)
async def test_one_of_some_endings(
    shelf: FakeArchive, services: Services, stem: str, suffixes: tuple[str, ...], found: Any
) -> None:
    async with entered(shelf, services) as adapter:
        if isinstance(found, str):
            assert await adapter.resolve(stem, suffixes) == found
        else:
            with pytest.raises(found):
                await adapter.resolve(stem, suffixes)


async def test_an_ending_that_may_not_be_read_is_not_passed_over(shelf: FakeArchive, services: Services) -> None:
    async with entered(shelf, services) as adapter:
        shelf.opening = [Refused(nt.STATUS_ACCESS_DENIED, "fake")]
        with pytest.raises(AccessDenied):
            await adapter.resolve("root", (".pdf", ".tif"))


async def test_of_two_spellings_on_one_server_the_exact_one_is_meant(archive: FakeArchive, services: Services) -> None:
    archive.put("Brief.pdf", b"x")
    archive.put("brief.tif", b"x")
    async with entered(archive, services) as adapter:
        assert await adapter.resolve("brief") == "brief.tif"
        with pytest.raises(Ambiguous):
            await adapter.resolve("BRIEF")
