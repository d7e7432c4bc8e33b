"""docs/smb.md is true: its steps lead to a document on a real share, and its tables say what the adapter says."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml

from adapters.errors import AdapterError
from adapters.smb import SmbOptions
from adapters.smb.failures import Lost, Refused, meaning
from adapters.smb.wire import status
from gateway.errors import problem_for
from tests.meta.doc_blocks import Page, commands
from tests.support.samba import Samba, samba

PROJECT = Path(__file__).parents[2]
PAGE = Page.of(PROJECT / "docs" / "smb.md", PROJECT)
LETTER = b"%PDF-1.7 a letter\n" * 500


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Samba]:
    with samba(tmp_path / "smb", encryption="offered") as running:
        (running.folder() / "letter-0.pdf").write_bytes(LETTER)
        yield running


def options(server: Samba) -> Mapping[str, object]:
    return server.options(password_file=str(server.password_file))


def configuration(server: Samba, **more: object) -> str:
    """The first configuration of the page; only where the server is, and who logs on, is this test's."""
    data = yaml.safe_load(next(block.text for block in PAGE.blocks if block.language == "yaml"))
    shown = data["sources"]["letters"]["options"]
    assert {"server", "share", "username", "password_file"} == shown.keys()
    shown.update({**options(server), **more})
    return yaml.safe_dump(data)


def typed(command: str, folder: Path) -> str:
    words = command.replace("fhir-gateway", f"{sys.executable} -m gateway").split()
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, errors="replace", timeout=100, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


def test_the_steps_lead_to_a_document(server: Samba, tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_text(configuration(server))
    said = {
        command: typed(command, tmp_path)
        for block in PAGE.blocks
        if block.language == "sh"
        for command, _ in commands(block)
    }
    checked, tried, fetched = said.values()
    assert "All well." in checked
    assert "9,000 bytes" in tried
    assert "not local" in tried
    assert "200 OK" in fetched


@pytest.mark.parametrize(
    ("newest", "more"),
    [
        ("SMB3_11", {}),
        ("SMB3_11", {"require_encryption": False}),
        ("SMB3_00", {}),
        ("SMB2_10", {"require_encryption": False, "minimum_dialect": "2.1"}),
    ],
)
@pytest.mark.parametrize("engine", ["native", "library"])
def test_dialects_that_it_says_were_tested(tmp_path: Path, newest: str, more: dict[str, object], engine: str) -> None:
    encryption = "off" if newest == "SMB2_10" else "offered"
    with samba(tmp_path / "smb", encryption=encryption, settings={"server max protocol": newest}) as server:
        (server.folder() / "letter-0.pdf").write_bytes(LETTER)
        (tmp_path / "gateway.yaml").write_text(configuration(server, engine=engine, **more))
        assert "9,000 bytes" in typed("fhir-gateway adapter try --config gateway.yaml letter-0.pdf", tmp_path)


def test_every_option_is_told_about() -> None:
    words = " ".join(PAGE.spans) + " ".join(block.text for block in PAGE.blocks)
    assert {name for name in SmbOptions.model_fields if not re.search(rf"\b{name}\b", words)} == set()


# --- when it fails -----------------------------------------------------------------------------------------------------


def rows(first: str) -> list[list[str]]:
    """The rows of the tables of "When it fails" whose first cell looks like this."""
    section = re.search(r"^## When it fails\n(.*?)(?=^## )", PAGE.text, re.MULTILINE | re.DOTALL)
    assert section
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in section[1].splitlines() if line[:1] == "|"
    ]
    return [row for row in cells if re.fullmatch(first, row[0])]


def statuses() -> dict[str, str]:
    return {row[0].strip("`"): row[1] for row in rows("`STATUS_.*`")}


@pytest.mark.parametrize("name", statuses())
def test_a_status_means_what_the_table_says(name: str) -> None:
    error = meaning(Refused(getattr(status, name), "x"), "open the document")
    assert str(problem_for(error).entry.status) == statuses()[name]


def test_only_what_the_page_says_is_not_found() -> None:
    missing = [name for name, answer in statuses().items() if answer == "404"]
    assert missing == ["STATUS_OBJECT_NAME_NOT_FOUND", "STATUS_OBJECT_PATH_NOT_FOUND", "STATUS_STOPPED_ON_SYMLINK"]
    unknown: AdapterError = meaning(Refused(0xC0FFEE00, "x"), "open the document")
    assert problem_for(unknown).entry.status == 503
    assert problem_for(meaning(Lost("x"), "open the document")).entry.status == 503


def texts() -> str:
    """Every text in the adapter's code, with what is put together from several lines in one."""
    found = []
    for path in (PROJECT / "adapters" / "smb").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return "\n".join(found)


def test_every_text_that_is_quoted_is_in_the_adapter() -> None:
    said, quoted = texts(), [row[0].strip('"') for row in rows('".*"')]
    assert quoted
    assert [text for text in quoted if text not in said] == []
