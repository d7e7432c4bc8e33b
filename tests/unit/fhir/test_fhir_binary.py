"""The streaming envelope: what any reader makes of it, byte for byte, and its exact length beforehand."""

from __future__ import annotations

import base64
import importlib.util
import json
import random
import sys
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from fhir.resources.R4B.binary import Binary as BinaryR4
from fhir.resources.STU3.binary import Binary as BinarySTU3
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from gateway.fhir import Version
from gateway.fhir import binary as binary_module
from gateway.fhir.binary import Base64Stream, Envelope, envelope
from gateway.protocol.negotiation import Format
from gateway.protocol.parameters import Summary

MODELS: dict[Version, Any] = {Version.STU3: BinarySTU3, Version.R4: BinaryR4}
NAMESPACE = "{http://hl7.org/fhir}"
UPDATED = datetime(2019, 3, 31, 1, 30, 15, 999_999, tzinfo=timezone(timedelta(hours=1)))

every_version = pytest.mark.parametrize("version", Version, ids=lambda version: version.name)
every_format = pytest.mark.parametrize("format", Format, ids=lambda format: format.name)
every_layout = pytest.mark.parametrize("pretty", [False, True], ids=["compact", "pretty"])


def made(version: Version, format: Format, **facts: Any) -> Envelope:
    return envelope(version, format, **{"id": "a.B-9", "content_type": "application/pdf"} | facts)


def wrapped(ends: Envelope, chunks: Iterable[bytes]) -> bytes:
    """The whole resource, encoded chunk by chunk."""
    if not ends.carries_content:
        return ends.prefix + ends.suffix
    stream = Base64Stream()
    return b"".join([ends.prefix, *map(stream.feed, chunks), stream.finish(), ends.suffix])


def values(body: bytes, format: Format) -> dict[str, Any]:
    """The resource as JSON values, in document order, without the help of a FHIR library."""
    if format is Format.JSON:
        resource: dict[str, Any] = json.loads(body)
        assert resource.pop("resourceType") == "Binary"
        return resource
    root = etree.fromstring(body, etree.XMLParser(huge_tree=True))
    assert root.tag == NAMESPACE + "Binary"
    return _children(root)


