"""What leaves the project: the wheel holds what it should and runs where it alone is installed; the image's rules."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import sysconfig
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

import gateway

PROJECT = Path(__file__).parents[2]


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", directory, cwd=PROJECT)
    (built,) = directory.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel alone; its dependencies are those of the environment that runs the tests."""
    home = tmp_path_factory.mktemp("installed")
    run(sys.executable, "-m", "venv", "--without-pip", home, cwd=home)
    pip = [sys.executable, "-m", "pip", "--python", home / "bin" / "python", "--disable-pip-version-check"]
    run(*pip, "install", "--quiet", "--no-deps", "--no-index", wheel, cwd=home)
    (site,) = home.glob("lib/python*/site-packages")
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return home


def test_the_wheel_holds_both_packages_and_the_sample_archive(contents):
    sources = {
        path.relative_to(PROJECT).as_posix()
        for package in ("gateway", "adapters")
        for path in (PROJECT / package).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert sources <= contents.keys()
    sample = PROJECT / "config" / "sample-archive"
    for path in sample.rglob("*"):
        if path.is_file():
            assert contents[f"gateway/demo/sample-archive/{path.relative_to(sample).as_posix()}"] == path.read_bytes()


def test_the_wheel_holds_nothing_else(contents):
    metadata = f"fhir_document_gateway-{gateway.__version__}.dist-info"
    assert {name.partition("/")[0] for name in contents} == {"gateway", "adapters", metadata}
    assert not [name for name in contents if name.endswith((".pyc", ".orig"))]


def test_the_wheel_says_who_may_use_it_and_under_what_licence(contents):
    metadata = f"fhir_document_gateway-{gateway.__version__}.dist-info"
    facts = Parser().parsestr(contents[f"{metadata}/METADATA"].decode())
    assert facts["Requires-Python"] == ">=3.11"
    assert facts["License-Expression"] == "Apache-2.0"
    assert contents[f"{metadata}/licenses/LICENSE"] == (PROJECT / "LICENSE").read_bytes()


def test_every_advertised_adapter_can_be_loaded_from_the_wheel(installed):
    script = """
import json
from importlib.metadata import entry_points
print(json.dumps({e.name: e.load().__module__ for e in entry_points(group="fhir_gateway.adapters")}))
"""
    loaded = json.loads(run(installed / "bin" / "python", "-c", script, cwd=installed))
    assert {"filesystem", "memory"} <= loaded.keys()
    assert all(module.startswith("adapters.") for module in loaded.values())


def test_the_command_runs_where_only_the_wheel_is_installed(installed):
    where = run(installed / "bin" / "python", "-c", "import gateway; print(gateway.__file__)", cwd=installed)
    assert Path(where.strip()).is_relative_to(installed), "the test looked at the checkout"
    command = run(installed / "bin" / "fhir-gateway", "--version", cwd=installed)
    module = run(installed / "bin" / "python", "-m", "gateway", "--version", cwd=installed)
    assert command == module
    assert gateway.__version__ in command


# --- the image -----------------------------------------------------------------------------------------------------

COMMAND = '["fhir-gateway"]'
Stage = list[tuple[str, str]]


def stages(dockerfile: str) -> list[Stage]:
    """The instructions of each stage, as (name, rest of the logical line)."""
    text = "\n".join(line for line in dockerfile.splitlines() if not line.lstrip().startswith("#"))
    found: list[Stage] = []
    for line in text.replace("\\\n", " ").splitlines():
        name, _, rest = line.strip().partition(" ")
        if name.upper() == "FROM":
            found.append([])
        if name and found:
            found[-1].append((name.upper(), " ".join(rest.split())))
    return found


def faults(dockerfile: str) -> set[str]:
    """Which of the image's rules a Dockerfile breaks."""
    *builders, final = stages(dockerfile)
    instructions = [one for stage in (*builders, final) for one in stage]
    said = dict(final)
    user = said.get("USER", "0").partition(":")[0]
    health = said.get("HEALTHCHECK", "").partition("CMD ")[2]
    rules = {
        "two stages": bool(builders),
        "a numeric user other than root": user.isdigit() and int(user) != 0,
        "nothing is built in the final stage": not any(
            name == "RUN" and re.search(r"\b(pip|apt-get|gcc|make)\b", rest) for name, rest in final
        ),
        "a slim base with a version": all(
            re.match(r"python:3\.1[1-9](\.\d+)?-slim", rest) for name, rest in instructions if name == "FROM"
        ),
        "health through the command": health.startswith('["fhir-gateway", "health", "--config", '),
        "signals reach the gateway": said.get("STOPSIGNAL") == "SIGTERM" and said.get("ENTRYPOINT") == COMMAND,
        "both ports are named": said.get("EXPOSE") == "8080 8081",
        "labels": all(f".image.{name}=" in said.get("LABEL", "") for name in ("title", "licenses", "version")),
        "nothing is written beside /tmp": "VOLUME" not in said and "PYTHONDONTWRITEBYTECODE=1" in said.get("ENV", ""),
        "only what is named is copied": not any(
            name == "ADD" or (name == "COPY" and rest.startswith(". ")) for name, rest in instructions
        ),
    }
    return {rule for rule, kept in rules.items() if not kept}


DOCKERFILE = (PROJECT / "Dockerfile").read_text()


def test_the_image_keeps_its_rules():
    assert faults(DOCKERFILE) == set()


@pytest.mark.parametrize(
    ("pattern", "replacement", "fault"),
    [
        (r"FROM .* AS build\n", "", "two stages"),
        (r"USER .*", "", "a numeric user other than root"),
        (r"USER .*", "USER gateway", "a numeric user other than root"),
        (r"USER .*", "USER 0", "a numeric user other than root"),
        (r"USER .*", "RUN apt-get install gcc\nUSER 10001", "nothing is built in the final stage"),
        (r"python:3.13-slim\n", "python:latest\n", "a slim base with a version"),
        (r"HEALTHCHECK(.|\n)*?\n(?=ENTRY)", "", "health through the command"),
        (r"ENTRYPOINT .*", "ENTRYPOINT fhir-gateway", "signals reach the gateway"),
        (r"STOPSIGNAL .*", "", "signals reach the gateway"),
        (r"EXPOSE .*", "", "both ports are named"),
        (r"PYTHONDONTWRITEBYTECODE=1", "", "nothing is written beside /tmp"),
        (r"COPY gateway gateway", "COPY . .", "only what is named is copied"),
    ],
)
def test_a_rule_that_is_broken_is_noticed(pattern, replacement, fault):
    broken, count = re.subn(pattern, replacement, DOCKERFILE)
    assert count
    assert fault in faults(broken)


def test_the_image_carries_the_version_of_the_code():
    assert f"ARG VERSION={gateway.__version__}\n" in DOCKERFILE


def test_the_image_is_built_from_files_that_are_let_through():
    allowed = {line[1:] for line in (PROJECT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {
        word
        for stage in stages(DOCKERFILE)
        for name, rest in stage
        if name == "COPY" and not rest.startswith("--from")
        for word in rest.split()[:-1]
    }
    assert copied == allowed
    assert all((PROJECT / path).exists() for path in copied)
