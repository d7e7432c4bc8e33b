"""The package that `adapter new` writes: its names, its files, and that they keep the project's own rules of style."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gateway import __version__
from gateway.scaffold import LONGEST, Names, Refused, compatible, named, rendered, write

PROJECT = Path(__file__).parents[2]
SHORT, USUAL, LONG = "xy", "acme-edrms", "w" * LONGEST


# --- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "module", "title"),
    [("acme-edrms", "acme_edrms", "AcmeEdrms"), ("sirius", "sirius", "Sirius"), ("a-2b-c", "a_2b_c", "A2bC")],
)
def test_a_name_becomes_a_module_and_classes(name: str, module: str, title: str) -> None:
    names = named(name)
    assert (names.name, names.module, names.title) == (name, module, title)


@pytest.mark.parametrize(
    ("name", "proposal"),
    [
        ("Acme EDRMS", "acme-edrms"),
        ("acme_edrms", "acme-edrms"),
        ("2acme", "acme"),
        ("acme--edrms", "acme-edrms"),
        ("-acme-", "acme"),
        ("../acme", "acme"),
        ("a" * 25, "a" * 24),
        ("", "acme-edrms"),
        ("\u00e4", "acme-edrms"),
    ],
)
def test_a_name_that_cannot_be_is_refused_with_one_that_can(name: str, proposal: str) -> None:
    with pytest.raises(Refused) as refused:
        named(name)
    assert f"`{proposal}`" in refused.value.cure
    named(proposal)


@pytest.mark.parametrize("name", ["json", "asyncio", "class", "gateway", "adapters", "tests", "pytest", "click"])
def test_a_name_that_would_hide_a_module_is_refused(name: str) -> None:
    with pytest.raises(Refused, match="exists already"):
        named(name)


def test_the_name_of_an_installed_adapter_is_refused() -> None:
    with pytest.raises(Refused, match="installed already"):
        named("acme-edrms", ["acme-edrms"])


@given(st.text(max_size=40) | st.from_regex(r"[A-Za-z0-9_. -]{1,40}", fullmatch=True))
def test_every_text_is_a_name_or_refused(text: str) -> None:
    try:
        names = named(text)
    except Refused as refused:
        proposal = re.search(r"as in `([^`]+)`", refused.cure)
        assert proposal
        assert re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", proposal[1])
        assert len(proposal[1]) <= LONGEST
        return
    assert names.module.isidentifier()
    assert names.title.isidentifier()


# --- files -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=[SHORT, USUAL, LONG])
def package(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("scaffold") / request.param
    write(Names(request.param), folder)
    return folder


def texts(package: Path) -> Mapping[str, str]:
    return {path.relative_to(package).as_posix(): path.read_text() for path in package.rglob("*") if path.is_file()}


def test_there_are_few_files_and_nothing_in_them_is_left_open(package: Path) -> None:
    files = texts(package)
    assert len(files) <= 9
    assert {"pyproject.toml", "README.md", ".gitignore", "gateway.yaml", "tests/test_conformance.py"} < files.keys()
    for place, text in files.items():
        assert not re.search(r"\$|TODO|FIXME|acme" if package.name != USUAL else r"\$|TODO|FIXME", text), place
        assert text.endswith("\n"), place


def test_what_the_files_declare_is_in_them(package: Path) -> None:
    files = texts(package)
    names = Names(package.name)
    project = tomllib.loads(files["pyproject.toml"])["project"]
    assert project["name"] == package.name
    for group in ("fhir_gateway.adapters", "fhir_gateway.harnesses"):
        ((name, target),) = project["entry-points"][group].items()
        assert name == package.name
        module, _, kind = target.partition(":")
        path = module.replace(".", "/")
        text = files.get(f"{path}.py") or files[f"{path}/__init__.py"]
        defined = {node.name for node in ast.parse(text).body if isinstance(node, ast.ClassDef)}
        exported = re.findall(r'__all__ = \["(\w+)"\]', text)
        assert kind in defined | set(exported)
    assert yaml.safe_load(files["gateway.yaml"])["sources"]["letters"]["adapter"] == package.name
    assert f"{names.module}/" in files["README.md"]


def test_it_depends_on_gateways_like_this_one(package: Path) -> None:
    project = tomllib.loads((package / "pyproject.toml").read_text())["project"]
    assert project["dependencies"] == [f"fhir-document-gateway{compatible(__version__)}"]


@pytest.mark.parametrize(
    ("version", "due"),
    [("0.1.0", ">=0.1,<0.2"), ("0.9.3", ">=0.9,<0.10"), ("1.0.0", ">=1.0,<2"), ("2.3.1.dev4", ">=2.3,<3")],
)
def test_the_range_of_compatible_gateways(version: str, due: str) -> None:
    assert compatible(version) == due


@pytest.mark.parametrize("settings", ["the project's", "its own"])
def test_the_code_is_clean_whatever_the_name(package: Path, settings: str) -> None:
    config = PROJECT / "pyproject.toml" if settings == "the project's" else package / "pyproject.toml"
    for command in (("check",), ("format", "--check", "--diff")):
        done = run(package, "ruff", *command, "--no-cache", "--config", str(config), ".")
        assert done.returncode == 0, done.stdout + done.stderr


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", *command], cwd=folder, capture_output=True, text=True, check=False)


# --- writing ---------------------------------------------------------------------------------------------------------


def test_an_empty_directory_is_used(tmp_path: Path) -> None:
    files = write(Names(USUAL), tmp_path)
    assert {path.relative_to(tmp_path).as_posix() for path in files} == rendered(Names(USUAL)).keys()


@pytest.mark.parametrize("name", ["README.md", ".git"])
def test_a_directory_that_holds_anything_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(Refused, match="is not empty"):
        write(Names(USUAL), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "mine"


def test_a_file_in_the_place_is_refused(tmp_path: Path) -> None:
    place = tmp_path / USUAL
    place.write_text("mine")
    with pytest.raises(Refused, match="is a file"):
        write(Names(USUAL), place)
    assert place.read_text() == "mine"
