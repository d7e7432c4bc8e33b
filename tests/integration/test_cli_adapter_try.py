"""`fhir-gateway adapter try`: one document through one adapter, and what is said about it.

An adapter with faults is installed beside the built-in ones, as pip would put it there.
"""

from __future__ import annotations

import hashlib
import os
import pty
import re
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.cli import main
from gateway.cli.adapter_try import try_

PDF = b"%PDF-1.4\n" + bytes(range(256)) * 1000
NAME = "9999458076 letter.pdf"
DEADLINE = 30.0
"""Seconds for a command of its own process."""

ODD = """
import time
from contextlib import asynccontextmanager
from typing import Literal
from pydantic import BaseModel, ConfigDict, Field, SecretStr
from adapters import Adapter, Capabilities, Content, Descriptor, Span
from adapters.contract import Digest
from adapters.errors import CredentialsRejected, OptionError

DATA = b"II*\\0" + bytes(range(256)) * 4000

class Options(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)
    fault: str = Field(default="none", description="What goes wrong.")
    password: SecretStr | None = Field(default=None, description="A secret.")
    port: int = Field(default=1, description="A number.")

class Odd(Adapter):
    "An archive with faults."
    Options = Options
    @property
    def capabilities(self):
        return Capabilities(local=False, spans=False, cheap_stat=False, strong_versions=False, immutable=False,
                            per_caller=False, max_open=1)
    async def __aenter__(self):
        if self.options.fault == "options":
            raise OptionError("the port is not open", option="port", cure="open the port")
        if self.options.fault == "password" and self.options.password.get_secret_value() != "open sesame":
            raise CredentialsRejected("the archive does not know this password")
        return self
    async def probe(self): ...
    @asynccontextmanager
    async def open(self, locator, span=None, *, version=None, caller=None):
        if self.options.fault == "hangs":
            await self.services.call(time.sleep, 600)
        if self.options.fault == "late":
            await self.services.call(time.sleep, 0.4)
        if self.options.fault == "foreign":
            raise KeyError("the path of a letter")
        digest = Digest("sha1", bytes(20)) if self.options.fault == "digest" else None
        size = None if self.options.fault == "unsized" else len(DATA)
        facts = Descriptor(size=size, media_type="application/pdf", digest=digest)
        yield Content(facts, Span(0), self.chunks())
    async def chunks(self):
        for start in range(0, len(DATA), 100_000):
            if self.options.fault == "breaks" and start > 300_000:
                return
            if self.options.fault == "slow":
                await self.services.call(time.sleep, 0.1)
            yield DATA[start : start + 100_000]
"""
ODD_DATA = b"II*\0" + bytes(range(256)) * 4000


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    root = tmp_path / "archive"
    root.mkdir()
    (root / NAME).write_bytes(PDF)
    return root


