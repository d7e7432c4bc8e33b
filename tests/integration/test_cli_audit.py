"""`fhir-gateway audit`: its words, its exit codes, and what it shows only to those who have the key."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from click.testing import CliRunner, Result
from fhir.resources.R4B.auditevent import AuditEvent

from gateway.cli import main
from tests.support.gateway import serving

PATIENT = "9434765919"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a configuration and the trail of a gateway that served three requests and was killed."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "archive").mkdir()
    (folder / "archive" / "a.pdf").write_bytes(b"%PDF-1.7 a letter")
    (folder / "index.csv").write_text(f"id,path,patient\nletter-1,a.pdf,{PATIENT}\n")
    settings = {
        "audit": {"directory": str(folder / "audit"), "checkpoints": str(folder / "checkpoints"), "checkpoint": "50ms"},
        "sources": {
            "letters": {
                "adapter": "filesystem",
                "ids": {"scheme": "manifest", "file": str(folder / "index.csv")},
                "options": {"root": str(folder / "archive")},
            }
        },
    }
    with serving(settings, folder) as gateway:
        for number, id in enumerate(("letter-1", "letter-1", "nothing")):
            request = Request(f"{gateway.url}/R4/Binary/{id}", headers={"X-Request-Id": f"request-{number}"})
            try:
                with urlopen(request) as answer:
                    answer.read()
            except HTTPError as error:
                error.close()
    return folder


@pytest.fixture
def folder(served: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    copy = tmp_path / "copy"
    shutil.copytree(served, copy)
    text = (served / "gateway.yaml").read_text().replace(str(served), str(copy))
    (copy / "gateway.yaml").write_text(text)
    return copy


def audit(folder: Path, command: str, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["audit", command, "--config", str(folder / "gateway.yaml"), *arguments])


def segment(folder: Path) -> Path:
    (only,) = (folder / "audit").glob("*.jsonl")
    return only


def test_a_whole_trail_is_said_to_be_whole(folder: Path) -> None:
    done = audit(folder, "verify")
    assert done.exit_code == 0, done.output
    assert "The trail is whole: " in done.output
    assert "closed" in done.output
    facts = json.loads(audit(folder, "verify", "--json").output)
    assert facts["whole"] is True
    assert facts["segments"][0]["state"] == "closed"


def test_a_broken_trail_is_explained(folder: Path) -> None:
    path = segment(folder)
    path.write_bytes(path.read_bytes().replace(b'"request":"request-1"', b'"request":"request-9"', 1))
    done = audit(folder, "verify")
    assert done.exit_code == 1
    number = next(at for at, line in enumerate(path.read_bytes().splitlines()) if b"request-9" in line)
    assert f"record {number} was changed, or the one before it was" in done.output
    assert "The trail is broken" in done.output
    assert json.loads(audit(folder, "verify", "--json").output)["whole"] is False


def test_a_stranger_verifies_a_copy_with_the_public_key_alone(folder: Path, tmp_path: Path) -> None:
    public = audit(folder, "key").output.strip()
    copy = tmp_path / "elsewhere"
    copy.mkdir()
    shutil.copy(segment(folder), copy)
    options = ["--directory", str(copy), "--public-key", public]
    assert CliRunner().invoke(main, ["audit", "verify", *options]).exit_code == 0
    wrong = CliRunner().invoke(main, ["audit", "verify", *options[:3], "00" * 32])
    assert wrong.exit_code == 1
    assert "was not signed with the key of this trail" in wrong.output


def test_a_cut_is_found_by_checkpoints_kept_elsewhere(folder: Path) -> None:
    path = segment(folder)
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:3]))
    assert audit(folder, "verify").exit_code == 0
    done = audit(folder, "verify", "--checkpoints", str(folder / "checkpoints"))
    assert done.exit_code == 1
    assert "which a checkpoint kept elsewhere vouches for, is missing" in done.output
    (folder / "checkpoints").write_text("nonsense\n")
    assert "line 1 is no checkpoint" in audit(folder, "verify", "--checkpoints", str(folder / "checkpoints")).output


@pytest.mark.parametrize(
    "arguments",
    [
        ["--directory", "x"],
        ["--public-key", "00"],
        ["--directory", "x", "--public-key", "00"],
        ["--directory", "x", "--public-key", "g" * 64],
    ],
)
def test_a_wrong_command_line_is_2(arguments: list[str]) -> None:
    assert CliRunner().invoke(main, ["audit", "verify", *arguments]).exit_code == 2


def test_without_a_trail_every_command_says_so(folder: Path) -> None:
    config = folder / "gateway.yaml"
    shutil.rmtree(folder / "audit")
    for command in (["verify"], ["export"], ["show", "request-1"], ["key"]):
        done = audit(folder, command[0], *command[1:])
        assert done.exit_code == 2, done.output
        assert "audit.directory" in done.output
    config.write_text("auth: {mode: none}\n" + config.read_text()[config.read_text().index("sources:") :])
    assert "No trail is kept." in audit(folder, "verify").output


def test_one_request_is_followed(folder: Path) -> None:
    done = audit(folder, "show", "request-1")
    assert done.exit_code == 0, done.output
    for word in ("letter-1", PATIENT, "127.0.0.1", "intended", "completed", "bytes 17", "status 200"):
        assert word in done.output
    refused = audit(folder, "show", "request-2")
    assert "GW-DOC-001" in refused.output
    assert [one["event"] for one in json.loads(audit(folder, "show", "request-1", "--json").output)] == [
        "intended",
        "completed",
    ]
    unknown = audit(folder, "show", "request-77")
    assert unknown.exit_code == 1
    assert "No request request-77" in unknown.output


def test_with_another_key_nothing_sealed_is_shown(folder: Path) -> None:
    (folder / "audit" / "key").write_text(os.urandom(32).hex())
    done = audit(folder, "show", "request-1")
    assert "What is sealed was sealed with another key." in done.output
    assert "completed" in done.output
    assert PATIENT not in done.output


def test_records_are_exported_in_each_form(folder: Path, tmp_path: Path) -> None:
    plain = [json.loads(line) for line in audit(folder, "export").output.splitlines()]
    assert [one["event"] for one in plain if "act" in one].count("intended") == 2
    assert [one["sealed"].get("patient") for one in plain if "sealed" in one] == [PATIENT] * 4 + [None]
    events = audit(folder, "export", "--format", "fhir-r4").output.splitlines()
    for event in events:
        AuditEvent.model_validate_json(event)
    assert len(events) == len([one for one in plain if one["event"] != "intended"])
    path = tmp_path / "messages"
    assert audit(folder, "export", "--format", "dicom", "-o", str(path)).exit_code == 0
    assert path.read_bytes().count(b"<AuditMessage>") == len(events)
    assert audit(folder, "export", "--format", "fhir-stu3").exit_code == 0


def test_an_export_can_be_limited(folder: Path) -> None:
    assert audit(folder, "export", "--since", "2999-01-01").output == ""
    assert audit(folder, "export", "--until", "2000-01-01T00:00:00").output == ""
    assert audit(folder, "export", "--since", "yesterday").exit_code == 2
    mine = [json.loads(line) for line in audit(folder, "export", "--patient", PATIENT).output.splitlines()]
    assert [one["event"] for one in mine] == ["intended", "completed"] * 2


def test_an_export_of_a_broken_trail_stops_and_says_so(folder: Path) -> None:
    path = segment(folder)
    path.write_bytes(path.read_bytes().replace(b"request-1", b"request-9"))
    done = audit(folder, "export")
    assert done.exit_code == 1
    assert "audit verify" in done.output
