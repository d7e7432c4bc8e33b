"""Reading a document by its id: read, vread, HEAD, and what an id is (requirements 1.1 and 3.1 to 3.2)."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from gateway.fhir import Version
from gateway.protocol.negotiation import Format
from gateway.routing import Location
from tests.integration.archive import (
    ID,
    KINDS,
    LAST_MODIFIED,
    LETTER,
    MODIFIED,
    STORED,
    Fixed,
    Stored,
    binary,
    every_format,
    every_version,
    folder,
    letters,
    make,
    outcome,
    resource,
    steady,
)
from tests.support.scripted import Script
from tests.support.service import scripted, service

SAMPLES = Path(__file__).parents[2] / "config" / "sample-archive"
FORMS = {"native": "", "json": "?_format=json", "xml": "?_format=xml"}


# --- the document ---------------------------------------------------------------------------------------------------


@every_version
@pytest.mark.requirement("CC-01", "CC-08", "CC-09", "CC-11", "CC-18", "CC-51", "CC-53", "CC-65", "CC-66")
@pytest.mark.requirement("FR-20", "FR-72", "FR-250", "FR-252", "AS-04")
async def test_a_read_gives_the_stored_document_bit_for_bit(version: Version) -> None:
    async with letters() as at:
        for id, stored in STORED.items():
            for headers in ({}, {"Accept": "*/*"}, {"Accept": ""}):
                answer = await at.ask(f"/{version.name}/Binary/{id}", **headers)
                assert (answer.status, answer.body) == (200, stored.data), id
                assert answer.field("Content-Type") == stored.media_type


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.requirement("CC-01", "CC-15", "FR-208")
async def test_every_kind_of_archive_gives_the_same_bytes_in_every_form(kind: str, tmp_path: Path) -> None:
    documents = {f"d{size}": Stored(b"%PDF" + bytes(size - 4), "application/pdf") for size in (4, 5, 6, 1000, 10_001)}
    async with service({"letters": make(kind, tmp_path, documents)}) as at:
        for id, stored in documents.items():
            assert (await at.ask(f"/R4/Binary/{id}")).body == stored.data
            for version in Version:
                for format in Format:
                    answer = await at.ask(f"/{version.name}/Binary/{id}?_format={format.name.lower()}")
                    assert binary(answer, version, format)["bytes"] == stored.data


@every_version
@every_format
@pytest.mark.requirement("CC-02", "CC-03", "CC-04", "CC-15", "CC-16", "CC-66", "FR-09", "FR-77", "FR-200", "FR-201")
async def test_the_same_address_gives_the_document_as_a_resource(version: Version, format: Format) -> None:
    async with letters() as at:
        for id, stored in STORED.items():
            value = binary(await at.ask(f"/{version.name}/Binary/{id}?_format={format.name.lower()}"), version, format)
            assert value["id"] == id
            assert value["contentType"] == stored.media_type
            assert value["bytes"] == stored.data


@pytest.mark.requirement("CC-17", "FR-85")
async def test_the_common_types_are_told_from_the_bytes_of_real_files() -> None:
    files = {
        "html": ("letters/cardiology/clinic letter 2020-02-17.html", "text/html"),
        "pdf": ("letters/dermatology/2019-11-04.pdf", "application/pdf"),
        "png": ("results/2018/ecg #2.png", "image/png"),
        "jpeg": ("photographs/LEFT-SHIN.JPG", "image/jpeg"),
    }
    scheme = Fixed("letters", **{id: path for id, (path, _) in files.items()})
    async with service({"letters": folder(SAMPLES)}, schemes={"letters": scheme}) as at:
        for id, (path, media_type) in files.items():
            answer = await at.ask(f"/STU3/Binary/{id}")
            assert answer.field("Content-Type") == media_type
            assert answer.body == (SAMPLES / path).read_bytes()


# --- withdrawn ------------------------------------------------------------------------------------------------------


@every_version
@every_format
@pytest.mark.requirement("CC-23", "FR-22", "FR-253")
async def test_a_withdrawn_document_is_gone_and_not_missing(version: Version, format: Format) -> None:
    async with letters() as at:
        for target in ("gone", "gone/_history/1"):
            answer = await at.ask(f"/{version.name}/Binary/{target}", Accept=format.media_type)
            assert answer.status == 410
            outcome(answer, version, format)


# --- versions -------------------------------------------------------------------------------------------------------


@every_version
@pytest.mark.requirement("FR-24", "FR-25", "FR-26", "FR-27", "FR-120", "CC-51")
async def test_every_form_of_a_read_has_the_same_weak_etag_and_last_modified(version: Version) -> None:
    async with letters() as at:
        native = await at.ask(f"/{version.name}/Binary/letter")
        etag = native.field("ETag")
        assert etag is not None
        assert re.fullmatch(r'W/"[A-Za-z0-9\-.]{1,64}"', etag)
        for target in ("", "?_format=json", "?_format=xml", f"/_history/{etag[3:-1]}"):
            for method in ("GET", "HEAD"):
                answer = await at.ask(f"/{version.name}/Binary/letter{target}", method=method)
                assert answer.status == 200
                assert (answer.field("ETag"), answer.field("Last-Modified")) == (etag, LAST_MODIFIED)
        for format in Format:
            answer = await at.ask(f"/{version.name}/Binary/letter", Accept=format.media_type)
            meta = binary(answer, version, format)["meta"]
            assert meta["versionId"] == etag[3:-1]
            assert meta["lastUpdated"] == "2024-03-01T12:00:00Z"


@pytest.mark.requirement("FR-26", "FR-27", "SC-12")
async def test_a_changed_document_has_another_version(tmp_path: Path) -> None:
    archive = make("folder", tmp_path, {"letter": LETTER})
    async with service({"letters": archive}) as at:
        before = await at.ask("/R4/Binary/letter?_format=json")
        (tmp_path / "letter").write_bytes(LETTER.data[:-1] + b"!")
        after = await at.ask("/R4/Binary/letter?_format=json")
        assert before.field("ETag") != after.field("ETag")
        assert binary(before, Version.R4)["meta"]["versionId"] != binary(after, Version.R4)["meta"]["versionId"]


@every_version
@pytest.mark.requirement("FR-28")
async def test_an_archive_without_versions_gives_no_version_but_the_time_of_change(version: Version) -> None:
    async with service({"letters": scripted({"a": Script([b"letter"], version=None)})}) as at:
        for target in ("a", "a?_format=json", "a?_format=xml"):
            answer = await at.ask(f"/{version.name}/Binary/{target}")
            assert answer.status == 200
            assert answer.field("ETag") is answer.field("Content-Location") is None
            assert answer.field("Last-Modified") == LAST_MODIFIED
            if "=" in target:
                format = Format[target[-4:].strip("=").upper()]
                assert binary(answer, version, format)["meta"] == {"lastUpdated": "2024-03-01T12:00:00Z"}
        missing = await at.ask(f"/{version.name}/Binary/a/_history/1")
        assert missing.status == 404


@every_version
@every_format
@pytest.mark.requirement("FR-29", "FR-30", "FR-31", "CC-51")
async def test_vread_gives_the_current_version_under_its_id(version: Version, format: Format) -> None:
    async with letters() as at:
        etag = (await at.ask(f"/{version.name}/Binary/letter")).field("ETag")
        assert etag is not None
        target = f"/{version.name}/Binary/letter/_history/{etag[3:-1]}"
        assert ID.fullmatch(etag[3:-1])
        assert (await at.ask(target)).body == LETTER.data
        value = binary(await at.ask(target, Accept=format.media_type), version, format)
        assert value["meta"]["versionId"] == etag[3:-1]
        assert value["bytes"] == LETTER.data


@every_version
@every_format
@pytest.mark.requirement("FR-32", "CC-54")
async def test_vread_of_another_version_says_that_history_is_not_supported(version: Version, format: Format) -> None:
    async with letters() as at:
        for vid in ("1", "x" * 64, "x" * 65, "..", "%2e%2e", "a%2Fb", "a%00"):
            answer = await at.ask(f"/{version.name}/Binary/letter/_history/{vid}", Accept=format.media_type)
            assert answer.status == 404, vid
            assert "history is not supported" in outcome(answer, version, format)["diagnostics"]
        listed = await at.ask(f"/{version.name}/Binary/letter/_history", Accept=format.media_type)
        assert listed.status == 405
        assert "history" in outcome(listed, version, format)["diagnostics"]


async def test_a_version_that_is_no_fhir_id_is_replaced_by_one() -> None:
    odd = 'sha256:"/+= '
    async with service({"letters": scripted({"a": Script([b"letter"], version=odd)})}) as at:
        answer = await at.ask("/R4/Binary/a?_format=json")
        version_id = binary(answer, Version.R4)["meta"]["versionId"]
        assert ID.fullmatch(version_id)
        assert (await at.ask(f"/R4/Binary/a/_history/{version_id}")).body == b"letter"


# --- HEAD -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.requirement("FR-33", "FR-34", "CC-51")
async def test_head_has_the_header_of_get_and_no_body(kind: str, tmp_path: Path) -> None:
    odd = {"odd": Stored(b"%PDF-1.4 letter", "Application/PDF; x=1"), "wrong": Stored(b"%PDF-1.4 letter", "not a type")}
    targets = [f"letter{form}" for form in FORMS.values()] + ["none", "letter/_history/none", "letter?_summary=true"]
    targets += ["letter?_summary=banana", *odd]
    async with service({"letters": make(kind, tmp_path, {"letter": LETTER, **odd})}) as at:
        for target in (*(f"/R4/Binary/{one}" for one in targets), "/R4/metadata", "/STU3/metadata", "/R4/Binary"):
            got = await at.ask(target)
            head = await at.ask(target, method="HEAD")
            assert (head.status, head.body) == (got.status, b"")
            expected = steady(got)
            # Of a body of unknown length there is nothing to say in advance.
            expected.pop("Transfer-Encoding", None)
            assert steady(head) == expected, target


@pytest.mark.requirement("FR-34")
async def test_head_tells_the_length_of_every_form() -> None:
    async with letters() as at:
        for form in FORMS.values():
            whole = await at.ask(f"/R4/Binary/letter{form}")
            head = await at.ask(f"/R4/Binary/letter{form}", method="HEAD")
            assert head.field("Content-Length") == str(len(whole.body))


@pytest.mark.parametrize("kind", KINDS)
async def test_what_two_ids_state_of_one_document_is_kept_apart(kind: str, tmp_path: Path) -> None:
    archive = make(kind, tmp_path, {"letter": LETTER})
    scheme = Fixed(
        "letters",
        a=Location("letters", "letter", media_type="application/pdf"),
        b=Location("letters", "letter", media_type="application/octet-stream"),
    )
    async with service({"letters": archive}, schemes={"letters": scheme}) as at:
        for id in "abab":
            for method in ("GET", "HEAD"):
                stated = (await at.ask(f"/R4/Binary/{id}", method=method)).field("Content-Type")
                assert stated == ("application/pdf" if id == "a" else "application/octet-stream")


@every_version
@pytest.mark.requirement("CC-50", "CC-53", "FR-187")
async def test_each_version_has_its_own_base(version: Version) -> None:
    async with letters() as at:
        statement = resource(await at.ask(f"/{version.name}/metadata"), "CapabilityStatement", version)
        assert statement["fhirVersion"] == version.fhir_version
        value = json.loads((await at.ask(f"/{version.name}/Binary/letter?_format=json")).body)
        assert ("content" in value, "data" in value) == (version is Version.STU3, version is Version.R4)
        assert MODIFIED.isoformat().startswith(value["meta"]["lastUpdated"][:19])
