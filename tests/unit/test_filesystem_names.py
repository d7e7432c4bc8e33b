"""Documents with strange names, and documents asked for in another spelling than they are stored in."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from adapters.errors import Ambiguous, NotFound
from tests.support.folder import archive, fill, read

STRANGE = [
    "a letter.pdf", " leading", "trailing ", "#1.pdf", "50%.pdf", "50%25.pdf", "a+b.pdf", "a&b=c;d.pdf",
    "it's \"so\".pdf",
    "1:30.pdf", "$(x).pdf", "*.pdf", "?.pdf", "[a].pdf", "{id}.pdf", "~.pdf", "-rf", "con", "...", ".hidden", "a.b.c.d",
    "Ünïcödé.pdf", "письмо.pdf", "手紙.pdf", "😀.pdf", "e\u0301.pdf", "\u212b.pdf", "\u200f.pdf", "ﬁ.pdf", "\x85.pdf",
    os.fsdecode(b"br\xfcf.pdf"), os.fsdecode(b"\xff\xfe"), os.fsdecode(b"mixed-\xc3\xa9-\xe9.pdf"),
    "UPPER.PDF", "a" * 253,
]  # fmt: skip


@pytest.mark.parametrize("local", [True, False])
async def test_every_name_that_linux_allows_is_read(tmp_path: Path, local: bool) -> None:
    everywhere = [*STRANGE, *(f"{folder}/{name}" for folder in STRANGE if len(folder) < 200 for name in STRANGE[:3])]
    for locator in everywhere:
        root = tmp_path / str(len(os.fsencode(locator))) / str(abs(hash(locator)))
        fill(root, [locator])
        async with archive(root, local=local) as adapter:
            assert await read(adapter, locator) == os.fsencode(locator)
            assert await adapter.resolve(locator, ("", ".x")) == locator


@pytest.mark.parametrize("case_insensitive", [False, True])
async def test_names_of_a_listing_come_back_as_they_are(tmp_path: Path, case_insensitive: bool) -> None:
    fill(tmp_path, [f"{number}-{name[:200]}.tif" for number, name in enumerate(STRANGE)])
    async with archive(tmp_path, case_insensitive=case_insensitive) as adapter:
        for number, name in enumerate(STRANGE):
            stem = f"{number}-{name[:200]}"
            assert await adapter.resolve(stem) == f"{stem}.tif"


# --- normalisation and case ------------------------------------------------------------------------------------------

LETTER = "Akten/Größe für Zoë.pdf"


def form(kind: Any, text: str) -> str:
    return unicodedata.normalize(kind, text)


@pytest.mark.parametrize(("stored", "asked"), [("NFC", "NFD"), ("NFD", "NFC")])
async def test_the_other_normalisation_form_is_found(tmp_path: Path, stored: str, asked: str) -> None:
    locator = form(stored, LETTER)
    fill(tmp_path, [locator])
    async with archive(tmp_path) as adapter:
        wanted = form(asked, LETTER)
        assert await read(adapter, wanted) == locator.encode()
        assert (await adapter.stat(wanted)).size == len(locator.encode())
        assert await adapter.resolve(wanted.removesuffix(".pdf")) == locator
        assert await adapter.resolve(wanted.removesuffix(".pdf"), (".tif", ".pdf")) == locator
        with pytest.raises(NotFound):
            await adapter.stat(wanted + "x")


async def test_of_two_forms_each_is_itself(tmp_path: Path) -> None:
    both = [form("NFC", "é.pdf"), form("NFD", "é.pdf")]
    fill(tmp_path, both)
    async with archive(tmp_path) as adapter:
        for locator in both:
            assert await read(adapter, locator) == locator.encode()
            assert await adapter.resolve(locator.removesuffix(".pdf")) == locator


@pytest.mark.requirement("LY-10")
async def test_capitals_and_small_letters_are_told_apart_unless_asked(tmp_path: Path) -> None:
    fill(tmp_path, ["Scans/LETTER01.TIF"])
    async with archive(tmp_path) as adapter:
        for locator in ("scans/letter01.tif", "Scans/letter01.tif", "scans/LETTER01.TIF"):
            with pytest.raises(NotFound):
                await adapter.stat(locator)
    async with archive(tmp_path, case_insensitive=True) as adapter:
        for locator in ("scans/letter01.tif", "Scans/letter01.tif", "scans/LETTER01.TIF", "Scans/LETTER01.TIF"):
            assert await read(adapter, locator) == b"Scans/LETTER01.TIF"
            assert await adapter.resolve(locator[:-4]) == "Scans/LETTER01.TIF"
            assert await adapter.resolve(locator[:-4], (".tif", ".TIF", ".pdf")) == "Scans/LETTER01.TIF"
        for locator in ("scans/letter02.tif", "scan/letter01.tif", "scans", "scans/letter01.tif/x"):
            with pytest.raises(NotFound):
                await adapter.stat(locator)


async def test_the_exact_name_goes_first_and_two_others_are_ambiguous(tmp_path: Path) -> None:
    fill(tmp_path, ["a.pdf", "A.pdf", "B.PDF"])
    async with archive(tmp_path, case_insensitive=True) as adapter:
        assert await read(adapter, "a.pdf") == b"a.pdf"
        assert await read(adapter, "A.pdf") == b"A.pdf"
        assert await adapter.resolve("A") == "A.pdf"
        assert await adapter.resolve("b") == "B.PDF"
        with pytest.raises(Ambiguous) as ambiguous:
            await read(adapter, "a.PDF")
        assert "a.pdf" not in str(ambiguous.value).lower()


async def test_letters_that_windows_tells_apart_stay_apart(tmp_path: Path) -> None:
    fill(tmp_path, ["Straße.pdf", "ß.tif"])
    async with archive(tmp_path, case_insensitive=True) as adapter:
        assert await adapter.resolve("STRAßE") == "Straße.pdf"
        assert await read(adapter, form("NFD", "straße.PDF")) == "Straße.pdf".encode()
        for locator in ("STRASSE.pdf", "ss.tif"):
            with pytest.raises(NotFound):
                await adapter.stat(locator)
