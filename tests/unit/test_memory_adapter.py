"""What the memory adapter adds to the contract: documents in the options, `put`, `remove`, `withdraw`, `resolve`."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from pydantic import ValidationError

from adapters.contract import MAX_CHUNK, Span
from adapters.errors import Ambiguous, Deleted, NotFound
from adapters.memory import CHUNK_SIZE, MemoryAdapter, MemoryOptions
from adapters.testing import Harness
from tests.conformance.test_memory import MemoryHarness


@pytest.fixture
async def harness() -> AsyncIterator[Harness]:
    harness = MemoryHarness()
    yield harness
    harness.release()


def made(harness: Harness, **options: Any) -> MemoryAdapter:
    return MemoryAdapter("memory", MemoryOptions.model_validate(options), harness.services())


async def read(adapter: MemoryAdapter, locator: str, span: Span | None = None) -> list[bytes]:
    async with adapter.open(locator, span) as content:
        return [chunk async for chunk in content.chunks]


async def test_documents_are_given_as_text_or_base64(harness: Harness) -> None:
    scan = bytes(range(256))
    adapter = made(
        harness,
        documents={
            "plain": "Dear Dr Müller",
            "page": {"text": "<p>x</p>", "media_type": "text/html", "title": "A page"},
            "scan": {"base64": base64.encodebytes(scan).decode(), "modified": "2024-03-01T12:00:00+01:00"},
            "empty": "",
        },
    )
    assert await read(adapter, "plain") == ["Dear Dr Müller".encode()]
    assert await read(adapter, "scan") == [scan]
    assert await read(adapter, "empty") == []
    plain, page, scanned = [await adapter.stat(name) for name in ("plain", "page", "scan")]
    assert plain.media_type == "text/plain; charset=utf-8"
    assert (page.media_type, page.title) == ("text/html", "A page")
    assert scanned.media_type is None
    assert scanned.modified == datetime(2024, 3, 1, 11, tzinfo=UTC)
    assert scanned.modified.utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ({}, "a document has either `text` or `base64`"),
        ({"text": "a", "base64": "YQ=="}, "a document has either `text` or `base64`"),
        ({"base64": "%%%%"}, "not base64"),
        ({"base64": "YQ"}, "not base64"),
        ({"text": "a", "mediatype": "text/html"}, "Extra inputs are not permitted"),
        ({"text": "a", "modified": "2024-03-01T12:00:00"}, "timezone"),
        (7, "valid dictionary"),
    ],
)
def test_a_wrong_document_is_explained_without_quoting_it(document: Any, sentence: str) -> None:
    with pytest.raises(ValidationError) as caught:
        MemoryOptions.model_validate({"documents": {"letter": document}})
    assert sentence in str(caught.value)
    assert "YQ" not in str(caught.value)


@pytest.mark.parametrize("size", [0, MAX_CHUNK + 1])
def test_the_chunk_size_has_bounds(size: int) -> None:
    with pytest.raises(ValidationError):
        MemoryOptions(chunk_size=size)


def test_the_options_do_not_show_documents() -> None:
    options = MemoryOptions.model_validate({"documents": {"NHS-999": "Dear patient"}})
    assert "patient" not in repr(options)
    assert "NHS-999" not in repr(options)


async def test_chunks_have_the_configured_size(harness: Harness) -> None:
    adapter = made(harness, chunk_size=4)
    adapter.put("a", b"0123456789")
    assert await read(adapter, "a") == [b"0123", b"4567", b"89"]
    assert await read(adapter, "a", Span(1, 7)) == [b"1234", b"56"]
    assert CHUNK_SIZE % 3 == 0
    assert MemoryOptions().chunk_size == CHUNK_SIZE == 192 * 1024


async def test_an_open_read_keeps_its_bytes_when_the_document_is_replaced_or_removed(harness: Harness) -> None:
    adapter = made(harness, chunk_size=2)
    adapter.put("a", b"old!")
    async with adapter.open("a") as content:
        got = await anext(content.chunks)
        adapter.put("a", b"new!")
        adapter.remove("a")
        got += b"".join([chunk async for chunk in content.chunks])
    assert got == b"old!"


async def test_removed_is_not_found_and_withdrawn_is_deleted(harness: Harness) -> None:
    adapter = made(harness)
    adapter.put("a", b"x")
    adapter.put("b", b"x")
    adapter.remove("a")
    adapter.withdraw("b")
    with pytest.raises(NotFound) as missing:
        await adapter.stat("a")
    assert not isinstance(missing.value, Deleted)
    with pytest.raises(Deleted):
        await adapter.stat("b")
    with pytest.raises(KeyError):
        adapter.remove("a")
    adapter.put("b", b"back")
    assert await read(adapter, "b") == [b"back"]


async def test_times_are_kept_in_utc_and_need_a_zone(harness: Harness) -> None:
    adapter = made(harness)
    adapter.put("a", b"x", modified=datetime(2024, 7, 1, 12, tzinfo=timezone(timedelta(hours=1))))
    assert (await adapter.stat("a")).modified == datetime(2024, 7, 1, 11, tzinfo=UTC)
    with pytest.raises(ValueError, match="time zone"):
        adapter.put("a", b"x", modified=datetime(2024, 7, 1, 12))


async def test_later_changes_to_a_mutable_buffer_do_not_reach_the_document(harness: Harness) -> None:
    adapter = made(harness)
    buffer: Any = bytearray(b"letter")
    adapter.put("a", buffer)
    buffer[:] = b"LETTER"
    assert await read(adapter, "a") == [b"letter"]


async def test_resolve_finds_the_one_that_begins_with_the_stem(harness: Harness) -> None:
    adapter = made(harness)
    for name in ("17.pdf", "171.pdf", "18.pdf", "18.tif", "19", "20.tar.gz"):
        adapter.put(name, b"x")
    assert await adapter.resolve("17") == "17.pdf"
    assert await adapter.resolve("20.tar") == "20.tar.gz"
    assert await adapter.resolve("18", (".tif", ".png")) == "18.tif"
    assert await adapter.resolve("19", ("",)) == "19"
    with pytest.raises(Ambiguous):
        await adapter.resolve("18")
    with pytest.raises(Ambiguous):
        await adapter.resolve("18", (".pdf", ".tif"))
    for stem, suffixes in (("19", None), ("1", None), ("17", (".tif",)), ("nothing", None)):
        with pytest.raises(NotFound):
            await adapter.resolve(stem, suffixes)
