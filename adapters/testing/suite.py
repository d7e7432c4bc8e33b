"""The kit as a pytest class: subclass it, name your harness, inherit the checks.

Rules of this module: the only one here that imports pytest. It is no plugin: nothing is loaded into test runs that do
not ask for it. Checks that do not apply are not collected; they are listed with their reason at the end of the run.
"""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from adapters.testing.check import Check
from adapters.testing.checks import CHECKS
from adapters.testing.harness import Harness
from adapters.testing.runner import Verdict, run_check

_LIST = "fhir-gateway-conformance"


class AdapterConformance:
    """Every check of the contract that applies, as one test each.

        class TestMyArchive(AdapterConformance):
            harness_class = MyHarness

    `harness_class` is looked at when tests are collected: its capabilities and its optional methods choose the checks.
    Override the `harness` fixture when the harness needs other fixtures to be made; it must yield a fresh instance of
    `harness_class`. Needs pytest-asyncio (or pytest-aiohttp, which brings it).
    """

    harness_class: ClassVar[type[Harness]]
    pytestmark: ClassVar = [pytest.mark.asyncio]

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Parametrise `test_conformance` with the checks that apply."""
        if "check" not in metafunc.fixturenames:
            return
        name = type(self).__name__
        harness_class = getattr(self, "harness_class", None)
        if harness_class is None:
            raise TypeError(f"{name} needs `harness_class = YourHarness`: it decides which checks apply")
        reasons = {check: check.excluded(harness_class) for check in CHECKS}
        applicable = [check for check, reason in reasons.items() if reason is None]
        metafunc.parametrize("check", [pytest.param(check, id=f"{check.number}-{check.name}") for check in applicable])
        _list_of(metafunc.config).add(name, {check.number: reason for check, reason in reasons.items() if reason})

    @pytest.fixture
    def harness(self) -> Harness:
        """A fresh harness for each check."""
        return self.harness_class()

    async def test_conformance(self, check: Check, harness: Harness) -> None:
        """The adapter obeys the rule."""
        result = await run_check(check, harness)
        if result.verdict is not Verdict.PASSED:
            pytest.fail(f"\n{result}", pytrace=False)


class NotApplicable:
    """Prints, at the end of a pytest run, which checks were left out and why."""

    def __init__(self) -> None:
        self._left_out: dict[str, dict[str, str]] = {}

    def add(self, suite: str, reasons: dict[str, str]) -> None:
        """Numbers of checks and why they do not apply."""
        self._left_out[suite] = reasons

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """In a process of pytest-xdist: tell the one that prints."""
        output: dict[str, Any] | None = getattr(session.config, "workeroutput", None)
        if output is not None:
            output[_LIST] = self._left_out

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for suite, left_out in self._left_out.items():
            if left_out:
                count = f"{len(left_out)} of {len(CHECKS)} checks do not apply"
                terminalreporter.section(f"adapter conformance: {suite}: {count}")
                for reason in dict.fromkeys(left_out.values()):
                    numbers = " ".join(number for number in left_out if left_out[number] == reason)
                    terminalreporter.write_line(f"{reason}: {numbers}")


def list_of_process(node: Any) -> None:
    """What a process of pytest-xdist says of checks that do not apply, for the end of the run.

    For a `conftest.py` whose tests run in several processes; `node` is what xdist's hook `pytest_testnodedown` is given.
    """
    for suite, reasons in getattr(node, "workeroutput", {}).get(_LIST, {}).items():
        _list_of(node.config).add(suite, reasons)


def _list_of(config: pytest.Config) -> NotApplicable:
    found: NotApplicable | None = config.pluginmanager.get_plugin(_LIST)
    if found is None:
        found = NotApplicable()
        config.pluginmanager.register(found, _LIST)
    return found
