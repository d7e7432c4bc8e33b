"""The conformance kit is tested itself: right adapters pass it, and each wrong one fails the one check meant for it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from adapters.contract import Descriptor, Span
from adapters.testing import CHECKS, Harness, Report, Result, Verdict, check_adapter, run_check
from tests.meta.shelf import CAPABILITIES, FolderAdapter, FolderHarness, Handle, ShelfAdapter, ShelfHarness
from tests.meta.wrong import WRONG
from tests.meta.wrong.bodies import LeavesADescriptor

pytestmark = [
    pytest.mark.blocking_allowed,
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),
]


class Bench:
    """Makes harnesses for one adapter class, and cleans up behind a wrong one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.made: list[ShelfHarness] = []

    def harness(self, adapter: type[Any], **differing: Any) -> ShelfHarness:
        kind = FolderHarness if issubclass(adapter, FolderAdapter) else ShelfHarness
        differing["adapter_class"] = adapter
        for theirs, ours in (("declares", "capabilities"), ("secrets", "secrets")):
            if hasattr(adapter, theirs):
                differing[ours] = getattr(adapter, theirs)
        made: Any = type(kind.__name__, (kind,), differing)
        self.folder.mkdir(exist_ok=True)
        self.made.append(made(self.folder) if kind is FolderHarness else made())
        return self.made[-1]

    async def judge(self, adapter: type[Any]) -> Report:
        tasks = asyncio.all_tasks()
        report = await check_adapter(lambda: self.harness(adapter), tell=None)
        for task in asyncio.all_tasks() - tasks:
            task.cancel()
        return report

    async def check(self, number: str, adapter: type[Any], **differing: Any) -> Result:
        check = next(check for check in CHECKS if check.number == number)
        return await run_check(check, self.harness(adapter, **differing))


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path / "folder")
    yield bench
    for harness in bench.made:
        harness.shelf.over.set()
    while LeavesADescriptor.left:
        os.close(LeavesADescriptor.left.pop())


@pytest.mark.parametrize("adapter", [ShelfAdapter, FolderAdapter])
async def test_a_right_adapter_passes_every_check(adapter: type[ShelfAdapter], bench: Bench) -> None:
    report = await bench.judge(adapter)
    assert report.ok, "\n".join(map(str, report.failed))
    left_out = {result.check.rule for result in report.excluded}
    assert left_out == (set() if adapter is FolderAdapter else {"F"})


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: f"{wrong.caught_by}-{wrong.__name__}")
async def test_a_wrong_adapter_fails_the_check_meant_for_it(wrong: type[Any], bench: Bench) -> None:
    report = await bench.judge(wrong)
    assert [result.check.number for result in report.failed] == [wrong.caught_by], "\n".join(map(str, report.failed))


def test_every_check_catches_something() -> None:
    assert {check.number for check in CHECKS} == {wrong.caught_by for wrong in WRONG}


def test_every_check_says_why_and_how_to_cure_it() -> None:
    assert len({check.number for check in CHECKS}) == len(CHECKS)
    for check in CHECKS:
        assert check.why.endswith("."), check.number
        assert check.cure, check.number


# --- adapters that would take the kit with them ------------------------------------------------------------------


class Hangs(ShelfAdapter):
    async def stat(self, *_: Any, **__: Any) -> Descriptor:
        await asyncio.Event().wait()
        raise AssertionError


class HangsAndWillNotBeCancelled(ShelfAdapter):
    async def stat(self, *_: Any, **__: Any) -> Descriptor:
        while not self.shelf.over.is_set():
            try:
                await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                continue
        raise AssertionError


class NeverEnds(ShelfAdapter):
    async def pieces(self, handle: Handle, carried: Span) -> AsyncGenerator[bytes, None]:
        while True:
            yield b"x" * 1_000_000


class CancelsItsCaller(ShelfAdapter):
    async def probe(self) -> None:
        raise asyncio.CancelledError


@pytest.mark.parametrize("adapter", [Hangs, HangsAndWillNotBeCancelled])
async def test_an_adapter_that_hangs_fails_at_the_deadline(adapter: type[ShelfAdapter], bench: Bench) -> None:
    result = await bench.check("C1.1", adapter, deadline=0.1)
    assert result.verdict is Verdict.FAILED
    assert result.what == "the adapter hangs: no end after 0.1 seconds"
    bench.made[0].shelf.over.set()


async def test_chunks_without_end_fail(bench: Bench) -> None:
    result = await bench.check("C6.1", NeverEnds)
    assert result.verdict is Verdict.FAILED
    assert "the chunks do not end" in result.what


async def test_an_adapter_that_cancels_its_caller_fails(bench: Bench) -> None:
    result = await bench.check("L.7", CancelsItsCaller)
    assert result.verdict is Verdict.FAILED
    assert "cancelled" in result.what


# --- what the author is told -------------------------------------------------------------------------------------


async def test_a_failure_tells_rule_verdict_what_why_cure_and_place(bench: Bench) -> None:
    class Broken(ShelfAdapter):
        async def probe(self) -> None:
            raise ZeroDivisionError("in the adapter")

    text = str(await bench.check("L.5", Broken))
    assert text.splitlines()[0].split()[:2] == ["L.5", "FAILED"]
    for expected in ("what: ZeroDivisionError was raised", "why:  Readiness", "cure: ask the archive", "in probe"):
        assert expected in text
    assert "adapters/testing" not in text


