"""Which form of a document is sent: `_format` and Accept on the wire (requirements 1.1 and 3.4).

Each row of the tables is one request; what `negotiation` decides in every detail is for its own tests.
"""

from __future__ import annotations

from typing import Any

import pytest

from gateway.fhir import Version
from gateway.protocol.negotiation import Format
from tests.integration.archive import (
    FHIR_JSON,
    FHIR_XML,
    LETTER,
    STORED,
    binary,
    every_version,
    letters,
    outcome,
)
from tests.support.raw_http import Answer

requirement = pytest.mark.requirement

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"


def form(answer: Answer, id: str, version: Version = Version.R4) -> str | int:
    """ "native", "json" or "xml" of a 200 whose body truly is that; else the status of a proper refusal."""
    if answer.status != 200:
        assert outcome(answer, version, _error_format(answer))["code"] in ("not-supported", "invalid")
        return answer.status
    if answer.field("Content-Type") == STORED[id].media_type:
        assert answer.body == STORED[id].data
        return "native"
    format = _error_format(answer)
    assert binary(answer, version, format)["bytes"] == STORED[id].data
    return format.name.lower()


def _error_format(answer: Answer) -> Format:
    return {FHIR_JSON: Format.JSON, FHIR_XML: Format.XML}[answer.field("Content-Type") or ""]


def case(accept: str | None, expected: str | int, mark: Any, *, id: str = "letter", query: str = "") -> Any:
    name = f"{accept} {query}{'' if id == 'letter' else ' of ' + id}".strip()
    return pytest.param(accept, query, id, expected, marks=mark, id=name)


@pytest.mark.parametrize(
    ("accept", "query", "id", "expected"),
    [
        # The FHIR types, in any case, with parameters, and as they were called before STU3.
        case("application/fhir+json", "json", requirement("CC-06", "CC-13", "FR-60", "FR-61", "CC-52")),
        case("application/fhir+xml", "xml", requirement("CC-06", "CC-13", "FR-60", "FR-61", "CC-52")),
        case("application/fhir+JSON", "json", requirement("CC-07")),
        case("APPLICATION/FHIR+XML", "xml", requirement("CC-07")),
        case("application/fhir+json; charset=utf-8", "json", requirement("FR-86")),
        case("application/fhir+xml;charset=UTF-8;q=0.9", "xml", requirement("FR-86")),
        case("application/json+fhir", "json", requirement("FR-62", "CG-06")),
        case("application/xml+fhir", "xml", requirement("FR-62", "CG-06")),
        # The stored type, which is never refused, whatever a strict reading of Care Connect's line 61 would be.
        case("application/pdf", "native", requirement("CC-10", "CC-26", "FR-79")),
        case("Application/PDF", "native", requirement("CC-07", "CC-10")),
        case("application/pdf; fhirVersion=4.0", "native", requirement("FR-86")),
        case("text/plain;charset=utf-8", "native", requirement("FR-86", "CC-10"), id="note"),
        case("image/*", "native", requirement("CC-10"), id="picture"),
        # Weights.
        case("application/fhir+json;q=0.5, application/fhir+xml", "xml", requirement("FR-73")),
        case("application/fhir+json, application/fhir+xml;q=0.5", "json", requirement("FR-73")),
        case("application/pdf;q=0.1, application/fhir+json;q=0.2", "json", requirement("FR-73")),
        case("application/pdf;q=0, application/fhir+json;q=0.1", "json", requirement("FR-73")),
        case("application/pdf;q=0, */*", 406, requirement("FR-73", "FR-80")),
        case("application/pdf;q=0.1, */*;q=0.9", "native", requirement("FR-73")),
        case("image/png;q=0, image/*", 406, requirement("FR-73", "FR-80"), id="picture"),
        case("application/pdf;q=1, application/fhir+json;q=0.1", "native", requirement("FR-74")),
        # Browsers, and types that others share.
        case(BROWSER, "native", requirement("FR-75", "CC-09")),
        case(BROWSER, "native", requirement("FR-75"), id="page"),
        case(BROWSER, "native", requirement("FR-75"), id="bundle"),
        case("application/json", "native", requirement("FR-76"), id="result"),
        case("application/xml", "native", requirement("FR-76"), id="cda"),
        case("application/json", 406, requirement("FR-76", "FR-80")),
        case("text/xml", 406, requirement("FR-76", "FR-80")),
        # A document that is itself FHIR.
        case("application/fhir+json", "json", requirement("FR-77"), id="bundle"),
        case("application/fhir+xml", "xml", requirement("FR-77"), id="composition"),
        case("application/fhir+xml", "xml", requirement("FR-77"), id="bundle"),
        case("*/*", "native", requirement("FR-77", "CC-09"), id="bundle"),
        # What cannot be met.
        case("image/png", 406, requirement("CC-27", "FR-79", "FR-80", "FR-254")),
        case("text/turtle", 406, requirement("FR-61", "FR-80")),
        case("application/fhir+turtle", 406, requirement("FR-61", "FR-80")),
        # _format, alone and against Accept.
        case("application/fhir+xml", "json", requirement("CC-14", "FR-67"), query="_format=json"),
        case("application/fhir+json", "xml", requirement("CC-14", "FR-67"), query="_format=xml"),
        case("application/pdf", "json", requirement("CC-14", "FR-67"), query="_format=json"),
        case("image/png", "xml", requirement("FR-67"), query="_format=xml"),
        case("*/*", "xml", requirement("FR-67"), query="_format=xml"),
        case("application/fhir+json", 406, requirement("FR-71"), query="_format=banana"),
        case(None, 406, requirement("FR-71"), query="_format=application/pdf"),
        case(None, 406, requirement("FR-71", "FR-65"), query="_format=ttl"),
        case(None, 406, requirement("FR-71", "FR-65"), query="_format=text/turtle"),
        case(None, 406, requirement("FR-71", "FR-65"), query="_format=html"),
        case(None, 406, requirement("FR-71", "FR-65"), query="_format=text/html"),
        # An empty value states nothing.
        case(None, "native", requirement("FR-72"), query="_format="),
    ],
)
async def test_the_form(accept: str | None, query: str, id: str, expected: str | int) -> None:
    headers = {} if accept is None else {"Accept": accept}
    async with letters() as at:
        for version in Version:
            answer = await at.ask(f"/{version.name}/Binary/{id}{'?' if query else ''}{query}", **headers)
            assert form(answer, id, version) == expected


