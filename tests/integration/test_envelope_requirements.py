"""Binary as a resource on the wire: elements, base64, order, emptiness, streaming (requirements 1.1, 3.5 and 3.10)."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from pathlib import Path

import pytest
from lxml import etree

from gateway.fhir import Version
from gateway.protocol.negotiation import Format
from tests.integration.archive import (
    CONTENT_TYPES,
    LETTER,
    NAMESPACE,
    Stored,
    binary,
    every_format,
    every_version,
    letters,
    make,
    outcome,
)
from tests.support.raw_http import connect, request
from tests.support.scripted import Script
from tests.support.service import scripted, service

SUBSETTED = {
    Version.STU3: {"system": "http://hl7.org/fhir/v3/ObservationValue", "code": "SUBSETTED"},
    Version.R4: {"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "SUBSETTED"},
}


@every_version
@every_format
@pytest.mark.requirement("CC-03", "CC-04", "CC-15", "FR-200", "FR-201", "FR-202", "FR-203", "FR-204", "FR-206")
async def test_every_size_is_valid_and_exact(version: Version, format: Format, tmp_path: Path) -> None:
    sizes = [*range(1, 8), 1023, 1024, 1025]
    documents = {f"d{size}": Stored((b"%PDF" + bytes(range(256)) * 8)[:size], "application/pdf") for size in sizes}
    async with service({"letters": make("memory", tmp_path, documents)}) as at:
        for id, stored in documents.items():
            answer = await at.ask(f"/{version.name}/Binary/{id}", Accept=format.media_type)
            assert answer.framing == "length"
            value = binary(answer, version, format)
            assert value.keys() - {"bytes"} == {"resourceType", "id", "meta", "contentType", version.content_element}
            assert (value["bytes"], value["contentType"]) == (stored.data, "application/pdf")


@every_version
@pytest.mark.requirement("FR-204", "FR-206")
async def test_json_has_one_line_of_base64_and_no_empty_property(version: Version) -> None:
    async with letters() as at:
        answer = await at.ask(f"/{version.name}/Binary/letter?_format=json")
        value = json.loads(answer.body)
        assert next(iter(value)) == "resourceType"
        assert "\n" not in value[version.content_element]

        def nothing_empty(node: object) -> bool:
            if isinstance(node, dict):
                return bool(node) and all(map(nothing_empty, node.values()))
            return node not in ("", [], None)

        assert nothing_empty(value)


@every_version
@pytest.mark.requirement("FR-205", "CC-52")
async def test_xml_has_its_elements_in_the_order_of_the_schema(version: Version) -> None:
    async with letters() as at:
        for pretty in ("", "&_pretty=true"):
            root = etree.fromstring((await at.ask(f"/{version.name}/Binary/letter?_format=xml{pretty}")).body)
            assert root.tag == f"{NAMESPACE}Binary"
            names = ["id", "meta", "contentType", version.content_element]
            assert [child.tag for child in root] == [NAMESPACE + name for name in names]
            assert [child.tag for child in root[1]] == [NAMESPACE + name for name in ("versionId", "lastUpdated")]
            assert all(child.get("value") for child in root if child.tag != f"{NAMESPACE}meta")


@every_version
@pytest.mark.requirement("CC-52")
async def test_json_and_xml_say_the_same(version: Version) -> None:
    async with letters() as at:
        for query in ("", "&_summary=text", "&_elements=id"):
            target = f"/{version.name}/Binary/letter?{query}&_format="
            json, xml = [binary(await at.ask(target + format.name), version, format) for format in Format]
            assert json == xml


# --- documents without bytes ----------------------------------------------------------------------------------------


@every_format
@pytest.mark.requirement("FR-207")
async def test_a_document_without_bytes_cannot_be_an_stu3_resource_and_is_not_called_missing(format: Format) -> None:
    async with letters() as at:
        native = await at.ask("/STU3/Binary/empty")
        assert (native.status, native.body, native.field("Content-Length")) == (200, b"", "0")
        answer = await at.ask("/STU3/Binary/empty", Accept=format.media_type)
        assert answer.status == 502
        assert outcome(answer, Version.STU3, format)["code"] == "processing"
        head = await at.ask("/STU3/Binary/empty", method="HEAD", Accept=format.media_type)
        assert (head.status, head.field("Content-Length")) == (502, str(len(answer.body)))


@every_format
@pytest.mark.requirement("FR-201", "FR-206", "FR-207")
async def test_a_document_without_bytes_has_no_data_in_r4(format: Format) -> None:
    async with letters() as at:
        value = binary(await at.ask("/R4/Binary/empty", Accept=format.media_type), Version.R4, format)
        assert value["bytes"] is None
        assert "data" not in value


@pytest.mark.parametrize("version", Version, ids=lambda version: version.name)
@pytest.mark.requirement("FR-207")
async def test_bytes_that_do_not_come_are_noticed_before_the_answer_begins(version: Version) -> None:
    async with service({"letters": scripted({"a": Script([], size=None)})}) as at:
        answer = await at.ask(f"/{version.name}/Binary/a?_format=json")
        if version is Version.STU3:
            assert answer.status == 502
            outcome(answer, version)
        else:
            assert "data" not in binary(answer, version)


# --- summaries ------------------------------------------------------------------------------------------------------


@every_version
@every_format
@pytest.mark.requirement("FR-102", "FR-103", "FR-104", "FR-108")
async def test_a_summary_leaves_the_bytes_out_and_says_so(version: Version, format: Format) -> None:
    async with letters() as at:
        answer = await at.ask(f"/{version.name}/Binary/letter?_summary=true", Accept=format.media_type)
        assert answer.status == 200
        # STU3 demands content, so its model refuses the summary: it is read without.
        assert answer.field("Content-Type") == CONTENT_TYPES[format]
        if version is Version.R4:
            value = binary(answer, version, format)
            assert value["meta"]["tag"] == [SUBSETTED[version]]
        if format is Format.JSON:
            body = answer.json()
            assert body["meta"]["tag"] == [SUBSETTED[version]]
            assert body.keys() == {"resourceType", "id", "meta", "contentType"}
        else:
            root = etree.fromstring(answer.body)
            assert [child.tag for child in root] == [NAMESPACE + name for name in ("id", "meta", "contentType")]
            tag = {child.tag: child.get("value") for child in root.iterfind(f"{NAMESPACE}meta/{NAMESPACE}tag/*")}
            assert tag == {NAMESPACE + name: value for name, value in SUBSETTED[version].items()}


@every_version
@pytest.mark.requirement("FR-102", "FR-104", "FR-106")
async def test_mandatory_elements_stay_whatever_is_selected(version: Version) -> None:
    stays = version is Version.STU3
    async with letters() as at:
        for query in ("_summary=text", "_elements=id", "_elements=contentType,id"):
            value = binary(await at.ask(f"/{version.name}/Binary/letter?_format=json&{query}"), version)
            assert value["meta"]["tag"] == [SUBSETTED[version]]
            assert value["bytes"] == (LETTER.data if stays else None)
        for query in ("_summary=data", "_summary=false", ""):
            value = binary(await at.ask(f"/{version.name}/Binary/letter?_format=json&{query}"), version)
            assert value["bytes"] == LETTER.data
            assert "tag" not in value["meta"]
        value = binary(await at.ask("/R4/Binary/letter?_format=json&_elements=data"), Version.R4)
        assert value["bytes"] == LETTER.data


@every_version
@pytest.mark.requirement("FR-105", "FR-100")
async def test_selections_do_not_touch_the_stored_form(version: Version) -> None:
    async with letters() as at:
        for query in ("_summary=true", "_summary=text", "_elements=id", "_pretty=true"):
            answer = await at.ask(f"/{version.name}/Binary/letter?{query}")
            assert (answer.status, answer.body) == (200, LETTER.data)


# --- streaming ------------------------------------------------------------------------------------------------------


@every_version
@every_format
@pytest.mark.requirement("FR-208", "SC-10")
async def test_a_resource_begins_to_arrive_before_its_document_has_ended(version: Version, format: Format) -> None:
    more = asyncio.Event()
    chunk = bytes(100_000)
    script = Script([chunk, chunk, chunk, more, chunk])
    async with service({"letters": scripted({"a": script})}) as at:
        async with connect(at.host, at.port) as connection:
            await connection.send(request(f"/{version.name}/Binary/a?_format={format.name.lower()}"))
            early = b""
            # The archive's last piece is held back; more than one piece has gone out before it is there.
            while len(early) < len(chunk) * 4 // 3:
                early += await connection.receive()
            assert not more.is_set()
            more.set()
            length = int(early.partition(b"Content-Length: ")[2].partition(b"\r\n")[0])
            while len(early.partition(b"\r\n\r\n")[2]) < length:
                early += await connection.receive()
        (text,) = re.findall(rb"[A-Za-z0-9+/=]{1000,}", early)
        assert base64.b64decode(text, validate=True) == chunk * 4
