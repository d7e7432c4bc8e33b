"""The kit as a pytest class: subclass it, name your harness, inherit the checks that apply."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pytest

from tests.conformance.cache_kit.check import Check
from tests.conformance.cache_kit.checks import CHECKS
from tests.conformance.cache_kit.harness import CacheHarness


class CacheConformance:
    """Override the `harness` fixture when the harness needs more than a folder of its own."""

    harness_class: ClassVar[type[CacheHarness]]

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if "check" in metafunc.fixturenames:
            applicable = [one for one in CHECKS if one.applies(self.harness_class)]
            metafunc.parametrize("check", [pytest.param(one, id=f"{one.number}-{one.name}") for one in applicable])

    @pytest.fixture
    def harness(self, tmp_path: Path) -> CacheHarness:
        """A fresh harness for each check; by default it is given a folder."""
        return self.harness_class(tmp_path)  # type: ignore[call-arg]

    async def test_conformance(self, check: Check, harness: CacheHarness) -> None:
        await check.run(harness)
