"""The media type of a document: statement, then bytes, then name; and what `check --sample` finds odd."""

from __future__ import annotations

import pytest

from gateway import media
from gateway.magic import DOCX, XML, ZIP
from tests.support.containers import archive, ole

CLINICAL = b'<ClinicalDocument xmlns="urn:hl7-org:v3" classCode="DOCCLIN">'
WORD = archive("[Content_Types].xml", "word/document.xml")
PDF = b"%PDF-1.4\n"
TEXT = "Temperature 38°".encode("windows-1252")


@pytest.mark.requirement("SC-07")
@pytest.mark.parametrize(
    ("stated", "head", "name", "expected"),
    [
        ("image/tiff", PDF, "a.png", "image/tiff"),
        (None, PDF, "a.png", "application/pdf"),
        (None, TEXT, "a.csv", "text/csv"),
        (None, b"\x00\x01", "a", "application/octet-stream"),
        ("", PDF, "a", "application/pdf"),
    ],
)
def test_statement_then_bytes_then_name(stated: str | None, head: bytes, name: str, expected: str) -> None:
    assert media.content_type(stated, head, name) == expected


@pytest.mark.parametrize(
    "stated",
    ["pdf", "application/pdf\r\nX-Evil: 1", "text/html;\ncharset=x", "*/*", "image/*", "a/b/c", "/", "text/pl ain"],
)
def test_a_statement_that_is_no_media_type_counts_as_none(stated: str) -> None:
    assert media.content_type(stated, PDF, "a.tif") == "application/pdf"


def test_a_statement_keeps_its_parameters() -> None:
    stated = "Text/Plain; charset=windows-1252"
    assert media.content_type(stated, TEXT, "a.html") == stated.strip()


def test_the_first_statement_that_is_one_counts() -> None:
    assert media.statement(None, "", "pdf", "IMAGE/tiff", "image/png") == "IMAGE/tiff"
    assert media.statement(None, "*/*") is None
    assert media.statement() is None


@pytest.mark.requirement("FR-85")
@pytest.mark.parametrize("name", ["letter.txt", "letter", "letter.TXT"])
def test_text_never_gets_a_charset(name: str) -> None:
    assert media.content_type(None, TEXT, name) == "text/plain"


@pytest.mark.requirement("FR-85")
def test_html_never_gets_a_charset() -> None:
    assert media.content_type(None, b"<html><meta charset=utf-8>", "letter.htm") == "text/html"


@pytest.mark.parametrize(
    ("head", "name", "expected"),
    [
        (archive("letter.txt"), "a.docx", DOCX),
        (WORD, "a.docm", "application/vnd.ms-word.document.macroenabled.12"),
        (WORD, "a.xlsx", DOCX),
        (archive("letter.txt"), "a.pdf", ZIP),
        (ole(), "a.doc", "application/msword"),
        (ole(), "a.docx", DOCX),
        (ole(["Workbook"]), "a.doc", "application/vnd.ms-excel"),
        (b'<?xml version="1.0"?><!DOCTYPE x>', "a.svg", "image/svg+xml"),
        (b'<?xml version="1.0"?><x/>', "a.html", XML),
        (CLINICAL, "a.xml", "text/xml"),
        (b'{"resourceType":"Patient"}\n', "a.ndjson", "application/fhir+ndjson"),
    ],
)
def test_a_name_may_say_more_than_a_container_but_never_something_else(head: bytes, name: str, expected: str) -> None:
    assert media.content_type(None, head, name) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("2019/LETTER.PDF", "application/pdf"),
        ("a.b.tif", "image/tiff"),
        ("a.json", "application/json"),
        ("a.xml", XML),
        ("a.xyz", None),
        ("pdf", None),
        (".pdf", None),
        ("a.", None),
        ("", None),
    ],
)
def test_an_ending_stands_for_a_type(name: str, expected: str | None) -> None:
    assert media.by_extension(name) == expected


@pytest.mark.parametrize(
    ("essence", "expected"),
    [
        ("application/pdf", ".pdf"),
        ("text/xml", ".xml"),
        ("application/fhir+json", ".json"),
        ("image/jpeg", ".jpg"),
        ("x/y", ""),
    ],
)
def test_a_type_has_its_usual_ending(essence: str, expected: str) -> None:
    assert media.ending(essence) == expected


@pytest.mark.parametrize(
    ("given", "head", "seen"),
    [
        ("application/pdf", b"II*\x00", "image/tiff"),
        ("application/pdf", b"Dear Dr Smith", "application/octet-stream"),
        (DOCX, b"%PDF-1.4\n", "application/pdf"),
        ("text/plain", PDF, "application/pdf"),
        ("application/octet-stream", PDF, "application/pdf"),
        ("text/html", CLINICAL, "text/xml"),
    ],
)
def test_bytes_that_contradict_a_type_are_noticed(given: str, head: bytes, seen: str) -> None:
    assert media.mismatch(given, head) == seen


@pytest.mark.parametrize(
    ("given", "head"),
    [
        ("application/pdf", PDF),
        ("IMAGE/TIF;version=6", b"II*\x00"),
        ("image/jpg", b"\xff\xd8\xff\xe0"),
        ("text/rtf", rb"{\rtf1"),
        ("application/xml", CLINICAL),
        ("application/hl7-cda+xml", CLINICAL),
        ("text/xml", b'<?xml version="1.0"?><x/>'),
        ("application/json", b'{"resourceType":"Bundle"}'),
        (DOCX, archive("docProps/thumbnail.jpeg")),
        (ZIP, WORD),
        ("application/msword", ole()),
        ("text/plain", TEXT),
        ("text/csv", b"a;b"),
        ("application/vnd.acme", b"whatever"),
        ("application/pdf", b""),
    ],
)
def test_other_names_for_the_same_and_silence_are_no_contradiction(given: str, head: bytes) -> None:
    assert media.mismatch(given, head) is None


def test_what_is_told_by_bytes_is_never_called_a_mismatch() -> None:
    for head in (PDF, CLINICAL, ole(), ole(["Workbook"]), archive("x"), b"II*\x00", rb"{\rtf1"):
        assert media.mismatch(media.content_type(None, head, "x"), head) is None
