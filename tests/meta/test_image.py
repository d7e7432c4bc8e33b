"""The image: its rules, and the releases with digests that it is made of."""

from __future__ import annotations

import re
import subprocess
import sysconfig
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import gateway

PROJECT = Path(__file__).parents[2]

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
        "one slim base with a version, whose digest a release may name": bool(
            re.search(r"^ARG PYTHON=python:3\.1[1-9](\.\d+)?-slim-\w+$", dockerfile, re.MULTILINE)
            and all(rest.split()[0] == "${PYTHON}" for name, rest in instructions if name == "FROM")
        ),
        "releases are checked against digests": all(
            "--require-hashes" in command or "--no-deps" in command or not re.search(r"\bpip\b.*\binstall\b", command)
            for name, rest in instructions
            if name == "RUN"
            for command in rest.split("&&")
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
BASE = "one slim base with a version, whose digest a release may name"


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
        (r"PYTHON=python:3.13-slim\S+", "PYTHON=python:latest", BASE),
        (r"FROM \${PYTHON}\n", "FROM python:3.13-slim\n", BASE),
        (r"--require-hashes", "", "releases are checked against digests"),
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


# --- what hadolint says ----------------------------------------------------------------------------------------------


def lint(dockerfile: Path) -> str:
    """What hadolint has against a Dockerfile; empty when nothing."""
    hadolint = Path(sysconfig.get_path("scripts")) / "hadolint"
    done = subprocess.run([hadolint, "--no-color", dockerfile], capture_output=True, text=True, timeout=100)
    return done.stdout + done.stderr


def dockerfiles() -> list[Path]:
    return [PROJECT / "Dockerfile", *sorted((PROJECT / "deploy").rglob("Dockerfile"))]


@pytest.mark.parametrize("path", dockerfiles(), ids=lambda path: path.relative_to(PROJECT).as_posix())
def test_hadolint_has_nothing_against_it(path: Path):
    assert lint(path) == ""


def test_hadolint_looks(tmp_path: Path):
    bad = tmp_path / "Dockerfile"
    bad.write_text("FROM debian:latest\nRUN apt-get install curl\n")
    assert {"DL3007", "DL3008"} <= set(re.findall(r"DL\d+", lint(bad)))


# --- the releases that go into it --------------------------------------------------------------------------------------

IMAGE = PROJECT / "deploy" / "image"
PROJECT_FILE = tomllib.loads((PROJECT / "pyproject.toml").read_text())


def pinned(name: str) -> dict[str, tuple[str, int]]:
    """Each distribution of a file of `make lock`, with its release and how many digests it may have."""
    text = re.sub(r"^\s*#.*$", "", (IMAGE / name).read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    found = {}
    for line in filter(str.strip, text.splitlines()):
        requirement, *digests = re.split(r"\s+--hash=sha256:", line)
        one = Requirement(requirement)
        found[canonicalize_name(one.name)] = (str(one.specifier), sum(len(digest.strip()) == 64 for digest in digests))
    return found


def wanted(*extras: str) -> list[Requirement]:
    """What pyproject.toml demands for the image."""
    project = PROJECT_FILE["project"]
    lines = [*project["dependencies"], *(line for extra in extras for line in project["optional-dependencies"][extra])]
    return [Requirement(line) for line in lines]


def unlocked(name: str, demands: list[Requirement]) -> list[str]:
    """What a file of `make lock` does not hold, or holds in a release that will not do."""
    held = {distribution: release.removeprefix("==") for distribution, (release, _) in pinned(name).items()}
    return [
        f"{one}: {held.get(canonicalize_name(one.name), 'missing')}. Run `make lock`."
        for one in demands
        if canonicalize_name(one.name) not in held or held[canonicalize_name(one.name)] not in one.specifier
    ]


LOCKED = {
    "runtime.txt": wanted("smb"),
    "tracing.txt": wanted("smb", "otel"),
    "build.txt": [Requirement(line) for line in PROJECT_FILE["build-system"]["requires"]],
}


@pytest.mark.parametrize("name", LOCKED)
def test_the_image_is_made_of_releases_that_the_project_allows(name: str):
    assert unlocked(name, LOCKED[name]) == []
    assert {path.name for path in IMAGE.iterdir()} == LOCKED.keys()


@pytest.mark.parametrize("name", LOCKED)
def test_every_release_has_its_digests(name: str):
    assert all(release.startswith("==") and digests for release, digests in pinned(name).values())


def test_a_release_that_will_not_do_is_noticed():
    newer = [Requirement("aiohttp>=99"), Requirement("nowhere-to-be-found")]
    assert [line.partition(":")[0] for line in unlocked("runtime.txt", newer)] == ["aiohttp>=99", "nowhere-to-be-found"]


def test_traces_come_with_the_same_releases_and_only_when_they_are_wanted():
    plain, traced = pinned("runtime.txt"), pinned("tracing.txt")
    assert plain.items() <= traced.items()
    assert not {name for name in plain if name.startswith("opentelemetry")}
    assert "ARG TRACING=no\n" in DOCKERFILE


def test_no_file_of_the_image_names_a_registry():
    for path in IMAGE.iterdir():
        assert "://" not in path.read_text(), path
