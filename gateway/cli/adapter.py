"""Commands for whoever writes an adapter: `new` begins one, `test` holds it against the contract, `try` reads with it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from gateway.cli import console
from gateway.cli.adapter_try import try_

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.cli.adapter_kit import Check
    from gateway.cli.adapter_report import Printed
    from gateway.settings import Settings


@click.group(short_help="Write an adapter of your own, test it, try it.")
def adapter() -> None:
    """Write an adapter for another kind of archive, test it against the contract, try it on a document."""


adapter.add_command(try_)


@adapter.command(short_help="Write an installable package to begin with.")
@click.argument("name")
@click.option(
    "--directory",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where to write it; a new directory with the adapter's name by default.",
)
def new(name: str, directory: Path | None) -> None:
    """Write a package with an adapter called NAME, such as acme-edrms.

    It is complete: an adapter for a stand-in of an archive, its harness and its tests, which pass. Nothing that exists
    is overwritten.
    """
    from adapters import registry
    from gateway import scaffold

    try:
        names = scaffold.named(name, registry.available())
        place = directory if directory is not None else Path(name)
        files = scaffold.write(names, place)
    except scaffold.Refused as error:
        console.fail(str(error), error.cure, code=console.WRONG)
    except OSError as error:
        console.fail(*console.address_failure(error), code=console.WRONG)
    click.secho(f"Wrote {len(files)} files to {place}:", bold=True)
    for path in files:
        click.echo(f"  {path.relative_to(place)}")
    click.echo("\nNext:")
    click.echo(f"  cd {shlex.quote(str(place))}")
    click.echo("  pip install -e '.[test]'")
    click.echo("  pytest")
    click.echo(f"  fhir-gateway adapter test {names.name}")
    click.echo("\nREADME.md says what to change first.")


@adapter.command(name="test", short_help="Test an installed adapter against the contract.")
@click.argument("package")
@click.option("--rule", "rules", multiple=True, metavar="RULE", help="Only this rule (C7) or check (C7.2); repeatable.")
@click.option("--repeat", type=click.IntRange(1), default=1, metavar="N", help="Run each check N times.")
@click.option("--json", "as_json", is_flag=True, help="Print the report for a machine.")
@click.option("--live", is_flag=True, help="Read a real archive through a configured source, and write nothing.")
@console.config_option
@click.option("--doc", "documents", multiple=True, metavar="ID", help="With --live: a document to read; repeatable.")
@click.pass_context
def test_(
    context: click.Context,
    package: str,
    rules: tuple[str, ...],
    repeat: int,
    as_json: bool,
    live: bool,
    config: Path | None,
    documents: tuple[str, ...],
) -> None:
    """Test an installed adapter, by its name or its distribution's, with the conformance kit.

    The kit runs against the harness that the package brings (entry point group fhir_gateway.harnesses). With --live it
    runs against the archive of a configured source instead, as far as reading the given documents shows anything. They
    are named by their ids, as clients would, and have 8 MiB at most; the report names none of them.

    Exit code 0: every rule is kept. 1: a rule is broken. 2: the kit cannot be run.
    """
    given = context.get_parameter_source("config") is ParameterSource.COMMANDLINE
    if live and not documents:
        raise click.UsageError("Name documents to read: --doc ID, as a client would ask for them.")
    if not live and (documents or given):
        raise click.UsageError("--doc and --config go with --live.")
    import asyncio

    from gateway.cli.adapter_kit import THREADS, CannotRun, chosen
    from gateway.cli.adapter_report import Printed

    settings = console.load_settings(config) if live else None
    report = Printed(as_json=as_json)
    with console.start_failures(config):
        try:
            asyncio.run(_tested(package, settings, documents, chosen(rules), repeat, report))
        except CannotRun as error:
            report.refuse(error)
            console.leave(console.WRONG, THREADS)
    report.end()
    console.leave(report.code, THREADS)


async def _tested(
    package: str,
    settings: Settings | None,
    documents: Sequence[str],
    checks: Sequence[Check],
    rounds: int,
    report: Printed,
) -> None:
    from gateway.cli.adapter_kit import on_site, with_harness

    for trial in with_harness(package) if settings is None else await on_site(package, settings, documents):
        report.begin(trial)
        for check in checks:
            report.add(await trial.run(check, rounds))
