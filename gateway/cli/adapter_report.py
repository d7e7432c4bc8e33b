"""What `adapter test` prints: each rule as it is decided, for people or, at the end, for a machine.

Rules of this module: words and colours only. A broken rule says what happened, why that matters, and the cure.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections import Counter
from typing import Any

import click

from adapters.contract import CONTRACT_VERSION
from gateway import __version__
from gateway.cli import console
from gateway.cli.adapter_kit import CannotRun, Check, Report, Result, Trial, Verdict, see
from gateway.problems import sentence

WIDTH = 100
"""Columns of text where there is no terminal that has a width, and the most that are used of one."""

INDENT = 7
LABEL = 6

COLOURS = {Verdict.PASSED: "green", Verdict.FAILED: "red", Verdict.EXCLUDED: "yellow"}


class Printed:
    """Takes results as they come. `code` is the exit code of what came so far."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._trials: list[tuple[Trial, list[Result]]] = []
        self._width = min(shutil.get_terminal_size((WIDTH, 0)).columns, WIDTH) if sys.stdout.isatty() else WIDTH

    @property
    def code(self) -> int:
        broken = any(result.verdict is Verdict.FAILED for _, results in self._trials for result in results)
        return console.FAILED if broken else console.FINE

    def begin(self, trial: Trial) -> None:
        """What follows is about this adapter."""
        self._summary()
        self._trials.append((trial, []))
        if not self._as_json:
            entry = trial.entry
            click.secho(f"{entry.name} ({entry.distribution} {entry.version}), {_against(trial)}", bold=True)

    def add(self, result: Result) -> None:
        """One rule is decided."""
        self._trials[-1][1].append(result)
        if self._as_json:
            return
        verdict = click.style(f"{result.verdict.value:<14}", fg=COLOURS[result.verdict])
        click.echo(f"{result.check.number:<{INDENT}}{verdict} {result.check.title}")
        for label, text in _details(result):
            head = " " * INDENT + f"{label:<{LABEL}}"
            click.echo(click.wrap_text(text, self._width, head, " " * len(head)))
        for line in result.trace.splitlines():
            click.secho(f"{' ' * INDENT}| {line}", dim=True)

    def end(self) -> None:
        """Everything is decided."""
        self._summary()
        if self._as_json:
            click.echo(json.dumps({"code": self.code, "reports": [_facts(*trial) for trial in self._trials]}, indent=2))

    def refuse(self, error: CannotRun) -> None:
        """The kit cannot be run, or not to its end."""
        cause, cure = sentence(str(error)), sentence(error.cure)
        if self._as_json:
            click.echo(json.dumps({"code": console.WRONG, "cause": cause, "cure": cure, "reports": []}, indent=2))
        else:
            click.echo(f"{click.style(cause, fg='red')}\n{cure}", err=True)

    def _summary(self) -> None:
        if not self._trials or self._as_json:
            return
        results = self._trials[-1][1]
        report = Report(tuple(results))
        click.secho(f"{report.summary}\n", bold=True, fg="green" if report.ok else "red")


def _against(trial: Trial) -> str:
    if trial.source is None:
        return "against its harness"
    documents = "1 document" if trial.documents == 1 else f"{trial.documents} documents"
    return f"against {documents} of the source {trial.source}, which are only read"


def _details(result: Result) -> list[tuple[str, str]]:
    check = result.check
    if result.verdict is Verdict.PASSED:
        return []
    if result.verdict is Verdict.EXCLUDED:
        return [("", sentence(result.what))]
    return [("what", sentence(result.what)), ("why", check.why), ("cure", sentence(check.cure)), ("see", see(check))]


def _facts(trial: Trial, results: list[Result]) -> dict[str, Any]:
    """The report on one adapter."""
    counts = Counter(result.verdict for result in results)
    return {
        "adapter": trial.entry.name,
        "distribution": trial.entry.distribution,
        "version": trial.entry.version,
        "gateway": __version__,
        "contract": CONTRACT_VERSION,
        "source": trial.source,
        "documents": trial.documents,
        "passed": counts[Verdict.PASSED],
        "failed": counts[Verdict.FAILED],
        "not_applicable": counts[Verdict.EXCLUDED],
        "rules": [_rule(result.check, result) for result in results],
    }


def _rule(check: Check, result: Result) -> dict[str, str]:
    return {
        "rule": check.number,
        "title": check.title,
        "verdict": result.verdict.value.lower(),
        "sentence": sentence(result.what or check.title),
        "why": check.why,
        "cure": sentence(check.cure),
        "see": see(check),
    }