@every_version
@pytest.mark.requirement("CC-12", "FR-63", "FR-64", "FR-66", "FR-69", "FR-70")
async def test_every_spelling_of_format_names_its_format(version: Version) -> None:
    spellings = {
        "json": ("json", "application/json", "application/fhir+json", "application/fhir%2Bjson",
                 "application/fhir%20json", "application%2Ffhir+json", "text/json", "application/json+fhir", "JSON"),
        "xml": ("xml", "text/xml", "application/xml", "application/fhir+xml", "application/fhir%2Bxml",
                "application/fhir%20xml", "application/xml+fhir", "application/fhir+xml;charset=utf-8"),
    }  # fmt: skip
    async with letters() as at:
        for expected, names in spellings.items():
            for name in names:
                for id in ("letter", "bundle", "result"):
                    answer = await at.ask(f"/{version.name}/Binary/{id}?_format={name}")
                    assert form(answer, id, version) == expected, name


@pytest.mark.requirement("CC-14", "FR-67", "GP-05")
async def test_format_decides_though_a_request_states_a_content_type() -> None:
    async with letters() as at:
        for media_type in ("application/fhir+xml", "application/pdf", "nonsense"):
            answer = await at.ask("/STU3/Binary/letter?_format=json", Content_Type=media_type)
            assert form(answer, "letter", Version.STU3) == "json"
            answer = await at.ask("/STU3/Binary/letter", Content_Type=media_type)
            assert form(answer, "letter", Version.STU3) == "native"


@pytest.mark.parametrize(
    ("base", "accept", "query", "expected"),
    [
        ("STU3", "application/fhir+json; fhirVersion=3.0", "", "json"),
        ("R4", "application/fhir+xml;fhirVersion=4.0", "", "xml"),
        ("R4", None, "_format=application/fhir%2Bjson;fhirVersion=4.0", "json"),
        ("STU3", "application/fhir+json; fhirVersion=4.0", "", 406),
        ("R4", "application/fhir+json; fhirVersion=3.0", "", 406),
        ("R4", "application/fhir+json; fhirVersion=1.0", "", 406),
        ("R4", None, "_format=application/fhir%2Bxml;fhirVersion=3.0", 406),
        ("R4", "application/fhir+json; fhirVersion=3.0, application/fhir+json; fhirVersion=4.0", "", 400),
        ("R4", "application/fhir+json; fhirVersion=4.0", "_format=application/fhir%2Bjson;fhirVersion=3.0", 400),
    ],
)
@pytest.mark.requirement("FR-87", "FR-88", "FR-89")
async def test_fhir_version_must_be_that_of_the_base(
    base: str, accept: str | None, query: str, expected: str | int
) -> None:
    headers = {} if accept is None else {"Accept": accept}
    async with letters() as at:
        answer = await at.ask(f"/{base}/Binary/letter?{query}", **headers)
        assert form(answer, "letter", Version[base]) == expected


@every_version
@pytest.mark.requirement("FR-83", "FR-84", "FR-85")
async def test_fhir_bodies_state_utf_8_and_stored_ones_only_what_is_known(version: Version) -> None:
    async with letters() as at:
        for format in Format:
            for id in ("letter", "none"):
                answer = await at.ask(f"/{version.name}/Binary/{id}", Accept=format.media_type)
                assert answer.field("Content-Type") == f"{format.media_type};charset=utf-8"
                answer.body.decode("utf-8")
        for id in ("note", "page", "cda", "result"):
            answer = await at.ask(f"/{version.name}/Binary/{id}", Accept_Charset="utf-8")
            assert answer.field("Content-Type") == STORED[id].media_type
            assert answer.body == STORED[id].data


@pytest.mark.requirement("FR-48", "FR-91")
async def test_every_answer_says_that_it_depends_on_accept() -> None:
    async with letters() as at:
        etag = (await at.ask("/R4/Binary/letter")).field("ETag") or ""
        for target, headers, status in (
            ("/R4/Binary/letter", {}, 200),
            ("/R4/Binary/letter", {"Accept": "application/fhir+xml"}, 200),
            ("/R4/Binary/letter", {"Range": "bytes=0-1"}, 206),
            ("/R4/Binary/letter", {"If_None_Match": etag}, 304),
            ("/R4/Binary/letter", {"Accept": "image/png"}, 406),
            ("/R4/Binary/none", {}, 404),
            ("/R4/metadata", {}, 200),
        ):
            answer = await at.ask(target, **headers)
            assert answer.status == status
            assert "accept" in (answer.field("Vary") or "").lower().replace(" ", "").split(",")


async def test_repeated_accept_fields_are_one_list() -> None:
    async with letters() as at:
        answer = await at.ask("/R4/Binary/letter", Accept="application/pdf;q=0\r\nAccept: application/fhir+xml")
        assert form(answer, "letter") == "xml"
        assert LETTER.data not in answer.body
