"""A third party's adapter from nothing to served: written, installed by pip into a clean environment, tested, asked.

The gateway comes as the wheel that is shipped, the commands are those of the package's own README, and no network is
used: dependencies are borrowed from the environment that runs the tests.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

import pytest

from adapters.testing import CHECKS
from tests.support.gateway import READY
from tests.support.process import running

PROJECT = Path(__file__).parents[2]
NAME = "acme-edrms"

OFFLINE = "--no-index --no-build-isolation --quiet --disable-pip-version-check"
"""What pip is told besides, so that it takes what is there."""


@dataclass(frozen=True)
class Clean:
    """An environment that has the gateway and nothing else of this project, and the author's package beside it."""

    home: Path
    package: Path

    @property
    def environ(self) -> Mapping[str, str]:
        """As `. .venv/bin/activate` leaves it."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "GATEWAY", "PIP_"))}
        return kept | {"PATH": f"{self.home / 'bin'}{os.pathsep}{os.environ['PATH']}", "VIRTUAL_ENV": str(self.home)}

    def run(self, command: str, cwd: Path | None = None) -> str:
        """Run a command as it is typed; its standard output."""
        typed = command.replace("pip install", f"python -m pip install {OFFLINE}")
        typed = typed.replace("pip wheel", f"python -m pip wheel {OFFLINE}")
        place = cwd or self.package
        words = [
            str(self.home / "bin" / word) if word in ("python", "fhir-gateway") else word for word in shlex.split(typed)
        ]
        words = [str(self.home / "bin" / "python"), "-m", *words] if words[0] == "pytest" else words
        done = subprocess.run(
            words, cwd=place, env=self.environ, capture_output=True, text=True, timeout=100, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Clean:
    """The package is written by the installed command, and installed as its README says."""
    folder = tmp_path_factory.mktemp("third-party")
    clean = Clean(folder / "home", folder / NAME)
    call(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=PROJECT)
    (wheel,) = folder.glob("*.whl")
    call(sys.executable, "-m", "venv", "--without-pip", clean.home, cwd=folder)
    pip = (sys.executable, "-m", "pip", "--python", clean.home / "bin" / "python")
    call(*pip, "install", *OFFLINE.split(), "--no-deps", wheel, cwd=folder)
    (site,) = clean.home.glob("lib/python*/site-packages")
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    clean.run(f"fhir-gateway adapter new {NAME}", cwd=folder)
    clean.run("pip install -e '.[test]'")
    return clean


def call(*command: str | Path, cwd: Path) -> None:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_gateway_of_the_environment_is_the_wheel(clean: Clean) -> None:
    for module in ("gateway", "adapters"):
        place = clean.run(f"python -c 'import {module}; print({module}.__file__)'").strip()
        assert Path(place).is_relative_to(clean.home), "the test looked at the checkout"


def test_it_is_listed(clean: Clean) -> None:
    rows = {row["name"]: row for row in json.loads(clean.run("fhir-gateway adapters --json"))}
    assert rows[NAME] == {"name": NAME, "usable": True, "from": f"{NAME} 0.1.0", "about": f"Documents of {NAME}."}


def test_one_command_tests_it(clean: Clean) -> None:
    output = clean.run(f"fhir-gateway adapter test {NAME}")
    assert f"{len(CHECKS) - 4} passed, 0 failed, 4 not applicable" in output


def test_its_own_tests_pass(clean: Clean) -> None:
    assert re.search(r"^\d\d passed in", clean.run("pytest"), re.MULTILINE)


def test_it_is_tested_on_a_configured_archive(clean: Clean) -> None:
    output = clean.run(f"fhir-gateway adapter test {NAME} --live --config gateway.yaml --doc letter-1")
    assert re.search(r"^\d\d passed, 0 failed, \d\d not applicable$", output, re.MULTILINE)


def test_it_serves_a_document(clean: Clean, tmp_path: Path) -> None:
    command = [clean.home / "bin" / "fhir-gateway", "serve", "--config", clean.package / "gateway.yaml"]
    free = {"GATEWAY__SERVER__PORT": "0", "GATEWAY__ADMIN__PORT": "0"}
    with running(
        "the gateway",
        command,
        log=tmp_path / "gateway.log",
        ready=lambda server: READY.search(server.out.read_text()) is not None,
        environ={**clean.environ, **free},
        cwd=clean.package,
    ) as server:
        ready = READY.search(server.out.read_text())
        assert ready
        with urlopen(f"{ready[1]}/R4/Binary/letter-1") as answer:
            assert answer.read() == f"Dear colleague,\n\nthis letter came out of {NAME}.\n".encode()
            assert answer.headers["Content-Type"] == "text/plain"


def test_its_readme_says_what_is_shown_here(clean: Clean) -> None:
    """Each command of the README is run by a test of this module, or by this one."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", (clean.package / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    inline = re.findall(r"`((?:pip|fhir-gateway) [^`]+)`", (clean.package / "README.md").read_text())
    said = {command for block in blocks for command in block.splitlines()} | set(inline)
    here = {
        "fhir-gateway adapter try --config gateway.yaml letter-1",
        "fhir-gateway check --config gateway.yaml",
        "pip wheel --no-deps -w dist .",
    }
    elsewhere = {
        "python -m venv .venv && . .venv/bin/activate",
        "pip install -e '.[test]'",
        "pip install --no-build-isolation --no-index -e .",  # as the one before, without a network
        "pytest",
        f"fhir-gateway adapter test {NAME}",
        f"fhir-gateway adapter test {NAME} --live --config gateway.yaml --doc letter-1",
        "fhir-gateway serve --config gateway.yaml",
        "curl http://127.0.0.1:8080/R4/Binary/letter-1",
        "fhir-gateway adapters",
    }
    assert said == here | elsewhere
    for command in sorted(here):
        clean.run(command)
    assert list((clean.package / "dist").glob("acme_edrms-0.1.0-*.whl"))
