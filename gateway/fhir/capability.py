"""CapabilityStatement: what one base offers, and nothing that is switched off (https://hl7.org/fhir/R4/capabilitystatement.html).

The statement follows from `CapabilityFacts`, which the composition root fills from the settings; equal facts give equal
bytes and an equal ETag on every replica. Through fhir.resources, so await `prepare` before `render` on an event loop.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from gateway.fhir import Version, models
from gateway.protocol.negotiation import Format

CARE_CONNECT_REQUIREMENTS = (
    "https://fhir.nhs.uk/STU3/CapabilityStatement/CareConnect-Documents-ServerRequirements-CapabilityStatement-1"
)
"""What a server of the Care Connect Documents API instantiates (CC-37); an STU3 statement."""

STATEMENT_DATE = "2026-11-22"
"""The day on which the wording of the statement last changed. Not the day of a build: replicas must agree."""

KEPT_STATEMENTS = 32
"""Rendered statements kept, of about 2 KiB: every version, format and layout, over some reloads."""

_SECURITY_SERVICES = {
    Version.STU3: "http://hl7.org/fhir/restful-security-service",
    Version.R4: "http://terminology.hl7.org/CodeSystem/restful-security-service",
}

AcceptUnknown = Literal["no", "extensions", "elements", "both"]
SecurityService = Literal["OAuth", "SMART-on-FHIR", "NTLM", "Basic", "Kerberos", "Certificates"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CapabilityFacts:
    """What is true of one base.

    `base_url` is its absolute URL, None when only the client knows it. `security` says in a sentence how access is
    controlled, `services` by which of FHIR's codes. `versioned`: documents have a versionId, so that the current
    version can be read by it. `fhir_version` is None for that of the base. `accept_unknown` and `instantiates` go out
    on STU3 only: the first does not exist on R4, the second names an STU3 statement.
    """

    software_version: str
    security: str
    versioned: bool
    base_url: str | None = None
    fhir_version: str | None = None
    publisher: str | None = None
    description: str = "Read-only access to the documents of an archive"
    services: tuple[SecurityService, ...] = ()
    cors: bool = False
    accept_unknown: AcceptUnknown = "no"
    instantiates: tuple[str, ...] = ()
    date: str = STATEMENT_DATE


async def prepare() -> None:
    """Load what `render` needs without blocking the event loop; afterwards this returns at once."""
    await models.prepare(_warm_up)


def _warm_up() -> None:
    # Every element that a statement can have: fhir.resources reads the module of a data type when it first meets one.
    facts = CapabilityFacts(software_version="0", security="none", versioned=True, services=("OAuth",))
    for version in Version:
        for format in Format:
            render(version, format, facts)


@lru_cache(maxsize=KEPT_STATEMENTS)
def render(version: Version, format: Format, facts: CapabilityFacts, *, pretty: bool = False) -> bytes:
    """The statement in UTF-8. Raises `pydantic.ValidationError` when a fact is not what FHIR allows, such as a URL."""
    return models.serialise(_body(version, facts), version, format, pretty=pretty)


@lru_cache(maxsize=KEPT_STATEMENTS)
def etag(version: Version, facts: CapabilityFacts) -> str:
    """The ETag field of the statement, the same for every format and layout, hence weak (FR-171)."""
    text = json.dumps(_body(version, facts), sort_keys=True)
    return f'W/"{hashlib.sha256(text.encode()).hexdigest()[:16]}"'


def _body(version: Version, facts: CapabilityFacts) -> dict[str, Any]:
    implementation = {"description": facts.description}
    body: dict[str, Any] = {
        "resourceType": "CapabilityStatement",
        "version": facts.software_version,
        "name": "FhirDocumentGateway",
        "title": "FHIR document gateway",
        "status": "active",
        "experimental": False,
        "date": facts.date,
        "kind": "instance",
        "software": {"name": "FHIR document gateway", "version": facts.software_version},
        "implementation": implementation,
        "fhirVersion": facts.fhir_version or version.fhir_version,
        "format": ["application/fhir+json", "application/fhir+xml"],
        "rest": [{"mode": "server", "security": _security(version, facts), "resource": [_binary(facts)]}],
    }
    if facts.publisher is not None:
        body["publisher"] = facts.publisher
    if facts.base_url is not None:
        body["url"] = f"{facts.base_url}/metadata"
        implementation["url"] = facts.base_url
    if version is Version.STU3:
        body["acceptUnknown"] = facts.accept_unknown
        if facts.instantiates:
            body["instantiates"] = list(facts.instantiates)
    return body


def _security(version: Version, facts: CapabilityFacts) -> dict[str, Any]:
    security: dict[str, Any] = {"cors": facts.cors, "description": facts.security}
    if facts.services:
        system = _SECURITY_SERVICES[version]
        security["service"] = [{"coding": [{"system": system, "code": code}]} for code in facts.services]
    return security


def _binary(facts: CapabilityFacts) -> dict[str, Any]:
    """What is offered on Binary. No search: FHIR defines none for it (FR-37). No history: none is kept (FR-32)."""
    return {
        "type": "Binary",
        "documentation": "A document as it is stored, bit for bit, or as a Binary resource when a FHIR format is asked "
        "for.",
        "interaction": [{"code": "read"}, {"code": "vread"}] if facts.versioned else [{"code": "read"}],
        "versioning": "versioned" if facts.versioned else "no-version",
        "readHistory": False,
        "conditionalRead": "full-support" if facts.versioned else "modified-since",
    }
