"""Commands that look at a running gateway from outside: `status` shows how it is, `log` changes what it logs.

They speak with its admin listener and know nothing else of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gateway.cli import console
from gateway.cli.asking import Answer, ask

if TYPE_CHECKING:
    from rich.table import Table

LEVELS = ("debug", "info", "warning", "error")

NOT_RUNNING = "No gateway is running here. Start it with `fhir-gateway serve`."

_COLOURS = {
    "ok": "green", "ready": "green", "written": "green", "closed": "green", "delivering": "green",
    "away": "red", "failing": "red", "refused": "red", "open": "red", "wedged": "red", "none": "dim",
}  # fmt: skip


@click.command(short_help="Show how a running gateway is.")
@console.config_option
@click.option("--json", "as_json", is_flag=True, help="Print it for a machine.")
def status(config: Path | None, as_json: bool) -> None:
    """Show how a running gateway is: its archives, what is wrong with them and what to do, cache, audit trail, certificates.

    Exit code 0 when it takes requests, else 1.
    """
    state = _answered(ask(config, "GET", "/status"))
    if as_json:
        click.echo(json.dumps(state))
    else:
        show(state)
    raise SystemExit(console.FINE if state.get("status") == "ready" else console.FAILED)


@click.command(short_help="Change what a running gateway logs.")
@console.config_option
@click.option("--level", type=click.Choice(LEVELS), help="The least that is logged from now on.")
@click.option("--for", "lasting", metavar="DURATION", help="Set it back after this time, as in 10m.")
@click.option("--reset", is_flag=True, help="Log what the configuration says.")
def log(config: Path | None, level: str | None, lasting: str | None, reset: bool) -> None:
    """Show or change what a running gateway logs. A restart sets it back to the configuration."""
    if level is not None and reset:
        raise click.UsageError("Give one of --level and --reset.")
    if lasting is not None and level is None:
        raise click.UsageError("--for belongs to --level.")
    if level is None and not reset:
        answer = ask(config, "GET", "/log")
    else:
        body = {"level": level} | ({"for": lasting} if lasting else {})
        answer = ask(config, "POST", "/log", body)
    said = _answered(answer)
    until = f" until {said['until']}" if said["until"] else ""
    configured = "" if said["level"] == said["configured"] else f"; configured is {said['configured']}"
    click.echo(f"{said['level']}{until}{configured}")


def _answered(answer: Answer | None) -> dict[str, Any]:
    """What the gateway said, or the end."""
    if answer is None:
        console.fail(NOT_RUNNING)
    code, said = answer
    if code != 200:
        console.fail(f"{said.get('status')}. {said.get('detail') or ''}".strip(), str(said.get("cure") or ""))
    return said


# --- the status in a terminal ----------------------------------------------------------------------------------------


def show(state: Mapping[str, Any]) -> None:
    """Print the status as tables."""
    from rich.console import Console
    from rich.text import Text

    screen = Console(highlight=False, soft_wrap=True)
    requests = state["requests"]
    screen.print(
        Text.assemble((str(state["status"]), f"bold {_colour(state['status'])}"), f"  version {state['version']}")
    )
    screen.print(
        f"up {_lasting(state['uptime_seconds'])}, {requests['answered']:,} requests answered, {requests['failed']:,} failed, "
        f"{requests['aborted']:,} aborted, {requests['in_flight']:,} in flight, loop {state['event_loop_lag_ms']:g} ms late\n"
    )
    screen.print(_sources(state["sources"]))
    for line in _troubles(state):
        screen.print(line)
    screen.print()
    screen.print(_rest(state))


def _sources(sources: Mapping[str, Mapping[str, Any]]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for title in ("source", "state", "open", "waiting", "median", "99 %", "failed", "cache"):
        table.add_column(title, no_wrap=True)
    for name, facts in sources.items():
        latency = facts.get("latency_ms") or {}
        ratio = facts.get("cache_hit_ratio")
        table.add_row(
            name,
            Text(facts["state"], style=_colour(facts["state"])),
            f"{facts['in_flight']}/{facts['limit']}",
            str(facts.get("queued", "")),
            *(f"{latency[part]:g} ms" if part in latency else "" for part in ("p50", "p99")),
            str(facts["failed"]),
            "" if ratio is None else f"{ratio:.0%}",
        )
    return table


def _troubles(state: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with each archive, and what to do."""
    for name, facts in state["sources"].items():
        error = facts.get("error") or facts.get("last_error")
        if error is None:
            continue
        when = f" at {error['at']}" if "at" in error and not facts.get("error") else ""
        yield f"\n{name}: {error['code']} {error['title']}{when}"
        if error["detail"]:
            yield f"  {error['detail']}"
        yield f"  {error['cure']}"


def _rest(state: Mapping[str, Any]) -> Table:
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    cache, audit, config, log = (state[name] for name in ("cache", "audit", "config", "log"))
    ratio = (
        ""
        if cache.get("hit_ratio") is None
        else f", {cache['hit_ratio']:.0%} of {cache['hits'] + cache['misses']:,} found"
    )
    table.add_row(
        "cache", f"{cache['backend']}: {cache.get('state', 'ok')}{ratio}{_counted(cache.get('faults'), ', faults: ')}"
    )
    waits = "".join(
        f"; {sink['name']} {sink['state']}, {sink['waiting_bytes']:,} bytes wait" for sink in audit.get("sinks", ())
    )
    table.add_row("audit", f"{audit['state']}{waits}")
    for key in state["keys"]:
        table.add_row("keys", f"{key['issuer']}: {key['state']}, {key['keys']} in use{_also(key['detail'])}")
    for one in state["certificates"]:
        days = "cannot be read" if one["days"] is None else f"expires in {one['days']} days, on {one['expires'][:10]}"
        table.add_row("certificate", f"{one['key']} {days}")
    table.add_row("config", f"{config['state']}, read at {config['loaded']}{_also(config['detail'])}")
    table.add_row("log", log["level"] + (f" until {log['until']}" if log["until"] else ""))
    return table


def _counted(counts: Mapping[str, int] | None, introduction: str) -> str:
    return introduction + ", ".join(f"{count:,} {name}" for name, count in sorted(counts.items())) if counts else ""


def _also(detail: str | None) -> str:
    return f"; {detail}" if detail else ""


def _colour(word: str) -> str:
    return _COLOURS.get(word, "yellow")


def _lasting(seconds: float) -> str:
    """A time that has passed, in its two largest units."""
    parts: list[str] = []
    for unit, name in ((86_400, "d"), (3600, "h"), (60, "m"), (1, "s")):
        count, seconds = divmod(seconds, unit)
        if count or (name == "s" and not parts):
            parts.append(f"{int(count)}{name}")
    return " ".join(parts[:2])
