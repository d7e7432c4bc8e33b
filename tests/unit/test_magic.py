"""Magic bytes: every kind of document that trusts keep is recognised, and nothing is guessed."""

from __future__ import annotations

import random
import struct
import time
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.magic import CDA, DOCX, HL7V2, OLE, PPTX, XLSX, XML, ZIP, sniff
from tests.support.containers import archive, ole


def png() -> bytes:
    chunk = b"IHDR" + struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))


MAIL = b"Return-Path: <a@x.test>\r\nReceived: from b\r\n by c\r\nSubject: scan\r\n\r\nHello"
CLINICAL = b'<ClinicalDocument xmlns="urn:hl7-org:v3" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'

KNOWN = {
    "pdf": (b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n", "application/pdf"),
    "pdf behind junk": (bytes(range(1, 200)) + b"%PDF-1.7 \r\n", "application/pdf"),
    "pdf behind a warning of the web server": (b"<br />\n<b>Warning</b>\n%PDF-1.3\r\n", "application/pdf"),
    "pdf at the last place allowed": (b"x" * 1019 + b"%PDF-1.4\n", "application/pdf"),
    "tiff, little endian": (b"II*\x00\x08\x00\x00\x00", "image/tiff"),
    "tiff, big endian": (b"MM\x00*\x00\x00\x00\x08", "image/tiff"),
    "big tiff": (b"II+\x00\x08\x00\x00\x00", "image/tiff"),
    "big tiff, big endian": (b"MM\x00+\x00\x08\x00\x00", "image/tiff"),
    "jpeg": (b"\xff\xd8\xff\xe0\x00\x10JFIF\x00", "image/jpeg"),
    "png": (png(), "image/png"),
    "gif": (b"GIF89a\x01\x00\x01\x00", "image/gif"),
    "old gif": (b"GIF87a\x01\x00\x01\x00", "image/gif"),
    "bmp": (b"BM" + struct.pack("<IHHI", 70, 0, 0, 54) + struct.pack("<I", 40), "image/bmp"),
    "webp": (b"RIFF\x24\x00\x00\x00WEBPVP8 ", "image/webp"),
    "jpeg 2000": (b"\x00\x00\x00\x0cjP  \r\n\x87\n\x00\x00\x00\x14ftypjp2 ", "image/jp2"),
    "jpeg 2000, part 6": (b"\x00\x00\x00\x0cjP  \r\n\x87\n\x00\x00\x00\x14ftypjpm ", "image/jpm"),
    "jpeg 2000 codestream": (b"\xff\x4f\xff\x51\x00", "image/j2c"),
    "rtf": (rb"{\rtf1\ansi\ansicpg1252 Dear", "application/rtf"),
    "word 97": (ole(first=b"\xec\xa5\xc1\x00"), "application/msword"),
    "word by its directory": (ole(["1Table", "WordDocument"]), "application/msword"),
    "excel": (ole(["Workbook"]), "application/vnd.ms-excel"),
    "outlook message": (ole(["__properties_version1.0"]), "application/vnd.ms-outlook"),
    "compound file of unknown content": (ole(["Contents"]), OLE),
    "compound file with its directory far away": (ole(["WordDocument"], directory_sector=200)[:8192], OLE),
    "docx": (archive("[Content_Types].xml", "_rels/.rels", "word/document.xml"), DOCX),
    "docx of LibreOffice": (archive("_rels/.rels", "word/document.xml", "[Content_Types].xml"), DOCX),
    "docx, streamed": (archive("[Content_Types].xml", "word/document.xml", streamed=True), DOCX),
    "xlsx": (archive("[Content_Types].xml", "xl/workbook.xml"), XLSX),
    "pptx": (archive("[Content_Types].xml", "docProps/app.xml", "ppt/presentation.xml"), PPTX),
    "zip": (archive("letter.txt"), ZIP),
    "empty zip": (archive(), ZIP),
    "zip with a folder called word": (archive("word/letter.txt"), ZIP),
    "gzip": (b"\x1f\x8b\x08\x00\x00\x00\x00\x00", "application/gzip"),
    "dicom": (bytes(128) + b"DICM\x02\x00\x00\x00", "application/dicom"),
    "hl7 v2": (rb"MSH|^~\&|PAS|RXX|||20200101||MDM^T02|1|P|2.4" + b"\r", HL7V2),
    "hl7 v2 in its frame": (b"\x0b" + rb"MSH|^~\&|PAS", HL7V2),
    "hl7 v2 batch": (rb"FHS|^~\&|PAS", HL7V2),
    "html": (b"<!DOCTYPE html>\n<title>x</title>", "text/html"),
    "html of Word": (b'<html xmlns:v="urn:schemas-microsoft-com:vml"><head>', "text/html"),
    "html behind a comment": (b"\xef\xbb\xbf \r\n<!-- saved from url -->\n<HTML>", "text/html"),
    "xhtml": (b'<?xml version="1.0"?><!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Strict//EN">', "text/html"),
    "html in utf-16": ("<html><body>".encode("utf-16"), "text/html"),
    "xml": (b'<?xml version="1.0" encoding="windows-1252"?>\n<letter>', XML),
    "xml behind a byte order mark": (b'\xef\xbb\xbf<?xml version="1.0"?><letter/>', XML),
    "xml in utf-16": ('<?xml version="1.0" encoding="utf-16"?><letter/>'.encode("utf-16"), XML),
    "xml by a namespace": (b'<k:letter xmlns:k="urn:kettering">', XML),
    "xml whose first comment does not end here": (b'<?xml version="1.0"?><!-- ' + b"x" * 9000, XML),
    "cda": (b'<?xml version="1.0"?>\n<?xml-stylesheet href="CDA.xsl"?>\n<!-- x -->\n' + CLINICAL, CDA),
    "cda with a prefix": (b'<?xml version="1.0"?><n1:ClinicalDocument xmlns:n1="urn:hl7-org:v3">', CDA),
    "cda without a declaration": (CLINICAL, CDA),
    "hl7 v3 that is no cda": (b'<PRPA_IN201305UV02 xmlns="urn:hl7-org:v3">', XML),
    "svg": (b'<svg width="1" xmlns="http://www.w3.org/2000/svg">', "image/svg+xml"),
    "fhir xml": (b"<?xml version='1.0'?><Bundle xmlns='http://hl7.org/fhir'>", "application/fhir+xml"),
    "fhir json": (b'{\n  "resourceType" : "Bundle", "type": "document"', "application/fhir+json"),
    "e-mail": (MAIL, "message/rfc822"),
    "postscript": (b"%!PS-Adobe-3.0\n", "application/postscript"),
    "wordperfect": (b"\xffWPC\x10\x00", "application/vnd.wordperfect"),
}

UNKNOWN = {
    "nothing": b"",
    "plain text": b"Dear Dr Smith,\r\nthank you for referring this patient.",
    "windows-1252": "Temperature 38°, “stable”".encode("windows-1252"),
    "a word that begins like a bitmap": b"BMI 24, weight 80 kg, height 1.82 m, blood pressure 120/80",
    "a memo that looks like a mail": b"From: Ward 5\r\nTo: Dr Smith\r\nSubject: discharge\r\nDate: today\r\n\r\nText",
    "a list of fields": b"Name: x\r\nWeight: y\r\nnot a field\r\nReceived: yes\r\n\r\n",
    "text that mentions a format": b"The file begins with %PDF-1.4, then comes a line break.",
    "pdf mark too far in": b"x" * 1025 + b"%PDF-1.4\n",
    "json": b'{"letter": 1}',
    "json with a nested resource": b'{"entry": [{"resource": {"resourceType": "Patient"}}]}',
    "json that names something else": b'{"resourceType": 7}',
    "a fragment of html": b"<p>Dear colleague,</p>",
    "a tag that begins like html's": b"<header>x</header>",
    "a fragment of xml": b"<section><title>Problem List</title></section>",
    "a document type that is not html": b"<!DOCTYPE letter SYSTEM 'letter.dtd'>",
    "a comment": b"<!-- nothing follows -->",
    "sound of an unknown kind": b"RIFF\x24\x00\x00\x00AVI LIST",
    "half a mark": b"\x89PNG\r\n",
}


@pytest.mark.requirement("SC-07")
@pytest.mark.parametrize(("head", "expected"), KNOWN.values(), ids=KNOWN.keys())
def test_a_mark_tells_the_type(head: bytes, expected: str) -> None:
    assert sniff(head) == expected


@pytest.mark.requirement("FR-85")
@pytest.mark.parametrize("head", UNKNOWN.values(), ids=UNKNOWN.keys())
def test_nothing_is_guessed(head: bytes) -> None:
    assert sniff(head) is None


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("name", ["letter.docx", "word/letter.docx"])
def test_an_archive_of_documents_is_not_taken_for_a_document(packed: bool, streamed: bool, name: str) -> None:
    noise = random.Random(1).randbytes(4000)
    inner = archive("[Content_Types].xml", "word/document.xml", ("word/media/image1.jpeg", noise))
    assert sniff(archive((name, inner), packed=packed, streamed=streamed)) == ZIP


def test_opendocument_says_its_own_type() -> None:
    kind = "application/vnd.oasis.opendocument.text"
    assert sniff(archive(("mimetype", kind.encode()), "content.xml", packed=False)) == kind


def test_what_an_opendocument_says_cannot_carry_a_header_along() -> None:
    forged = b"application/vnd.oasis.opendocument.text\r\nSet-Cookie: x"
    assert sniff(archive(("mimetype", forged), packed=False)) == ZIP


@given(st.binary(max_size=600))
def test_no_bytes_make_it_fail(data: bytes) -> None:
    for mark in (b"", b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", b"\xff\xfe<", b"<?xml ", b'{"resourceType":'):
        found = sniff(mark + data)
        assert found is None or (found.isascii() and found.isprintable() and "/" in found)


@given(st.sampled_from([head for head, _ in KNOWN.values()]), st.integers(0, 300))
def test_a_head_cut_anywhere_shows_the_type_or_less(head: bytes, length: int) -> None:
    assert sniff(head[:length]) in {sniff(head), None, XML, ZIP, OLE, "image/jp2", "application/msword"}


@pytest.mark.parametrize(
    "head",
    [
        b"<!--" * 2048,
        b"<?" * 4096,
        b" " * 8192,
        b"<a " + b"xmlns " * 1400,
        b"PK\x03\x04" * 2048,
        b"a-" * 4096,
        b"\n<" * 4096,
    ],
    ids=["comments", "instructions", "spaces", "attributes", "members", "field name", "brackets"],
)
def test_no_document_makes_it_slow(head: bytes) -> None:
    began = time.perf_counter()
    for _ in range(10):
        sniff(head)
    assert (time.perf_counter() - began) / 10 < 0.02


def test_random_bytes_are_rarely_taken_for_anything() -> None:
    generator = random.Random(7)
    assert [kind for kind in (sniff(generator.randbytes(512)) for _ in range(2000)) if kind] == []
