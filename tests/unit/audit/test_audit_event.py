"""Every kind of record as AuditEvent and as DICOM message: what fhir.resources takes, and nothing that XML cannot hold."""

from __future__ import annotations

import json
from typing import Any
from xml.etree import ElementTree

import pytest
from fhir.resources.R4B.auditevent import AuditEvent as AuditEventR4
from fhir.resources.STU3.auditevent import AuditEvent as AuditEventSTU3

from gateway.audit import dicom
from gateway.fhir import Version, audit_event

MODELS = {Version.R4: AuditEventR4, Version.STU3: AuditEventSTU3}
READ = {
    "n": 3, "event": "completed", "at": "2026-11-22T08:30:00.000001Z", "status": 200, "representation": "native",
    "version": 'W/"44c"', "length": 1100, "bytes": 1100, "ms": 3.2, "act": "a-1", "request": "r-1", "method": "GET",
    "interaction": "read", "auth": "jwt", "client": "a9", "subject": "b8", "base": "R4", "source": "letters",
    "document": "77", "hash": "ab",
}  # fmt: skip
SEALED = {"id": "letter-1", "client": "app", "subject": "dr", "address": "10.0.0.1", "patient": "9434765919"}
OWN = {"n": 9, "at": "2026-11-22T08:30:00.000001Z", "hash": "ab"}

KINDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "completed": (READ, SEALED),
    "without a patient": (READ, {"id": "letter-1"}),
    "unreadable": (READ, {}),
    "aborted": (READ | {"event": "aborted", "code": "GW-END-001"}, SEALED),
    "unknown": (READ | {"event": "unknown", "began": READ["at"]}, SEALED),
    "looked": (READ | {"event": "looked"}, SEALED),
    "vread": (READ | {"interaction": "vread"}, SEALED),
    "anonymous": (READ | {"auth": "none"}, SEALED),
    "refused": (READ | {"event": "refused", "status": 403, "code": "GW-DOC-004", "spine": "ACCESS DENIED"}, SEALED),
    "failed": (READ | {"event": "refused", "status": 503, "code": "GW-SRC-001"}, {}),
    "hostile": (READ, SEALED | {"subject": "a\x00<b>&\ud800\x1b", "client": "\uffff"}),
    "opened": (OWN | {"event": "opened", "segment": "s", "previous": None, "beside": []}, {}),
    "closed": (OWN | {"event": "closed"}, {}),
    "checkpoint": (OWN | {"event": "checkpoint", "last": 3, "head": "ab", "signature": "cd"}, {}),
    "gap": (OWN | {"event": "gap", "lost": 7}, {}),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


@every_kind
@pytest.mark.parametrize("site", [None, "RXX-letters"])
@pytest.mark.parametrize("version", MODELS)
def test_every_kind_is_a_resource_of_its_version(version: Version, kind: str, site: str | None) -> None:
    fields, sealed = KINDS[kind]
    rendered = json.loads(audit_event.render(version, "s-3", fields, sealed, site=site))
    if kind != "hostile":
        model = MODELS[version].model_validate(rendered)
        assert json.loads(model.model_dump_json()) == rendered, "as fhir.resources itself writes it"


@every_kind
def test_every_kind_is_a_message_that_xml_can_hold(kind: str) -> None:
    fields, sealed = KINDS[kind]
    text = dicom.message("s-3", fields, sealed, site=None)
    root = ElementTree.fromstring(text)
    assert root.tag == "AuditMessage"
    assert root[0].tag == "EventIdentification"
    assert root.find("AuditSourceIdentification") is not None
    frame = dicom.framed(text, at=fields["at"], host="gateway", process=7)
    length, _, rest = frame.partition(b" ")
    assert int(length) == len(rest)
    assert rest.startswith(b"<85>1 2026-11-22T08:30:00.000001Z gateway fhir-gateway 7 IHE+RFC-3881 - \xef\xbb\xbf<?xml")


@pytest.mark.parametrize(
    ("kind", "outcome"),
    [
        ("completed", "0"),
        ("looked", "0"),
        ("aborted", "4"),
        ("unknown", "4"),
        ("refused", "4"),
        ("failed", "8"),
        ("gap", "8"),
    ],
)
def test_outcomes_are_those_of_fhir(kind: str, outcome: str) -> None:
    fields, sealed = KINDS[kind]
    assert audit_event.body(Version.R4, "s-3", fields, sealed, site=None)["outcome"] == outcome
    root = ElementTree.fromstring(dicom.message("s-3", fields, sealed, site=None))
    assert root[0].get("EventOutcomeIndicator") == outcome


@pytest.mark.requirement("AU-03")
def test_a_user_is_named_where_callers_prove_who_they_are() -> None:
    agents = audit_event.body(Version.R4, "s-3", READ, SEALED, site=None)["agent"]
    assert [one["type"]["coding"][0]["code"] for one in agents] == ["110152", "110153", "IRCP"]
    assert [one["requestor"] for one in agents] == [False, False, True]
    assert agents[2]["who"]["identifier"]["value"] == "dr"
