"""`fhir-gateway adapter test` against the harness that an adapter brings: what it finds, how it says so, its exit codes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from adapters.testing import CHECKS
from gateway.cli import main
from tests.integration.authored import MODULE, NAME, Changes, installed, lay_out

PROJECT = Path(__file__).parents[2]
PAGE = (PROJECT / "docs" / "adapters.md").read_text()

ADAPTER, TESTING, FACTS = f"{MODULE}/adapter.py", f"{MODULE}/testing.py", "pyproject.toml"
VERSIONS = {ADAPTER: {"if version is not None and version != facts.version:": "if False:"}}
LEAKS = {ADAPTER: {"self.services.executor.submit(reader.close)": "pass"}}
NOW_AND_THEN = """if next(PROBES) % 3 == 0:
            raise Unavailable("now and then")
        if True:"""
HARNESS_POINT = f'{NAME} = "{MODULE}.testing:AcmeEdrmsHarness"\n'


@pytest.fixture
def author(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    @contextmanager
    def authored(changes: Changes | None = None) -> Iterator[Path]:
        with installed(tmp_path, monkeypatch, changes) as package:
            yield package

    return authored


def adapter_test(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["adapter", "test", *arguments])


def verdicts(result: Result) -> dict[str, str]:
    """The verdict on each rule that was printed."""
    found = re.findall(r"^([A-Z]\d*\.\d+) +(passed|FAILED|not applicable) ", result.stdout, re.MULTILINE)
    return dict(found)


# --- what it finds ---------------------------------------------------------------------------------------------------


def test_what_the_scaffold_wrote_keeps_every_rule(author) -> None:
    with author():
        result = adapter_test(NAME)
    assert result.exit_code == 0, result.output
    assert list(verdicts(result)) == [check.number for check in CHECKS]
    assert result.stdout.splitlines()[0] == f"{NAME} ({NAME} 0.1.0), against its harness"
    assert f"\n{len(CHECKS) - 4} passed, 0 failed, 4 not applicable\n" in result.stdout
    assert {rule for rule, verdict in verdicts(result).items() if verdict != "passed"} == {"F.1", "F.2", "F.3", "F.4"}
    assert "The harness says that no `Content.file` is offered." in result.stdout


def test_a_broken_rule_says_what_why_cure_and_where(author) -> None:
    with author(LEAKS):
        result = adapter_test(NAME, "--rule", "C7")
    assert result.exit_code == 1
    found = verdicts(result)
    assert found.keys() == {check.number for check in CHECKS if check.rule == "C7"}
    assert found["C7.1"] == "FAILED"
    block = result.stdout[result.stdout.index("C7.1") : result.stdout.index("C7.2")]
    words = " ".join(block.split())
    assert "what 1 open in the archive after a read to the end." in words
    assert "why What stays open adds up" in words
    assert "cure Close in the `finally`" in words
    assert "see docs/adapters.md#the-contract" in words


def test_a_foreign_error_shows_where_it_came_from(author) -> None:
    with author({ADAPTER: {'with translate(ERRORS, doing="log in"):': "if True:"}}):
        result = adapter_test(NAME, "--rule", "C9.1")
    assert result.exit_code == 1
    assert "`probe` while the archive is away raised ConnectionLost." in result.stdout
    assert re.search(r"^ +\| .*archive\.py", result.stdout, re.MULTILINE)


def test_rules_can_be_chosen(author) -> None:
    with author():
        result = adapter_test(NAME, "--rule", "c12", "--rule", "L.5")
    assert result.exit_code == 0
    assert verdicts(result).keys() == {"C12.1", "C12.2", "C12.3", "L.5"}
    assert "4 passed, 0 failed, 0 not applicable" in result.stdout


def test_what_fails_now_and_then_is_found_by_repeating(author) -> None:
    flaky = {
        "\nKEY = ": "\nPROBES = itertools.count(1)\nKEY = ",
        "import re\n": "import itertools\nimport re\n",
        'with translate(ERRORS, doing="log in"):': NOW_AND_THEN,
    }
    with author({ADAPTER: flaky}):
        once = adapter_test(NAME, "--rule", "O.1", "--rule", "L.2")
        often = adapter_test(NAME, "--rule", "L.2", "--repeat", "4")
    assert once.exit_code == 0
    assert often.exit_code == 1
    assert "In 1 of 4 runs Unavailable was raised: now and then." in often.stdout


@pytest.mark.parametrize("name", ["acme-edrms", "Acme_EDRMS"])
def test_a_package_is_named_by_its_distribution_too(author, name: str) -> None:
    renamed = {FACTS: {f'{NAME} = "{MODULE}:AcmeEdrmsAdapter"': f'sirius = "{MODULE}:AcmeEdrmsAdapter"',
                       HARNESS_POINT: HARNESS_POINT.replace(NAME, "sirius")}}  # fmt: skip
    with author(renamed):
        result = adapter_test(name, "--rule", "O")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("sirius (acme-edrms 0.1.0)")


# --- the report ------------------------------------------------------------------------------------------------------


def test_the_report_for_a_machine_says_the_same(author) -> None:
    with author(VERSIONS):
        text = adapter_test(NAME)
        result = adapter_test(NAME, "--json")
    assert result.exit_code == 1
    report = json.loads(result.stdout)
    assert report["code"] == 1
    (facts,) = report["reports"]
    assert {rule["rule"]: rule["verdict"].lower() for rule in facts["rules"]} == {
        rule: verdict.lower() for rule, verdict in verdicts(text).items()
    }
    assert (facts["adapter"], facts["distribution"], facts["version"], facts["contract"]) == (NAME, NAME, "0.1.0", 1)
    assert facts["passed"] + facts["failed"] + facts["not_applicable"] == len(CHECKS)
    assert facts["failed"] > 0
    for rule in facts["rules"]:
        assert rule["sentence"].endswith(".")
        assert rule["why"]
        assert rule["cure"]


def test_every_rule_leads_to_a_section_of_the_guide(author) -> None:
    with author():
        report = json.loads(adapter_test(NAME, "--json").stdout)
    anchors = {re.sub(r"\W+", "-", line.lstrip("# ").lower()) for line in PAGE.splitlines() if line.startswith("#")}
    for rule in report["reports"][0]["rules"]:
        page, _, anchor = rule["see"].partition("#")
        assert page == "docs/adapters.md"
        assert anchor in anchors, rule["see"]


# --- when it cannot be run -------------------------------------------------------------------------------------------

NOT_A_HARNESS = HARNESS_POINT.replace("testing:AcmeEdrmsHarness", "adapter:AcmeEdrmsAdapter")
OTHER = """class Other(Adapter):
    Options = AcmeEdrmsOptions
    capabilities = open = probe = None


