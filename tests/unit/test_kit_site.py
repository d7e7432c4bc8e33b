"""The conformance kit on a site's own archive: it only reads, it still catches, and it names no document."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from adapters.contract import Content, Services, Span
from adapters.errors import NotFound
from adapters.testing import CHECKS, CannotSurvey, Check, Result, SiteHarness, Verdict, run_check, survey
from adapters.testing.site import LARGEST
from adapters.testing.site import Document as Given
from adapters.testing.subject import sample
from tests.meta.shelf import (
    CAPABILITIES,
    PASSWORD,
    Document,
    FolderAdapter,
    FolderOptions,
    Shelf,
    ShelfAdapter,
    ShelfHarness,
)
from tests.meta.wrong import WRONG
from tests.meta.wrong.bodies import LeavesADescriptor

pytestmark = [
    pytest.mark.blocking_allowed,
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),
]

SIZES = 3 << 20, 300_001, 1, 0
NEEDS_MORE = {
    "C1.3", "C2.4", "C5.3", "C5.5", "C6.1", "C6.3", "C6.4", "C7.1", "C7.2", "C7.3", "C7.4", "C7.5", "C7.11", "C9.1",
    "C9.2", "C9.3", "C9.6", "C11.1", "L.6", "L.7", "F.4",
}  # fmt: skip
"""Checks that store, change or break something, or that count what is open by the archive's own count."""


class ReadOnly(dict[str, Document]):
    """The documents of an archive that nobody may change."""

    def __setitem__(self, *_: Any) -> None:
        raise AssertionError("the kit wrote into a site's archive")

    __delitem__ = __setitem__


class Site:
    """A shelf with documents on it, as files too, and harnesses over it."""

    def __init__(self, folder: Path, sizes: Sequence[int] = SIZES) -> None:
        self.folder = folder
        stored = {f"wards/letter-{size:07}.pdf": Document(sample(size, 1), None) for size in sizes}
        self.shelf = Shelf(ReadOnly(stored))
        for locator, document in stored.items():
            (folder / locator.replace("/", "-")).write_bytes(document.data)

    def maker(self, adapter: type[Any]) -> Any:
        return lambda services: self.make(adapter, services)

    def make(self, adapter: type[Any], services: Services) -> Any:
        given: dict[str, Any] = {"shelf": self.shelf}
        if issubclass(adapter, FolderAdapter):
            return adapter("folder", FolderOptions(folder=self.folder, **given), services)
        return adapter("shelf", adapter.Options.model_validate(given), services)

    async def harness(self, adapter: type[Any], *, at_once: int = 64) -> type[SiteHarness]:
        named = {f"id-{number}": locator for number, locator in enumerate(self.shelf.documents)}
        return await survey(self.maker(adapter), named, at_once=at_once)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    site.shelf.over.set()
    while LeavesADescriptor.left:
        os.close(LeavesADescriptor.left.pop())


async def judged(check: Check, harness: SiteHarness) -> Result:
    tasks = asyncio.all_tasks()
    result = await run_check(check, harness)
    for task in asyncio.all_tasks() - tasks:
        task.cancel()
    return result


@pytest.mark.parametrize("adapter", [ShelfAdapter, FolderAdapter])
async def test_a_right_adapter_passes_whatever_only_reads(adapter: type[Any], site: Site) -> None:
    harness = await site.harness(adapter)
    results = [await run_check(check, harness()) for check in CHECKS]
    assert [str(result) for result in results if result.verdict is Verdict.FAILED] == []
    left_out = {result.check.number for result in results if result.verdict is Verdict.EXCLUDED}
    assert left_out == NEEDS_MORE | ({"F.1", "F.2", "F.3"} if adapter is ShelfAdapter else set())


@pytest.mark.parametrize("sizes", [(1,), (7,), (65_536,)])
async def test_small_documents_are_enough(sizes: tuple[int, ...], tmp_path: Path) -> None:
    harness = await Site(tmp_path, sizes).harness(FolderAdapter)
    results = [await run_check(check, harness()) for check in CHECKS]
    assert [str(result) for result in results if result.verdict is Verdict.FAILED] == []


ONLY_AWAY_OR_EMPTY = {"SecretInTheMessage", "ProbeNeedsADocument"}
"""What is wrong only while the archive is away, or has no document: a site's archive is neither."""

READING = [wrong for wrong in WRONG if wrong.caught_by not in NEEDS_MORE and wrong.__name__ not in ONLY_AWAY_OR_EMPTY]


@pytest.mark.parametrize("wrong", READING, ids=lambda wrong: f"{wrong.caught_by}-{wrong.__name__}")
async def test_a_wrong_adapter_is_caught_on_site_too(wrong: type[Any], site: Site) -> None:
    right = FolderAdapter if issubclass(wrong, FolderAdapter) else ShelfAdapter
    known = await site.harness(right)
    here = {
        "make": staticmethod(site.maker(wrong)),
        "capabilities": getattr(wrong, "declares", CAPABILITIES),
        "patience": 0.2,
    }
    here |= {"missing": ShelfHarness.missing}
    harness: type[SiteHarness] = type("Here", (known,), here)
    check = next(check for check in CHECKS if check.number == wrong.caught_by)
    result = await judged(check, harness())
    assert result.verdict is Verdict.FAILED, result


