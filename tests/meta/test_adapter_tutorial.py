"""docs/adapters.md is true: its code runs as it stands, and its tables name everything there is."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from dataclasses import fields
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

from adapters import contract, errors, registry
from adapters.testing import CHECKS, Harness
from adapters.testing.check import (
    CUT,
    FILE,
    LIVE,
    MUTABLE,
    OFFLINE,
    REPLACE,
    SECRETS,
    SEED,
    SPANS,
    STRONG_VERSIONS,
    WITHDRAW,
)
from adapters.testing.proxy import LoopbackProxy
from tests.meta.doc_blocks import Page, commands

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "adapters.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def write_tutorial(folder: Path) -> set[str]:
    """The tutorial's files: a block belongs to the file that its first line names; the names."""
    files: dict[str, list[str]] = {}
    for block in blocks("python"):
        named = re.match(r"# (\w+\.py)\n", block)
        assert named, f"a python block does not say which file it belongs to: {block[:60]!r}"
        files.setdefault(named[1], []).append(block)
    for name, parts in files.items():
        (folder / name).write_text("\n\n".join(parts))
    (folder / "pyproject.toml").write_text("\n".join(blocks("toml")))
    return set(files)


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environ, check=False)


def pytest_in(folder: Path) -> subprocess.CompletedProcess[str]:
    return run(folder, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider")


def test_the_tutorial_passes_the_kit_as_it_stands(tmp_path: Path) -> None:
    assert write_tutorial(tmp_path) == {"sqlite_letters.py", "test_sqlite_letters.py", "faults.py"}
    done = pytest_in(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^\d\d passed in", done.stdout, re.MULTILINE), done.stdout
    for line in "".join(blocks("text")).splitlines():
        assert line in done.stdout


@pytest.mark.parametrize(
    ("right", "wrong", "caught"),
    [
        ("if version is not None and version != facts.version:", "if False:", {"C5.2", "C5.3"}),
        ("self.services.executor.submit(letter.close)", "pass", {"C7.8"}),
    ],
)
def test_what_the_tutorial_says_to_break_is_caught(right: str, wrong: str, caught: set[str], tmp_path: Path) -> None:
    write_tutorial(tmp_path)
    module = tmp_path / "sqlite_letters.py"
    text = module.read_text()
    assert text.count(right) == 1
    module.write_text(text.replace(right, wrong))
    for _ in range(3):  # what is not closed may be collected before the kit looks, so it is given three looks
        done = pytest_in(tmp_path)
        failed = set(re.findall(r"^FAILED .*?\[([A-Z]\d*\.\d+)-", done.stdout, re.MULTILINE))
        if failed >= caught:
            return
    raise AssertionError(done.stdout)


def test_the_kit_runs_without_pytest_as_shown(tmp_path: Path) -> None:
    write_tutorial(tmp_path)
    (shown,) = (block for block in blocks("console") if "check_adapter" in block)
    script = shown.split("'", 1)[1].rsplit("'", 1)[0]
    (tmp_path / "my_tests.py").write_text(
        "import tempfile, pathlib\nfrom test_sqlite_letters import LettersHarness\n"
        "def MyHarness(): return LettersHarness(pathlib.Path(tempfile.mkdtemp(dir='.')))\n"
    )
    done = run(tmp_path, "-c", script)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^\d+ passed, 0 failed, \d+ not applicable$", done.stdout, re.MULTILINE)


def test_the_entry_point_shown_loads_the_adapter_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tutorial(tmp_path)
    project: dict[str, Any] = tomllib.loads((tmp_path / "pyproject.toml").read_text())["project"]
    ((name, target),) = project["entry-points"][registry.GROUP].items()
    facts = tmp_path / "clinic_letters-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    (facts / "entry_points.txt").write_text(f"[{registry.GROUP}]\n{name} = {target}\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert registry.load(name).__name__ == "LettersAdapter"
    del sys.modules["sqlite_letters"]


# --- somebody who follows the page ------------------------------------------------------------------------------------


class Author:
    """Types the commands of the page in their order. What cannot be run here names the test that runs it."""

    def __init__(self, home: Path) -> None:
        self.place = home / "work"
        self.site = home / "site"  # where pip puts what it installs
        self.srv = home / "srv"
        for folder in (self.place, self.site, self.srv / "clinic"):
            folder.mkdir(parents=True)
        self.installed = [self.site]

    def follow(self, page: Page) -> None:
        for block in page.blocks:
            if block.language in ("sh", "console") and "check_adapter" not in block.text:
                for command, shown in commands(block):
                    self.type(command, shown or "")

    def type(self, command: str, shown: str) -> None:
        act = next((act for pattern, act in RULES if re.fullmatch(pattern, command)), None)
        assert act is not None, f"this command is not run by any test: {command}"
        said = act(self, command)
        for line in shown.splitlines():
            assert line.strip() in said, f"{command} does not say {line!r} but: {said}"

    def run(self, command: str) -> str:
        environ = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join(map(str, [*self.installed, ROOT])),
        }
        typed = command.replace("/srv/", f"{self.srv}/").replace("pytest -q", "pytest -q -p no:cacheprovider")
        done = subprocess.run(
            ["sh", "-ec", typed], cwd=self.place, env=environ, capture_output=True, text=True, timeout=100, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def go(self, command: str) -> str:
        """Into another folder. The one of the tutorial gets the files that the page writes there."""
        self.place = (self.place / command.rpartition(" ")[2]).resolve()
        if command.startswith("mkdir"):
            self.place.mkdir()
            write_tutorial(self.place)
        return ""

    def install(self, command: str) -> str:
        """What `pip install -e` would leave behind (PEP 660), and a letter for the adapter of the tutorial."""
        project: dict[str, Any] = tomllib.loads((self.place / "pyproject.toml").read_text())["project"]
        facts = self.site / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
        facts.mkdir()
        text = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
        (facts / "METADATA").write_text(text)
        groups = project["entry-points"].items()
        lines = [
            f"[{group}]\n" + "".join(f"{name} = {to}\n" for name, to in points.items()) for group, points in groups
        ]
        (facts / "entry_points.txt").write_text("\n".join(lines))
        self.installed.append(self.place)
        if project["name"] == "clinic-letters":
            script = (
                "import pathlib, sys; from test_sqlite_letters import LettersHarness as H; H(pathlib.Path(sys.argv[1]))"
            )
            self.run(f"python -c '{script}.seed(b\"Dear colleague\")' /srv/clinic")
        return ""


def by_another_test(module: str) -> Callable[[Author, str], str]:
    def act(author: Author, command: str) -> str:
        assert (ROOT / module).exists(), f"{module} is to run: {command}"
        return ""

    return act


RULES: tuple[tuple[str, Callable[[Author, str], str]], ...] = (
    (
        r"python -m venv \.venv && \. \.venv/bin/activate",
        by_another_test("tests/integration/test_third_party_adapter.py"),
    ),
    (r"pip install 'fhir-document-gateway\[test\]'", by_another_test("tests/integration/test_third_party_adapter.py")),
    (r"pip install -e ('\.\[test\]'|\.)", Author.install),
    (r"(mkdir \S+ && )?cd \S+", Author.go),
    (r"pytest -q|fhir-gateway .+", Author.run),
)
"""Every command that the page may hold, and how it is run. The first that fits decides."""


def test_every_command_works_in_its_order(tmp_path: Path) -> None:
    Author(tmp_path).follow(Page("docs/adapters.md", PAGE))


@pytest.mark.parametrize(
    "block",
    [
        "fhir-gateway adapter begin acme-edrms",
        "make adapter",
        "pip install acme",
        "cd nowhere\n$ fhir-gateway adapters",
        "fhir-gateway adapter new acme-edrms\nWrote 99 files to acme-edrms:",
    ],
)
def test_a_wrong_command_is_noticed(block: str, tmp_path: Path) -> None:
    with pytest.raises((AssertionError, OSError)):
        Author(tmp_path).follow(Page("docs/adapters.md", f"```console\n$ {block}\n```\n"))


# --- the tables name everything ---------------------------------------------------------------------------------------


def rows(heading: str) -> set[str]:
    """The first cells of the tables under a heading, without code marks."""
    section = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert section
    return {cell.replace("`", "") for cell in re.findall(r"^\| ([^|]+?) \|", section[1], re.MULTILINE)}


def test_every_link_leads_somewhere() -> None:
    headings = {re.sub(r"\W+", "-", line[3:].lower()) for line in PAGE.splitlines() if line.startswith("## ")}
    for target in re.findall(r"\]\(([^)]+)\)", PAGE):
        assert target[1:] in headings if target.startswith("#") else (ROOT / "docs" / target).exists(), target


def test_every_rule_of_the_contract_is_explained() -> None:
    assert {f"C{number}" for number in range(1, 13)} <= rows("The contract")


def test_every_error_is_in_the_table_with_its_traits() -> None:
    kinds = {
        kind.__name__: kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.AdapterError) and kind is not errors.AdapterError
    }
    assert rows("Errors") == {"class", *kinds}
    for name, kind in kinds.items():
        line = next(line for line in PAGE.splitlines() if line.startswith(f"| `{name}` |"))
        *_, again, counts, _ = (cell.strip() for cell in line.split("|"))
        assert (again, counts) == ("yes" if kind.transient else "no", "yes" if kind.unhealthy else "no"), name


def test_every_capability_is_in_the_table() -> None:
    assert rows("Capabilities") == {"field", *(field.name for field in fields(contract.Capabilities))}


def test_every_member_of_a_harness_is_in_the_table() -> None:
    assert members(Harness) - {"services"} <= listed("The conformance kit")


def test_every_member_of_the_proxy_is_in_the_table() -> None:
    assert members(LoopbackProxy) - {"host", "port", "close"} == listed("Faults") - {"member of the proxy"}


def members(kind: type) -> set[str]:
    return {name for name in {*vars(kind), *getattr(kind, "__annotations__", {})} if not name.startswith("_")}


def listed(heading: str) -> set[str]:
    """The names in the first cells of the tables under a heading, without arguments."""
    return {name for cell in rows(heading) for name in re.sub(r"\([^)]*\)", "", cell).split(", ")}


NEEDS = {
    LIVE: "`live`",
    CUT: "`cut_after`",
    OFFLINE: "`offline`",
    REPLACE: "`replace`",
    WITHDRAW: "`withdraw`",
    SEED: "`seed`",
    MUTABLE: "not `immutable`",
    SPANS: "`spans`",
    STRONG_VERSIONS: "`strong_versions`",
    FILE: "`offers_file`",
    SECRETS: "`secrets`",
}


def test_every_check_is_in_the_table_with_what_it_needs() -> None:
    for check in CHECKS:
        line = next(line for line in PAGE.splitlines() if line.startswith(f"| {check.number} | {check.title} |"))
        said = set(filter(None, line.split("|")[3].strip().split(", ")))
        needs = {NEEDS[need] for need in check.needs if need in NEEDS}
        # A need that one check alone has is said in its own words.
        assert needs <= said, check.number
        assert len(said) == len(check.needs), check.number
    numbers = re.findall(r"^\| ([A-Z]\d*\.\d+) \|", PAGE, re.MULTILINE)
    assert numbers == [check.number for check in CHECKS]


def test_the_page_names_the_entry_point_group_and_the_built_in_adapters_use_it() -> None:
    assert f'entry-points."{registry.GROUP}"' in PAGE
    assert {"memory", "filesystem"} <= {point.name for point in entry_points(group=registry.GROUP)}