@pytest.fixture
def odd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The adapter `odd`, installed; the directory that has it."""
    place = tmp_path / "site"
    facts = place / "odd_archive-1.0.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: odd-archive\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text("[fhir_gateway.adapters]\nodd = odd_archive:Odd\n")
    (place / "odd_archive.py").write_text(ODD)
    monkeypatch.syspath_prepend(place)
    return place


def tried(*arguments: str | Path) -> Result:
    return CliRunner().invoke(try_, [str(one) for one in arguments])


def filesystem(root: Path, *more: str) -> Result:
    return tried("filesystem", "--option", f"root={root}", *more)


def rows(text: str) -> dict[str, str]:
    """What a report says, by name."""
    return {line[:11].strip(): line[12:] for line in text.splitlines()}


def command(*arguments: str) -> Sequence[str]:
    program = "import sys; from gateway.cli.adapter_try import try_; try_(prog_name='try')"
    return [sys.executable, "-c", program, *arguments]


def sentences(text: str) -> list[str]:
    """Cause and cure of each problem, without its place."""
    return [line.strip() for line in text.splitlines() if line.startswith("  ")]


# --- a document ------------------------------------------------------------------------------------------------------


def test_it_is_a_command_of_the_group() -> None:
    result = CliRunner().invoke(main, ["adapter", "try", "--help"])
    assert result.exit_code == 0
    assert "LOCATOR" in result.output


def test_what_is_said_of_a_document(archive: Path) -> None:
    result = filesystem(archive, NAME)
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    said = rows(result.stdout)
    assert said["adapter"] == "filesystem, local disk"
    assert said["spans"] == "yes"
    assert said["size"] == "256,009 bytes"
    assert said["type"] == "application/pdf, which the archive does not state"
    assert said["sha256"] == hashlib.sha256(PDF).hexdigest()
    assert said["total"].startswith("256,009 bytes in ")
    assert said["total"].endswith(" MB/s")
    assert "the bytes show application/pdf" in result.stdout
    assert {"entered", "first byte", "version", "modified"} <= said.keys()
    assert "%PDF" not in result.stdout
    assert "9999458076" not in result.stdout


def test_an_empty_document(archive: Path) -> None:
    (archive / "empty").touch()
    result = filesystem(archive, "empty")
    assert result.exit_code == 0
    assert rows(result.stdout)["total"].startswith("0 bytes")
    assert rows(result.stdout)["sha256"] == hashlib.sha256(b"").hexdigest()


def test_what_the_archive_states_and_what_the_bytes_show(odd: Path) -> None:
    result = tried("odd", "x")
    assert rows(result.stdout)["type"] == "application/pdf, stated by the archive"
    assert "but the bytes look like image/tiff" in result.stdout
    assert rows(result.stdout)["spans"].startswith("no")
    assert rows(result.stdout)["version"].startswith("none")


@pytest.mark.parametrize(
    ("asked", "part"),
    [
        ("0-99", slice(0, 100)),
        ("100000-", slice(100_000, None)),
        ("-5", slice(-5, None)),
        ("9-999999999", slice(9, None)),
    ],
)
@pytest.mark.parametrize("kind", ["filesystem", "odd"])
def test_a_part(odd: Path, archive: Path, tmp_path: Path, kind: str, asked: str, part: slice) -> None:
    data = {"filesystem": PDF, "odd": ODD_DATA}[kind][part]
    options = {"filesystem": ["--option", f"root={archive}"], "odd": []}[kind]
    result = tried(kind, *options, NAME, "--range", asked, "--output", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "out").read_bytes() == data
    assert rows(result.stdout)["sha256"] == hashlib.sha256(data).hexdigest()


def test_a_part_that_lacks_the_beginning_shows_no_type(odd: Path) -> None:
    result = tried("odd", "x", "--range", "1000-2000")
    assert "the bytes" not in result.stdout
    assert "the bytes look like image/tiff" in tried("odd", "x", "--range", "0-2000").stdout


def test_a_part_of_a_document_whose_size_is_not_stated(odd: Path) -> None:
    result = tried("odd", "--option", "fault=unsized", "x", "--range", "0-99", "--output", "-")
    assert result.stdout_bytes == ODD_DATA[:100]
    assert rows(result.stderr)["size"] == "not stated"


def test_a_locator_that_looks_like_an_option(archive: Path) -> None:
    (archive / "--help").write_bytes(b"x")
    assert filesystem(archive, "--", "--help").exit_code == 0


# --- where it goes ---------------------------------------------------------------------------------------------------


def test_a_document_goes_to_a_file(archive: Path, tmp_path: Path) -> None:
    result = filesystem(archive, NAME, "--output", str(tmp_path / "out.pdf"))
    assert (tmp_path / "out.pdf").read_bytes() == PDF
    assert "sha256" in result.stdout
    assert not list(tmp_path.glob("*.partial"))


def test_a_document_is_piped_and_the_report_is_not_in_the_pipe(archive: Path) -> None:
    result = filesystem(archive, NAME, "--output", "-")
    assert result.stdout_bytes == PDF
    assert "sha256" in result.stderr


def test_a_document_does_not_go_to_a_terminal(archive: Path) -> None:
    arguments = command("filesystem", "--option", f"root={archive}", NAME, "--output", "-")
    shown, code = _on_a_terminal(arguments, stdout=True)
    assert code == 2
    assert "%PDF" not in shown
    assert "would fill the terminal" in shown


def test_a_place_that_cannot_be_written(archive: Path, tmp_path: Path) -> None:
    result = filesystem(archive, NAME, "--output", str(tmp_path / "absent" / "out"))
    assert result.exit_code == 2
    assert "No such file or directory" in result.stderr


@pytest.mark.parametrize("fault", ["breaks", "digest"])
def test_what_is_not_whole_is_not_kept(odd: Path, tmp_path: Path, fault: str) -> None:
    (tmp_path / "out").write_bytes(b"an older one")
    result = tried("odd", "--option", f"fault={fault}", "x", "--output", tmp_path / "out")
    assert result.exit_code == 1
    assert (tmp_path / "out").read_bytes() == b"an older one"
    assert not list(tmp_path.glob("*.partial"))
    assert "sha256" not in result.stdout
    assert "Corrupt: " in result.stderr
    assert "GW-END-001" in result.stderr


def test_a_long_document_shows_how_it_proceeds_on_a_terminal(odd: Path) -> None:
    arguments = command("odd", "--option", "fault=slow", "x")
    shown, code = _on_a_terminal(arguments, stdout=False, PYTHONPATH=str(odd), TERM="xterm")
    assert code == 0
    assert "/1.0 MB" in shown


def test_nothing_shows_how_it_proceeds_elsewhere(odd: Path) -> None:
    result = tried("odd", "--option", "fault=slow", "x")
    assert (result.exit_code, result.stderr) == (0, "")
    first, total = (re.search(r"([\d,.]+) ms", rows(result.stdout)[name]) for name in ("first byte", "total"))
    assert first and total  # noqa: PT018
    assert 5 * float(first[1]) < float(total[1].replace(",", ""))  # it comes in eleven pieces


def _on_a_terminal(arguments: Sequence[str], *, stdout: bool, **environ: str) -> tuple[str, int]:
    """What a command writes to a terminal, and its exit code; its standard output is one too where that is said."""
    mine, its = pty.openpty()
    with subprocess.Popen(
        arguments,
        stdout=its if stdout else subprocess.DEVNULL,
        stderr=its,
        env={**os.environ, "COLUMNS": "100", **environ},
    ) as process:
        os.close(its)
        shown = b""
        with suppress(OSError):  # the end of a terminal
            while data := os.read(mine, 65536):
                shown += data
        os.close(mine)
        return shown.decode(), process.wait(DEADLINE)


# --- what goes wrong -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("locator", "kind", "answer"),
    [("4711 absent.pdf", "NotFound", "404 (GW-DOC-001)"), ("../../etc/passwd", "InvalidLocator", "404 (GW-DOC-001)")],
)
def test_a_document_that_is_not_there(archive: Path, locator: str, kind: str, answer: str) -> None:
    result = filesystem(archive, locator)
    assert result.exit_code == 1
    first, *more = result.stderr.splitlines()
    assert first.startswith(f"{kind}: ")
    assert f"A client gets the answer {answer}." in more
    assert locator not in result.output
    assert rows(result.stdout)["adapter"] == "filesystem, local disk"


def test_a_part_that_lies_outside(archive: Path) -> None:
    result = filesystem(archive, NAME, "--range", "300000-")
    assert result.exit_code == 1
    assert "SpanNotSatisfiable: " in result.stderr
    assert "416" in result.stderr


def test_an_error_that_no_adapter_may_raise_shows_where_it_came_from(odd: Path) -> None:
    result = tried("odd", "--option", "fault=foreign", "x")
    assert result.exit_code == 1
    assert "KeyError in odd_archive.py:" in result.stderr
    assert "the path of a letter" not in result.output


def test_an_archive_that_hangs_meets_the_deadline_and_does_not_hold_up_the_end(odd: Path) -> None:
    variables = {"GATEWAY__SOURCES__ODD__LIMITS__OPEN_TIMEOUT": "100ms", "PYTHONPATH": str(odd)}
    found = subprocess.run(
        command("odd", "--option", "fault=hangs", "x"),
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert found.returncode == 1
    assert found.stderr.startswith("TimedOut: ")
    assert "504 (GW-SRC-003)" in found.stderr


def test_the_limits_are_those_of_the_source(odd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tried("odd", "--option", "fault=late", "x").exit_code == 0
    monkeypatch.setenv("GATEWAY__SOURCES__ODD__LIMITS__OPEN_TIMEOUT", "100ms")
    result = tried("odd", "--option", "fault=late", "x")
    assert (result.exit_code, result.stderr.split(":")[0]) == (1, "TimedOut")


# --- options ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"root": "/nowhere/at/all"},
        {"root": ".", "settle": "5"},
        {"root": ".", "chunk_size": "1000"},
        {"root": ".", "require_mount": "perhaps", "settle": "soon"},
    ],
)
def test_a_wrong_option_is_explained_as_by_check(tmp_path: Path, options: dict[str, str]) -> None:
    lines = "".join(f"      {key}: '{value}'\n" for key, value in options.items())
    config = tmp_path / "gateway.yaml"
    config.write_text(
        "auth: {mode: none}\nsources:\n  letters:\n    adapter: filesystem\n"
        "    ids: {scheme: template, pattern: '{id}'}\n" + (f"    options:\n{lines}" if lines else "")
    )
    explained = CliRunner().invoke(main, ["check", "--config", str(config)])
    result = tried("filesystem", *[f"--option={key}={value}" for key, value in options.items()], "x")
    assert (result.exit_code, explained.exit_code) == (2, 2)
    expected = [line.replace("Add `root: ...`", "Add `--option root=...`") for line in sentences(explained.stderr)]
    assert sentences(result.stderr) == expected
    assert result.stdout == ""
    for place in (line for line in result.stderr.splitlines()[:-1] if line and not line.startswith(" ")):
        assert place.startswith("--option")


@pytest.mark.parametrize(
    ("arguments", "place", "words"),
    [
        (["filesystem", "--option", "rot=/srv", "x"], "--option", "Did you mean `root`?"),
        (["filesytem", "x"], "NAME", "Did you mean `filesystem`?"),
        (["memory", "--option", "documents.a.text=x", "a"], "--option  documents.a.text", "There is no option"),
        (["memory", "--option", "documents={a: ", "a"], "--option  documents", "YAML"),
    ],
)
def test_what_does_not_exist_is_explained(arguments: list[str], place: str, words: str) -> None:
    result = tried(*arguments)
    assert result.exit_code == 2
    assert result.stderr.splitlines()[0] == place
    assert words in result.stderr
    assert "GATEWAY__" not in result.stderr


def test_options_that_cannot_work(odd: Path) -> None:
    result = tried("odd", "--option", "fault=options", "x")
    assert result.exit_code == 2
    assert sentences(result.stderr) == ["The port is not open.", "Open the port."]
    assert result.stderr.splitlines()[0] == "--option  port"


@pytest.mark.parametrize(
    "arguments",
    [
        ["filesystem", "--option", "root", "x"],
        ["filesystem", "--option", "=x", "x"],
        ["filesystem", "two", "locators"],
        ["filesystem", ""],
        [],
        ["filesystem", "--range", "9-0", "x"],
        ["filesystem", "--range", "0-1,3-4", "x"],
    ],
)
def test_a_wrong_command_line(arguments: list[str]) -> None:
    result = tried(*arguments)
    assert result.exit_code == 2
    assert "Usage:" in result.stderr
    assert result.stdout == ""


def test_an_option_with_lists_and_keys_below() -> None:
    result = tried("memory", "--option", "documents={a.txt: {text: hello, media_type: text/x-greeting}}", "a.txt")
    assert rows(result.stdout)["type"] == "text/x-greeting, stated by the archive"
    assert rows(result.stdout)["sha256"] == hashlib.sha256(b"hello").hexdigest()


def test_a_secret_comes_from_the_environment_and_is_shown_nowhere(odd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tried("odd", "--option", "fault=password", "--option", "password=swordfish", "x").exit_code == 1
    monkeypatch.setenv("GATEWAY__SOURCES__ODD__OPTIONS__PASSWORD", "open sesame")
    monkeypatch.setenv("GATEWAY__SERVER__PORT", "not for this command")
    result = tried("odd", "--option", "fault=password", "x")
    assert result.exit_code == 0, result.output
    assert "sesame" not in result.output
    for variable in ("GATEWAY__SOURCES__ODD__OPTIONS__PASSWORD", "gateway__sources__odd__options__password"):
        monkeypatch.setenv(variable, "open sesame")
        assert tried("odd", "--option", "fault=password", "--option", "password=swordfish", "x").exit_code == 1
    result = tried("odd", "--option", "password=swordfish", "--option", "port=none", "x")
    assert result.exit_code == 2
    assert "swordfish" not in result.output


# --- a configuration -------------------------------------------------------------------------------------------------


@pytest.fixture
def config(archive: Path) -> Path:
    """Two sources."""
    path = archive.parent / "gateway.yaml"
    path.write_text(
        "auth: {mode: none}\nsources:\n"
        "  letters: {adapter: filesystem, ids: {scheme: template, pattern: '{id}'}, options: {root: archive}}\n"
        "  notes: {adapter: memory, prefix: n., ids: {scheme: template, pattern: '{id}'},\n"
        "    options: {documents: {a: {text: hello}}}}\n"
    )
    return path


def test_a_source_of_a_configuration(config: Path) -> None:
    result = tried("--config", config, "--source", "letters", NAME)
    assert rows(result.stdout)["sha256"] == hashlib.sha256(PDF).hexdigest()
    assert tried("filesystem", "--config", config, "--source", "letters", NAME).exit_code == 0


def test_an_option_of_the_configuration_that_cannot_work_has_its_place_there(config: Path) -> None:
    (config.parent / "archive" / NAME).unlink()
    (config.parent / "archive").rmdir()
    result = tried("--config", config, "--source", "letters", NAME)
    assert (result.exit_code, result.stderr.splitlines()[0]) == (
        2,
        f"{config}:3:86  sources.letters.options.root",
    )


def test_an_option_goes_over_those_of_the_configuration(config: Path) -> None:
    (config.parent / "other").mkdir()
    result = tried("--config", config, "--source", "letters", "--option", "root=other", NAME)
    assert (result.exit_code, result.stderr.split(":")[0]) == (1, "NotFound")
    result = tried("--config", config, "--source", "letters", "--option", "root=nowhere", NAME)
    assert (result.exit_code, result.stderr.splitlines()[0]) == (2, "--option  root")
    result = tried("--config", config, "--source", "letters", "--option", "settle=1", NAME)
    assert result.stderr.splitlines()[0] == "--option  settle"


def test_the_only_source_need_not_be_named(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.write_text("".join(config.read_text().splitlines(keepends=True)[:3]))
    assert tried("--config", config, NAME).exit_code == 0
    monkeypatch.setenv("GATEWAY_CONFIG", str(config))
    assert tried(NAME).exit_code == 0
    assert tried("--source", "letters", NAME).exit_code == 0
    result = tried("memory", "--option", "documents={a: {text: hello}}", "a")
    assert rows(result.stdout)["adapter"].startswith("memory")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([NAME], "--source letters or notes"),
        (["--source", "leters", NAME], "Did you mean `letters`?"),
        (["memory", "--source", "letters", NAME], "is filesystem, not memory"),
    ],
)
def test_which_source_is_not_clear(config: Path, arguments: list[str], words: str) -> None:
    result = tried("--config", config, *arguments)
    assert result.exit_code == 2
    assert words in result.stderr


def test_no_configuration_and_no_name() -> None:
    result = tried("some letter.pdf")
    assert result.exit_code == 2
    assert "some letter" not in result.output
