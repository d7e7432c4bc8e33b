"""Commands that look without serving: `check`, `fetch`, `adapters`, `explain`."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, NoReturn
from urllib.parse import quote

import click

from gateway.cli import console

if TYPE_CHECKING:
    from gateway.cli.fetch import Answer, Route, Write
    from gateway.ids import Progress
    from gateway.problems import Problem
    from gateway.settings import Settings


@click.command(short_help="Validate the configuration and ask every source.")
@console.config_option
@click.option("--json", "as_json", is_flag=True, help="Print the report for a machine.")
@click.option(
    "--sample", type=click.IntRange(min=0), default=0, metavar="N", help="Also look at N documents of each source."
)
def check(config: Path | None, as_json: bool, sample: int) -> None:
    """Validate the configuration and ask every source whether it answers.

    Addresses, certificates, keys, the cache and the trail are tried as well; what is right is looked at although something
    else is wrong. Exit code 0: all well. 1: a source, an issuer or Redis does not answer, or a sampled document is not as it
    should be. 2: the configuration is wrong, and a gateway would not start.
    """
    settings, known = _readable(config, as_json)
    if settings is None:
        _stop(known, as_json)
    import asyncio

    from gateway.cli.check import examine, made_by
    from gateway.cli.check_problems import findings, placed
    from gateway.cli.check_report import facts, print_report
    from gateway.cli.traceless import traceless

    with traceless(made_by(settings)), _progress() as progress:
        report = asyncio.run(examine(settings, sample=sample, progress=progress, config=config))
    found = placed([*findings(report)], config, known)
    code = console.WRONG if known else report.code
    if as_json:
        places = {source.name: console.option_places(source.options, config, source.name) for source in report.sources}
        click.echo(json.dumps(facts(report, found, places, code), indent=2))
    else:
        for state, problem in found:
            console.show(problem, "" if state == "wrong" else state)
        print_report(report, sample)
        console.conclude(code, sum(state == "wrong" for state, _ in found))
    raise SystemExit(code)


def _readable(config: Path | None, as_json: bool) -> tuple[Settings | None, tuple[Problem, ...]]:
    """What can be looked at of the settings, and their problems."""
    from gateway.problems import SettingsError
    from gateway.settings import load_what_is_right

    console.demand(config)
    try:
        return load_what_is_right(config, os.environ)
    except SettingsError as error:
        return None, error.problems


def _stop(problems: Sequence[Problem], as_json: bool) -> NoReturn:
    if as_json:
        found = [problem.as_dict() for problem in problems]
        click.echo(json.dumps({"code": console.WRONG, "problems": found, "sources": []}, indent=2))
        raise SystemExit(console.WRONG)
    console.stop(problems)


@contextmanager
def _progress() -> Iterator[Progress | None]:
    """A bar for each manifest that is read, where somebody can see it."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskID, TextColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:3.0f} %  {task.fields[rows]:,} rows"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, TaskID] = {}

        def report(source: str, rows: int, read: int, size: int) -> None:
            if source not in tasks:
                tasks[source] = bars.add_task(f"reading the manifest of {source}", total=size, rows=0)
            bars.update(tasks[source], completed=read, rows=rows)

        yield report


@click.command(short_help="Fetch one document, or explain what a client gets.")
@click.argument("id")
@console.config_option
@click.option("--explain", is_flag=True, help="Show where the id leads and what a client would get.")
@click.option(
    "--output", "-o", type=click.Path(dir_okay=False, allow_dash=True), metavar="FILE", help="Where to write."
)
@click.option("--base", type=click.Choice(["R4", "STU3"]), help="The FHIR version to ask; R4 if it is served.")
@click.option("--accept", metavar="TYPE", help="The Accept header, such as application/fhir+json; none by default.")
def fetch(
    id: str, config: Path | None, explain: bool, output: str | None, base: str | None, accept: str | None
) -> None:
    """Fetch one document without a server, exactly as a client would get it."""
    settings = console.load_settings(config)
    path = settings.fhir.bases.get(base or ("R4" if "R4" in settings.fhir.bases else "STU3"))  # type: ignore[call-overload]
    if path is None:
        console.fail(f"The base {base} is not served.", "Add it to `fhir.bases`.", code=console.WRONG)
    if not explain and output is None and sys.stdout.isatty():
        raise click.UsageError("A document would fill the terminal. Give --output FILE, or --explain.")
    import asyncio

    keep = _Keeping(output, quiet=explain and output is None)
    with console.start_failures(config), keep:
        target = f"{path}/Binary/{quote(id, safe='')}"
        route, answer = asyncio.run(_fetched(settings, id, target, accept, keep.write))
        keep.whole = answer.status == 200 and answer.complete
    if explain:
        _print_explanation(settings, target, accept, route, answer)
    elif answer.status != 200:
        click.echo(keep.refusal, err=True)
        click.echo(f"{answer.status} {answer.reason}: `fhir-gateway fetch {id} --explain` says more.", err=True)
    if not answer.complete:
        click.secho("The connection was reset: the document is not complete and was not kept.", fg="red", err=True)
    raise SystemExit(console.FINE if keep.whole else console.FAILED)


