"""`fhir-gateway check`: what it finds, how it says so, and its exit codes."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import uvloop
from click.testing import CliRunner, Result

from adapters.memory import MemoryAdapter
from gateway.cli import main
from tests.support.folder import unprivileged

PDF = b"%PDF-1.4\n1 0 obj\n<<>>\nendobj\ntrailer\n<<>>\n%%EOF\n"
TIFF = b"II*\x00\x08\x00\x00\x00" + bytes(64)
PATIENT = "9999458076"
TITLE = "Letter about a secret"


def check(config: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["check", "--config", str(config), *arguments])


def facts(config: Path, *arguments: str) -> Any:
    result = check(config, "--json", *arguments)
    found = json.loads(result.stdout)
    assert found["code"] == result.exit_code
    return found


@pytest.fixture(scope="module", autouse=True)
def _libuv() -> None:
    """libuv opens a pipe for its signals once in a process and keeps it: no test left that behind."""
    uvloop.new_event_loop().close()


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A folder of two good documents."""
    root = tmp_path / "archive"
    root.mkdir()
    (root / "one.pdf").write_bytes(PDF)
    (root / "two.pdf").write_bytes(PDF)
    return root


@pytest.fixture
def open_to_all() -> Iterator[Path]:
    """A folder of one good document that other accounts can reach."""
    with TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        root = Path(directory, "archive")
        root.mkdir()
        (root / "one.pdf").write_bytes(PDF)
        yield root


LISTENERS = ("server", "admin")
"""On ports that nobody else has."""


def template(root: Path, *more: str) -> Path:
    config = root.parent / "gateway.yaml"
    source = f'{{adapter: filesystem, ids: {{scheme: template, pattern: "{{id}}.pdf"}}, options: {{root: {root}}}}}'
    free = [f"{name}: {{port: 0}}" for name in LISTENERS if not any(line.startswith(f"{name}:") for line in more)]
    config.write_text("\n".join(["auth: {mode: none}", *free, "sources:", f"  letters: {source}", *more]) + "\n")
    return config


def manifest(root: Path, text: str) -> Path:
    (root.parent / "index.csv").write_text(text, encoding="utf-8")
    config = root.parent / "gateway.yaml"
    source = f"{{adapter: filesystem, ids: {{scheme: manifest, file: index.csv}}, options: {{root: {root}}}}}"
    free = "\n".join(f"{name}: {{port: 0}}" for name in LISTENERS)
    config.write_text(f"auth: {{mode: none}}\n{free}\nsources:\n  letters: {source}\n")
    return config


def test_all_well(archive: Path) -> None:
    result = check(template(archive), "--sample", "5")
    assert result.exit_code == 0, result.output
    assert "letters  ok" in result.stdout
    assert "2 looked at: all as they should be" in result.stdout
    assert "All well." in result.stdout
    assert "\x1b[" not in result.output


def test_the_same_facts_for_a_machine(archive: Path) -> None:
    found = facts(template(archive), "--sample", "1")
    (source,) = found["sources"]
    assert found["problems"] == []
    assert {name: source[name] for name in ("name", "adapter", "scheme", "state", "sampled", "findings", "local")} == {
        "name": "letters",
        "adapter": "filesystem",
        "scheme": "template",
        "state": "ok",
        "sampled": 1,
        "findings": [],
        "local": True,
    }


def test_every_problem_of_the_configuration_is_printed_with_its_place_and_cure(tmp_path: Path) -> None:
    config = tmp_path / "gateway.yaml"
    config.write_text("server: {prot: 1}\nauth: {mode: nobody}\nsources: {a: {adapter: memroy}}\n")
    result = check(config)
    assert result.exit_code == 2
    assert result.stdout == ""
    paragraphs = result.stderr.strip().split("\n\n")
    assert [paragraph.splitlines()[0] for paragraph in paragraphs] == [
        f"{config}:1:10  server.prot",
        f"{config}:2:8  auth.mode",
        f"{config}:3:11  sources.a.ids",
        f"{config}:3:15  sources.a.adapter",
        "4 problems in the configuration.",
    ]
    assert paragraphs[0].splitlines()[1:] == ["  There is no key `prot` here.", "  Did you mean `port`?"]


def test_every_problem_of_the_configuration_for_a_machine(tmp_path: Path) -> None:
    config = tmp_path / "gateway.yaml"
    config.write_text("server: {prot: 1}\nauth: {mode: none}\nsources: {}\n")
    found = facts(config)
    assert found["code"] == 2
    assert [(problem["line"], problem["key"], problem["code"]) for problem in found["problems"]] == [
        (1, "server.prot", "unknown-key"),
        (3, "sources", "value"),
    ]


def test_one_source_that_is_away_hides_nothing_about_the_other(archive: Path) -> None:
    away = archive.parent / "away"
    away.mkdir()
    ids = "ids: {scheme: template, pattern: '{id}'}"
    options = f"options: {{root: {away}, require_mount: true}}"
    config = template(archive, f"  scans: {{adapter: filesystem, prefix: s., {ids}, {options}}}")
    found = facts(config, "--sample", "5")
    assert found["code"] == 1
    assert [(source["name"], source["state"], source["sampled"]) for source in found["sources"]] == [
        ("letters", "ok", 2),
        ("scans", "away", 0),
    ]
    result = check(config)
    assert result.exit_code == 1
    assert "scans  away" in result.stdout


