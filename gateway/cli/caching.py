"""Commands around the cache: `cache stat` looks at it, `cache purge` forgets, `cache warm` reads documents into it.

They speak with the running gateway through its admin listener. Where none runs, a cache that outlives a process (disk, redis)
is opened by the command itself.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gateway.cli import console
from gateway.cli.asking import Answer, ask

if TYPE_CHECKING:
    from gateway.settings import Settings
    from gateway.upkeep import Upkeep

PURGE_SECONDS = 30.0
WARM_SECONDS = 600.0
AT_ONCE = 4
"""Documents warmed at the same time: the archive has readers too."""

Act = Callable[["Upkeep"], Awaitable[Any]]


@click.group(short_help="Look at what is kept, forget it, or read it in advance.")
def cache() -> None:
    """Look at what is kept of the archives, forget it, or read it in advance."""


@cache.command(short_help="Say how much is kept.")
@console.config_option
@click.option("--json", "as_json", is_flag=True, help="Print it for a machine.")
def stat(config: Path | None, as_json: bool) -> None:
    """Say how much is kept and what came of it."""
    answer = ask(config, "GET", "/cache")
    if answer is not None and answer[0] != 200:
        _refused(answer[1], "stat")
    state = answer[1] if answer else _alone(config, lambda upkeep: upkeep.state())
    if as_json:
        click.echo(json.dumps(state))
        return
    since = state.get("since_start", {})
    rows = {name: state.get(name) for name in ("backend", "state", "entries", "bytes", "limit", "reading")} | since
    for name, value in rows.items():
        if isinstance(value, dict):
            value = ", ".join(f"{count} {kind}" for kind, count in sorted(value.items())) or "none"
        if value is not None:
            click.echo(f"{click.style(f'{name:<10}', dim=True)} {value}")
    if answer is None:
        click.echo("No gateway is running here; this is what it would find.", err=True)


@cache.command(short_help="Forget what is kept.")
@console.config_option
@click.option("--id", "id", metavar="ID", help="Forget the document with this id.")
@click.option("--source", metavar="NAME", help="Forget all documents of this source.")
@click.option("--all", "everything", is_flag=True, help="Forget everything.")
def purge(config: Path | None, id: str | None, source: str | None, everything: bool) -> None:
    """Forget what is kept. When this says `purged`, no reader gets it from the cache any more, whichever replica is asked.

    With the cache `memory` or `disk` each machine keeps its own: run this on every one. Exit code 1: the purge is pending,
    because Redis could not be asked; run it again.
    """
    if sum((id is not None, source is not None, everything)) != 1:
        raise click.UsageError("Give one of --id, --source and --all.")
    body: dict[str, Any] = {"id": id} if id is not None else {"all": True} if everything else {"source": source}
    answer = ask(config, "POST", "/cache/purge", body, seconds=PURGE_SECONDS)
    if answer is None:
        settings = console.load_settings(config)
        if settings.cache.backend in ("none", "memory"):
            click.echo("No gateway is running here, and nothing outlives it: there is nothing to forget.")
            return
        answer = _alone(config, lambda upkeep: _purged(upkeep, body))
    status, said = answer
    if status != 200:
        _refused(said, "purge")
    click.echo("purged")


@cache.command(short_help="Read documents into the cache.")
@console.config_option
@click.option(
    "--ids", "file", type=click.File(), metavar="FILE", help="A file with one id on each line; - is standard input."
)
@click.option("--source", metavar="NAME", help="A source with a manifest: its documents, evenly spread.")
@click.option("--limit", type=click.IntRange(min=1), default=1000, show_default=True, help="How many of the source.")
def warm(config: Path | None, file: Any, source: str | None, limit: int) -> None:
    """Read documents into the cache of the running gateway, so that their first reader need not wait for the archive."""
    if (file is None) == (source is None):
        raise click.UsageError("Give either --ids or --source.")
    if file is not None:
        ids = [line.strip() for line in file if line.strip()]
    else:
        ids = _ids_of(console.load_settings(config), str(source), limit)
    counts: dict[str, int] = {}
    with _bar(len(ids)) as advance, ThreadPoolExecutor(AT_ONCE) as pool:
        for word in pool.map(lambda id: _warmed(config, id), ids):
            counts[word] = counts.get(word, 0) + 1
            advance()
    click.echo(", ".join(f"{count} {word}" for word, count in sorted(counts.items())) or "nothing to read")
    if counts.keys() - {"stored", "kept", "not kept"}:
        raise SystemExit(console.FAILED)


def _warmed(config: Path | None, id: str) -> str:
    answer = ask(config, "POST", "/cache/warm", {"id": id}, seconds=WARM_SECONDS)
    if answer is None:
        raise click.ClickException(
            "No gateway is running here. Start it with `fhir-gateway serve`, then warm its cache."
        )
    return str(answer[1].get("status"))


async def _purged(upkeep: Upkeep, body: Mapping[str, Any]) -> Answer:
    """What the admin listener would have answered."""
    from adapters.errors import AdapterError, NotFound
    from gateway.cache import PurgePending
    from gateway.upkeep import UnknownSource, described

    try:
        if "id" in body:
            await upkeep.purge_id(body["id"])
        elif "source" in body:
            await upkeep.purge_source(body["source"])
        else:
            await upkeep.purge_all()
    except PurgePending as pending:
        return 503, {"status": "pending", "detail": str(pending)}
    except UnknownSource:
        return 404, {"status": "no such source"}
    except NotFound as error:
        return 404, {"status": "no such document", "detail": described(error)}
    except AdapterError as error:
        return 502, {"status": "the archive failed", "detail": described(error)}
    return 200, {"status": "purged"}


def _refused(said: Mapping[str, Any], doing: str) -> None:
    """End with what a gateway answered in place of doing it."""
    word, detail = str(said.get("status")), str(said.get("detail") or "")
    cures = {
        "pending": "Run it again when Redis can be reached; until then replicas may serve what they still have.",
        "starting": "Run it again when the gateway has started.",
        "no such source": "The sources are the keys below `sources` in the configuration.",
        "no such document": "The id leads nowhere by now; `--source` forgets everything of its source.",
    }
    console.fail(f"{doing}: {word}. {detail}".strip(), cures.get(word, ""))


def _alone(config: Path | None, act: Act) -> Any:
    """Do it with the cache opened by this process, since no gateway is running."""
    import asyncio

    from gateway import composing

    settings = console.load_settings(config)

    async def run() -> Any:
        async with composing.opened(settings) as gateway:
            return await act(gateway.upkeep)

    with console.start_failures(config):
        return asyncio.run(run())


def _ids_of(settings: Settings, source: str, limit: int) -> list[str]:
    """Ids of a source that has a list of them, evenly spread."""
    import asyncio

    from gateway.ids import ManifestIds, open_scheme
    from gateway.problems import did_you_mean
    from gateway.telemetry import Telemetry

    of = settings.sources.get(source)
    if of is None:
        cure = did_you_mean(source, [*settings.sources], what="source")
        console.fail(f"There is no source {source}.", cure, code=console.WRONG)
    if not isinstance(of.ids, ManifestIds):
        cure = "Give the ids with --ids, one on each line."
        console.fail(f"The ids of the source {source} are not listed anywhere.", cure, code=console.WRONG)

    async def listed(ids: ManifestIds) -> list[str]:
        telemetry = Telemetry(level="error")
        try:
            async with open_scheme(source, ids, prefix=of.prefix, resolve=_never, log=telemetry.log) as scheme:
                return [id for id, _, _ in await scheme.sample(limit)]  # type: ignore[attr-defined]
        finally:
            await asyncio.to_thread(telemetry.close)

    with console.start_failures(None):
        return asyncio.run(listed(of.ids))


async def _never(stem: str, suffixes: tuple[str, ...] | None = None) -> str:
    raise AssertionError("a manifest asks no archive")


@contextmanager
def _bar(total: int) -> Iterator[Callable[[], None]]:
    """Something to call for each document; shows how it proceeds on a terminal, says nothing elsewhere."""
    import sys

    if not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("reading documents"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("", total=total)
        yield lambda: bars.advance(task)