class _Keeping:
    """Where a fetched document goes. A file gets its name when it is whole; what is not a document goes elsewhere."""

    def __init__(self, output: str | None, *, quiet: bool) -> None:
        self._path = None if output in (None, "-") or quiet else Path(str(output))
        self._quiet = quiet
        self._file: IO[bytes] = sys.stdout.buffer
        self._partial = Path()
        self.refusal = b""
        self.whole = False

    def __enter__(self) -> _Keeping:
        if self._path is not None:
            self._partial = self._path.with_name(f"{self._path.name}.partial")
            self._file = self._partial.open("wb")
        return self

    def __exit__(self, *error: object) -> None:
        self._file.flush()
        if self._path is not None:
            self._file.close()
            if self.whole:
                self._partial.replace(self._path)
            else:
                self._partial.unlink()

    def write(self, status: int, piece: bytes) -> None:
        """Take one piece of an answer's body."""
        if status != 200:
            self.refusal += piece
        elif not self._quiet:
            self._file.write(piece)


async def _fetched(settings: Settings, id: str, target: str, accept: str | None, write: Write) -> tuple[Route, Answer]:
    from gateway.cli.fetch import asking, only_for

    with _progress() as progress:
        async with asking(only_for(settings, id), progress) as gateway:
            route = await gateway.route(id)
            return route, await gateway.get(target, accept, write)


def _print_explanation(settings: Settings, target: str, accept: str | None, route: Route, answer: Answer) -> None:
    """Where the id led and what came back; bodies and titles are not shown."""
    lines: list[tuple[str, str]] = []
    source = settings.sources.get(route.source or "")
    if source is not None:
        lines.append(("source", f"{route.source} (adapter {source.adapter}, prefix {source.prefix!r})"))
        lines.append(("ids", f"{source.ids.scheme} {getattr(source.ids, 'pattern', '')}".strip()))
    if route.location is not None:
        lines.append(("locator", route.location.locator))
        lines.append(("stated type", route.location.media_type or "none; told from the bytes, then from the name"))
    if route.failure is not None:
        lines.append(("no route", f"{route.failure.entry.code} {route.failure.entry.title} ({route.failure.detail})"))
    lines.append(("cache", settings.cache.backend))
    lines.append(("request", f"GET {target}" + (f"   Accept: {accept}" if accept is not None else "   (no Accept)")))
    lines.append(("answer", f"{answer.status} {answer.reason}"))
    lines += [("", f"{name}: {value}") for name, value in answer.headers]
    whole = "complete" if answer.complete else "cut off"
    lines.append(("body", f"{answer.size:,} bytes, {whole}"))
    lines.append(
        ("time", f"{answer.first_byte * 1000:.1f} ms to the first byte, {answer.seconds * 1000:.1f} ms in all")
    )
    for name, text in lines:
        click.echo(f"{click.style(f'{name:<12}', dim=True)} {text}")


@click.command(short_help="List the installed adapters.")
@click.option("--json", "as_json", is_flag=True, help="Print the list for a machine.")
def adapters(as_json: bool) -> None:
    """List the installed adapters: the kinds of archive that a source can be."""
    from adapters import registry
    from adapters.errors import OptionError

    rows = []
    for name, entry in registry.available().items():
        try:
            said = (registry.load(name).__doc__ or "").strip().split("\n\n")[0]
            usable, words = True, " ".join(said.split())
        except OptionError as error:
            usable, words = False, f"{error.detail}; {error.cure}"
        rows.append({"name": name, "usable": usable, "from": f"{entry.distribution} {entry.version}", "about": words})
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    width = max((len(str(row["name"])) for row in rows), default=0)
    for row in rows:
        name = click.style(f"{row['name']:<{width}}", bold=True, fg="green" if row["usable"] else "red")
        click.echo(f"{name}  {row['about']}  {click.style(str(row['from']), dim=True)}")


@click.command(short_help="Say what an error code means.")
@click.argument("code")
def explain(code: str) -> None:
    """Say what an error code such as GW-DOC-001 means, and what to do about it."""
    from gateway.errors import UnknownCode
    from gateway.errors import explain as explained

    try:
        click.echo(explained(code))
    except UnknownCode as error:
        console.fail(str(error), code=console.WRONG)