async def test_results_are_told_as_they_come_and_nothing_is_left_out(bench: Bench) -> None:
    told: list[str] = []
    report = await check_adapter(lambda: bench.harness(ShelfAdapter), tell=told.append)
    assert len(told) == len(CHECKS) + 1
    assert told[-1] == f"{len(CHECKS) - 4} passed, 0 failed, 4 not applicable" == report.summary
    assert all(result.what for result in report.excluded)
    assert str(report) == "\n".join(told)


async def test_a_capability_deselects_and_says_so(bench: Bench) -> None:
    frozen = replace(CAPABILITIES, immutable=True, strong_versions=False, spans=False, max_open=1)
    reasons = {check.number: check.excluded(bench.harness(ShelfAdapter, capabilities=frozen)) for check in CHECKS}
    assert reasons["C5.2"] == "the adapter declares strong_versions=False"
    assert reasons["C2.4"] == "the adapter declares immutable=True"
    assert reasons["C4.1"] == "the adapter declares spans=False"
    assert reasons["C8.2"] == "the adapter declares that one document is open at a time"
    assert reasons["C3.2"] is None


async def test_a_missing_hook_deselects_and_says_so() -> None:
    bare: Any = type("Bare", (ShelfHarness,), {"live": Harness.live, "cut_after": Harness.cut_after})
    left_out = {check.number for check in CHECKS if check.excluded(bare) and check.rule != "F"}
    assert left_out == {"C6.3", "C7.1", "C7.2", "C7.3", "C7.4", "C7.5", "C7.11", "C9.3", "C11.1", "L.6"}


async def test_a_harness_may_come_in_a_context_manager() -> None:
    entered = left = 0

    @asynccontextmanager
    async def make() -> AsyncIterator[Harness]:
        nonlocal entered, left
        entered += 1
        yield ShelfHarness()
        left += 1

    assert (await check_adapter(make, tell=None)).ok
    assert entered == left == len(CHECKS)


# --- the kit under pytest ----------------------------------------------------------------------------------------

SUITE = """
from adapters.testing import AdapterConformance
from tests.meta.shelf import ShelfHarness

class TestShelf(AdapterConformance):
    harness_class = ShelfHarness
"""

WITHOUT_HARNESS = """
from adapters.testing import AdapterConformance

class TestNothing(AdapterConformance):
    pass
"""

WITHOUT_CAPABILITIES = (
    SUITE
    + """
class Mute(ShelfHarness):
    capabilities = None

class TestMute(AdapterConformance):
    harness_class = Mute
"""
)

FAILING = """
from adapters.testing import AdapterConformance
from tests.meta.shelf import ShelfHarness
from tests.meta.wrong.bodies import EndsQuietly

class Broken(ShelfHarness):
    adapter_class = EndsQuietly

class TestBroken(AdapterConformance):
    harness_class = Broken
"""


def _pytest(folder: Path, text: str, *words: str) -> tuple[int, str]:
    (folder / "test_it.py").write_text(text)
    (folder / "pytest.ini").write_text(
        "[pytest]\nfilterwarnings = error\nasyncio_default_fixture_loop_scope = function\n"
    )
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", *words, str(folder)]
    root = Path(__file__).parents[2]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=folder, env={**os.environ, "PYTHONPATH": str(root)}, check=False
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("words", [(), ("-n", "2")], ids=["one process", "two processes"])
def test_only_what_applies_is_collected_and_the_rest_is_listed(words: tuple[str, ...], tmp_path: Path) -> None:
    hook = "from adapters.testing.suite import list_of_process as pytest_testnodedown"
    (tmp_path / "conftest.py").write_text(hook if words else "")
    code, output = _pytest(tmp_path, SUITE, *words)
    assert code == 0, output
    assert f"{len(CHECKS) - 4} passed" in output
    assert "skipped" not in output
    assert f"adapter conformance: TestShelf: 4 of {len(CHECKS)} checks do not apply" in output
    assert "the harness says that no `Content.file` is offered: F.1 F.2 F.3 F.4" in output


def test_a_failure_under_pytest_shows_the_cure_and_not_the_kit(tmp_path: Path) -> None:
    code, output = _pytest(tmp_path, FAILING)
    assert code == 1, output
    assert "1 failed" in output
    assert "[C6.3-an_early_end_is_an_error]" in output
    assert "cure: count what came" in output
    assert "adapters/testing/" not in output


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (WITHOUT_HARNESS, "TestNothing needs `harness_class = YourHarness`"),
        (WITHOUT_CAPABILITIES, "Mute needs `capabilities = Capabilities(...)`"),
    ],
    ids=["harness", "capabilities"],
)
def test_an_incomplete_suite_is_refused_with_the_cure(text: str, sentence: str, tmp_path: Path) -> None:
    code, output = _pytest(tmp_path, text)
    assert code != 0
    assert sentence in output, output


def test_checking_without_pytest_does_not_import_it() -> None:
    script = "import sys, adapters.testing; sys.exit('pytest' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parents[2], check=False).returncode == 0
