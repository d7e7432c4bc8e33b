"""`fhir-gateway config`: a folder of strange files becomes a configuration that serves every one of them."""

from __future__ import annotations

import base64
import csv
import json
import os
import re
import subprocess
import sys
import urllib.request
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.cli import main
from gateway.settings import load
from tests.support.gateway import serving

STRANGE = {
    b"2019/9434765919 Smith, Anna.pdf": b"%PDF-1.4\nletter",
    b"2019/deeper/nested/scan.TIF": b"II*\x00" + bytes(1000),
    b"latin-\xe9-\xff.txt": "na\u00efve".encode("latin-1"),
    b"raw:already%41.pdf": b"%PDF-1.4\nraw",
    b'quote"and,comma;semicolon.txt': b"plain",
    b"#hash ?query&.html": b"<!doctype html><p>x",
    "n\u0303-nfd.txt".encode(): b"decomposed",
    "\u00f1-nfc.txt".encode(): b"composed",
    "\U0001f5ce \u202egpj.exe".encode(): b"MZ" + bytes(10),
    b"no extension": bytes(range(256)) * 17,
    b"same.pdf": b"%PDF-1.4\nsame",
    b"SAME.PDF": b"%PDF-1.4\nother case",
    b"  leading and trailing  ": b"spaces",
    b"C:looks-like-a-drive": b"drive",
    b"x" * 200 + b".txt": b"long",
}


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def strange(tmp_path: Path) -> Path:
    """A folder of strange files, with things among them that are no documents."""
    root = tmp_path / "old archive"
    root.mkdir()
    for name, data in STRANGE.items():
        path = os.path.join(os.fsencode(root), name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(data)
    os.mkfifo(root / "fifo")
    (root / "link").symlink_to("/etc/passwd")
    (root / ".hidden").write_text("x")
    (root / "back\\slash").write_text("x")
    return root


def test_every_strange_file_is_served_bit_identical(strange: Path, tmp_path: Path) -> None:
    config = tmp_path / "gateway.yaml"
    written = run("config", "init", "--from-dir", strange, "--output", config)
    assert written.exit_code == 0, written.output
    assert len(config.read_text().splitlines()) <= 12
    checked = run("check", "--config", config, "--sample", "100")
    assert checked.exit_code == 0, checked.output
    assert f"{len(STRANGE)} looked at: all as they should be" in checked.output
    text = config.read_text().replace("port: 8080", "port: 0") + "admin: {port: 0}\n"
    config.write_text(text)
    with (tmp_path / "index.csv").open(newline="", encoding="utf-8") as file:
        ids = [row["id"] for row in csv.DictReader(file)]
    with serving(config, tmp_path / "run") as gateway:
        native = [get(f"{gateway.url}/R4/Binary/{id}") for id in ids]
        as_json = [get(f"{gateway.url}/R4/Binary/{id}?_format=json") for id in ids]
        as_xml = [get(f"{gateway.url}/STU3/Binary/{id}?_format=xml") for id in ids]
    assert sorted(native) == sorted(STRANGE.values())
    assert [base64.b64decode(json.loads(body)["data"]) for body in as_json] == native
    content = "{http://hl7.org/fhir}content"
    found = [ElementTree.fromstring(body).find(content) for body in as_xml]
    assert [base64.b64decode(element.attrib["value"]) for element in found if element is not None] == native


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as answer:
        data = answer.read()
    assert isinstance(data, bytes)
    return data


def test_what_init_says(strange: Path, tmp_path: Path) -> None:
    result = run("config", "init", "--from-dir", strange, "--output", tmp_path / "my gateway.yaml")
    said = result.stdout
    assert f"{len(STRANGE)} documents" in said
    assert "since there are " in said
    assert "Left out: symbolic links, which are never followed (1)." in said
    assert "Left out: devices, FIFOs or sockets (1)." in said
    assert f"fhir-gateway serve --config '{tmp_path}/my gateway.yaml'" in said
    assert re.search(r"curl -o document http://127\.0\.0\.1:8080/R4/Binary/[0-9a-f]{32}$", said, re.MULTILINE)
    assert f"Wrote {tmp_path}/ids.key" in said
    again = run("config", "init", "--from-dir", strange, "--output", tmp_path / "my gateway.yaml", "--force")
    assert f"Used {tmp_path}/ids.key" in again.stdout
    assert "Smith" not in result.output
    assert "\x1b[" not in result.output


def test_init_with_names_as_ids(tmp_path: Path) -> None:
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive" / "letter-1.pdf").write_bytes(b"%PDF-1.4")
    config = tmp_path / "gateway.yaml"
    result = run("config", "init", "--from-dir", tmp_path / "archive", "-o", config)
    assert "names are ids ({id}.pdf)" in result.stdout
    assert "--ids keyed" in result.stdout
    assert run("check", "--config", config, "--sample", "1").exit_code == 0
    assert run("fetch", "letter-1", "--config", config).stdout_bytes == b"%PDF-1.4"


def test_init_refuses_with_a_sentence(strange: Path, tmp_path: Path) -> None:
    output = tmp_path / "gateway.yaml"
    output.write_text("mine")
    result = run("config", "init", "--from-dir", strange, "--output", output)
    assert result.exit_code == 2
    assert "--force" in result.stderr
    result = run("config", "init", "--from-dir", tmp_path / "absent", "--output", output)
    assert result.exit_code == 2
    assert "no folder" in result.stderr


def test_the_reference_loads_as_it_is_printed(tmp_path: Path) -> None:
    result = run("config", "reference")
    assert result.exit_code == 0
    (tmp_path / "gateway.yaml").write_text(result.stdout)
    assert load(tmp_path / "gateway.yaml", {}).server.port == 8080


def test_a_module_and_a_command_are_the_same(tmp_path: Path) -> None:
    command = [os.sys.executable, "-m", "gateway", "--version"]
    out = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]).stdout
    assert out == run("--version").output
    assert re.fullmatch(r"fhir-gateway \d+\.\d+\.\d+\n", out)


def test_commands_to_type_next_are_those_that_the_shell_finds(strange: Path, tmp_path: Path) -> None:
    """In an environment that is not activated, a bare name is another program or none."""
    program = Path(sys.executable).with_name("fhir-gateway")
    words = [program, "config", "init", "--from-dir", strange, "--output", tmp_path / "gateway.yaml"]
    for path, expected in ((os.defpath, str(program)), (str(program.parent), "fhir-gateway")):
        (tmp_path / "gateway.yaml").unlink(missing_ok=True)
        (tmp_path / "index.csv").unlink(missing_ok=True)
        done = subprocess.run(words, capture_output=True, text=True, check=True, env=os.environ | {"PATH": path})
        assert f"\n  {expected} check --config {tmp_path}/gateway.yaml" in done.stdout


def test_a_configuration_of_the_usual_name_is_pointed_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    runner = CliRunner(env={"GATEWAY_CONFIG": None})
    assert "config init --from-dir DIR" in runner.invoke(main, ["check"]).stderr
    (tmp_path / "gateway.yaml").touch()
    assert "There is a gateway.yaml here: --config gateway.yaml" in runner.invoke(main, ["check"]).stderr
