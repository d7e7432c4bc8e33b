"""What leaves the project: the wheel holds what it should and runs where it alone is installed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from email.parser import Parser
from importlib import metadata
from pathlib import Path

import pytest

import gateway

PROJECT = Path(__file__).parents[2]


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=100)
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
    about = f"fhir_document_gateway-{gateway.__version__}.dist-info"
    assert {name.partition("/")[0] for name in contents} == {"gateway", "adapters", about}
    assert not [name for name in contents if name.endswith((".pyc", ".orig"))]


def test_the_wheel_says_who_may_use_it_and_under_what_licence(contents):
    about = f"fhir_document_gateway-{gateway.__version__}.dist-info"
    facts = Parser().parsestr(contents[f"{about}/METADATA"].decode())
    assert facts["Requires-Python"] == ">=3.11"
    assert facts["License-Expression"] == "Apache-2.0"
    assert contents[f"{about}/licenses/LICENSE"] == (PROJECT / "LICENSE").read_bytes()


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


def test_the_bill_of_materials_describes_an_environment(tmp_path):
    """`make sbom` for an environment that claims to hold two libraries; what the image's holds is shown in `test_make`."""
    run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "environment", cwd=tmp_path)
    (site,) = tmp_path.glob("environment/lib/python*/site-packages")
    for name in ("aiohttp", "lxml"):
        shutil.copytree(metadata.distribution(name)._path, site / f"{name}.dist-info")
    file, environ = tmp_path / "sbom.json", os.environ | {"PYTHON": sys.executable}
    script = PROJECT / "deploy" / "scripts" / "sbom"
    subprocess.run([script, tmp_path / "environment" / "bin" / "python", file], env=environ, check=True, timeout=100)
    bill = json.loads(file.read_text())
    root, components = bill["metadata"]["component"], {one["name"]: one for one in bill["components"]}
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    assert (root["name"], root["version"], root["type"]) == (
        "fhir-document-gateway",
        gateway.__version__,
        "application",
    )
    assert {name: one["purl"] for name, one in components.items()} == {
        name: f"pkg:pypi/{name}@{metadata.version(name)}" for name in ("aiohttp", "lxml")
    }
    assert all(one["licenses"] for one in (root, *components.values()))
    (needed,) = [one["dependsOn"] for one in bill["dependencies"] if one["ref"] == root["bom-ref"]]
    assert set(needed) == {one["bom-ref"] for one in components.values()}