def _children(element: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for child in element:
        name = child.tag.removeprefix(NAMESPACE)
        value = child.get("value") if len(child) == 0 else _children(child)
        if name == "tag":
            found.setdefault(name, []).append(value)
        else:
            assert name not in found
            found[name] = value
    return found


# --- the bytes come back --------------------------------------------------------------------------------------------


@every_version
@every_format
@every_layout
@pytest.mark.requirement("CC-15", "FR-204", "FR-208", "AS-04")
def test_every_size_comes_back_and_has_the_length_foretold(version: Version, format: Format, pretty: bool) -> None:
    ends = made(version, format, pretty=pretty)
    for size in range(1, 1001):
        document = random.Random(size).randbytes(size)
        body = wrapped(ends, [document])
        assert len(body) == ends.length(size)
        assert body[len(ends.prefix) : len(body) - len(ends.suffix)] == base64.b64encode(document)
    for size in (*range(1, 8), 1000):
        body = wrapped(ends, [random.Random(size).randbytes(size)])
        text = values(body, format)[version.content_element]
        assert base64.b64decode(text, validate=True) == random.Random(size).randbytes(size)


@every_version
@every_format
def test_large_documents_come_back_from_chunks_of_any_size(version: Version, format: Format) -> None:
    generator = random.Random(20)
    document = generator.randbytes(3_000_001)
    chunks, at = [], 0
    while at < len(document):
        step = generator.choice([1, 2, 3, 4095, 65_536, 196_608, 262_144, 1 << 20])
        chunks.append(document[at : at + step])
        at += step
    ends = made(version, format)
    body = wrapped(ends, chunks)
    assert len(body) == ends.length(len(document))
    assert base64.b64decode(values(body, format)[version.content_element], validate=True) == document


@every_version
@every_format
@every_layout
@pytest.mark.requirement("CC-02", "CC-03", "CC-04", "FR-09", "FR-27", "FR-200", "FR-201", "FR-202", "FR-203")
def test_the_model_of_the_version_reads_what_was_meant(version: Version, format: Format, pretty: bool) -> None:
    document = bytes(range(256))
    facts = {"version_id": "7f-1.c", "last_updated": UPDATED, "content_type": 'text/xml;charset="utf-8"'}
    body = wrapped(made(version, format, pretty=pretty, **facts), [document])
    model = MODELS[version]
    read = model.model_validate_json(body) if format is Format.JSON else model.model_validate_xml(body)
    assert read.id == "a.B-9"
    assert read.contentType == facts["content_type"]
    assert getattr(read, version.content_element) == document
    assert read.meta.versionId == "7f-1.c"
    assert read.meta.lastUpdated == UPDATED.replace(microsecond=0)


@every_version
@pytest.mark.requirement("FR-202")
def test_the_content_element_of_the_other_version_would_be_refused(version: Version) -> None:
    other = next(each for each in Version if each is not version)
    body = wrapped(made(other, Format.JSON), [b"x"])
    with pytest.raises(ValueError, match=other.content_element):
        MODELS[version].model_validate_json(body)


# --- facts ----------------------------------------------------------------------------------------------------------


@every_version
@every_format
@every_layout
@pytest.mark.requirement("FR-205", "FR-206")
def test_elements_stand_in_the_order_of_the_xml_form(version: Version, format: Format, pretty: bool) -> None:
    body = wrapped(made(version, format, pretty=pretty, version_id="1", last_updated=UPDATED), [b"x"])
    resource = values(body, format)
    assert list(resource) == ["id", "meta", "contentType", version.content_element]
    assert list(resource["meta"]) == ["versionId", "lastUpdated"]
    if format is Format.JSON:
        assert next(iter(json.loads(body))) == "resourceType"


@every_version
@every_format
@pytest.mark.requirement("FR-28")
def test_meta_holds_what_is_known_and_is_absent_when_nothing_is(version: Version, format: Format) -> None:
    assert "meta" not in values(wrapped(made(version, format), [b"x"]), format)
    only_version = values(wrapped(made(version, format, version_id="3"), [b"x"]), format)
    assert only_version["meta"] == {"versionId": "3"}
    only_time = values(wrapped(made(version, format, last_updated=UPDATED), [b"x"]), format)
    assert only_time["meta"] == {"lastUpdated": "2019-03-31T00:30:15Z"}


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="zone"):
        made(Version.R4, Format.JSON, last_updated=datetime(2020, 1, 1))


@every_version
@every_format
@pytest.mark.parametrize("content_type", ['text/xml; charset="utf-8"', 'a/b; c="<&>\'\\""', "application/x-é"])
def test_markup_in_a_content_type_does_not_break_out(version: Version, format: Format, content_type: str) -> None:
    body = wrapped(made(version, format, content_type=content_type), [b"x"])
    assert values(body, format)["contentType"] == content_type


# --- parts of a resource --------------------------------------------------------------------------------------------