def test_documents_that_are_not_as_they_should_be(open_to_all: Path) -> None:
    archive = open_to_all
    (archive / "closed.pdf").write_bytes(PDF)
    (archive / "closed.pdf").chmod(0)
    (archive / "scan.tif").write_bytes(TIFF)
    (archive / "empty.pdf").touch()
    config = manifest(
        archive,
        "id,path,content_type,title,patient,status\n"
        f"good,one.pdf,application/pdf,{TITLE},{PATIENT},\n"
        f"lost,letters/{PATIENT}.pdf,,{TITLE},{PATIENT},\n"
        "named-wrong,scan.tif,application/pdf,,,\n"
        "withdrawn,gone.pdf,,,,withdrawn\n"
        "closed,closed.pdf,,,,\n"
        "empty,empty.pdf,,,,\n",
    )
    with unprivileged():
        result = check(config, "--json", "--sample", "100")
    (source,) = json.loads(result.stdout)["sources"]
    assert (result.exit_code, source["rows"], source["sampled"], source["empty"]) == (1, 6, 5, 1)
    findings = {finding["id"]: (finding["kind"], finding["line"]) for finding in source["findings"]}
    assert findings == {"lost": ("missing", 3), "named-wrong": ("wrong type", 4), "closed": ("unreadable", 6)}
    detail = next(finding["detail"] for finding in source["findings"] if finding["id"] == "named-wrong")
    assert detail == "the manifest says application/pdf, the bytes look like image/tiff"
    text = check(config, "--sample", "100").output
    assert "lost (line 3)" in text
    for said in (result.output, text):
        assert PATIENT not in said
        assert TITLE not in said
        assert "letters/" not in said


def test_a_name_that_contradicts_its_bytes(archive: Path) -> None:
    (archive / "scan.pdf").write_bytes(TIFF)
    (source,) = facts(template(archive), "--sample", "9")["sources"]
    assert [(finding["id"], finding["kind"]) for finding in source["findings"]] == [("scan", "wrong type")]


def test_a_sample_is_spread_evenly(archive: Path) -> None:
    for number in range(100):
        (archive / f"x{number:02}.pdf").write_bytes(TIFF)
    (source,) = facts(template(archive), "--sample", "4")["sources"]
    assert [finding["id"] for finding in source["findings"]] == ["x23", "x49", "x74"]
    assert source["sampled"] == 4


def test_files_that_no_id_leads_to_are_mentioned(archive: Path) -> None:
    (archive / "scan.tif").write_bytes(TIFF)
    (source,) = facts(template(archive), "--sample", "9")["sources"]
    assert source["note"] == "1 files have names that the pattern leads no id to"


def test_a_manifest_with_mistakes_says_which_lines(archive: Path) -> None:
    config = manifest(archive, "id,path\na,one.pdf\na,two.pdf\nb,../outside.pdf\n")
    result = check(config)
    assert result.exit_code == 2
    assert "letters  wrong" in result.stdout
    assert "Line 3: column id repeats" in result.stderr
    assert "Line 4: " in result.stderr
    assert "outside" not in result.output


def test_without_a_configuration_the_command_line_is_wrong(tmp_path: Path) -> None:
    result = CliRunner(env={"GATEWAY_CONFIG": None}).invoke(main, ["check"])
    assert result.exit_code == 2
    assert "--config FILE" in result.stderr
    result = check(tmp_path / "absent.yaml")
    assert result.exit_code == 2
    assert "no such file" in result.stderr


def test_the_environment_can_name_the_configuration(archive: Path) -> None:
    result = CliRunner(env={"GATEWAY_CONFIG": str(template(archive))}).invoke(main, ["check"])
    assert result.exit_code == 0


def test_what_a_gateway_would_make_is_not_left_behind_by_a_look(archive: Path) -> None:
    """Whoever looks may be root, and the service's account could not write to what root made."""
    where = archive.parent / "deep" / "er"
    cache = f"cache: {{backend: disk, directory: {where}/cache, encryption: {{mode: none}}}}"
    config = template(archive, cache, f"audit: {{directory: {where}/audit}}")
    assert check(config).exit_code == 0
    assert not (archive.parent / "deep").exists()
    (where / "cache").mkdir(parents=True)
    assert check(config).exit_code == 0
    assert [path.name for path in where.iterdir()] == ["cache"], "what was there stays"
    assert {path.name for path in (where / "cache").iterdir()} == {".lock", ".incoming"}


def test_a_defect_of_an_adapter_hides_nothing_and_ends_without_a_traceback(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise KeyError(PATIENT)

    monkeypatch.setattr(MemoryAdapter, "__init__", fail)
    lines = ["  broken: {adapter: memory, prefix: b., ids: {scheme: template, pattern: '{id}'}}"]
    config = template(archive, *lines, "server: {port: 0}", "admin: {port: 0}")
    result = check(config)
    assert result.exit_code == 2, result.output
    assert "letters  ok" in result.stdout
    assert f"{config}:4:12  sources.broken.adapter\n  The adapter's own code failed: KeyError in " in result.stderr
    served = CliRunner().invoke(main, ["serve", "--config", str(config)])
    assert served.exit_code == 1
    assert "The gateway failed: KeyError in test_cli_check.py:" in served.stderr
    for said in (result.output, served.output):
        assert "Traceback" not in said
        assert PATIENT not in said
