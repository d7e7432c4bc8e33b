"""How `check` says what it found: as tables for people, as plain values for machines. Reports hold no path of a document."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from gateway.marked_yaml import dotted
from gateway.problems import Problem

if TYPE_CHECKING:
    from rich.table import Table

    from gateway.cli.check import Report, SourceReport
    from gateway.cli.mistake import State

SHOWN_FINDINGS = 10
"""Documents named for one source; all of them with --json."""

COLOURS = {"ok": "green", "away": "yellow", "wrong": "red"}

WIDTH = 100
"""Columns of tables where there is no terminal that has a width."""


def facts(
    report: Report, found: Sequence[tuple[State, Problem]], places: Mapping[str, Sequence[str]], code: int
) -> dict[str, Any]:
    """The report for a machine. `places` says where the options of each source are written."""
    problems, away, notes = (
        [problem.as_dict() for state, problem in found if state == wanted] for wanted in ("wrong", "away", "note")
    )
    cache: dict[str, Any] = {
        "backend": report.cache.backend,
        "state": report.cache.state,
        "about": report.cache.about,
    }
    for kind in ("wrong", "doubtful"):
        cache[kind] = [problem.as_dict() for problem in getattr(report.cache, kind)]
    return {
        "code": code,
        "problems": problems,
        "away": away,
        "notes": notes,
        "sources": [_facts(source) | {"places": places[source.name]} for source in report.sources],
        "cache": cache,
        "remarks": [
            {"key": f"server.tls.{one.option}", "cause": one.text, "cure": one.cure} for one in report.entrance.remarks
        ],
        "audit": [asdict(finding) for finding in report.audit],
        "credentials": [asdict(one) | {"key": dotted(one.key)} for one in report.credentials],
    }


def _facts(source: SourceReport) -> dict[str, Any]:
    facts = asdict(source)
    del facts["option_error"], facts["options"], facts["broken"]
    return facts | {"seconds": round(source.seconds, 3)}


def print_report(report: Report, sample: int) -> None:
    """One table for each source, for the cache, and for each set of keys."""
    from rich.console import Console

    out = Console(highlight=False, markup=False, soft_wrap=False)
    if not out.is_terminal:
        out = Console(highlight=False, markup=False, width=WIDTH, no_color=True)
    for source in report.sources:
        out.print(_table(source.name, source.state, _rows(source, sample)))
    if report.cache.backend != "none":
        cache = report.cache
        about = f"{cache.backend}, {cache.about}" if cache.about else cache.backend
        out.print(_table("cache", cache.state, [("backend", about)]))
    for one in report.credentials:
        rows = [("keys", f"{one.keys:,} in use")] if one.state == "ok" else []
        out.print(
            _table(one.name, one.state, [("where", dotted(one.key)), *rows, *(("note", note) for note in one.notes)])
        )


def _table(name: str, state: str, rows: Iterable[tuple[str, str]]) -> Table:
    from rich.table import Table
    from rich.text import Text

    title = Text.assemble((name, "bold"), "  ", (state, f"bold {COLOURS.get(state, 'cyan')}"))
    table = Table(title=title, title_justify="left", show_header=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for row_name, value in rows:
        table.add_row(row_name, Text(value))
    return table


def _rows(source: SourceReport, sample: int) -> Iterator[tuple[str, str]]:
    """What the table of a source says, as pairs of a name and a sentence."""
    yield "adapter", source.adapter + {True: ", local disk", False: ", not local", None: ""}[source.local]
    rows = f", {source.rows:,} rows" if source.rows is not None else ""
    yield "ids", f"{source.scheme}{rows}, prefix {source.prefix!r}" if source.prefix else f"{source.scheme}{rows}"
    if source.state == "ok":
        yield "answer", f"in {source.seconds * 1000:.0f} ms"
    if sample and source.state == "ok":
        bad = ", ".join(f"{count} {kind}" for kind, count in sorted(source.counts.items())) or "all as they should be"
        yield "sample", f"{source.sampled} looked at: {bad}" if source.sampled else "none"
        if source.empty:
            yield "empty", f"{source.empty} documents have no bytes; STU3 has no envelope for them"
        findings = sorted(source.findings, key=lambda finding: (finding.line or 0, finding.id))
        for finding in findings[:SHOWN_FINDINGS]:
            line = f" (line {finding.line})" if finding.line else ""
            yield finding.kind, f"{finding.id}{line}: {finding.detail}"
        if len(findings) > SHOWN_FINDINGS:
            yield "", f"and {len(findings) - SHOWN_FINDINGS} more; --json lists all of them"
    if source.note:
        yield "note", source.note
