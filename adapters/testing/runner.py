"""Running checks without a test framework, and what came of it.

Rules of this module: no pytest. A check that hangs is failed at the harness's deadline; one that does not apply is
listed with its reason, never left out.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass
from enum import Enum

from adapters.testing.check import Check, Violation
from adapters.testing.checks import CHECKS
from adapters.testing.harness import Harness
from adapters.testing.subject import entering

GRACE = 1.0
"""Seconds that a check which hung may take to end after it was cancelled."""

MakeHarness = Callable[[], Harness | AbstractContextManager[Harness] | AbstractAsyncContextManager[Harness]]


class Verdict(Enum):
    PASSED = "passed"
    FAILED = "FAILED"
    EXCLUDED = "not applicable"


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one check. `what` is one sentence: what happened, or why the check does not apply."""

    check: Check
    verdict: Verdict
    what: str = ""
    trace: str = ""

    def __str__(self) -> str:
        lines = [f"{self.check.number:<6} {self.verdict.value:<14} {self.check.title}"]
        if self.verdict is Verdict.EXCLUDED:
            lines.append(f"       {self.what}")
        if self.verdict is Verdict.FAILED:
            lines += [f"       what: {self.what}", f"       why:  {self.check.why}", f"       cure: {self.check.cure}"]
            lines += [f"       | {line}" for line in self.trace.splitlines()]
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Report:
    """All results of one adapter, in the order of the rules."""

    results: tuple[Result, ...]

    @property
    def ok(self) -> bool:
        """No check failed."""
        return not self.failed

    @property
    def failed(self) -> tuple[Result, ...]:
        return self._having(Verdict.FAILED)

    @property
    def excluded(self) -> tuple[Result, ...]:
        return self._having(Verdict.EXCLUDED)

    def _having(self, verdict: Verdict) -> tuple[Result, ...]:
        return tuple(result for result in self.results if result.verdict is verdict)

    @property
    def summary(self) -> str:
        """One line of figures."""
        passed = len(self._having(Verdict.PASSED))
        return f"{passed} passed, {len(self.failed)} failed, {len(self.excluded)} not applicable"

    def __str__(self) -> str:
        return "\n".join([*map(str, self.results), self.summary])


async def check_adapter(make_harness: MakeHarness, *, tell: Callable[[str], None] | None = print) -> Report:
    """Run every check that applies, each on a harness of its own, and tell each result as it comes.

    `make_harness` is a Harness class, a function that returns a harness, or one that returns a context manager (of
    either kind) around a harness. Pass `tell=None` for silence.
    """
    results: list[Result] = []
    for check in CHECKS:
        result = await run_fresh(check, make_harness)
        results.append(result)
        if tell is not None:
            tell(str(result))
    report = Report(tuple(results))
    if tell is not None:
        tell(report.summary)
    return report


async def run_fresh(check: Check, make_harness: MakeHarness) -> Result:
    """Run one check on a harness made for it. Raises what `make_harness` raises."""
    made = make_harness()
    if isinstance(made, Harness):
        return await run_check(check, made)
    async with entering(made) as harness:
        return await run_check(check, harness)


async def run_check(check: Check, harness: Harness) -> Result:
    """Run one check on a fresh `harness`, which is released afterwards. Never raises for what the adapter does."""
    if (reason := check.excluded(harness)) is not None:
        harness.release()
        return Result(check, Verdict.EXCLUDED, reason)
    task = asyncio.ensure_future(check.run(harness))
    try:
        done, _ = await asyncio.wait({task}, timeout=harness.deadline)
        if not done:
            task.cancel()
            await asyncio.wait({task}, timeout=GRACE)
            return Result(check, Verdict.FAILED, f"the adapter hangs: no end after {harness.deadline:g} seconds")
        return _judged(check, task)
    finally:
        task.cancel()
        harness.release()


def _judged(check: Check, task: asyncio.Future[None]) -> Result:
    if task.cancelled():
        return Result(check, Verdict.FAILED, "the adapter cancelled the task that called it")
    error = task.exception()
    if error is None:
        return Result(check, Verdict.PASSED)
    if isinstance(error, Violation):
        return Result(check, Verdict.FAILED, str(error), _trace(error.__cause__))
    return Result(check, Verdict.FAILED, f"{type(error).__name__} was raised: {error}", _trace(error))


def _trace(error: BaseException | None) -> str:
    """Where the adapter's own exception came from, without the kit's frames."""
    if error is None:
        return ""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "adapters/testing/" not in frame.filename]
    lines = traceback.format_list(frames[-4:]) + traceback.format_exception_only(error)
    return "".join(lines).rstrip()
