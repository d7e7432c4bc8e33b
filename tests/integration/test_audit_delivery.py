"""The trail delivered to real receivers: everything at least once, in order, whatever goes down in between."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from click.testing import CliRunner
from fhir.resources.R4B.auditevent import AuditEvent as AuditEventR4
from fhir.resources.STU3.auditevent import AuditEvent as AuditEventSTU3

from gateway.audit.keys import AuditKeys
from gateway.audit.reading import Record, records
from gateway.cli import main
from gateway.keyfile import read_key
from tests.support.audit_away import outage
from tests.support.audit_receivers import Certificates, Received, certificates, details, record_id, repository, syslog
from tests.support.gateway import Gateway, serving
from tests.support.ports import free_port

PATIENT = "9434765919"


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certificates(tmp_path_factory.mktemp("certificates"))


@contextmanager
def gateway(tmp_path: Path, *sinks: dict[str, Any], run: str = "run", **audit: Any) -> Iterator[Gateway]:
    root = tmp_path / "archive"
    root.mkdir(exist_ok=True)
    (root / "a.pdf").write_bytes(b"%PDF-1.7 a letter")
    (tmp_path / "index.csv").write_text(f"id,path,patient\na,a.pdf,{PATIENT}\ngone,b.pdf,{PATIENT}\n")
    source = {
        "adapter": "filesystem",
        "ids": {"scheme": "manifest", "file": str(tmp_path / "index.csv")},
        "options": {"root": str(root)},
    }
    settings = {"directory": str(tmp_path / "audit"), "sinks": list(sinks), "site": "RXX-letters"} | audit
    admin = {"port": free_port()}
    with serving({"audit": settings, "sources": {"letters": source}, "admin": admin}, tmp_path / run) as running:
        yield running


def read(running: Gateway, id: str = "a", **headers: str) -> int:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        with urlopen(Request(f"{running.url}/R4/Binary/{id}", headers=named)) as answer:
            return int(answer.status)
    except HTTPError as error:
        with error:
            return error.code


def delivered(tmp_path: Path) -> list[Record]:
    """What has to arrive: every record but `intended`."""
    directory = tmp_path / "audit"
    keys = AuditKeys(read_key(directory / "key"))
    return [one for one in records(directory, keys) if one.event != "intended"]


def fhir(received: Received, **more: Any) -> dict[str, Any]:
    return {"kind": "fhir", "name": "repository", "url": f"http://127.0.0.1:{received.port}/fhir"} | more


def siem(received: Received, papers: Certificates) -> dict[str, Any]:
    tls = {"ca": str(papers.certificate)}
    return {"kind": "syslog", "name": "siem", "address": f"127.0.0.1:{received.port}", "tls": tls}


# --- FHIR ------------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("AU-01", "AU-02", "AU-04", "AU-05", "AU-07", "AU-08", "AU-09")
@pytest.mark.parametrize(("version", "model"), [("R4", AuditEventR4), ("STU3", AuditEventSTU3)])
def test_reads_and_refusals_arrive_as_audit_events(tmp_path: Path, version: str, model: Any) -> None:
    with repository() as received, gateway(tmp_path, fhir(received, version=version)) as running:
        assert read(running, X_Request_Id="request-1") == 200
        assert read(running, "gone") == 404
        assert read(running, "nothing") == 404
        received.until(lambda: len(received.bodies) >= 4)
        for body in received.bodies:
            assert json.loads(model.model_validate(body).model_dump_json()).keys() == body.keys()
        begun, served, missing, unknown = received.bodies
        assert begun["type"]["code"] == "110100"
        assert begun["subtype"][0]["code"] == "110120"
        assert [one["code"] for one in served["subtype"]] == ["read", "ITI-68"]
        assert (served["action"], served["outcome"], served["type"]["code"]) == ("R", "0", "rest")
        assert [missing["outcome"], unknown["outcome"]] == ["4", "4"]
        assert details(served)["bytes"] == "17"
        assert details(missing)["code"] == details(unknown)["code"] == "GW-DOC-001"
        people = [_identifier(one, version) for one in served["entity"]]
        assert people == ["request-1", None, PATIENT]
        assert served["source"]["site"] == "RXX-letters"
        kinds = [one["role" if version == "STU3" else "type"] for one in served["agent"]]
        codes = [(kind[0] if isinstance(kind, list) else kind)["coding"][0]["code"] for kind in kinds]
        assert codes == ["110152", "110153"]
        if version == "R4":
            profiles = [body["meta"]["profile"][0].rpartition(".")[2] for body in (served, missing, unknown)]
            assert profiles == ["PatientRead", "PatientRead", "Read"]


def _identifier(entity: dict[str, Any], version: str) -> str | None:
    holder = entity if version == "STU3" else entity["what"]
    return holder["identifier"]["value"] if "identifier" in holder else None


def test_everything_arrives_once_and_in_order_when_nothing_goes_wrong(tmp_path: Path) -> None:
    with repository() as received:
        with gateway(tmp_path, fhir(received, batch=20)) as running:
            for _ in range(100):
                read(running)
            received.until(lambda: len(received.bodies) >= 101)
        with gateway(tmp_path, fhir(received, batch=20)):
            received.until(lambda: record_id(received.bodies[-1]).startswith("00000002"))
        expected = [one.id for one in delivered(tmp_path)]
        ids = received.ids()
        assert ids == expected[: len(ids)]
        assert len(ids) >= 103


def test_a_repository_that_is_away_for_a_while_gets_everything_afterwards(tmp_path: Path) -> None:
    port = free_port()
    received = Received(port=port)
    with gateway(tmp_path, fhir(received)) as running:
        for _ in range(30):
            assert read(running) == 200, "readers do not wait for a repository"
        assert _logged(running, "audit receiver is away")
        state = _state(running)
        assert state["sinks"][0]["state"] == "away"
        assert state["sinks"][0]["waiting_bytes"] > 10_000
        with repository(port, received=received):
            received.until(lambda: len(set(received.ids())) >= 31, seconds=30)
            assert _logged(running, "audit receiver is back")
    expected = [one.id for one in delivered(tmp_path)]
    assert list(dict.fromkeys(received.ids())) == expected[: len(set(received.ids()))]


def test_what_was_not_acknowledged_is_sent_again_under_the_same_id(tmp_path: Path) -> None:
    with repository() as received:
        received.forgets = 2
        with gateway(tmp_path, fhir(received)) as running:
            for _ in range(5):
                read(running)
            received.until(lambda: len(set(received.ids())) >= 6)
        ids = received.ids()
        assert len(ids) > len(set(ids)), "something came twice"
        by_id = {}
        for body in received.bodies:
            assert by_id.setdefault(record_id(body), body) == body, "and was the same both times"
        assert list(dict.fromkeys(ids)) == [one.id for one in delivered(tmp_path)][: len(set(ids))]


def test_a_repository_that_cannot_take_anything_now_is_asked_again(tmp_path: Path) -> None:
    """Five repositories of one gateway, each with another excuse."""
    with ExitStack() as stack:
        asked = {status: stack.enter_context(repository()) for status in (500, 503, 429, 401, 404)}
        for status, received in asked.items():
            received.statuses = [status]
        sinks = [fhir(received, name=f"repository-{status}") for status, received in asked.items()]
        with gateway(tmp_path, *sinks) as running:
            read(running)
            for received in asked.values():
                received.until(lambda received=received: len(received.bodies) >= 2)
        expected = [one.id for one in delivered(tmp_path)][:2]
        assert {status: received.ids()[:2] for status, received in asked.items()} == dict.fromkeys(asked, expected)


def test_a_record_that_is_refused_for_good_is_set_aside_and_holds_up_nothing(tmp_path: Path) -> None:
    """Whether records are sent one by one or ten at once."""
    with repository() as single, repository() as tenfold:
        sinks = {"single": (single, 1), "tenfold": (tenfold, 10)}
        for received in (single, tenfold):
            received.refuses = lambda record: record.endswith("-2")
        given = [fhir(received, name=name, batch=batch) for name, (received, batch) in sinks.items()]
        with gateway(tmp_path, *given) as running:
            for _ in range(5):
                read(running)
            for name, (received, _) in sinks.items():
                aside = tmp_path / "audit" / "delivered" / name / "refused.jsonl"
                received.until(
                    lambda aside=aside, received=received: aside.exists() and len(set(received.ids())) >= 5, seconds=40
                )
                (only,) = aside.read_text().splitlines()
                assert json.loads(only)["record"].endswith("-2")
            lines = _logged(running, "audit record was refused and set aside", 2)
        assert len(lines) == 2
        for line in lines:
            assert "-2: HTTP 422" in line["detail"]
            assert PATIENT not in json.dumps(line)


def test_the_token_is_sent_and_the_certificate_checked(tmp_path: Path, papers: Certificates) -> None:
    (tmp_path / "token").write_text("a-token\n")
    with repository(context=papers.server()) as received:
        url = f"https://127.0.0.1:{received.port}/fhir"
        good = fhir(received, url=url, token_file=str(tmp_path / "token"), tls={"ca": str(papers.certificate)})
        with gateway(tmp_path, good) as running:
            read(running)
            received.until(lambda: len(received.bodies) >= 2)
        assert received.headers[0]["Authorization"] == "Bearer a-token"
        count = received.requests
        with gateway(tmp_path, fhir(received, url=url), run="untrusting") as running:
            read(running)
            assert _logged(running, "audit receiver is away")
        assert received.requests == count, "a repository that is not trusted gets nothing"


# --- syslog ----------------------------------------------------------------------------------------------------------


def test_reads_arrive_as_dicom_messages_over_tls(tmp_path: Path, papers: Certificates) -> None:
    with syslog(papers.server()) as received, gateway(tmp_path, siem(received, papers)) as running:
        read(running, X_Request_Id="request-1")
        read(running, "nothing")
        received.until(lambda: len(received.bodies) >= 3)
        _, served, refused = received.bodies
        assert served["header"].startswith(b"<85>1 2")
        assert served["header"].split(b" ")[3:] == [
            b"fhir-gateway",
            served["header"].split(b" ")[4],
            b"IHE+RFC-3881",
            b"-",
            b"",
        ]
        event = served["xml"].find("EventIdentification")
        assert (event.get("EventActionCode"), event.get("EventOutcomeIndicator")) == ("R", "0")
        assert [one.get("csd-code") for one in event] == ["110106", "ITI-68"]
        objects = [one.get("ParticipantObjectID") for one in served["xml"].iter("ParticipantObjectIdentification")]
        assert objects == [PATIENT, "Binary/a"]
        assert refused["xml"].find("EventIdentification").get("EventOutcomeIndicator") == "4"
        assert details(refused)["code"] == "GW-DOC-001"


def test_a_syslog_receiver_that_hangs_up_loses_nothing(tmp_path: Path, papers: Certificates) -> None:
    with syslog(papers.server()) as received:
        received.hangs_up = 4
        with gateway(tmp_path, siem(received, papers)) as running:
            for _ in range(12):
                read(running)
                time.sleep(0.05)
            received.until(lambda: len(set(received.ids())) >= 13, seconds=30)
        assert received.requests >= 2
        assert (
            list(dict.fromkeys(received.ids())) == [one.id for one in delivered(tmp_path)][: len(set(received.ids()))]
        )


def test_a_syslog_receiver_with_a_strange_certificate_gets_nothing(tmp_path: Path, papers: Certificates) -> None:
    with syslog(papers.server()) as received:
        stranger = siem(received, papers) | {"tls": {}}
        with gateway(tmp_path, stranger) as running:
            read(running)
            assert _logged(running, "audit receiver is away")
        assert received.frames == []


# --- crashes, replicas, replay ---------------------------------------------------------------------------------------


def test_kills_of_the_gateway_and_of_the_repository_lose_nothing(tmp_path: Path) -> None:
    port = free_port()
    received = Received(port=port)
    for number in range(4):
        with gateway(tmp_path, fhir(received), run=f"run{number}") as running:
            if number % 2:
                with repository(port, received=received):
                    for _ in range(20):
                        read(running)
                    received.until(lambda number=number: len(set(received.ids())) >= 15 * number)
            else:
                for _ in range(20):
                    read(running)
            running.kill()
    with repository(port, received=received), gateway(tmp_path, fhir(received), run="last"):
        expected = {one.id for one in delivered(tmp_path)}
        received.until(lambda: expected <= set(received.ids()), seconds=30)
    order = list(dict.fromkeys(received.ids()))
    assert order == sorted(order, key=lambda id: (id.split("-")[0], int(id.split("-")[2])))


def test_two_processes_over_one_directory_deliver_each_record(tmp_path: Path) -> None:
    with repository() as received:
        with gateway(tmp_path, fhir(received), run="one") as one, gateway(tmp_path, fhir(received), run="two") as two:
            for _ in range(20):
                read(one)
                read(two)
            received.until(lambda: len(set(received.ids())) >= 42)
        assert len(received.ids()) == len(set(received.ids()))


def test_a_token_that_is_not_taken_any_more_is_read_anew(tmp_path: Path) -> None:
    """Tokens of machines are replaced in their file every hour or so."""
    token = tmp_path / "token"
    token.write_text("old\n")
    with repository() as received, gateway(tmp_path, fhir(received, token_file=str(token))) as running:
        read(running)
        received.until(lambda: len(received.bodies) >= 2)
        token.write_text("new\n")
        received.statuses += [401]
        read(running)
        received.until(lambda: len(received.bodies) >= 3)
        assert [one["Authorization"] for one in received.headers][-2:] == ["Bearer old", "Bearer new"]


def test_a_repository_that_is_away_for_long_gets_everything_in_order_however_often_the_gateway_is_restarted(
    tmp_path: Path,
) -> None:
    seen = outage(tmp_path, reads=400, lives=3, rotate="64KiB")
    assert (seen.missing, seen.unordered) == (0, 0), seen
    assert (seen.files, seen.records) > (6, 1200), seen
    assert seen.twice <= 200, "at most the last lot comes twice"
    assert seen.grown < 32 << 20, "waiting takes disk, not memory"
    assert seen.notes < 10_000, "and what is noted about each file is little"
    assert sorted(seen.waited) == seen.waited, "nothing of it is given up meanwhile"


def test_replay_sends_everything_again_under_the_ids_it_had(tmp_path: Path) -> None:
    with repository() as received:
        with gateway(tmp_path, fhir(received, batch=10)) as running:
            for _ in range(15):
                read(running)
            received.until(lambda: len(received.bodies) >= 16)
        first = received.ids()
        received.bodies.clear()
        config = tmp_path / "run" / "gateway.yaml"
        done = CliRunner().invoke(main, ["audit", "replay", "--config", str(config), "--sink", "repository"])
        assert done.exit_code == 0, done.output
        expected = [one.id for one in delivered(tmp_path)]
        assert received.ids() == expected
        assert first == expected[: len(first)]
        assert f"{len(expected)} records were taken" in done.output
    away = CliRunner().invoke(main, ["audit", "replay", "--config", str(config), "--sink", "repository"])
    assert away.exit_code == 1
    assert "did not go on" in away.output
    unknown = CliRunner().invoke(main, ["audit", "replay", "--config", str(config), "--sink", "repositry"])
    assert unknown.exit_code == 2
    assert "Did you mean `repository`?" in unknown.output


def _logged(running: Gateway, event: str, count: int = 1) -> list[dict[str, Any]]:
    """The lines of this event, once there are so many; what there is after ten seconds."""
    for _ in range(500):
        lines = [line for line in running.lines() if line.get("event") == event]
        if len(lines) >= count:
            return lines
        time.sleep(0.02)
    return lines


def _state(running: Gateway) -> Any:
    admin = next(line["admin"] for line in running.lines() if line.get("event") == "ready")
    connection = HTTPConnection(admin.removeprefix("http://"), timeout=5)
    try:
        connection.request("GET", "/audit")
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()