# --- how much is asked of a site -------------------------------------------------------------------------------------


class Counting(ShelfAdapter):
    """Right; knows how many documents were open together at the most."""

    most = 0

    @asynccontextmanager
    async def open(self, *arguments: Any, **named: Any) -> AsyncIterator[Content]:
        async with super().open(*arguments, **named) as content:
            type(self).most = max(self.most, len(self.shelf.handles))
            yield content


@pytest.mark.parametrize(("at_once", "declared", "due"), [(3, None, 3), (64, 2, 2), (1, None, 1), (64, None, 32)])
async def test_no_more_is_open_together_than_the_site_allows(
    at_once: int, declared: int | None, due: int, site: Site
) -> None:
    most: Any = type("Most", (Counting,), {"capabilities": replace(CAPABILITIES, max_open=declared), "most": 0})
    harness = await site.harness(most, at_once=at_once)
    results = [await run_check(check, harness()) for check in CHECKS]
    assert not [result for result in results if result.verdict is Verdict.FAILED]
    assert most.most == due
    parallel = next(result for result in results if result.check.number == "C8.2")
    assert (parallel.verdict is Verdict.EXCLUDED) == (due == 1)


async def test_an_adapter_that_needs_a_caller_gets_one(site: Site) -> None:
    class Strict(ShelfAdapter):
        capabilities = replace(CAPABILITIES, per_caller=True)  # type: ignore[assignment]

        @asynccontextmanager
        async def open(self, locator: str, span: Span | None = None, **named: Any) -> AsyncIterator[Content]:
            if named.get("caller") is None:
                raise NotFound("not for nobody")
            async with super().open(locator, span, **named) as content:
                yield content

    harness = await site.harness(Strict)
    assert (await run_check(CHECKS[0], harness())).verdict is Verdict.PASSED


# --- where it cannot begin -------------------------------------------------------------------------------------------


async def survey_of(site: Site, **documents: str) -> CannotSurvey:
    with pytest.raises(CannotSurvey) as refused:
        await survey(site.maker(ShelfAdapter), documents, at_once=4)
    assert "wards/" not in f"{refused.value} {refused.value.cure}"
    return refused.value


async def test_a_document_that_is_not_there(site: Site) -> None:
    refused = await survey_of(site, lost="wards/lost.pdf")
    assert str(refused).startswith("The document lost cannot be read: NotFound")
    assert "fetch" in refused.cure


async def test_a_document_that_is_too_large(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.shelf.documents = {"wards/scan": Document(bytes(LARGEST + 1), None)}
    refused = await survey_of(site, big="wards/scan")
    assert str(refused) == "The document big has more than 8 MiB."


async def test_documents_without_bytes(tmp_path: Path) -> None:
    refused = await survey_of(Site(tmp_path, [0]), empty="wards/letter-0000000.pdf")
    assert str(refused) == "None of the documents has any bytes."


async def test_an_archive_that_is_away(site: Site) -> None:
    class Away(ShelfAdapter):
        async def __aenter__(self) -> Any:
            await self.probe()
            return self

    site.shelf.away = True
    with pytest.raises(CannotSurvey, match="The archive cannot be entered: could not ask the archive"):
        await survey(site.maker(Away), {"one": "wards/letter-0000001.pdf"}, at_once=4)


# --- what a report may show ------------------------------------------------------------------------------------------


class NamesTheDocument(ShelfAdapter):
    """Raises what names the document in the ways that libraries do, its password too."""

    async def stat(self, locator: str, **_: Any) -> Any:
        name = locator.rpartition("/")[2]
        raise OSError(2, f"no entry {name!r} ({name.removesuffix('.pdf')}) with {PASSWORD}", f"/srv/archive/{locator}")


async def test_a_report_names_no_document_and_no_secret(site: Site) -> None:
    known = await site.harness(ShelfAdapter)
    harness: type[SiteHarness] = type("Here", (known,), {"make": staticmethod(site.maker(NamesTheDocument))})
    results = [await run_check(check, harness()) for check in CHECKS]
    told = " ".join(result.what for result in results)
    assert "letter-" in told
    assert PASSWORD in told
    shown = harness.redacted(told)
    assert "letter-" not in shown
    assert PASSWORD not in shown
    assert "[locator]" in shown
    assert "[secret]" in shown


@pytest.mark.parametrize(
    ("locator", "missing"),
    [
        ("wards/7/smith.pdf", "wards/7/smith-no-such-4711.pdf"),
        ("v1.2/smith", "v1.2/smith-no-such-4711"),
        ("10021", "10021-no-such-4711"),
        (".smith", ".smith-no-such-4711"),
    ],
)
def test_the_missing_key_is_made_of_a_real_one(locator: str, missing: str) -> None:
    harness: Any = type("Here", (SiteHarness,), {"documents": [Given(locator, b"x")]})
    assert harness().missing == missing
    assert "smith" not in harness.redacted(f"{locator} {missing}")
