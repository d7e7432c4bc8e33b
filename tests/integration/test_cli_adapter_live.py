"""`fhir-gateway adapter test --live`: the kit on a site's archive, which is only read, in a report that can be passed on."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from gateway.cli import main
from tests.integration.authored import MODULE, NAME, Changes, installed

PATIENT = "smith-9999458076"
LETTER = b"%PDF-1.4\n" + bytes(range(256)) * 1000
ADAPTER = f"{MODULE}/adapter.py"


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    folder = tmp_path / "archive"
    (folder / "cardiology").mkdir(parents=True)
    (folder / "cardiology" / f"{PATIENT}.pdf").write_bytes(LETTER)
    (folder / "note.txt").write_bytes(b"short")
    return folder


@pytest.fixture
def config(tmp_path: Path, archive: Path) -> Path:
    (tmp_path / "index.csv").write_text(f"id,path\nletter,cardiology/{PATIENT}.pdf\nnote,note.txt\nlost,lost.pdf\n")
    path = tmp_path / "gateway.yaml"
    manifest = {"scheme": "manifest", "file": "index.csv"}
    template = {"scheme": "template", "pattern": "{id}.txt"}
    options = {"root": str(archive)}
    sources = {
        "letters": {"adapter": "filesystem", "ids": manifest, "options": options},
        "notes": {"adapter": "filesystem", "prefix": "n.", "ids": template, "options": options},
        "away": {
            "adapter": "filesystem",
            "prefix": "a.",
            "ids": template,
            "options": options | {"require_mount": True},
        },
    }
    path.write_text(yaml.safe_dump({"auth": {"mode": "none"}, "sources": sources}))
    return path


@pytest.fixture
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Installs what `adapter new` wrote, with changes; its configuration reads the letter of its stand-in."""

    def install(changes: Changes | None = None) -> Path:
        package = context.enter_context(installed(tmp_path, monkeypatch, changes))
        return package / "gateway.yaml"

    with ExitStack() as context:
        yield install


def live(config: Path, *documents: str, package: str = "filesystem", more: tuple[str, ...] = ()) -> Result:
    named = [word for document in documents for word in ("--doc", document)]
    return CliRunner().invoke(main, ["adapter", "test", package, "--live", "--config", str(config), *named, *more])


def verdicts(result: Result) -> dict[str, str]:
    return dict(re.findall(r"^([A-Z]\d*\.\d+) +(passed|FAILED|not applicable) ", result.stdout, re.MULTILINE))


def everything_in(folder: Path) -> Iterator[tuple[str, bytes, int]]:
    for path in sorted(folder.rglob("*")):
        yield str(path), path.read_bytes() if path.is_file() else b"", path.stat().st_mtime_ns


def test_a_built_in_adapter_on_real_documents(config: Path, archive: Path) -> None:
    before = list(everything_in(archive))
    result = live(config, "letter", "note")
    assert result.exit_code == 0, result.output
    assert "against 2 documents of the source letters, which are only read" in result.stdout
    assert "39 passed, 0 failed, 22 not applicable" in result.stdout
    assert list(everything_in(archive)) == before


def test_what_is_not_possible_is_listed_with_its_reason(config: Path) -> None:
    words = " ".join(live(config, "letter").stdout.split())
    for rule, reason in {
        "C6.1": "The check stores documents, and a site's archive is only read.",
        "C6.3": "A site's archive is only read: the kit cannot break the archive off in the middle of a document.",
        "C1.3": "A site's archive is only read: the kit cannot withdraw a document.",
        "C9.1": "A site's archive is only read: the kit cannot take the archive away.",
        "C12.3": "The source's options hold no secret in clear.",
    }.items():
        assert re.search(rf"{rule} not applicable [^.]*{re.escape(reason)}", words), rule


def test_ids_lead_to_their_sources(config: Path) -> None:
    result = live(config, "letter", "n.note", more=("--json", "--rule", "C3"))
    assert result.exit_code == 0, result.output
    reports = json.loads(result.stdout)["reports"]
    assert [(report["source"], report["documents"]) for report in reports] == [("letters", 1), ("notes", 1)]


