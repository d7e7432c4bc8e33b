"""Commands around the configuration file: `config init` writes one, `config reference` prints all there is to set."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gateway.cli import console

if TYPE_CHECKING:
    from gateway.cli.config_init import Written


@click.group(short_help="Write a configuration, or print all there is to set.")
def config() -> None:
    """Write a configuration, or show everything that can be configured."""


@config.command()
def reference() -> None:
    """Print a configuration file with every key explained.

    Lines with ## explain, lines with # show a default, lines without must be set.
    """
    from gateway.cli.reference import sample

    click.echo(sample(), nl=False)


@config.command()
@click.option(
    "--from-dir",
    "folder",
    type=click.Path(path_type=Path, readable=False),
    required=True,
    metavar="DIR",
    help="The folder to serve.",
)
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("gateway.yaml"),
    show_default=True,
    metavar="FILE",
    help="The file to write; an index and a key go beside it where they are needed.",
)
@click.option(
    "--ids",
    type=click.Choice(["auto", "keyed"]),
    default="auto",
    show_default=True,
    help="auto: names of files are ids where they can be. keyed: ids say nothing about names.",
)
@click.option("--force", is_flag=True, help="Overwrite files that exist; a key is never overwritten.")
def init(folder: Path, output: Path, ids: str, force: bool) -> None:
    """Look at a folder of documents and write a configuration that serves it."""
    from gateway.cli.config_init import CannotWrite, write_configuration

    counting = sys.stderr.isatty()

    def tick(count: int) -> None:
        if counting:
            click.echo(f"\r{count:,} files looked at", nl=False, err=True)

    try:
        mode = "keyed" if ids == "keyed" else "auto"
        written = write_configuration(folder, output, ids=mode, force=force, progress=tick)  # type: ignore[arg-type]
    except CannotWrite as error:
        console.fail(str(error), code=console.WRONG)
    except OSError as error:
        console.fail(*console.address_failure(error), code=console.WRONG)
    if counting:
        click.echo("\r\033[K", nl=False, err=True)
    _tell(written, folder)


def _tell(written: Written, folder: Path) -> None:
    """What was done, what was left out, and what to do next."""
    documents = "1 document" if written.count == 1 else f"{written.count:,} documents"
    how = f"names are ids ({written.pattern})" if written.pattern else f"ids are keyed hashes, since {written.reason}"
    click.secho(f"Wrote {written.config}: {documents} in {folder}; {how}.", bold=True)
    if written.key is not None:
        click.echo(f"Wrote {written.files[1]}: the id of each document. It holds their names; guard it like them.")
        verb = "Wrote" if written.key in written.files else "Used"
        click.echo(f"{verb} {written.key}: with this key the same files get the same ids again. Keep it.")
    if written.pattern:
        click.echo("Ids show in addresses and logs of others: with names that tell about patients, use --ids keyed.")
    if written.empty:
        click.echo(f"Among them are empty files ({written.empty}); FHIR STU3 has no envelope for an empty document.")
    for reason, count in sorted(written.skipped.items()):
        click.echo(f"Left out: {reason} ({count:,}).")
    config = shlex.quote(str(written.config))
    click.echo("\nNext:")
    click.echo(f"  {console.program()} check --config {config} --sample 20")
    click.echo(f"  {console.program()} serve --config {config}")
    click.echo(f"  curl -o document http://127.0.0.1:8080/R4/Binary/{written.example}")
