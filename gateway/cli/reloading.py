"""`fhir-gateway reload`: have a running gateway read its configuration again, and say what came of it."""

from __future__ import annotations

import json
from pathlib import Path

import click

from gateway.cli import console
from gateway.cli.asking import ask
from gateway.problems import Problem

RELOAD_SECONDS = 120.0
"""How long a reload may take: a manifest of a million rows is read in ten seconds, and archives have their deadlines."""


@click.command(short_help="Have a running gateway read its configuration again.")
@console.config_option
@click.option("--json", "as_json", is_flag=True, help="Print what came of it for a machine.")
def reload(config: Path | None, as_json: bool) -> None:
    """Have the running gateway read its configuration again.

    It is used when it is good as a whole: exit 0. When it is not, everything that is wrong with it is printed, the gateway goes
    on with the one it has, and the exit code is 2.
    """
    answer = ask(config, "POST", "/reload", {}, seconds=RELOAD_SECONDS)
    if answer is None:
        console.fail("No gateway is running here.", "Start it with `fhir-gateway serve`, or correct `admin.port`.")
    status, said = answer
    if status not in (200, 422):
        console.fail(f"The gateway did not reload: {said.get('status')}.", str(said.get("cure") or ""))
    if as_json:
        click.echo(json.dumps(said))
        raise SystemExit(console.FINE if status == 200 else console.WRONG)
    if status == 200:
        for name, what in said["sources"].items():
            click.echo(f"{click.style(f'{what:<8}', dim=True)} {name}")
        if said["cache"] != "kept":
            click.echo("The cache was opened anew.")
        click.echo("The configuration is in use.")
        return
    problems = [Problem(**problem) for problem in said["problems"]]
    for problem in problems:
        console.show(problem)
    many = f"{len(problems)} problems" if len(problems) != 1 else "1 problem"
    click.secho(f"{many}; the gateway goes on with the configuration that it has.", err=True, bold=True)
    raise SystemExit(console.WRONG)
