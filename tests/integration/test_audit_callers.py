"""What the trail says of callers: who was let in and who was not, named in the sealed field alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from gateway.audit.keys import AuditKeys
from gateway.audit.reading import Record, records
from gateway.fhir import Version, audit_event
from gateway.keyfile import read_key
from tests.support.gateway import Gateway, serving
from tests.support.issuer import Issuer, publishing

PATIENT = "9434765919"
PERSON = f"Jabberwocky-{PATIENT}"


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with publishing(Issuer()) as running:
        yield running


def ask(gateway: Gateway, id: str, token: str | None) -> int:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    try:
        with urlopen(Request(f"{gateway.url}/R4/Binary/{id}", headers=headers)) as answer:
            return int(answer.status)
    except HTTPError as error:
        with error:
            return error.code


@pytest.mark.requirement("GP-131", "AU-03", "AU-10")
def test_callers_and_those_who_are_turned_away_are_recorded_and_sealed(tmp_path: Path, issuer: Issuer) -> None:
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive" / "a.pdf").write_bytes(b"%PDF-1.7 a letter")
    source = {
        "adapter": "filesystem",
        "ids": {"scheme": "template", "pattern": "{id}.pdf"},
        "options": {"root": str(tmp_path / "archive")},
    }
    settings = {"auth": issuer.auth(), "audit": {"directory": str(tmp_path / "audit")}, "sources": {"letters": source}}
    reader, other = issuer.token(sub=PERSON), issuer.token(sub=PERSON, scope="system/Patient.read")
    with serving(settings, tmp_path / "run") as gateway:
        statuses = [
            ask(gateway, "a", None),
            ask(gateway, "a", other),
            ask(gateway, "a", reader),
            ask(gateway, "b", reader),
        ]
    assert statuses == [401, 403, 200, 404]
    keys = AuditKeys(read_key(tmp_path / "audit" / "key"))
    found: list[Record] = [one for one in records(tmp_path / "audit", keys) if "act" in one.fields]
    assert [one.event for one in found] == ["refused", "refused", "intended", "completed", "refused"]
    nobody, narrow, _, served, missing = found
    assert [nobody.fields["status"], narrow.fields["status"], missing.fields["status"]] == [401, 403, 404]
    assert nobody.fields["auth"] == "none"
    for known in (served, missing):
        assert known.fields["auth"] == "jwt"
        assert known.sealed is not None
        assert known.sealed["subject"] == PERSON
    for path in (tmp_path / "audit").rglob("*.jsonl"):
        assert PATIENT not in path.read_text()
    event = audit_event.body(Version.R4, served.id, served.fields, served.sealed or {}, site=None)
    assert PERSON in json.dumps(event["agent"])
    assert event["agent"][2]["requestor"] is True
