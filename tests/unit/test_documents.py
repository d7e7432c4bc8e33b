"""A document's type is told once and the same in every way of asking; its bytes are those that the source gave."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import hypothesis
import hypothesis.strategies as st
import pytest

from adapters.contract import Capabilities, Descriptor, Services, Span
from adapters.errors import Changed, Corrupt, Unavailable
from adapters.filesystem import FilesystemAdapter
from adapters.memory import MemoryAdapter, MemoryOptions
from gateway.document import SMALL, Facts
from gateway.documents import Documents
from gateway.media import HEAD_BYTES
from gateway.routing import Location, valid_id
from gateway.source import Limits, Source, services
from gateway.workers import Workers
from tests.support.odd_source import in_chunks
from tests.support.scripted import Script, ScriptedAdapter
from tests.support.service import MakeAdapter, scripted, service

PDF = b"%PDF-1.7\n" + bytes(range(256)) * 40
LATE_PDF = b"\n" * 1000 + PDF
"""Leading bytes as scanners leave them: the mark is at 1000, which PDF allows."""
TIFF = b"II*\x00" + bytes(5000)
LETTER = Location("letters", "letter.bin")


@asynccontextmanager
async def documents(make: MakeAdapter, **limits: Any) -> AsyncIterator[Documents]:
    """Documents of one source, "letters"."""
    workers = Workers("letters", 2)
    adapter = make("letters", services(workers, None))
    async with AsyncExitStack() as stack:
        source = Source("letters", adapter, limits=Limits(**limits), workers=workers)
        yield Documents({"letters": await stack.enter_async_context(source)})


def memory(**held: bytes) -> MakeAdapter:
    """An archive that knows versions and gives parts; `a_b` is the document "a.b"."""

    def make(name: str, lent: Services) -> MemoryAdapter:
        adapter = MemoryAdapter(name, MemoryOptions(chunk_size=700), lent)
        for key, data in held.items():
            adapter.put(key.replace("_", "."), data)
        return adapter

    return make


def folder(root: Path) -> MakeAdapter:
    return lambda name, lent: FilesystemAdapter(name, FilesystemAdapter.Options(root=root), lent)


async def media_type(of: Documents, location: Location = LETTER, span: Span | None = None) -> str:
    async with of.open(location, span) as document:
        return document.facts.media_type


async def read(of: Documents, location: Location = LETTER, span: Span | None = None) -> bytes:
    async with of.open(location) as document:
        return b"".join([chunk async for chunk in document.chunks(span)])


# --- whose word counts -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("index", "archive", "data", "locator", "told"),
    [
        ("image/png", "image/jpeg", PDF, "a.tif", "image/png"),
        (None, "image/jpeg", PDF, "a.tif", "image/jpeg"),
        (None, None, PDF, "a.tif", "application/pdf"),
        (None, None, b"plain words", "a.csv", "text/csv"),
        (None, None, b"plain words", "a", "text/plain"),
        (None, None, b"\x00\x01\x02", "a", "application/octet-stream"),
        (None, None, b"", "a.pdf", "application/pdf"),
        (None, None, b"", "a", "application/octet-stream"),
        ("no type", None, PDF, "a.tif", "application/pdf"),
        ("", "nonsense", PDF, "a.tif", "application/pdf"),
        ("text/plain; charset=windows-1252", None, PDF, "a", "text/plain; charset=windows-1252"),
    ],
)
async def test_the_index_then_the_archive_then_the_bytes_then_the_name(
    index: str | None, archive: str | None, data: bytes, locator: str, told: str
) -> None:
    script = Script([data] if data else [], media_type=archive)
    async with documents(scripted({locator: script})) as of:
        assert await media_type(of, Location("letters", locator, media_type=index)) == told
        assert (await of.facts(Location("letters", locator, media_type=index))).media_type == told


# --- the same in every way of asking ---------------------------------------------------------------------------------

WAYS: dict[str, dict[str, Any]] = {
    "whole": {},
    "part": {"Range": "bytes=5000-5010"},
    "head": {"method": "HEAD"},
    "not modified": {"If_None_Match": '"other"'},
    "envelope": {"Accept": "application/fhir+json"},
}


@pytest.mark.parametrize("first", WAYS)
@pytest.mark.parametrize("archive", ["memory", "folder", "scripted", "scripted, no version"])
async def test_whole_part_and_head_agree_whichever_comes_first(archive: str, first: str, tmp_path: Path) -> None:
    (tmp_path / "letter.bin").write_bytes(LATE_PDF)
    script = Script(in_chunks(LATE_PDF, 10, 500, 600), media_type=None)
    makers = {
        "memory": memory(letter_bin=LATE_PDF),
        "folder": folder(tmp_path),
        "scripted": scripted({"letter.bin": script}),
        "scripted, no version": scripted({"letter.bin": Script(script.steps, media_type=None, version=None)}),
    }
    async with service({"letters": makers[archive]}) as at:
        for way in (first, *WAYS):
            answer = await at.ask("/R4/Binary/letter.bin", **WAYS[way])
            assert answer.status in (200, 206)
            told = answer.json()["contentType"] if way == "envelope" else answer.field("Content-Type")
            assert told == "application/pdf", way


@hypothesis.given(cuts=st.lists(st.integers(1, 3000), max_size=20), data=st.sampled_from([LATE_PDF, PDF, TIFF]))
async def test_the_type_does_not_depend_on_how_the_archive_cuts_its_pieces(cuts: list[int], data: bytes) -> None:
    script = Script(in_chunks(data, *cuts), media_type=None)
    async with documents(scripted({"letter.bin": script})) as of:
        assert await media_type(of) == ("image/tiff" if data is TIFF else "application/pdf")
        assert await read(of) == data, "what was looked at is not lost"


class UnversionedAdapter(MemoryAdapter):
    """Gives parts and has one place, but tells no version."""

    @property
    def capabilities(self) -> Capabilities:
        return replace(super().capabilities, strong_versions=False, max_open=1)

    def _find(self, locator: str) -> Any:
        found = super()._find(locator)
        return replace(found, descriptor=replace(found.descriptor, version=None))


@pytest.mark.parametrize("span", ["0-5", "5000-5010"])
async def test_a_part_of_a_document_without_a_version_has_its_type_and_takes_one_place(span: str) -> None:
    def make(name: str, lent: Services) -> MemoryAdapter:
        adapter = UnversionedAdapter(name, MemoryOptions(), lent)
        adapter.put("letter.bin", LATE_PDF)
        return adapter

    async with service({"letters": make}) as at:
        answer = await at.ask("/R4/Binary/letter.bin", Range=f"bytes={span}")
        assert (answer.status, answer.field("Content-Type")) == (206, "application/pdf")


# --- the memory ------------------------------------------------------------------------------------------------------


class CountingAdapter(MemoryAdapter):
    """Counts how often bytes were asked for."""

    opened = 0

    def open(self, *arguments: Any, **named: Any) -> Any:
        self.opened += 1
        return super().open(*arguments, **named)


async def test_a_type_is_told_once_for_a_version_and_anew_for_another() -> None:
    made: list[CountingAdapter] = []

    def make(name: str, lent: Services) -> CountingAdapter:
        made.append(CountingAdapter(name, MemoryOptions(), lent))
        made[0].put("letter.bin", PDF)
        return made[0]

    async with documents(make) as of:
        assert (await of.facts(LETTER)).media_type == "application/pdf"
        assert made[0].opened == 1, "somebody had to look"
        assert (await of.facts(LETTER)).media_type == "application/pdf"
        assert await media_type(of, span=Span(1000, 1001)) == "application/pdf"
        assert made[0].opened == 2, "the part, and no second look at the beginning"
        made[0].put("letter.bin", TIFF)
        assert (await of.facts(LETTER)).media_type == "image/tiff"
        assert await media_type(of, span=Span(1000, 1001)) == "image/tiff"


async def test_what_the_index_says_later_counts_at_once() -> None:
    async with documents(memory(letter_bin=PDF)) as of:
        assert await media_type(of) == "application/pdf"
        assert await media_type(of, Location("letters", "letter.bin", media_type="image/png")) == "image/png"
        assert await media_type(of) == "application/pdf", "and is not remembered for the bytes"


async def test_documents_of_the_same_bytes_keep_their_own_types() -> None:
    """Versions are digests here, so all three have the same one."""
    async with documents(memory(a_csv=b"1;2", b_txt=b"1;2", c=b"1;2")) as of:
        told = [await media_type(of, Location("letters", name)) for name in ("a.csv", "b.txt", "c")]
    assert told == ["text/csv", "text/plain", "text/plain"]


async def test_without_a_version_nothing_is_remembered() -> None:
    script = Script([PDF], media_type=None, version=None)
    async with documents(scripted({"letter.bin": script})) as of:
        assert await media_type(of) == "application/pdf"
        script.steps = [TIFF]
        assert await media_type(of) == "image/tiff"


async def test_the_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.documents.REMEMBERED_TYPES", 3)
    async with documents(memory(**{f"letter{n}_bin": PDF + bytes([n]) for n in range(10)})) as of:
        for _ in range(2):
            for n in range(10):
                assert await media_type(of, Location("letters", f"letter{n}.bin")) == "application/pdf"
        assert len(of._types) <= 3


# --- facts -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["1", "a.b-c", "17-18ea70730a3d4cc0", "x" * 64])
def test_a_version_that_is_an_id_is_the_version_id(version: str) -> None:
    assert Facts(LETTER, Descriptor(1, version=version), "").version_id == version


@pytest.mark.parametrize("version", ['W/"1"', "x" * 65, "a b", "ä", "\udcff", "."])
def test_any_other_version_has_an_id_of_its_own(version: str) -> None:
    one, again = (Facts(LETTER, Descriptor(1, version=version), "").version_id for _ in range(2))
    assert one == again != Facts(LETTER, Descriptor(1, version=version + "x"), "").version_id
    assert one is not None
    assert valid_id(one)


def test_the_archive_knows_better_than_the_index_when_a_document_was_changed() -> None:
    early, late = datetime(2011, 5, 17, tzinfo=UTC), datetime(2024, 1, 1, tzinfo=UTC)
    location = Location("letters", "a", modified=early)
    assert Facts(location, Descriptor(1, modified=late), "").modified == late
    assert Facts(location, Descriptor(1), "").modified == early
    assert Facts(LETTER, Descriptor(1), "").version_id is None


# --- bytes -----------------------------------------------------------------------------------------------------------


@hypothesis.given(
    cuts=st.lists(st.integers(1, 5000), max_size=8),
    start=st.integers(0, len(LATE_PDF) - 1),
    length=st.integers(1, 20_000),
)
async def test_a_span_of_an_open_document_is_its_own_bytes(cuts: list[int], start: int, length: int) -> None:
    """The document was opened whole, and its beginning was looked at, before the part was cut."""
    script = Script(in_chunks(LATE_PDF, *cuts), media_type=None)
    stop = min(start + length, len(LATE_PDF))
    async with documents(scripted({"letter.bin": script})) as of:
        assert await read(of, span=Span(start, stop)) == LATE_PDF[start:stop]


@pytest.mark.parametrize("media_type", [None, "application/pdf"], ids=["looked at", "stated"])
async def test_an_early_end_is_an_error_also_when_a_part_was_cut(media_type: str | None) -> None:
    script = Script([PDF, PDF], size=len(PDF) * 3, media_type=media_type)
    async with documents(scripted({"letter.bin": script})) as of:
        for span in (None, Span(5, len(PDF) * 3 - 1)):
            with pytest.raises(Corrupt):
                await read(of, span=span)


async def test_what_fails_while_the_type_is_told_lets_the_document_go() -> None:
    script = Script([Unavailable("lost")], size=100, media_type=None)
    async with documents(scripted({"letter.bin": script}), max_open=1, queue_timeout=0.05) as of:
        for _ in range(2):
            with pytest.raises(Unavailable):
                await media_type(of)
        assert script.open_now == 0
        assert of.source(LETTER).open_count == 0


async def test_the_beginning_of_a_document_is_all_that_is_looked_at() -> None:
    never = asyncio.Event()
    script = Script([bytes(HEAD_BYTES), b"\x01", never], size=100_000, media_type=None)
    async with documents(scripted({"letter.bin": script})) as of:
        assert await media_type(of) == "application/octet-stream"


# --- local files -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, SMALL - 1, SMALL, SMALL + 1])
async def test_a_local_file_is_read_whole_and_in_parts(size: int, tmp_path: Path) -> None:
    data = os.urandom(size)
    (tmp_path / "letter.bin").write_bytes(data)
    async with documents(folder(tmp_path)) as of:
        assert await read(of) == data
        if size > 100:
            assert await read(of, span=Span(50, size - 7)) == data[50:-7]
        async with of.open(LETTER) as document:
            assert document.facts.size == size
            if size <= SMALL:
                assert await document.small() == data


async def test_a_small_file_that_changed_since_it_was_opened_is_not_given_out(tmp_path: Path) -> None:
    path = tmp_path / "letter.txt"
    path.write_bytes(b"before")
    async with documents(folder(tmp_path)) as of:
        async with of.open(Location("letters", "letter.txt", media_type="text/plain")) as document:
            path.write_bytes(b"after, and longer")
            with pytest.raises(Changed) as failed:
                await document.small()
            assert failed.value.source == "letters"
            with pytest.raises(Changed):
                document.check()


def test_scripts_promise_neither_parts_nor_versions() -> None:
    """What the tests above rely on: the gateway has to do all of it."""
    adapter = ScriptedAdapter("letters", None, services(Workers("x", 1), None), scripts={})
    assert adapter.capabilities == Capabilities(
        local=False, spans=False, cheap_stat=False, strong_versions=False, immutable=False, per_caller=False, max_open=None
    )  # fmt: skip
