"""The CapabilityStatement as it is served (requirements 1.2 and 3.9): of a fixed gateway, and of a configured one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from gateway import __version__
from gateway.fhir import Version
from gateway.fhir.capability import CARE_CONNECT_REQUIREMENTS
from gateway.protocol.negotiation import Format
from gateway.settings import SettingsError
from tests.integration.archive import (
    FHIR_JSON,
    FHIR_XML,
    composed,
    every_format,
    every_version,
    letters,
    outcome,
    resource,
)

PUBLIC_URL = "https://documents.trust.test/fhir"

# https://hl7.org/fhir/R4/datatypes.html#dateTime
DATE_TIME = re.compile(
    r"\d{4}(-(0[1-9]|1[0-2])(-(0[1-9]|[12]\d|3[01])(T([01]\d|2[0-3]):[0-5]\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d))?)?)?"
)


@every_version
@every_format
@pytest.mark.requirement("CC-30", "CC-35", "CC-40", "CC-50", "CC-51", "CC-52", "CC-55", "FR-170", "FR-206")
async def test_the_statement_is_valid_and_says_what_is_offered(version: Version, format: Format) -> None:
    async with letters() as at:
        for target, headers in (
            (f"/{version.name}/metadata", {"Accept": format.media_type}),
            (f"/{version.name}/metadata?_format={format.name.lower()}", {}),
            (f"/{version.name}/metadata?_format={format.name.lower()}", {"Accept": "application/pdf"}),
        ):
            answer = await at.ask(target, **headers)
            assert answer.status == 200
            value = resource(answer, "CapabilityStatement", version, format)
            assert value["fhirVersion"] == version.fhir_version
            assert DATE_TIME.fullmatch(value["date"])
            assert {"application/fhir+json", "application/fhir+xml"} == set(value["format"])
            (rest,) = value["rest"]
            assert rest["mode"] == "server"
            (offered,) = rest["resource"]
            assert offered["type"] == "Binary"
            assert {"read", "vread"} == {one["code"] for one in offered["interaction"]}
            assert not rest.keys() & {"operation", "searchParam", "interaction"}
            assert not offered.keys() & {"operation", "searchParam"}


@pytest.mark.blocking_allowed
@pytest.mark.requirement("CC-35", "CC-36", "CC-37", "CC-38", "CC-39", "CC-41", "CC-53", "FR-175", "FR-176", "FR-177")
@pytest.mark.requirement("FR-178", "FR-179", "FR-180", "FR-183", "FR-184")
async def test_the_stu3_statement_meets_the_requirements_of_care_connect(tmp_path: Path) -> None:
    async with composed(tmp_path) as at:
        value = resource(await at.ask("/STU3/metadata"), "CapabilityStatement", Version.STU3)
    assert value["instantiates"] == [CARE_CONNECT_REQUIREMENTS]
    # What the requirements statement of version 0.2 fixes: all of it but its kind and its status.
    assert (value["fhirVersion"], value["acceptUnknown"]) == ("3.0.1", "no")
    assert set(value["format"]) == {"application/fhir+xml", "application/fhir+json"}
    (rest,) = value["rest"]
    (offered,) = rest["resource"]
    assert (rest["mode"], offered["type"]) == ("server", "Binary")
    assert {"code": "read"} in offered["interaction"]
    # An instance may name software and implementation, a list of requirements may not (cpb-2, cpb-14).
    assert value["kind"] == "instance"
    assert value["software"] == {"name": "FHIR document gateway", "version": __version__}
    assert value["implementation"]["description"]
    assert (offered["versioning"], offered["readHistory"]) == ("versioned", False)
    assert "profile" not in value


@pytest.mark.blocking_allowed
@pytest.mark.requirement("CC-36", "FR-180", "FR-181", "FR-182", "FR-187")
async def test_the_r4_statement_has_nothing_that_only_stu3_has(tmp_path: Path) -> None:
    async with composed(tmp_path) as at:
        value = resource(await at.ask("/R4/metadata"), "CapabilityStatement", Version.R4)
    assert value["fhirVersion"] == "4.0.1"
    assert not value.keys() & {"acceptUnknown", "profile"}
    # Those requirements are written for STU3.
    assert "instantiates" not in value
    assert (value["kind"], bool(value["implementation"]["description"])) == ("instance", True)


@every_version
@pytest.mark.blocking_allowed
@pytest.mark.requirement("FR-05", "FR-142")
async def test_the_declared_base_has_no_trailing_slash_and_comes_from_the_settings(
    version: Version, tmp_path: Path
) -> None:
    async with composed(tmp_path, public_url=PUBLIC_URL) as at:
        answer = await at.ask(f"/{version.name}/metadata", X_Forwarded_Host="evil.test", X_Forwarded_Proto="http")
        value = resource(answer, "CapabilityStatement", version)
        assert value["implementation"]["url"] == f"{PUBLIC_URL}/{version.name}"
        assert value["url"] == f"{PUBLIC_URL}/{version.name}/metadata"


@pytest.mark.parametrize("given", [{"public_url": PUBLIC_URL + "/"}, {"bases": {"R4": "/R4/"}}])
@pytest.mark.blocking_allowed
@pytest.mark.requirement("FR-05")
async def test_a_base_with_a_trailing_slash_cannot_be_configured(given: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"public_url|bases"):
        async with composed(tmp_path, **given):
            pass


@pytest.mark.requirement("CC-32", "CC-34", "FR-76")
@every_version
async def test_every_usual_way_to_ask_works(version: Version) -> None:
    ways: dict[str | None, str] = {
        None: FHIR_JSON,
        "*/*": FHIR_JSON,
        "application/fhir+json": FHIR_JSON,
        "application/fhir+xml": FHIR_XML,
        "application/json": FHIR_JSON,
        "text/xml": FHIR_XML,
        "application/xml+fhir": FHIR_XML,
        "application/fhir+xml;q=0.5, application/fhir+json;q=0.4": FHIR_XML,
    }
    async with letters() as at:
        for target in (f"/{version.name}/metadata", f"/{version.name}/metadata?"):
            for accept, content_type in ways.items():
                answer = await at.ask(target, **({} if accept is None else {"Accept": accept}))
                assert (answer.status, answer.field("Content-Type")) == (200, content_type)
        for accept in ("application/pdf", "text/turtle", "image/*"):
            refused = await at.ask(f"/{version.name}/metadata", Accept=accept)
            assert refused.status == 406
            outcome(refused, version)


@every_version
@pytest.mark.blocking_allowed
@pytest.mark.requirement("FR-171", "FR-41")
async def test_the_etag_changes_with_the_statement_and_only_with_it(version: Version, tmp_path: Path) -> None:
    target = f"/{version.name}/metadata"
    async with composed(tmp_path, description="The archive of the trust") as at:
        etag = (await at.ask(target)).field("ETag") or ""
        assert etag.startswith('W/"')
        for query in ("?_format=xml", "?_pretty=true"):
            assert (await at.ask(target + query)).field("ETag") == etag
        for method in ("GET", "HEAD"):
            again = await at.ask(target, method=method, If_None_Match=etag)
            assert (again.status, again.body, again.field("ETag")) == (304, b"", etag)
            assert again.field("Content-Type") is None
        assert (await at.ask(target, If_None_Match='W/"x"')).status == 200
        assert (await at.ask(target, If_Match='"x"')).status == 412
    async with composed(tmp_path, description="The archive of the trust") as at:
        assert (await at.ask(target)).field("ETag") == etag
    async with composed(tmp_path, description="Another archive") as at:
        assert (await at.ask(target, If_None_Match=etag)).status == 200


@pytest.mark.requirement("FR-173")
async def test_every_mode_gets_the_full_statement() -> None:
    async with letters() as at:
        plain = await at.ask("/R4/metadata")
        for mode in ("full", "normative", "terminology", "banana"):
            assert (await at.ask(f"/R4/metadata?mode={mode}")).body == plain.body


@every_version
@pytest.mark.requirement("FR-174", "FR-87", "FR-89")
async def test_the_version_asked_for_must_be_that_of_the_base(version: Version) -> None:
    (other,) = set(Version) - {version}
    async with letters() as at:
        for format in Format:
            accept = f"{format.media_type}; fhirVersion="
            assert (await at.ask(f"/{version.name}/metadata", Accept=accept + version.mime)).status == 200
            refused = await at.ask(f"/{version.name}/metadata", Accept=accept + other.mime)
            assert refused.status == 406
            outcome(refused, version, format)


@every_version
@pytest.mark.blocking_allowed
@pytest.mark.requirement("FR-185")
async def test_the_statement_says_how_access_is_controlled(version: Version, tmp_path: Path) -> None:
    async with composed(tmp_path) as at:
        value = resource(await at.ask(f"/{version.name}/metadata"), "CapabilityStatement", version)
    security = value["rest"][0]["security"]
    assert security["cors"] is False
    assert "No authentication" in security["description"]
    assert "extension" not in security


@pytest.mark.blocking_allowed
@pytest.mark.requirement("CC-55")
async def test_a_version_that_is_not_configured_has_no_base(tmp_path: Path) -> None:
    async with composed(tmp_path, bases={"STU3": "/documents"}) as at:
        value = resource(await at.ask("/documents/metadata"), "CapabilityStatement", Version.STU3)
        assert value["fhirVersion"] == "3.0.1"
        assert (await at.ask("/R4/metadata")).status == (await at.ask("/STU3/metadata")).status == 404