class AcmeEdrmsHarness"""
OTHER_CLASS = {
    "import Capabilities": "import Adapter, Capabilities",
    "class AcmeEdrmsHarness": OTHER,
    "return AcmeEdrmsAdapter(": "return Other(",
}


@pytest.mark.parametrize(
    ("changes", "cause", "cure"),
    [
        ({FACTS: {HARNESS_POINT: ""}}, "comes without a harness", 'entry-points."fhir_gateway.harnesses"'),
        ({FACTS: {HARNESS_POINT: NOT_A_HARNESS}}, "is not a subclass of adapters.testing.Harness", "Harness class"),
        ({FACTS: {HARNESS_POINT: f'{NAME} = "{MODULE}.nowhere:X"\n'}}, "cannot be imported", "Correct the entry point"),
        ({TESTING: {"import replace": "import replac"}}, "cannot be imported: ImportError", "Correct the entry point"),
        ({TESTING: {"def __init__(self)": "def __init__(self, url)"}}, "cannot be set up: TypeError", "without arguments"),
        ({TESTING: {"    def seed(": "    def store("}}, "cannot be set up: TypeError", "without arguments"),
        ({TESTING: OTHER_CLASS}, "tests Other, and the adapter 'acme-edrms' is AcmeEdrmsAdapter", "Let both entry points"),
        ({ADAPTER: {"import Lock": "import Locc"}}, "cannot be imported: ImportError", "Correct acme_edrms"),
    ],
    ids=["none", "no harness", "no module", "import", "arguments", "incomplete", "other class", "adapter"],
)  # fmt: skip
def test_what_an_author_forgot_is_a_sentence_with_a_cure(author, changes: Changes, cause: str, cure: str) -> None:
    with author(changes):
        result = adapter_test(NAME)
        machine = adapter_test(NAME, "--json")
    assert result.exit_code == machine.exit_code == 2
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    assert cause in result.stderr
    assert cure in result.stderr
    assert cause in json.loads(machine.stdout)["cause"]


def test_a_harness_that_is_offered_twice_is_refused(author, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rival = tmp_path / "rival-1.0.dist-info"
    rival.mkdir()
    (rival / "METADATA").write_text("Metadata-Version: 2.1\nName: rival\nVersion: 1.0\n")
    (rival / "entry_points.txt").write_text(f"[fhir_gateway.harnesses]\n{NAME} = rival:Harness\n")
    monkeypatch.syspath_prepend(tmp_path)
    with author():
        result = adapter_test(NAME)
    assert result.exit_code == 2
    assert "has several harnesses" in result.stderr


def test_an_unknown_package_gets_the_nearest_name(author) -> None:
    with author():
        result = adapter_test("acme-edmrs")
    assert result.exit_code == 2
    assert "Did you mean `acme-edrms`?" in result.stderr


def test_an_unknown_rule_gets_the_list(author) -> None:
    with author():
        result = adapter_test(NAME, "--rule", "C13")
    assert result.exit_code == 2
    assert "There is no rule 'C13'." in result.stderr
    assert "C1, C2, C3" in result.stderr


def test_a_harness_that_fails_for_one_check_is_named(author) -> None:
    full = """if next(_numbers) > 4:
            raise OSError("disk full")
        self._server = Server()"""
    with author({TESTING: {"self._server = Server()": full}}):
        result = adapter_test(NAME)
    assert result.exit_code == 2
    assert "The harness of 'acme-edrms' failed for C" in result.stderr
    assert "OSError: disk full" in result.stderr


def test_an_adapter_that_hangs_cannot_hold_the_command(tmp_path: Path) -> None:
    hangs = {ADAPTER: {"return self._document.read(offset, length)": "import time; time.sleep(3600)"},
             TESTING: {"    secrets = ": "    deadline = 0.2\n    secrets = "}}  # fmt: skip
    package = lay_out(tmp_path, hangs)
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(package), str(PROJECT)])}
    command = [sys.executable, "-m", "gateway", "adapter", "test", NAME, "--rule", "C6.2"]
    done = subprocess.run(command, capture_output=True, text=True, env=environ, timeout=100, check=False)
    assert done.returncode == 1, done.stderr
    assert "The adapter hangs: no end after 0.2 seconds." in done.stdout
    assert "0 passed, 1 failed" in done.stdout
