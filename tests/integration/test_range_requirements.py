"""Parts of a document on the wire: 206, 416, and when Range is left out of account (requirements 3.6)."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

import pytest

from gateway.fhir import Version
from gateway.protocol.negotiation import Format
from tests.integration.archive import (
    KINDS,
    LAST_MODIFIED,
    LETTER,
    Stored,
    binary,
    every_format,
    every_version,
    letters,
    make,
    outcome,
)
from tests.support.service import MakeAdapter, Service, service

DATA = LETTER.data * 3
SIZE = len(DATA)

SIZED = [kind for kind in KINDS if "unknown" not in kind]

LARGE = 400_000
"""Bytes beyond which a local file is sent by another path than small ones."""


def letter(kind: str, root: Path) -> dict[str, MakeAdapter]:
    return {"letters": make(kind, root, {"letter": Stored(DATA, "application/pdf")})}


@pytest.mark.parametrize("kind", SIZED)
@pytest.mark.parametrize("version", Version, ids=lambda version: version.name)
@pytest.mark.requirement("FR-128", "FR-129")
async def test_one_range_is_answered_with_that_part(version: Version, kind: str, tmp_path: Path) -> None:
    parts = {
        "0-0": (0, 1),
        "0-": (0, SIZE),
        "1-3": (1, 4),
        "998-1002": (998, 1003),
        f"{SIZE - 1}-": (SIZE - 1, SIZE),
        f"5-{SIZE * 9}": (5, SIZE),
        f"7-{10**19}": (7, SIZE),
        "-1": (SIZE - 1, SIZE),
        "-1500": (SIZE - 1500, SIZE),
        f"-{SIZE * 9}": (0, SIZE),
    }
    async with service(letter(kind, tmp_path)) as at:
        whole = await at.ask(f"/{version.name}/Binary/letter")
        assert whole.field("Accept-Ranges") == "bytes"
        for asked, (start, stop) in parts.items():
            answer = await at.ask(f"/{version.name}/Binary/letter", Range=f"bytes={asked}")
            assert (answer.status, answer.body) == (206, DATA[start:stop]), asked
            assert answer.field("Content-Range") == f"bytes {start}-{stop - 1}/{SIZE}"
            assert answer.field("Content-Length") == str(stop - start)
            for name in ("ETag", "Last-Modified", "Content-Type", "Content-Location", "Cache-Control", "Vary"):
                assert answer.field(name) == whole.field(name)


@pytest.mark.parametrize("kind", SIZED)
@every_format
@pytest.mark.requirement("FR-129")
async def test_a_range_without_a_byte_of_the_document_is_416(kind: str, format: Format, tmp_path: Path) -> None:
    async with service(letter(kind, tmp_path)) as at:
        for asked in (f"{SIZE}-", f"{SIZE}-{SIZE + 9}", f"{10**19}-", "-0"):
            accept = f"application/pdf, {format.media_type};q=0.1"
            answer = await at.ask("/STU3/Binary/letter", Range=f"bytes={asked}", Accept=accept)
            assert answer.status == 416, asked
            assert answer.field("Content-Range") == f"bytes */{SIZE}"
            outcome(answer, Version.STU3, format)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.requirement("FR-128", "FR-132")
async def test_what_is_no_single_range_gets_the_whole_document(kind: str, tmp_path: Path) -> None:
    ignored = (
        "bytes=0-1,4-5", "bytes=0-1, -1", "bytes=5-2", "bytes=", "bytes=-", "bytes=a-b", "bytes=0x1-2", "bytes=1-2-3",
        "items=0-1", "0-1", "bytes 0-1", "bytes=--1", "bytes=1e3-", "bytes=" + "9" * 400 + "-", "",
    )  # fmt: skip
    async with service(letter(kind, tmp_path)) as at:
        for asked in ignored:
            answer = await at.ask("/R4/Binary/letter", Range=asked)
            assert (answer.status, answer.body) == (200, DATA), asked
            assert answer.field("Content-Range") is None


@pytest.mark.parametrize("kind", KINDS)
@every_format
@pytest.mark.requirement("FR-131")
async def test_a_resource_has_no_ranges(kind: str, format: Format, tmp_path: Path) -> None:
    async with service(letter(kind, tmp_path)) as at:
        for asked in ("bytes=0-1", f"bytes={SIZE * 9}-"):
            answer = await at.ask("/R4/Binary/letter", Range=asked, Accept=format.media_type)
            assert binary(answer, Version.R4, format)["bytes"] == DATA
            assert answer.field("Accept-Ranges") is answer.field("Content-Range") is None
        assert (await at.ask("/R4/metadata", Range="bytes=0-1")).status == 200


@pytest.mark.requirement("FR-129")
async def test_a_document_of_unknown_size_is_sent_whole(tmp_path: Path) -> None:
    async with service(letter("stream of unknown size", tmp_path)) as at:
        for asked in ("bytes=0-1", "bytes=-1", f"bytes={SIZE}-"):
            answer = await at.ask("/R4/Binary/letter", Range=asked)
            assert (answer.status, answer.body) == (200, DATA)


@every_version
@pytest.mark.requirement("FR-130")
async def test_if_range_works_by_the_date_and_never_by_the_weak_tag(version: Version) -> None:
    async with letters() as at:
        etag = (await at.ask(f"/{version.name}/Binary/letter")).field("ETag") or ""
        for condition, status in (
            (LAST_MODIFIED, 206),
            ("Fri, 01 Mar 2024 11:59:59 GMT", 200),
            ("Fri, 01 Mar 2024 12:00:01 GMT", 200),
            (etag, 200),
            (etag.removeprefix("W/"), 200),
            ("nonsense", 200),
            ("*", 200),
        ):
            answer = await at.ask(f"/{version.name}/Binary/letter", Range="bytes=0-3", If_Range=condition)
            assert (answer.status, answer.body) == (status, LETTER.data[:4] if status == 206 else LETTER.data)
            beyond = await at.ask(f"/{version.name}/Binary/letter", Range="bytes=99999-", If_Range=condition)
            assert beyond.status == (416 if status == 206 else 200)


@pytest.mark.requirement("FR-130")
async def test_a_date_of_just_now_is_too_weak_for_if_range(tmp_path: Path) -> None:
    archive = make("folder", tmp_path, {"letter": LETTER})
    (tmp_path / "letter").touch()
    now = format_datetime(datetime.fromtimestamp((tmp_path / "letter").stat().st_mtime, UTC), usegmt=True)
    async with service({"letters": archive}) as at:
        answer = await at.ask("/R4/Binary/letter", Range="bytes=0-3", If_Range=now)
        assert (answer.status, answer.field("Last-Modified")) == (200, now)


@pytest.mark.requirement("FR-129")
async def test_conditions_go_before_the_range() -> None:
    async with letters() as at:
        assert (await at.ask("/R4/Binary/letter", Range="bytes=0-3", If_None_Match="*")).status == 304
        assert (await at.ask("/R4/Binary/letter", Range="bytes=99999-", If_None_Match="*")).status == 304
        assert (await at.ask("/R4/Binary/letter", Range="bytes=0-3", If_Match='"x"')).status == 412


@pytest.mark.requirement("FR-33", "FR-34")
async def test_head_tells_the_whole_whatever_range_it_has() -> None:
    async with letters() as at:
        for asked in ("bytes=0-3", "bytes=99999-"):
            answer = await at.ask("/R4/Binary/letter", method="HEAD", Range=asked)
            assert (answer.status, answer.field("Content-Length")) == (200, str(len(LETTER.data)))
            assert answer.field("Content-Range") is None


@pytest.mark.requirement("FR-129")
async def test_parts_put_together_are_the_document(tmp_path: Path) -> None:
    data = bytes(range(256)) * (LARGE // 256)

    async def joined(at: Service) -> bytes:
        pieces = []
        for start in range(0, len(data), 99_999):
            pieces.append((await at.ask("/R4/Binary/letter", Range=f"bytes={start}-{start + 99_998}")).body)
        return b"".join(pieces)

    for kind in SIZED:
        root = tmp_path / kind
        root.mkdir()
        async with service({"letters": make(kind, root, {"letter": Stored(data, "text/plain")})}) as at:
            assert await joined(at) == data