SUBSETTED = {
    Version.STU3: {"system": "http://hl7.org/fhir/v3/ObservationValue", "code": "SUBSETTED"},
    Version.R4: {"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "SUBSETTED"},
}


@every_version
@every_format
@every_layout
@pytest.mark.requirement("FR-103", "FR-104", "FR-108")
def test_a_summary_is_without_content_and_says_so(version: Version, format: Format, pretty: bool) -> None:
    ends = made(version, format, pretty=pretty, version_id="1", last_updated=UPDATED, summary=Summary.TRUE)
    resource = values(wrapped(ends, [b"never asked for"]), format)
    assert not ends.carries_content
    assert resource.keys() == {"id", "meta", "contentType"}
    assert resource["meta"] == {"versionId": "1", "lastUpdated": "2019-03-31T00:30:15Z", "tag": [SUBSETTED[version]]}
    assert ends.length(10**9) == len(ends.prefix) + len(ends.suffix)
    assert ends.without_content == ends.prefix + ends.suffix


@every_format
@pytest.mark.parametrize("asked", [{"summary": Summary.TEXT}, {"elements": ("contentType",)}, {"elements": ("id",)}])
@pytest.mark.requirement("FR-104", "FR-106")
def test_mandatory_elements_stay_where_only_some_were_asked_for(format: Format, asked: dict[str, Any]) -> None:
    for version, content in ((Version.STU3, {"content"}), (Version.R4, set())):
        ends = made(version, format, **asked)
        resource = values(wrapped(ends, [b"x"]), format)
        assert resource.keys() == {"id", "meta", "contentType"} | content
        assert resource["meta"]["tag"] == [SUBSETTED[version]]


@every_version
@every_format
@pytest.mark.requirement("FR-106")
def test_the_content_can_be_asked_for_by_name(version: Version, format: Format) -> None:
    resource = values(wrapped(made(version, format, elements=(version.content_element,)), [b"abc"]), format)
    assert resource[version.content_element] == "YWJj"
    assert resource["contentType"] == "application/pdf"
    assert resource["meta"]["tag"] == [SUBSETTED[version]]


@every_version
@every_format
@pytest.mark.parametrize("summary", [None, Summary.DATA, Summary.FALSE])
@pytest.mark.requirement("FR-102")
def test_other_summaries_are_the_whole_resource(version: Version, format: Format, summary: Summary | None) -> None:
    ends = made(version, format, summary=summary)
    assert ends == made(version, format)
    assert ends.carries_content
    assert "meta" not in values(wrapped(ends, [b"x"]), format)


# --- nothing at all -------------------------------------------------------------------------------------------------


@every_format
@every_layout
@pytest.mark.requirement("FR-207", "FR-206")
def test_an_empty_document_has_no_data_on_r4(format: Format, pretty: bool) -> None:
    ends = made(Version.R4, format, pretty=pretty, empty=True)
    body = wrapped(ends, [])
    assert values(body, format) == {"id": "a.B-9", "contentType": "application/pdf"}
    assert len(body) == ends.length(0)
    assert made(Version.R4, format, pretty=pretty).without_content == body


@every_format
@pytest.mark.requirement("FR-207")
def test_an_empty_document_cannot_be_expressed_on_stu3(format: Format) -> None:
    for ends in (made(Version.STU3, format), made(Version.STU3, format, empty=True)):
        assert ends.carries_content
        assert ends.without_content is None


# --- base64 in pieces -----------------------------------------------------------------------------------------------


@given(st.lists(st.binary(max_size=20), max_size=30))
def test_any_chunking_gives_the_text_of_the_whole(chunks: list[bytes]) -> None:
    stream = Base64Stream()
    pieces = [stream.feed(chunk) for chunk in chunks]
    assert all(len(piece) % 4 == 0 for piece in pieces)
    assert b"".join([*pieces, stream.finish()]) == base64.b64encode(b"".join(chunks))


@given(st.lists(st.binary(max_size=20), max_size=10))
def test_views_are_as_good_as_bytes(chunks: list[bytes]) -> None:
    stream, buffer = Base64Stream(), bytearray(20)
    pieces = []
    for chunk in chunks:
        buffer[: len(chunk)] = chunk
        pieces.append(stream.feed(memoryview(buffer)[: len(chunk)]))
    assert b"".join([*pieces, stream.finish()]) == base64.b64encode(b"".join(chunks))


def test_a_piece_of_a_multiple_of_three_is_encoded_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[object] = []
    monkeypatch.setattr(binary_module, "b64encode", lambda data: seen.append(data) or b"")
    chunk = bytes(196_608)
    Base64Stream().feed(chunk)
    assert seen[0] is chunk


def test_the_standard_library_serves_where_the_fast_encoder_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pybase64", None)
    spec = importlib.util.find_spec("gateway.fhir.binary")
    assert spec is not None
    assert spec.loader is not None
    without = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "gateway.fhir.binary", without)
    spec.loader.exec_module(without)
    assert without.b64encode.__module__ == "gateway.fhir.binary"
    stream = without.Base64Stream()
    assert stream.feed(b"abcd") + stream.feed(b"e") + stream.finish() == b"YWJjZGU="


def test_the_time_is_that_of_the_archive_in_utc() -> None:
    ends = made(Version.R4, Format.JSON, last_updated=datetime(2020, 6, 1, tzinfo=UTC))
    assert b'"lastUpdated":"2020-06-01T00:00:00Z"' in ends.prefix
