"""AuditEvent: one record of the audit trail as a FHIR resource.

Shapes: IHE BALP `IHE.BasicAudit.PatientRead` where the patient is known, `IHE.BasicAudit.Read` where not
(https://profiles.ihe.net/ITI/BALP), with the subtype of MHD's Retrieve Document, ITI-68. BALP is R4 only; STU3 says the same
in its own elements (https://hl7.org/fhir/STU3/auditevent.html). A receiver tells duplicates by the entity detail `record`.

Rendered without fhir.resources, which takes a millisecond for each and would take it from readers: a backlog of an hour is
a million of them. The tests put every shape through its models, and the result is the same.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from typing import Any

from gateway.fhir import Version

PROFILES = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit."
ENTITY_TYPES = "https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType"
OWN = "urn:fhir-document-gateway:audit"
NHS_NUMBER = "https://fhir.nhs.uk/Id/nhs-number"
DCM = "http://dicom.nema.org/resources/ontology/DCM"
PARTICIPATION = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"

_ROOT = {Version.R4: "http://terminology.hl7.org/CodeSystem/", Version.STU3: "http://hl7.org/fhir/"}

_ACTIVITIES = {"opened": ("110120", "Application Start"), "closed": ("110121", "Application Stop")}

_DETAILS = (
    "act", "status", "code", "spine", "bytes", "length", "range", "version", "representation", "cache", "ms", "source",
    "began", "correlation",
)  # fmt: skip
"""Fields of a request's record that travel as details of the document's entity."""


def render(
    version: Version, record: str, fields: Mapping[str, Any], sealed: Mapping[str, Any], *, site: str | None
) -> bytes:
    """The AuditEvent in JSON. `record` is the record's id, `sealed` what its sealed field holds."""
    return json.dumps(body(version, record, fields, sealed, site=site), separators=(",", ":")).encode()


def body(
    version: Version, record: str, fields: Mapping[str, Any], sealed: Mapping[str, Any], *, site: str | None
) -> dict[str, Any]:
    """The resource as a dict."""
    if "act" not in fields:
        return _own(version, record, fields, site)
    read = "vread" if fields.get("interaction") == "vread" else "read"
    subtype = [_coding("http://hl7.org/fhir/restful-interaction", read)]
    if fields["event"] in ("completed", "aborted", "unknown"):
        subtype.append(_coding("urn:ihe:event-type-code", "ITI-68", "Retrieve Document"))
    outcome, words = _outcome(fields)
    resource: dict[str, Any] = {
        "resourceType": "AuditEvent",
        "type": _coding(_ROOT[version] + "audit-event-type", "rest", "RESTful Operation"),
        "subtype": subtype,
        "action": "R",
        "recorded": fields["at"],
        "outcome": outcome,
        "outcomeDesc": words,
        "agent": list(_agents(version, fields, sealed, site)),
        "source": _source(version, site),
        "entity": list(_entities(version, record, fields, sealed)),
    }
    if version is Version.R4:
        resource["meta"] = {"profile": [PROFILES + ("PatientRead" if "patient" in sealed else "Read")]}
    return resource


def _own(version: Version, record: str, fields: Mapping[str, Any], site: str | None) -> dict[str, Any]:
    """What the trail says about itself, as Application Activity (DICOM PS3.15 A.5.3.1)."""
    event = str(fields["event"])
    code, display = _ACTIVITIES.get(event, (event, None))
    entity = {
        "type": _coding(_ROOT[version] + "audit-entity-type", "2", "System Object"),
        "role": _coding(_ROOT[version] + "object-role", "13", "Security Resource"),
        "detail": list(_details(version, record, fields, [*fields])),
    }
    return {
        "resourceType": "AuditEvent",
        "type": _coding(DCM, "110100", "Application Activity"),
        "subtype": [_coding(DCM if event in _ACTIVITIES else OWN, code, display)],
        "action": "E",
        "recorded": fields["at"],
        "outcome": "8" if event == "gap" else "0",
        "agent": [_agent(version, DCM, "110150", "Application", _name(site), requestor=False)],
        "source": _source(version, site),
        "entity": [entity | _what(version, record)],
    }


