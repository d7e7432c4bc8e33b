"""CapabilityStatement: valid per version, by the models and by FHIR's own invariants, and true to the facts."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pydantic
import pytest
from fhir.resources.R4B.capabilitystatement import CapabilityStatement as StatementR4
from fhir.resources.STU3.capabilitystatement import CapabilityStatement as StatementSTU3
from lxml import etree

from gateway.fhir import Version, capability
from gateway.fhir.capability import CARE_CONNECT_REQUIREMENTS, CapabilityFacts
from gateway.protocol.negotiation import Format

MODELS: dict[Version, Any] = {Version.STU3: StatementSTU3, Version.R4: StatementR4}

LEAST = CapabilityFacts(software_version="1.2.3", security="No access control.", versioned=False)
MOST = CapabilityFacts(
    software_version="1.2.3",
    security="Signed tokens are demanded.",
    versioned=True,
    base_url="https://letters.trust.test/fhir",
    description='Letters & scans "since 1987"',
    services=("OAuth", "SMART-on-FHIR"),
    cors=True,
    instantiates=(CARE_CONNECT_REQUIREMENTS,),
)

# https://hl7.org/fhir/R4/datatypes.html#dateTime
DATE_TIME = re.compile(
    r"\d{4}(-(0[1-9]|1[0-2])(-(0[1-9]|[12]\d|3[01])(T([01]\d|2[0-3]):[0-5]\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d))?)?)?"
)

every_version = pytest.mark.parametrize("version", Version, ids=lambda version: version.name)
every_format = pytest.mark.parametrize("format", Format, ids=lambda format: format.name)
both_facts = pytest.mark.parametrize("facts", [LEAST, MOST], ids=["least", "most"])


def statement(version: Version, facts: CapabilityFacts, format: Format = Format.JSON) -> dict[str, Any]:
    """The rendered statement as JSON values, read by the model of its version (unknown elements are refused there)."""
    body = capability.render(version, format, facts)
    model = MODELS[version]
    resource = model.model_validate_json(body) if format is Format.JSON else model.model_validate_xml(body)
    value: dict[str, Any] = json.loads(resource.model_dump_json())
    return value


def broken_invariants(value: dict[str, Any], version: Version) -> list[str]:
    """Invariants of CapabilityStatement that `value` breaks; fhir.resources enforces none of them.

    https://hl7.org/fhir/STU3/capabilitystatement.html and /R4/ (section "Constraints").
    """
    rests = value.get("rest", [])
    resources = [resource for rest in rests for resource in rest.get("resource", [])]
    types = [resource["type"] for resource in resources]
    kind, has = value["kind"], value.keys()
    holds = {
        "cpb-1": bool(has & {"rest", "messaging", "document"}),
        "cpb-2": bool(has & {"description", "software", "implementation"}),
        "cpb-3": "messaging" not in has or kind == "instance",
        "cpb-8": len({rest["mode"] for rest in rests}) == len(rests),
        "cpb-9": len(set(types)) == len(types),
        "cpb-12": all(
            len({parameter["name"] for parameter in resource.get("searchParam", [])})
            == len(resource.get("searchParam", []))
            for resource in resources
        ),
    }
    if version is Version.R4:
        holds |= {
            "cpb-0": re.fullmatch("[A-Z][A-Za-z0-9_]{0,254}", value.get("name", "")) is not None,
            "cpb-14": kind != "instance" or "implementation" in has,
            "cpb-15": kind != "capability" or ("implementation" not in has and "software" in has),
            "cpb-16": kind != "requirements" or not has & {"implementation", "software"},
        }
    else:
        holds |= {
            "cpb-14": kind != "requirements" or not has & {"software", "implementation"},
            "cpb-15": kind != "capability" or "implementation" not in has,
        }
    return [name for name, satisfied in holds.items() if not satisfied]


@every_version
@every_format
@both_facts
@pytest.mark.requirement("CC-35", "FR-179", "FR-182")
def test_it_is_valid_in_its_version(version: Version, format: Format, facts: CapabilityFacts) -> None:
    value = statement(version, facts, format)
    assert broken_invariants(value, version) == []
    assert value == statement(version, facts)


def test_the_check_of_invariants_can_fail() -> None:
    value = statement(Version.R4, LEAST)
    assert broken_invariants(value | {"kind": "requirements"}, Version.R4) == ["cpb-16"]
    assert broken_invariants({**value, "rest": value["rest"] * 2}, Version.R4) == ["cpb-8", "cpb-9"]
    del value["implementation"]
    assert broken_invariants(value, Version.R4) == ["cpb-14"]


@pytest.mark.requirement("FR-175", "FR-176", "FR-177", "FR-178", "CC-38", "CC-39", "CC-41")
def test_stu3_has_what_stu3_demands() -> None:
    value = statement(Version.STU3, MOST)
    assert value["fhirVersion"] == "3.0.1"
    assert value["acceptUnknown"] == "no"
    assert value["kind"] == "instance"
    assert set(value["format"]) == {"application/fhir+json", "application/fhir+xml"}
    assert value["software"] == {"name": "FHIR document gateway", "version": "1.2.3"}
    assert value["implementation"]["description"]
    [rest] = value["rest"]
    assert rest["mode"] == "server"
    assert {"code": "read"} in rest["resource"][0]["interaction"]


@pytest.mark.requirement("CC-36", "CC-37", "FR-184")
def test_stu3_names_the_care_connect_requirements_when_it_meets_them() -> None:
    assert statement(Version.STU3, MOST)["instantiates"] == [CARE_CONNECT_REQUIREMENTS]
    assert "instantiates" not in statement(Version.STU3, LEAST)


@pytest.mark.requirement("FR-180", "FR-181")
def test_r4_has_what_r4_demands_and_nothing_of_stu3() -> None:
    value = statement(Version.R4, MOST)
    assert value["fhirVersion"] == "4.0.1"
    assert not value.keys() & {"acceptUnknown", "instantiates", "profile"}


@every_version
@pytest.mark.requirement("CC-40")
def test_the_date_is_a_fhir_date_time_and_not_that_of_today(version: Version) -> None:
    text = json.loads(capability.render(version, Format.JSON, LEAST))["date"]
    assert DATE_TIME.fullmatch(text)
    assert text == capability.STATEMENT_DATE


@every_version
@pytest.mark.requirement("FR-37", "FR-47", "FR-183")
def test_binary_is_offered_as_it_is_served(version: Version) -> None:
    [resource] = statement(version, MOST)["rest"][0]["resource"]
    del resource["documentation"]
    assert resource == {
        "type": "Binary",
        "interaction": [{"code": "read"}, {"code": "vread"}],
        "versioning": "versioned",
        "readHistory": False,
        "conditionalRead": "full-support",
    }


@every_version
@pytest.mark.requirement("FR-28", "FR-47")
def test_without_versions_nothing_that_needs_them_is_offered(version: Version) -> None:
    [resource] = statement(version, LEAST)["rest"][0]["resource"]
    assert resource["interaction"] == [{"code": "read"}]
    assert resource["versioning"] == "no-version"
    assert resource["conditionalRead"] == "modified-since"


@every_version
@pytest.mark.requirement("FR-185")
def test_security_is_described_as_it_is(version: Version) -> None:
    host = "http://hl7.org/fhir" if version is Version.STU3 else "http://terminology.hl7.org/CodeSystem"
    system = f"{host}/restful-security-service"
    assert statement(version, LEAST)["rest"][0]["security"] == {"cors": False, "description": "No access control."}
    assert statement(version, MOST)["rest"][0]["security"] == {
        "cors": True,
        "service": [{"coding": [{"system": system, "code": code}]} for code in ("OAuth", "SMART-on-FHIR")],
        "description": "Signed tokens are demanded.",
    }


@every_version
def test_its_own_address_is_stated_only_when_it_is_known(version: Version) -> None:
    known, unknown = statement(version, MOST), statement(version, LEAST)
    assert known["url"] == "https://letters.trust.test/fhir/metadata"
    assert known["implementation"]["url"] == "https://letters.trust.test/fhir"
    assert "url" not in unknown.keys() | unknown["implementation"].keys()


def test_a_profile_may_say_another_errata_release_and_another_tolerance() -> None:
    value = statement(Version.STU3, replace(LEAST, fhir_version="3.0.2", accept_unknown="both"))
    assert (value["fhirVersion"], value["acceptUnknown"]) == ("3.0.2", "both")


@pytest.mark.requirement("FR-171")
def test_the_etag_changes_with_the_statement_and_with_nothing_else() -> None:
    tags = {
        capability.etag(version, facts)
        for version in Version
        for facts in (LEAST, MOST, replace(LEAST, software_version="1.2.4"), replace(LEAST, cors=True))
    }
    assert len(tags) == 8
    assert all(re.fullmatch(r'W/"[0-9a-f]{16}"', tag) for tag in tags)
    assert capability.etag(Version.R4, replace(LEAST)) == capability.etag(Version.R4, LEAST)


@every_version
def test_pretty_changes_the_layout_only(version: Version) -> None:
    pretty = capability.render(version, Format.JSON, MOST, pretty=True)
    assert json.loads(pretty) == json.loads(capability.render(version, Format.JSON, MOST))
    assert b"\n  " in pretty
    root = etree.fromstring(capability.render(version, Format.XML, MOST, pretty=True))
    assert root.tag == "{http://hl7.org/fhir}CapabilityStatement"


def test_a_fact_that_fhir_does_not_allow_is_refused() -> None:
    with pytest.raises(pydantic.ValidationError):
        capability.render(Version.R4, Format.JSON, replace(LEAST, date="2019-02-057"))


async def test_it_is_ready_after_prepare() -> None:
    await capability.prepare()
    assert capability.render(Version.R4, Format.JSON, LEAST)
