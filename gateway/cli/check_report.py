"""How `check` says what it found: as tables for people, as plain values for machines. Reports hold no path of a document."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from gateway.marked_yaml import dotted
from gateway.problems import Problem

if TYPE_CHECKING:
    from rich.table import Table

    from gateway.cli.check import Report, SourceReport
    from gateway.cli.check_auth import CredentialReport
    from gateway.cli.check_cache import CacheReport

SHOWN_FINDINGS = 10
"""Documents named for one source; all of them with --json."""

WIDTH = 100
"""Columns of tables where there is no terminal that has a width."""


def facts(report: Report, problems: Sequence[Problem], places: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """The report for a machine. `places` says where the options of each source are written."""
    cache: dict[str, Any] = {
        "backend": report.cache.backend,
        "state": report.cache.state,
        "about": report.cache.about,
    }
    for kind in ("wrong", "doubtful"):
        cache[kind] = [problem.as_dict() for problem in getattr(report.cache, kind)]
    return {
        "code": report.code,
        "problems": [problem.as_dict() for problem in problems],
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
    del facts["option_error"], facts["options"]
    return facts | {"seconds": round(source.seconds, 3)}


def print_report(report: Report, sample: int, places: Mapping[str, Sequence[str]]) -> None:
    """One table for each source, for the cache, and for each set of keys."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    out = Console(highlight=False, markup=False, soft_wrap=False)
    if not out.is_terminal:
        out = Console(highlight=False, markup=False, width=WIDTH, no_color=True)
    colours = {"ok": "green", "away": "yellow", "wrong": "red"}
    for source in report.sources:
        state = Text(source.state, style=f"bold {colours[source.state]}")
        table = Table(title=Text.assemble((source.name, "bold"), "  ", state), title_justify="left", show_header=False)
        table.add_column(style="dim", no_wrap=True)
        table.add_column(overflow="fold")
        for name, value in _rows(source, sample, places[source.name]):
            table.add_row(name, Text(value))
        out.print(table)
    if report.cache.backend != "none":
        out.print(_cache_table(report.cache))
    for one in report.credentials:
        out.print(_credential_table(one))
    for finding in report.audit:
        state = Text(finding.state, style=f"bold {colours.get(finding.state, 'cyan')}")
        out.print(Text.assemble((finding.key, "bold"), "  ", state, f"\n  {finding.cause}\n  {finding.cure}"))
    words = {0: "All well.", 1: "Something does not answer as it should.", 2: "The configuration is wrong."}
    out.print(Text(words[report.code], style="bold"))


def _cache_table(cache: CacheReport) -> Table:
    """The cache's table: what was found, and each fault with its key and its cure."""
    from rich.table import Table
    from rich.text import Text

    state = Text(cache.state, style=f"bold {'red' if cache.wrong else 'green'}")
    table = Table(title=Text.assemble(("cache", "bold"), "  ", state), title_justify="left", show_header=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("backend", f"{cache.backend}, {cache.about}" if cache.about else cache.backend)
    for name, problems in (("wrong", cache.wrong), ("doubtful", cache.doubtful)):
        for problem in problems:
            table.add_row(name, Text(f"{problem.key}: {problem.cause}"))
            table.add_row("cure", Text(problem.cure))
    return table


def _rows(source: SourceReport, sample: int, places: Sequence[str]) -> Iterator[tuple[str, str]]:
    """What the table of a source says, as pairs of a name and a sentence."""
    yield "adapter", source.adapter + {True: ", local disk", False: ", not local", None: ""}[source.local]
    rows = f", {source.rows:,} rows" if source.rows is not None else ""
    yield "ids", f"{source.scheme}{rows}, prefix {source.prefix!r}" if source.prefix else f"{source.scheme}{rows}"
    if source.state == "ok":
        yield "answer", f"in {source.seconds * 1000:.0f} ms"
    elif source.state == "away":
        for detail, place in zip(source.details, places, strict=True):
            yield "problem", detail
            if place:
                yield "where", place
        yield "until then", source.cure
    else:
        yield "problem", "\n".join(source.details)
        yield "cure", source.cure
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


def _credential_table(one: CredentialReport) -> Table:
    """The table of an issuer, or of the keys of clients."""
    from rich.table import Table
    from rich.text import Text

    colour = {"ok": "green", "away": "yellow", "wrong": "red"}[one.state]
    title = Text.assemble((one.name, "bold"), "  ", Text(one.state, style=f"bold {colour}"))
    table = Table(title=title, title_justify="left", show_header=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("where", dotted(one.key))
    if one.state == "ok":
        table.add_row("keys", f"{one.keys:,} in use")
    else:
        table.add_row("problem", Text(one.problem))
        table.add_row("cure", Text(one.cure))
    for note in one.notes:
        table.add_row("note", Text(note))
    return table