def _outcome(fields: Mapping[str, Any]) -> tuple[str, str]:
    """FHIR's outcome (0 success, 4 minor failure, 8 serious failure) and a sentence."""
    match fields["event"]:
        case "completed":
            return "0", f"{fields.get('bytes')} bytes were handed over"
        case "looked":
            return "0", "facts were given, no document"
        case "aborted":
            return "4", f"broken off after {fields.get('bytes')} bytes ({fields.get('code')})"
        case "unknown":
            return "4", "the gateway was ended before it could say whether the document arrived; take it for disclosed"
    return "8" if int(fields.get("status", 500)) >= 500 else "4", f"refused: {fields.get('code')}"


def _agents(
    version: Version, fields: Mapping[str, Any], sealed: Mapping[str, Any], site: str | None
) -> Iterator[dict[str, Any]]:
    user = fields.get("auth") != "none"
    client = str(sealed.get("client", fields.get("client")))
    address = {"address": str(sealed.get("address", "unknown")), "type": "2"}
    yield _agent(version, DCM, "110152", "Destination Role ID", client, requestor=not user, network=address)
    server = {"address": _name(site), "type": "1"}
    yield _agent(version, DCM, "110153", "Source Role ID", _name(site), requestor=False, network=server)
    if user:
        subject = str(sealed.get("subject", fields.get("subject")))
        yield _agent(version, PARTICIPATION, "IRCP", "information recipient", subject, requestor=True)


def _agent(version: Version, system: str, code: str, display: str, who: str, **more: Any) -> dict[str, Any]:
    kind = {"coding": [_coding(system, code, display)]}
    if version is Version.STU3:
        return {"role": [kind], "userId": {"value": who}} | more
    return {"type": kind, "who": {"identifier": {"value": who}}} | more


def _source(version: Version, site: str | None) -> dict[str, Any]:
    kind = [_coding(_ROOT[version] + "security-source-type", "4", "Application Server")]
    if version is Version.STU3:
        return {"site": _name(site), "identifier": {"value": _name(site)}, "type": kind}
    return {"site": _name(site), "observer": {"identifier": {"value": _name(site)}}, "type": kind}


def _entities(
    version: Version, record: str, fields: Mapping[str, Any], sealed: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    kinds, roles = _ROOT[version] + "audit-entity-type", _ROOT[version] + "object-role"
    if "request" in fields:
        yield {"type": _coding(ENTITY_TYPES, "XrequestId")} | _what(version, str(fields["request"]))
    document = {
        "type": _coding(kinds, "2", "System Object"),
        "role": _coding(roles, "3", "Report"),
        "detail": list(_details(version, record, fields, _DETAILS)),
    }
    if "id" in sealed:
        reference = {"reference": f"Binary/{sealed['id']}"}
        yield document | ({"reference": reference} if version is Version.STU3 else {"what": reference})
    else:
        yield document | _what(version, str(fields.get("document", "none")))
    if "patient" in sealed:
        patient = {"type": _coding(kinds, "1", "Person"), "role": _coding(roles, "1", "Patient")}
        yield patient | _what(version, str(sealed["patient"]), system=_patient_system(str(sealed["patient"])))


def _what(version: Version, value: str, *, system: str | None = None) -> dict[str, Any]:
    """An entity known by an identifier."""
    identifier = {"value": value} if system is None else {"system": system, "value": value}
    return {"identifier": identifier} if version is Version.STU3 else {"what": {"identifier": identifier}}


def _details(
    version: Version, record: str, fields: Mapping[str, Any], names: tuple[str, ...] | list[str]
) -> Iterator[dict[str, str]]:
    values = {"record": record} | {name: str(fields[name]) for name in names if name in fields}
    for name, value in values.items():
        if version is Version.STU3:
            yield {"type": name, "value": base64.b64encode(value.encode()).decode()}
        else:
            yield {"type": name, "valueString": value}


def _patient_system(value: str) -> str | None:
    return NHS_NUMBER if len(value) == 10 and value.isascii() and value.isdigit() else None


def _name(site: str | None) -> str:
    return site or "fhir-document-gateway"


def _coding(system: str, code: str, display: str | None = None) -> dict[str, str]:
    return {"system": system, "code": code} | ({} if display is None else {"display": display})
