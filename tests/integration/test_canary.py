"""Patients in every input, and in nothing that leaves but the document: not in logs, errors, or the trail's open fields.

The canaries look like what they stand for (an NHS number that checks, a name, a date of birth), so that a rule which looks for
such things is met by some, and one that keeps everything out by all.
"""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from gateway.audit.keys import AuditKeys
from gateway.audit.reading import records
from gateway.keyfile import read_key
from tests.support.gateway import Gateway, serving
from tests.support.otlp import Receiver, receiving
from tests.support.ports import free_port

NUMBER, SPACED, NAME, BIRTH = "9434765919", "943-476-5919", "Jabberwocky", "1933-03-21"
CANARY = re.compile("|".join((NUMBER, SPACED, "943 476 5919", NAME, BIRTH)), re.IGNORECASE)
LETTER = f"%PDF-1.7 Dear Mrs {NAME}, born {BIRTH}, NHS number {NUMBER}".encode()
ID = f"{NAME}-{NUMBER}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("canary")
    (folder / "archive" / NAME).mkdir(parents=True)
    (folder / "archive" / NAME / f"{NUMBER}.pdf").write_bytes(LETTER)
    (folder / "archive" / f"{NAME}-changing.pdf").write_bytes(LETTER)
    rows = [
        "id,path,title,patient,date,status,consultant",
        f"{ID},{NAME}/{NUMBER}.pdf,Letter about {NAME},{NUMBER},{BIRTH},current,{NAME}",
        f"{NAME}-gone,{NAME}/gone.pdf,{NAME},{NUMBER},{BIRTH},current,{NAME}",
        f"{NAME}-withdrawn,{NAME}/{NUMBER}.pdf,{NAME},{NUMBER},{BIRTH},withdrawn,{NAME}",
    ]
    (folder / "index.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture(scope="module")
def traces() -> Iterator[Receiver]:
    """Whoever gets the gateway's traces."""
    with receiving() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def answers(folder: Path, traces: Receiver) -> list[tuple[str, int, str]]:
    """What a gateway answered to requests that carry canaries everywhere: header lines and body, once it has ended."""
    source = {
        "adapter": "filesystem",
        "ids": {"scheme": "manifest", "file": str(folder / "index.csv")},
        "options": {"root": str(folder / "archive")},
    }
    by_name = {
        "adapter": "filesystem",
        "prefix": "n.",
        "ids": {"scheme": "template", "pattern": "{id}.*"},
        "options": {"root": str(folder / "archive")},
    }
    admin = free_port()
    settings = {
        "audit": {"directory": str(folder / "audit"), "rotate_size": "8KiB"},
        "log": {"level": "debug"},
        "admin": {"port": admin},
        "cache": {"backend": "memory"},
        "tracing": {"endpoint": traces.url, "trusted_peers": ["127.0.0.1"], "delay": "50ms"},
        "sources": {"letters": source, "named": by_name},
    }
    found: list[tuple[str, int, str]] = []
    with serving(settings, folder / "run") as gateway:
        for target in targets():
            for method in ("GET", "HEAD", "PUT"):
                found.append(asked(gateway.port, method, target))
        began = time.time_ns()
        raw(gateway, f"GET /R4/Binary/{ID} HTTP/9.9\r\n{NAME}: {NUMBER}\r\n\r\n")
        raw(gateway, f"{NAME} {NUMBER} {BIRTH}\r\n\r\n")
        looked = ("/audit", "/cache", "/readyz?verbose", f"/readyz?verbose={NAME}", "/status", "/metrics", f"/{NAME}")
        found += [asked(admin, "GET", path) for path in (*looked, f"/status?{NUMBER}")]
        known = {span.trace_id for span in traces.spans}
        asked(gateway.port, "GET", f"/R4/Binary/{ID}")
        traces.wait(lambda span: span.trace_id not in known and span.kind == 2 and span.began > began)
        gateway.kill()
    with serving(settings, folder / "again") as gateway:
        found.append(asked(gateway.port, "GET", f"/R4/Binary/{NAME}-unknown"))
    return found


def targets() -> list[str]:
    """Addresses with canaries in their path and query."""
    ids = [
        ID,
        f"{NAME}-gone",
        f"{NAME}-withdrawn",
        f"n.{NAME}-changing",
        NUMBER,
        f"{NAME}-unknown",
        f"{NAME}%2F{NUMBER}",
    ]
    below = [f"/R4/Binary/{id}" for id in ids] + [f"/STU3/Binary/{ID}/_history/{NUMBER}"]
    queries = [f"?_format={NAME}", f"?patient={NUMBER}", f"?_elements={quote(NAME)}&_summary={NUMBER}", "?_format=json"]
    others = [
        f"/R4/Patient/{NUMBER}",
        f"/R4/Binary?patient={NUMBER}",
        f"/{NAME}/{BIRTH}",
        f"/R4/{NAME}",
        "/R4/metadata",
    ]
    return [*below, *(below[0] + query for query in queries), *others]


def asked(port: int, method: str, target: str) -> tuple[str, int, str]:
    """One request with canaries in its headers. The document itself is taken out of what came back."""
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    headers = {
        "X-Request-Id": SPACED,
        "X-Correlation-Id": f"id-{NUMBER}",
        "Accept": f"*/*, text/{NAME}",
        "User-Agent": f"{NAME}/{NUMBER}",
        "Referer": f"https://{NAME}.test/{NUMBER}",
        "Cookie": f"patient={NUMBER}",
        "From": f"{NAME}@trust.test",
        "If-Match": f'"{NAME}"' if method == "PUT" else "*",
        "Prefer": f"handling={NAME}",
        "Host": f"{NAME}.test",
        "X-Forwarded-For": NAME,
        "traceparent": f"00-{NAME}-{NUMBER}-01",
        "tracestate": f"{NAME.lower()}={NUMBER}",
        "baggage": f"patient={NUMBER},name={NAME}",
        "Forwarded": f"for={NAME};host={NUMBER}",
    }
    try:
        connection.request(method, target, headers=headers)
        answer = connection.getresponse()
        body = answer.read().replace(LETTER, b"")
        lines = "\n".join(f"{name}: {value}" for name, value in answer.getheaders())
        return f"{method} {target}\n{lines}", answer.status, body.decode("latin-1")
    finally:
        connection.close()


def raw(gateway: Gateway, text: str) -> None:
    with socket.create_connection((gateway.host, gateway.port), timeout=5) as connection:
        connection.sendall(text.encode())
        connection.settimeout(2)
        assert not CANARY.search(connection.recv(65536).decode("latin-1"))


def test_every_kind_of_answer_was_among_them(answers: list[tuple[str, int, str]]) -> None:
    assert {status for _, status, _ in answers} >= {200, 400, 404, 405, 410}


def test_no_error_repeats_a_patient(answers: list[tuple[str, int, str]]) -> None:
    for what, status, body in answers:
        if status >= 400:
            assert not CANARY.search(body), f"{what}: {body}"


def test_headers_repeat_only_what_has_to_be(answers: list[tuple[str, int, str]]) -> None:
    """Ids are echoed to the one who sent them, and a file is called by the id that it was asked by."""
    echoed = ("x-request-id:", "x-correlation-id:", "content-disposition:", "content-location:")
    for what, _, _ in answers:
        for line in what.splitlines()[1:]:
            if not line.lower().startswith(echoed):
                assert not CANARY.search(line), f"{what}"


def test_no_log_line_names_a_patient(folder: Path, answers: list[tuple[str, int, str]]) -> None:
    for run in ("run", "again"):
        for path in (folder / run / "gateway.log", folder / run / "gateway.out"):
            text = path.read_text()
            assert not CANARY.search(text), CANARY.search(text)
        assert (folder / run / "gateway.log").read_text().count('"event":"request"') >= 1


def test_no_open_field_of_the_trail_names_a_patient_and_the_sealed_ones_do(
    folder: Path, answers: list[tuple[str, int, str]]
) -> None:
    paths = [path for path in (folder / "audit").rglob("*") if path.is_file()]
    assert len([path for path in paths if path.suffix == ".jsonl"]) > 2
    for path in paths:
        text = path.read_text()
        assert not CANARY.search(text), f"{path}: {CANARY.search(text)}"
        assert NAME.lower() not in path.name.lower()
    keys = AuditKeys(read_key(folder / "audit" / "key"))
    sealed: list[dict[str, Any]] = [one.sealed or {} for one in records(folder / "audit", keys)]
    assert any(one.get("id") == ID and one.get("patient") == NUMBER for one in sealed), "who has the key can tell"


def test_no_number_no_state_and_no_trace_names_a_patient(answers: list[tuple[str, int, str]], traces: Receiver) -> None:
    told = {what.splitlines()[0]: body for what, _, body in answers if what.startswith(("GET /status", "GET /metrics"))}
    assert len(told["GET /status"]) > 500
    assert "gateway_requests_total{" in told["GET /metrics"]
    for what, body in told.items():
        assert not CANARY.search(body), what
    assert {span.name for span in traces.spans} >= {"GET /R4/Binary/{id}", "open", "route"}
    for sent in traces.raw:
        assert not CANARY.search(sent.decode("latin-1"))


def test_the_canaries_would_be_found() -> None:
    for text in (NUMBER, f"x{SPACED}y", NAME.lower(), json.dumps({"a": BIRTH})):
        assert CANARY.search(text)
