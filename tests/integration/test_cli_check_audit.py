"""`fhir-gateway check` on the audit trail: what keeps it from being written, before a reader finds out."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from gateway.audit.examining import _directory
from gateway.cli import main
from tests.support.audit_receivers import certificates, syslog
from tests.support.folder import unprivileged
from tests.support.ports import free_port


def check(tmp_path: Path, audit: dict[str, Any], *arguments: str) -> Result:
    root = tmp_path / "archive"
    root.mkdir(exist_ok=True)
    source = {
        "adapter": "filesystem",
        "ids": {"scheme": "template", "pattern": "{id}.pdf"},
        "options": {"root": str(root)},
    }
    config = tmp_path / "gateway.yaml"
    config.write_text(yaml.safe_dump({"auth": {"mode": "none"}, "audit": audit, "sources": {"letters": source}}))
    return CliRunner().invoke(main, ["check", "--config", str(config), *arguments])


def key(tmp_path: Path) -> str:
    path = tmp_path / "key"
    path.write_bytes(os.urandom(32))
    path.chmod(0o600)
    return str(path)


def test_a_trail_that_can_be_kept_is_fine_and_none_is_begun(tmp_path: Path) -> None:
    settings = {"directory": "audit", "key_file": key(tmp_path), "checkpoints": "elsewhere"}
    done = check(tmp_path, settings, "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.output)["audit"] == []
    assert not (tmp_path / "audit").exists(), "what was tried is undone"


def test_what_could_be_better_is_said_and_is_no_failure(tmp_path: Path) -> None:
    done = check(tmp_path, {"directory": "audit"})
    assert done.exit_code == 0, done.output
    assert "The key of the trail lies beside the trail" in done.output
    assert "can cut the trail's end off" in done.output
    (tmp_path / "audit").mkdir()
    (tmp_path / "audit").chmod(0o755)
    assert "Other accounts can reach" in check(tmp_path, {"directory": "audit"}).output


def test_a_directory_that_cannot_be_written_is_wrong(tmp_path: Path) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("a file\n")
    done = check(tmp_path, {"directory": str(blocked / "audit")})
    assert done.exit_code == 2
    assert "The audit trail cannot be written to" in done.output


def test_a_directory_of_somebody_else_is_wrong(tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir()
    locked.chmod(0o555)
    with unprivileged():
        (finding,) = _directory(locked / "audit", 0)
    assert finding.state == "wrong"
    assert "Permission denied" in finding.cause


def test_too_little_room_is_wrong(tmp_path: Path) -> None:
    done = check(tmp_path, {"directory": "audit", "min_free": "900TiB"})
    assert done.exit_code == 2
    assert "no document would be given out" in done.output


def test_a_key_in_the_directory_that_is_none_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "audit").mkdir()
    (tmp_path / "audit" / "key").write_text("short")
    done = check(tmp_path, {"directory": "audit"})
    assert done.exit_code == 2
    assert "does not hold a key of 32 bytes" in " ".join(done.output.split())


@pytest.mark.parametrize("kind", ["fhir", "syslog"])
def test_a_receiver_that_is_away_is_away(tmp_path: Path, kind: str) -> None:
    port = free_port()
    sink = {"kind": kind, "name": "receiver"} | (
        {"url": f"http://127.0.0.1:{port}/fhir"} if kind == "fhir" else {"address": f"127.0.0.1:{port}"}
    )
    done = check(tmp_path, {"directory": "audit", "sinks": [sink]})
    assert done.exit_code == 1, done.output
    assert f"receiver: 127.0.0.1:{port}" in done.output
    assert "what it is to be given waits in" in done.output


def test_a_receiver_that_is_silent_or_not_trusted_is_away_and_one_that_answers_is_fine(tmp_path: Path) -> None:
    papers = certificates(tmp_path / "papers")
    with socket.create_server(("127.0.0.1", 0)) as silent, syslog(papers.server()) as received:
        sinks = [
            {"kind": "syslog", "name": "silent", "address": f"127.0.0.1:{silent.getsockname()[1]}", "timeout": "300ms"},
            {"kind": "syslog", "name": "strange", "address": f"127.0.0.1:{received.port}"},
            {
                "kind": "syslog",
                "name": "good",
                "address": f"127.0.0.1:{received.port}",
                "tls": {"ca": str(papers.certificate)},
            },
        ]
        done = check(tmp_path, {"directory": "audit", "key_file": key(tmp_path), "sinks": sinks}, "--json")
        assert received.frames == [], "nothing is sent"
    assert done.exit_code == 1
    causes = [finding["cause"] for finding in json.loads(done.output)["audit"]]
    assert len(causes) == 2, causes
    assert "silent: " in causes[0]
    assert "strange: its certificate is not trusted" in causes[1]


def test_serving_without_a_place_for_the_trail_ends_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "blocked").write_text("a file\n")
    check(tmp_path, {"directory": str(tmp_path / "blocked" / "audit")})
    done = CliRunner().invoke(main, ["fetch", "x", "--explain", "--config", str(tmp_path / "gateway.yaml")])
    assert done.exit_code == 2
    assert "gateway.yaml:2:3  audit.directory\n  The audit trail cannot be written to" in done.output


def test_a_fetch_from_the_command_line_is_recorded_too(tmp_path: Path) -> None:
    check(tmp_path, {"directory": "audit"})
    (tmp_path / "archive" / "x.pdf").write_bytes(b"%PDF-1.7")
    config = str(tmp_path / "gateway.yaml")
    assert CliRunner().invoke(main, ["fetch", "x", "--output", "-", "--config", config]).exit_code == 0
    said = CliRunner().invoke(main, ["audit", "export", "--config", config]).output
    assert [json.loads(line)["event"] for line in said.splitlines() if '"act"' in line] == ["intended", "completed"]
