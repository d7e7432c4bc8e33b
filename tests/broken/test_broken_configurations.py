"""Every broken configuration of the shelf is explained, word for word, by `check` and with the same words by `serve`."""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvloop
from click.testing import CliRunner

from gateway.cli import main
from gateway.security.client_keys import line_for, new_key
from tests.broken.asking import Case, answer, asked, cases, stable, written
from tests.broken.site import PASSWORD, Site, site
from tests.support.folder import unprivileged
from tests.support.gateway import serving
from tests.support.ports import free_port

ALL = cases()

STARTS = ("tls-expired", "tls-not-yet-valid")
"""Wrong for clients, who will refuse the certificate; a gateway that has it starts all the same, and says so in its log."""


@pytest.fixture(scope="module")
def here() -> Iterator[Site]:
    uvloop.new_event_loop().close()
    with site() as made:
        yield made


@pytest.mark.blocking_allowed
@pytest.mark.parametrize("case", ALL, ids=lambda case: case.name)
def test_check_says_what_stands_on_the_shelf(here: Site, case: Case) -> None:
    said = answer(case, here)
    assert said == case.answer.read_text()
    assert "Traceback" not in said
    assert PASSWORD not in said


@pytest.mark.blocking_allowed
@pytest.mark.parametrize(
    "case",
    [
        one
        for one in ALL
        if one.answer.exists() and one.answer.read_text().startswith("exit 2") and one.name not in STARTS
    ],
    ids=lambda case: case.name,
)
def test_serve_does_not_start_and_uses_the_same_words(here: Site, case: Case) -> None:
    code, out, err = asked("serve", case, here)
    assert (code, out) == (2, "")
    said = "".join(line for line in err.splitlines(keepends=True) if not line.startswith("{"))
    *paragraphs, last = said.split("\n\n")
    assert paragraphs
    assert last.endswith(" in the configuration.\n")
    known = case.answer.read_text()
    assert [paragraph for paragraph in paragraphs if paragraph not in known] == []


def gateway(command: str, *arguments: str | Path) -> tuple[int, str, str]:
    """The command as a process of its own."""
    words = [sys.executable, "-m", "gateway", command, *map(str, arguments)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout, done.stderr


def test_a_process_says_the_same(here: Site) -> None:
    case = next(case for case in ALL if case.name == "everything-at-once")
    code, out, err = gateway("check", "--config", written(case, here))
    assert f"exit {code}\n\n{stable(err, here)}{stable(out, here)}" == case.answer.read_text()


@pytest.mark.parametrize(
    ("name", "cause", "cure"),
    [
        (
            "no.yaml",
            "There is no such file.",
            "Give the file with --config FILE, or write one with `fhir-gateway config",
        ),
        ("archive", "This is a directory.", "Give the file inside it."),
    ],
)
@pytest.mark.parametrize("command", ["check", "serve"])
def test_a_configuration_that_is_not_there(here: Site, command: str, name: str, cause: str, cure: str) -> None:
    done = CliRunner().invoke(main, [command, "--config", str(here.directory / name)])
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith(f"{here.directory / name}\n  {cause}\n  {cure}")


def test_a_configuration_that_this_account_may_not_read(here: Site) -> None:
    with unprivileged():
        done = CliRunner().invoke(main, ["check", "--config", str(here.directory / "closed.key")])
    assert done.exit_code == 2
    assert "The file cannot be read: Permission denied." in done.stderr


def test_a_gateway_that_serves_is_no_reason_against_its_own_configuration(tmp_path: Path) -> None:
    """Somebody looks at a running service: its ports are in use by itself."""
    (tmp_path / "archive").mkdir()
    source = {
        "adapter": "filesystem",
        "ids": {"scheme": "template", "pattern": "{id}.pdf"},
        "options": {"root": "archive"},
    }
    ports = {"server": {"port": free_port()}, "admin": {"port": free_port()}}
    settings = {**ports, "auth": {"mode": "none"}, "sources": {"letters": source}}
    (tmp_path / "gateway.yaml").write_text(json.dumps(settings))
    (tmp_path / "other.yaml").write_text(json.dumps(settings))
    with serving(tmp_path / "gateway.yaml", tmp_path / "run") as running:
        done = CliRunner().invoke(main, ["check", "--json", "--config", str(tmp_path / "gateway.yaml")])
        other = CliRunner().invoke(main, ["check", "--json", "--config", str(tmp_path / "other.yaml")])
        pid = running.server.pid
    found = json.loads(done.stdout)
    assert (done.exit_code, found["problems"]) == (0, [])
    said = f"A gateway is serving there now (process {pid})."
    assert {note["key"]: note["cause"] for note in found["notes"]} == {"admin.port": said, "server.port": said}
    assert other.exit_code == 2, "another configuration could not have these ports"
    causes = [problem["cause"] for problem in json.loads(other.stdout)["problems"]]
    assert all("is in use by `" in cause and f"gateway serve` (process {pid})" in cause for cause in causes), causes
    assert len(causes) == 2


def test_doubts_are_in_the_log_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "archive").mkdir()
    (tmp_path / "clients").write_text(line_for("pas", new_key(), ("system/Binary.r",)))
    source = {
        "adapter": "filesystem",
        "ids": {"scheme": "template", "pattern": "{id}.pdf"},
        "options": {"root": "archive"},
    }
    settings = {
        "server": {"host": "0.0.0.0", "port": 0},
        "admin": {"port": 0},
        "auth": {"mode": "bearer", "keys_file": "clients"},
        "audit": {"mode": "none"},
        "sources": {"letters": source},
    }
    (tmp_path / "gateway.yaml").write_text(json.dumps(settings))
    with serving(tmp_path / "gateway.yaml", tmp_path / "run") as running:
        (line,) = [line for line in running.lines() if line["event"] == "the configuration is doubtful"]
    assert line["level"] == "warning"
    assert line["detail"].startswith("server.host: Tokens and documents travel over plain HTTP here")


def test_a_cache_directory_that_another_process_has_is_fine_to_look_at_and_not_to_serve_with(here: Site) -> None:
    directory = here.directory / "held"
    directory.mkdir(exist_ok=True)
    text = "server: {port: 0}\nadmin: {port: 0}\nauth: {mode: none}\n" + (
        "cache: {backend: disk, directory: held, encryption: {mode: none}}\nsources:\n"
        "  letters: {adapter: filesystem, ids: {scheme: template, pattern: '{id}.pdf'}, options: {root: archive}}\n"
    )
    case = Case("held", text.encode(), {})
    with (directory / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        looked = asked("check", case, here)
        served = asked("serve", case, here)
    assert (looked[0], "a gateway is using it now" in looked[1]) == (0, True)
    assert (served[0], served[2]) == (
        2,
        "SITE/held.yaml:4:24  cache.directory\n  The cache directory SITE/held is used by another process.\n"
        "  Give each process a directory of its own.\n\n1 problem in the configuration.\n",
    )
