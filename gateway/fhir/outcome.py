"""OperationOutcome: one row of the error table as a FHIR resource (https://hl7.org/fhir/R4/operationoutcome.html).

Nothing of a request reaches the body but the name of a parameter out of a closed set (FR-157), so bodies are few and
kept. JSON needs no library, and must not: an archive that hangs is refused at once also when it is the first to be refused,
and everybody else would wait while a library is loaded. The tests hold every body against the models of fhir.resources, by
which XML is made.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from gateway import errors
from gateway.errors import Entry
from gateway.fhir import Version, models
from gateway.protocol.negotiation import Format

CODE_SYSTEM = "urn:fhir-document-gateway:error"
"""The system of the gateway's own codes (GW-AREA-NNN) in `issue.details.coding`."""

SPINE_CODE_SYSTEM = "https://fhir.nhs.uk/STU3/CodeSystem/Spine-ErrorOrWarningCode-1"
"""The NHS system of the Spine codes beside them (CG-14)."""

KEPT_BODIES = 1024
"""Rendered bodies kept, of about 1 KiB: every row in both versions, formats and layouts, and most parameter names."""


async def prepare(format: Format) -> None:
    """Load what `render` needs for `format` without blocking the event loop; afterwards this returns at once."""
    if format is Format.XML:
        await models.prepare(_warm_up)


def _warm_up() -> None:
    # Every element that a body can have: fhir.resources reads the module of a data type when it first meets one.
    for version in Version:
        render(errors.INVALID_PARAMETER, version, Format.XML, profile_url=SPINE_CODE_SYSTEM, detail_name="_format")


def render(
    entry: Entry,
    version: Version,
    format: Format,
    *,
    pretty: bool = False,
    profile_url: str | None = None,
    detail_name: str | None = None,
) -> bytes:
    """The OperationOutcome of `entry` in UTF-8. On an event loop `prepare` is awaited first.

    `profile_url` goes to `meta.profile` and leaves the Spine coding alone, since GPConnect-OperationOutcome-1 and
    Spine-OperationOutcome-1 fix the coding's system (CG-13). `detail_name` is the parameter or header at fault; a name
    outside `errors.NAMES` is not mentioned.
    """
    name = detail_name if detail_name in errors.NAMES else None
    return _rendered(entry, version, format, pretty, profile_url, name)


@lru_cache(maxsize=KEPT_BODIES)
def _rendered(
    entry: Entry, version: Version, format: Format, pretty: bool, profile_url: str | None, detail_name: str | None
) -> bytes:
    body = _body(entry, version, profile_url, detail_name)
    if format is Format.XML:
        return models.serialise(body, version, format, pretty=pretty)
    layout: dict[str, Any] = {"indent": 2} if pretty else {"separators": (",", ":")}
    return json.dumps(body, ensure_ascii=False, **layout).encode()


def _body(entry: Entry, version: Version, profile_url: str | None, detail_name: str | None) -> dict[str, Any]:
    coding = [{"system": CODE_SYSTEM, "code": entry.code, "display": entry.title}]
    if entry.spine is not None:
        spine = {"system": SPINE_CODE_SYSTEM, "code": entry.spine.code, "display": entry.spine.display}
        coding = [spine] if profile_url else [*coding, spine]
    issue: dict[str, Any] = {
        "severity": entry.severity,
        "code": entry.issue_stu3 if version is Version.STU3 and entry.issue_stu3 else entry.issue,
        "details": {"coding": coding, "text": entry.title},
        "diagnostics": entry.sentence,
    }
    if detail_name is not None:
        issue["diagnostics"] = f"{entry.sentence} The name at fault is {detail_name}."
        # The form that both versions give for a fault in HTTP itself: "http." and the parameter's name.
        issue["location"] = [f"http.{detail_name}"]
    body: dict[str, Any] = {"resourceType": "OperationOutcome"}
    if profile_url:
        body["meta"] = {"profile": [profile_url]}
    return body | {"issue": [issue]}
