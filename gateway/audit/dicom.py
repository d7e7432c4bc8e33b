"""A record as an ATNA audit message: DICOM XML (PS3.15 A.5) in syslog (RFC 5424) over TLS (RFC 5425). Pure.

The document source's side of ITI-68: event 110106 Export, the receiver as destination, the gateway as source, the document by
its URI and the patient where it is known (IHE ITI TF-2, 3.68.5 and 3.20). A receiver tells duplicates by the detail `record`.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree as XML

_PRIORITY = 85
"""Facility 10 (security), severity 5 (notice), as ITI-20 says."""

_NOT_IN_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

_ACTIVITIES = {"opened": ("110120", "Application Start"), "closed": ("110121", "Application Stop")}
_OUTCOMES = {"completed": "0", "looked": "0", "aborted": "4", "unknown": "4"}

_DETAILS = ("act", "status", "code", "bytes", "range", "version", "request", "source", "method")


def message(record: str, fields: Mapping[str, Any], sealed: Mapping[str, Any], *, site: str | None) -> bytes:
    """The AuditMessage in UTF-8."""
    name = site or "fhir-document-gateway"
    root = XML.Element("AuditMessage")
    if "act" in fields:
        _read(root, record, fields, sealed, name)
    else:
        _own(root, record, fields, name)
    return bytes(XML.tostring(root, encoding="utf-8", xml_declaration=True))


def framed(text: bytes, *, at: str, host: str, process: int) -> bytes:
    """`text` as one syslog message with its length in front (RFC 5425, 4.3)."""
    header = f"<{_PRIORITY}>1 {at} {host} fhir-gateway {process} IHE+RFC-3881 - "
    whole = header.encode("ascii", "replace") + b"\xef\xbb\xbf" + text
    return b"%d %b" % (len(whole), whole)


def _read(root: XML.Element, record: str, fields: Mapping[str, Any], sealed: Mapping[str, Any], name: str) -> None:
    event = str(fields["event"])
    outcome = _OUTCOMES.get(event) or ("8" if int(fields.get("status", 500)) >= 500 else "4")
    kind = _event(root, "R", fields, outcome, ("110106", "DCM", "Export"))
    _code(kind, "EventTypeCode", ("ITI-68", "IHE Transactions", "Retrieve Document"))
    client = str(sealed.get("client", fields.get("client")))
    address = str(sealed.get("address", "unknown"))
    user = fields.get("auth") != "none"
    _participant(root, client, ("110152", "DCM", "Destination"), requestor=not user, address=address)
    _participant(root, name, ("110153", "DCM", "Source"), requestor=False)
    if user:
        _participant(root, str(sealed.get("subject", fields.get("subject"))), None, requestor=True)
    XML.SubElement(root, "AuditSourceIdentification", AuditSourceID=name)
    if "patient" in sealed:
        _object(root, str(sealed["patient"]), "1", "1", ("2", "RFC-3881", "Patient Number"))
    document = str(sealed.get("id", fields.get("document", "none")))
    found = _object(root, f"Binary/{document}", "2", "3", ("12", "RFC-3881", "URI"))
    _details(found, {"record": record} | {one: str(fields[one]) for one in _DETAILS if one in fields})


def _own(root: XML.Element, record: str, fields: Mapping[str, Any], name: str) -> None:
    event = str(fields["event"])
    kind = _event(root, "E", fields, "8" if event == "gap" else "0", ("110100", "DCM", "Application Activity"))
    if event in _ACTIVITIES:
        code, display = _ACTIVITIES[event]
        _code(kind, "EventTypeCode", (code, "DCM", display))
    else:
        _code(kind, "EventTypeCode", (event, "fhir-document-gateway", f"Audit trail: {event}"))
    _participant(root, name, ("110150", "DCM", "Application"), requestor=False)
    XML.SubElement(root, "AuditSourceIdentification", AuditSourceID=name)
    found = _object(root, record, "2", "13", ("12", "RFC-3881", "URI"))
    _details(found, {"record": record} | {key: str(value) for key, value in fields.items()})


def _event(
    root: XML.Element, action: str, fields: Mapping[str, Any], outcome: str, code: tuple[str, str, str]
) -> XML.Element:
    facts = {"EventActionCode": action, "EventDateTime": str(fields["at"]), "EventOutcomeIndicator": outcome}
    event = XML.SubElement(root, "EventIdentification", facts)
    _code(event, "EventID", code)
    return event


def _participant(
    root: XML.Element, who: str, role: tuple[str, str, str] | None, *, requestor: bool, address: str | None = None
) -> None:
    facts = {"UserID": _text(who), "UserIsRequestor": "true" if requestor else "false"}
    if address is not None:
        facts |= {"NetworkAccessPointID": address, "NetworkAccessPointTypeCode": "2"}
    participant = XML.SubElement(root, "ActiveParticipant", facts)
    if role is not None:
        _code(participant, "RoleIDCode", role)


def _object(root: XML.Element, id: str, kind: str, role: str, code: tuple[str, str, str]) -> XML.Element:
    facts = {"ParticipantObjectID": _text(id), "ParticipantObjectTypeCode": kind, "ParticipantObjectTypeCodeRole": role}
    found = XML.SubElement(root, "ParticipantObjectIdentification", facts)
    _code(found, "ParticipantObjectIDTypeCode", code)
    return found


def _details(found: XML.Element, values: Mapping[str, str]) -> None:
    for name, value in values.items():
        encoded = base64.b64encode(value.encode("utf-8", "replace")).decode()
        XML.SubElement(found, "ParticipantObjectDetail", type=name, value=encoded)


def _text(value: str) -> str:
    """`value` with what XML cannot hold (XML 1.0, 2.2) replaced."""
    return _NOT_IN_XML.sub("\ufffd", value)


def _code(parent: XML.Element, element: str, code: tuple[str, str, str]) -> None:
    value, system, text = code
    XML.SubElement(parent, element, {"csd-code": value, "codeSystemName": system, "originalText": text})
