"""Where the specifications disagree: each conflict's default and its other answers on the wire (requirements 12).

`ROW-n` is the row of the table "Where specifications disagree" in docs/conformance.md.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.fhir import Version
from gateway.protocol.negotiation import Format
from gateway.protocol.profile import GP_CONNECT_OUTCOME, PROFILES, SPINE_OUTCOME, Profile
from tests.integration.archive import (
    FHIR_JSON,
    FHIR_XML,
    LETTER,
    STORED,
    binary,
    composed,
    every_version,
    letters,
    outcome,
    resource,
)
from tests.support.raw_http import Answer

DEFAULT = PROFILES["care-connect"]


def rules(**answers: Any) -> Profile:
    """The default answers with some replaced."""
    return replace(DEFAULT, **answers)


async def form(
    profile: Profile, accept: str | None = None, query: str = "", id: str = "letter", **headers: str
) -> str | int:
    """What this request gets under this profile: "native", "json", "xml" or the status of an outcome."""
    if accept is not None:
        headers["Accept"] = accept
    async with letters(profile=profile) as at:
        answer = await at.ask(f"/STU3/Binary/{id}?{query}", **headers)
    if answer.status != 200:
        assert b"OperationOutcome" in answer.body
        return answer.status
    if answer.field("Content-Type") == STORED[id].media_type:
        assert answer.body == STORED[id].data
        return "native"
    format = {FHIR_JSON: Format.JSON, FHIR_XML: Format.XML}[answer.field("Content-Type") or ""]
    assert binary(answer, Version.STU3, format)["bytes"] == STORED[id].data
    return format.name.lower()


@pytest.mark.requirement("ROW-1", "CC-08", "FR-72")
async def test_row_1_no_accept() -> None:
    assert await form(DEFAULT) == "native"
    asking = rules(no_accept="envelope")
    assert await form(asking) == "json"
    # GP Connect: a Content-Type picks the format of what nobody asked for.
    assert await form(asking, Content_Type="application/fhir+xml;charset=utf-8") == "xml"
    assert await form(asking, "*/*") == "native"


@pytest.mark.requirement("ROW-2", "CC-09")
async def test_row_2_any_type() -> None:
    assert await form(DEFAULT, "*/*") == "native"
    assert await form(rules(any_type="envelope"), "*/*") == "json"
    assert await form(rules(any_type="envelope"), "*/*;q=0.1, application/fhir+xml") == "xml"
    assert await form(rules(any_type="envelope"), "application/pdf, */*;q=0.1") == "native"


@pytest.mark.requirement("ROW-3", "CC-13", "NR-08")
async def test_row_3_forms_that_exist() -> None:
    assert await form(DEFAULT, "application/fhir+json") == "json"
    native = rules(forms="native")
    assert await form(native, "application/fhir+json") == 406
    assert await form(native, query="_format=json") == 406
    assert await form(native, "application/pdf") == "native"
    wrapped = rules(forms="envelope", no_accept="envelope", any_type="envelope")
    assert await form(wrapped, "application/pdf") == 406
    assert await form(wrapped, "application/fhir+xml") == "xml"


@pytest.mark.requirement("ROW-4", "CC-27", "FR-79", "FR-256")
async def test_row_4_another_type_than_the_stored_one() -> None:
    assert await form(DEFAULT, "image/png") == 406
    generous = rules(other_type="native")
    assert await form(generous, "image/png") == "native"
    assert await form(generous, "text/html, image/*;q=0.5") == "native"
    assert await form(generous, "application/pdf;q=0, image/png") == 406
    assert await form(generous, "application/fhir+json") == "json"


@pytest.mark.parametrize("status", [400, 406, 415])
@pytest.mark.requirement("ROW-5", "FR-71", "GP-44")
async def test_row_5_an_unknown_format(status: Any) -> None:
    assert DEFAULT.unknown_format == 406
    for query in ("_format=banana", "_format=application/pdf"):
        assert await form(rules(unknown_format=status), query=query) == status


@pytest.mark.requirement("ROW-6", "FR-76")
async def test_row_6_types_that_others_share() -> None:
    assert await form(DEFAULT, "application/json") == 406
    assert await form(DEFAULT, "application/json", id="result") == "native"
    assert await form(rules(generic_type="envelope"), "application/json") == "json"
    assert await form(rules(generic_type="envelope"), "text/xml") == "xml"


@pytest.mark.requirement("ROW-7", "FR-77")
async def test_row_7_a_stored_document_of_a_fhir_type() -> None:
    assert await form(DEFAULT, "application/fhir+json", id="bundle") == "json"
    assert await form(rules(fhir_stored="native"), "application/fhir+json", id="bundle") == "native"
    assert await form(rules(fhir_stored="native"), "application/fhir+json") == "json"


@every_version
@pytest.mark.requirement("ROW-9", "CC-32")
async def test_row_9_metadata_without_accept(version: Version) -> None:
    async with letters() as at:
        assert (await at.ask(f"/{version.name}/metadata")).field("Content-Type") == FHIR_JSON
    async with letters(profile=rules(metadata_accept="required")) as at:
        refused = await at.ask(f"/{version.name}/metadata")
        assert refused.status == 406
        outcome(refused, version)
        assert (await at.ask(f"/{version.name}/metadata", Accept="application/fhir+xml")).status == 200
        assert (await at.ask(f"/{version.name}/metadata?_format=json")).status == 200


@pytest.mark.parametrize("value", ["no", "extensions", "elements", "both"])
@pytest.mark.blocking_allowed
@pytest.mark.requirement("ROW-10", "CC-38", "FR-178")
async def test_row_10_accept_unknown(value: str, tmp_path: Path) -> None:
    async with composed(tmp_path, **({} if value == "no" else {"rules": {"accept_unknown": value}})) as at:
        statement = resource(await at.ask("/STU3/metadata"), "CapabilityStatement", Version.STU3)
        assert statement["acceptUnknown"] == value
        assert "acceptUnknown" not in resource(await at.ask("/R4/metadata"), "CapabilityStatement", Version.R4)


@every_version
@pytest.mark.requirement("ROW-11", "FR-124", "GP-07")
async def test_row_11_no_profile_tells_a_security_context(version: Version) -> None:
    for profile in PROFILES.values():
        async with letters(profile=profile) as at:
            for accept in ("application/pdf", "application/fhir+json"):
                answer = await at.ask(f"/{version.name}/Binary/letter", Accept=accept)
                assert answer.field("X-Security-Context") is None
                assert b"securityContext" not in answer.body


@pytest.mark.requirement("ROW-12", "FR-125")
async def test_row_12_content_location() -> None:
    for sent in (True, False):
        async with letters(profile=rules(content_location=sent)) as at:
            for query in ("", "?_format=xml"):
                answer = await at.ask(f"/R4/Binary/letter{query}")
                assert (answer.field("Content-Location") is not None) == sent
                assert answer.field("ETag")


@pytest.mark.requirement("ROW-13", "FR-83", "FR-84", "GP-46")
async def test_row_13_charset() -> None:
    for stated in (True, False):
        async with letters(profile=rules(charset=stated)) as at:
            ending = ";charset=utf-8" if stated else ""
            for target in ("Binary/letter", "Binary/none", "metadata"):
                for format in Format:
                    answer = await at.ask(f"/R4/{target}?_format={format.name.lower()}")
                    assert answer.field("Content-Type") == format.media_type + ending
            assert (await at.ask("/R4/Binary/note")).field("Content-Type") == "text/plain"
            assert (await at.ask("NONSENSE")).field("Content-Type") == "application/fhir+json" + ending


@every_version
@pytest.mark.requirement("ROW-16", "CC-23", "FR-22")
async def test_row_16_withdrawn(version: Version) -> None:
    async with letters() as at:
        assert (await at.ask(f"/{version.name}/Binary/gone")).status == 410
    async with letters(profile=rules(deleted_status=404)) as at:
        gone, unknown = [await at.ask(f"/{version.name}/Binary/{id}") for id in ("gone", "none")]
        assert gone.status == 404
        # A server that says nothing of withdrawals must not give them away by other words.
        assert gone.body == unknown.body


@every_version
@pytest.mark.requirement("ROW-18", "CG-13", "GP-79", "FR-150")
async def test_row_18_the_profile_of_errors(version: Version) -> None:
    async with letters() as at:
        plain = await at.ask(f"/{version.name}/Binary/none")
        outcome(plain, version)
        assert "meta" not in plain.json()
        assert len(plain.json()["issue"][0]["details"]["coding"]) == 2
    for address in (GP_CONNECT_OUTCOME, SPINE_OUTCOME):
        async with letters(profile=rules(error_profile=address)) as at:
            answer = await at.ask(f"/{version.name}/Binary/none")
            (coding,) = outcome(answer, version)["details"]["coding"]
            assert answer.json()["meta"]["profile"] == [address]
            assert coding["system"] == "https://fhir.nhs.uk/STU3/CodeSystem/Spine-ErrorOrWarningCode-1"
            assert (coding["code"], bool(coding["display"])) == ("NO_RECORD_FOUND", True)


@pytest.mark.parametrize("release", ["3.0.1", "3.0.2"])
@pytest.mark.blocking_allowed
@pytest.mark.requirement("ROW-19", "CC-50")
async def test_row_19_the_release_of_stu3(release: str, tmp_path: Path) -> None:
    async with composed(tmp_path, **({} if release == "3.0.1" else {"rules": {"stu3_fhir_version": release}})) as at:
        statement = resource(await at.ask("/STU3/metadata"), "CapabilityStatement", Version.STU3)
        assert statement["fhirVersion"] == release
        other = resource(await at.ask("/R4/metadata"), "CapabilityStatement", Version.R4)
        assert other["fhirVersion"] == "4.0.1"


@every_version
@pytest.mark.requirement("ROW-20", "GP-09")
async def test_row_20_the_largest_document(version: Version) -> None:
    size = len(LETTER.data)
    for limit, status in ((None, 200), (size, 200), (size - 1, 404)):
        async with letters(profile=rules(max_document=limit)) as at:
            for method in ("GET", "HEAD"):
                for query in ("", "?_format=json"):
                    answer = await at.ask(f"/{version.name}/Binary/letter{query}", method=method)
                    assert answer.status == status
            part = await at.ask(f"/{version.name}/Binary/letter", Range="bytes=0-0")
            assert part.status == (206 if status == 200 else 404)
            if status == 404:
                codes = [coding["code"] for coding in outcome(part, version)["details"]["coding"]]
                assert "NO_RECORD_FOUND" in codes


@pytest.mark.requirement("ROW-21", "GP-49", "SV-64")
async def test_row_21_caching() -> None:
    for value in (DEFAULT.cache_control, "private, no-cache, no-transform"):
        async with letters(profile=rules(cache_control=value)) as at:
            for target in ("Binary/letter", "Binary/letter?_format=json", "Binary/none", "metadata"):
                assert (await at.ask(f"/R4/{target}")).field("Cache-Control") == value
            assert (await at.ask("/R4/Binary/letter")).field("ETag")
    assert DEFAULT.cache_control == "no-store"


@pytest.mark.parametrize("status", [406, 415])
@pytest.mark.requirement("ROW-22", "FR-80", "CG-04", "GP-44")
async def test_row_22_accept_that_cannot_be_met(status: Any) -> None:
    assert DEFAULT.not_acceptable == 406
    profile = rules(not_acceptable=status)
    assert await form(profile, "image/png") == status
    assert await form(profile, "application/fhir+json;fhirVersion=4.0") == status
    async with letters(profile=profile) as at:
        assert (await at.ask("/R4/metadata", Accept="image/png")).status == status


# --- the named profiles as a whole ----------------------------------------------------------------------------------


def _kind(answer: Answer) -> str | int:
    kinds = {FHIR_JSON: "json", FHIR_XML: "xml"}
    return kinds.get(answer.field("Content-Type") or "", "native") if answer.status == 200 else answer.status


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("care-connect", ["native", "native", "json", "native", 406, 406, "native", "xml"]),
        ("gp-connect", ["json", "json", "json", 415, 415, 415, 415, "xml"]),
        ("nrl", ["native", "native", 415, "native", 415, 415, "native", 415]),
    ],
)
@pytest.mark.blocking_allowed
@pytest.mark.requirement("ROW-1", "ROW-2", "ROW-3", "ROW-4", "ROW-5", "ROW-22", "GP-06", "GP-43", "NR-08")
async def test_a_profile_is_chosen_by_name(name: str, expected: list[str | int], tmp_path: Path) -> None:
    requests: list[tuple[str, str | None]] = [
        ("", None),
        ("", "*/*"),
        ("", "application/fhir+json"),
        ("", "text/plain"),
        ("", "image/png"),
        ("?_format=banana", None),
        ("", "text/html, text/*;q=0.5"),
        ("?_format=xml", None),
    ]
    async with composed(tmp_path, profile=name) as at:
        answers = [
            await at.ask(f"/STU3/Binary/letter{query}", **({} if accept is None else {"Accept": accept}))
            for query, accept in requests
        ]
        assert [_kind(answer) for answer in answers] == expected
