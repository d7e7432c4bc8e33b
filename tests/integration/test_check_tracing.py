"""`fhir-gateway check` and the receiver of traces: one that takes them, one that refuses, one that is not there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from gateway.cli import main
from tests.support.otlp import receiving
from tests.support.ports import free_port


def checked(directory: Path, **tracing: Any) -> Result:
    (directory / "archive").mkdir(exist_ok=True)
    source = {
        "adapter": "filesystem",
        "ids": {"scheme": "template", "pattern": "{id}.*"},
        "options": {"root": "archive"},
    }
    config = directory / "gateway.yaml"
    listeners = {"server": {"port": 0}, "admin": {"port": 0}}
    whole = {"auth": {"mode": "none"}, "tracing": tracing, "sources": {"letters": source}, **listeners}
    config.write_text(yaml.safe_dump(whole))
    return CliRunner().invoke(main, ["check", "--json", "--config", str(config)])


def test_a_receiver_that_takes_traces_is_fine(tmp_path: Path) -> None:
    with receiving() as receiver:
        assert checked(tmp_path, endpoint=receiver.url).exit_code == 0
        assert receiver.raw == [b""], "nothing but an empty delivery"


@pytest.mark.parametrize("status", [401, 404, 500])
def test_a_receiver_that_refuses_is_told_with_its_status(tmp_path: Path, status: int) -> None:
    with receiving() as receiver:
        receiver.status = status
        result = checked(tmp_path, endpoint=receiver.url)
    assert result.exit_code == 1
    (found,) = json.loads(result.stdout)["away"]
    assert found["key"] == "tracing.endpoint"
    assert str(status) in found["cause"]
    assert "/v1/traces" in found["cure"]


def test_a_receiver_that_is_not_there_keeps_nobody_from_serving(tmp_path: Path) -> None:
    result = checked(tmp_path, endpoint=f"http://127.0.0.1:{free_port()}/v1/traces")
    assert result.exit_code == 1
    (found,) = json.loads(result.stdout)["away"]
    assert found["cause"] == "The receiver of traces does not answer: Connection refused."
    assert "serves all the same" in found["cure"]


def test_authorities_that_are_none_are_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    result = checked(tmp_path, endpoint="https://127.0.0.1:9/v1/traces", ca_file="ca.pem")
    assert result.exit_code == 2
    (found,) = json.loads(result.stdout)["problems"]
    assert found["key"] == "tracing.ca_file"
