"""`fhir-gateway adapter new`: what it writes, where, and that it overwrites nothing.

That the package is green as it stands is shown where it is installed, in test_third_party_adapter.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.cli import main
from tests.integration.authored import NAME, installed

PROJECT = Path(__file__).parents[2]


def new(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["adapter", "new", *arguments])


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "PYTHONPATH": str(PROJECT)}
    return subprocess.run(
        [sys.executable, "-m", *command], cwd=folder, env=environ, capture_output=True, text=True, check=False
    )


def test_it_writes_a_package_and_says_what_to_do_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = new(NAME)
    assert result.exit_code == 0, result.output
    files = {path.relative_to(tmp_path / NAME).as_posix() for path in (tmp_path / NAME).rglob("*") if path.is_file()}
    assert set(re.findall(r"^  (\S*[./]\S+)$", result.output, re.MULTILINE)) == files
    assert f"fhir-gateway adapter test {NAME}" in result.output


def test_its_types_are_strict(tmp_path: Path) -> None:
    new(NAME, "--directory", str(tmp_path / "here"))
    assert "strict = true" in (tmp_path / "here" / "pyproject.toml").read_text()
    done = run(tmp_path / "here", "mypy", "--cache-dir", str(tmp_path / "cache"))
    assert done.returncode == 0, done.stdout + done.stderr


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    place = tmp_path / NAME
    assert new(NAME, "--directory", str(place)).exit_code == 0
    (place / "README.md").write_text("mine")
    again = new(NAME, "--directory", str(place))
    assert again.exit_code == 2
    assert "is not empty" in again.stderr
    assert "--directory" in again.stderr
    assert (place / "README.md").read_text() == "mine"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("Acme EDRMS", "as in `acme-edrms`"),
        ("filesystem", "An adapter called 'filesystem' is installed already."),
        ("json", "A module called 'json' exists already."),
    ],
)
def test_a_name_that_cannot_be_writes_nothing(
    name: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = new(name)
    assert result.exit_code == 2
    assert sentence in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_is_in_use_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with installed(tmp_path, monkeypatch):
        result = new(NAME, "--directory", str(tmp_path / "other"))
    assert result.exit_code == 2
    assert f"An adapter called '{NAME}' is installed already." in result.stderr


def test_a_place_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = new(NAME, "--directory", str(tmp_path / "file" / "below"))
    assert result.exit_code == 2
    assert "Traceback" not in result.output
    assert "Not a directory." in result.stderr