def test_an_adapter_of_another_package_over_its_configuration(acme) -> None:
    result = live(acme(), "letter-1", package=NAME)
    assert result.exit_code == 0, result.output
    assert "37 passed, 0 failed, 24 not applicable" in result.stdout


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ("if version is not None and version != facts.version:", "if False:", "C5.2"),
        ("if span is not None and span.start >= size:", "if False:", "C4.1"),
        ("self._document.read(offset, length)", "self._document.read(max(offset - 1, 0), length)", "C3.1"),
        ("modified=record.modified,", "modified=record.modified.replace(tzinfo=None),", "C2.2"),
    ],
)
def test_a_broken_adapter_is_caught(acme, old: str, new: str, rule: str) -> None:
    result = live(acme({ADAPTER: {old: new}}), "letter-1", package=NAME)
    assert result.exit_code == 1, result.output
    assert verdicts(result)[rule] == "FAILED"


@pytest.mark.parametrize("as_json", [False, True])
def test_the_report_names_no_document(acme, as_json: bool) -> None:
    tells = {'doing="open the document"': 'doing=f"open {locator} for open-sesame"'}
    result = live(acme({ADAPTER: tells}), "letter-1", package=NAME, more=("--json",) if as_json else ())
    assert result.exit_code == 1
    assert "could not open [locator]-no-such-4711 for [secret]" in " ".join(result.stdout.split())
    assert "letter-1" not in result.output
    assert "open-sesame" not in result.output


def test_a_foreign_error_that_names_a_document_is_not_shown(acme) -> None:
    result = live(
        acme({ADAPTER: {'with translate(ERRORS, doing="look the document up"):': "if True:"}}), "letter-1", package=NAME
    )
    assert verdicts(result)["C1.1"] == "FAILED"
    assert "raised NoSuchDocument; NotFound or InvalidLocator is due" in " ".join(result.stdout.split())
    assert "letter-1" not in result.output


def test_a_report_on_patients_documents_names_none(config: Path) -> None:
    result = live(config, "letter", more=("--json",))
    assert PATIENT not in result.output
    assert "cardiology" not in result.output


# --- when it cannot be run -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("documents", "cause"),
    [
        (["lost"], "The document lost cannot be read: NotFound"),
        (["unknown"], "The id unknown leads to no document"),
        (["a b"], "The id a b leads to no document"),
        (["a.note"], "The source away cannot be entered"),
    ],
)
def test_a_document_that_cannot_be_used(config: Path, documents: list[str], cause: str) -> None:
    result = live(config, *documents)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert cause in result.stderr
    assert "fhir-gateway" in result.stderr.splitlines()[-1]


def test_an_id_of_another_adapter(config: Path) -> None:
    result = live(config, "letter", package="memory")
    assert result.exit_code == 2
    assert "The id letter leads to the source letters, whose adapter is 'filesystem'." in result.stderr


def test_an_id_of_no_source(config: Path) -> None:
    data = yaml.safe_load(config.read_text())
    del data["sources"]["letters"]
    config.write_text(yaml.safe_dump(data))
    result = live(config, "letter")
    assert result.exit_code == 2
    assert "No source of the configuration has the id letter." in result.stderr


def test_a_wrong_configuration_is_explained(config: Path) -> None:
    config.write_text(config.read_text().replace("require_mount", "require_mout"))
    result = live(config, "letter")
    assert result.exit_code == 2
    assert "Did you mean `require_mount`?" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--live"], "Name documents to read: --doc ID"),
        (["--live", "--doc", "x"], "No configuration."),
        (["--doc", "x"], "--doc and --config go with --live."),
        (["--config", "x.yaml"], "--doc and --config go with --live."),
    ],
)
def test_what_goes_together_is_said(arguments: list[str], sentence: str) -> None:
    result = CliRunner().invoke(main, ["adapter", "test", "filesystem", *arguments])
    assert result.exit_code == 2
    assert sentence in result.stderr
