"""The command `demo`: the sample archive served on this machine, with requests to try.

The archive is copied into a directory of its own, and the one large document is made there. The directory is used again
the next time, so that only the first start takes a moment. With `--xds` the same documents are also read from a fake XDS
repository, which lives in this process.
"""

from __future__ import annotations

import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gateway.cli import console
from gateway.cli.serving import lean_app

if TYPE_CHECKING:
    from collections.abc import Callable

# The same as config/demo.yaml, but for the ports.
CONFIGURATION = """\
server: {{host: 127.0.0.1, port: {port}}}
admin: {{host: 127.0.0.1, port: {admin_port}}}
auth: {{mode: none}} # allowed on a loopback address only
sources:
  letters:
    adapter: filesystem
    prefix: ""
    ids: {{scheme: manifest, file: ./sample-archive/manifest.csv}}
    options: {{root: ./sample-archive}}
"""

XDS_CONFIGURATION = """\
  shared-care:
    adapter: xds
    prefix: "x."
    ids:
      scheme: sealed
      key_file: ./seal.key
    options:
      endpoints:
        - alias: a
          url: "{endpoint}"
          request_encoding: {encoding}
          repository_unique_ids: ["{repository}"]
      registry: {{url: "{url}/registry", use_for: [stat, availability]}}
"""
"""The source that `--xds` adds."""

TRY = (
    ("a letter as it is stored", "curl -o discharge-summary.pdf {url}/R4/Binary/discharge-summary"),
    ("as a FHIR Binary in JSON", "curl -s '{url}/R4/Binary/discharge-summary?_format=json' | head -c 300"),
    ("as a FHIR Binary in XML, STU3", "curl -s -H 'Accept: application/fhir+xml' {url}/STU3/Binary/ward-note"),
    ("what the service offers", "curl -s {url}/STU3/metadata"),
    ("a letter that was withdrawn: 410", "curl -i {url}/R4/Binary/withdrawn-letter"),
)
"""Requests to try, each with what it shows. They work as they are printed."""

TRY_XDS = (
    (
        "a letter from the repository",
        "curl -o discharge-0417.pdf --etag-save discharge-0417.etag {url}/R4/Binary/{letter}",
    ),
    ("what the registry knows of it: nothing is read", "curl -sI {url}/R4/Binary/{letter}"),
    ("is it still the same? 304", "curl -si --etag-compare discharge-0417.etag {url}/R4/Binary/{letter}"),
    ("its first hundred bytes: 206", "curl -si -r 0-99 {url}/R4/Binary/{letter} | head -c 800"),
    ("as a FHIR Binary in JSON", "curl -s '{url}/R4/Binary/{letter}?_format=json' | head -c 300"),
    ("a letter that was deprecated: 410", "curl -i {url}/R4/Binary/{deprecated}"),
    ("an id that was changed by one letter: 404", "curl -i {url}/R4/Binary/{forged}"),
    ("what the repository holds, and how it can be made to answer", "curl -s {repository}/"),
)
"""The same for the fake repository."""

Try = Sequence[tuple[str, str]]


class _Command(click.Command):
    """A command whose help names the personalities, which are looked up for that alone."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from gateway.demo.xds.faults import FAULTS
        from gateway.demo.xds.vendors import PERSONALITIES

        with formatter.section("Personalities"):
            formatter.write_dl([(one.name, one.about) for one in PERSONALITIES.values()])
        formatter.write_paragraph()
        formatter.write_text(
            f"Faults follow behind a plus sign, or stand alone: wcf+truncated, http-503. There are {len(FAULTS)}; the last of "
            "the requests that are printed lists them."
        )


@click.command(cls=_Command, short_help="Serve an invented archive, with requests to try.")
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="The port; 0 picks one.")
@click.option(
    "--admin-port", type=click.IntRange(0, 65535), default=8081, show_default=True, help="The port for probes."
)
@click.option(
    "--directory",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Where the archive is put; a directory for temporary files by default.",
)
@click.option("--large", metavar="SIZE", default="64MiB", show_default=True, help="The size of the large document.")
@click.option(
    "--xds", is_flag=True, help="Serve an XDS repository and registry too, with the gateway in front of them."
)
@click.option("--personality", metavar="NAME", help="How that repository answers; names are below. Means --xds too.")
def demo(port: int, admin_port: int, directory: Path | None, large: str, xds: bool, personality: str | None) -> None:
    """Serve an invented archive on 127.0.0.1, and print requests to try."""
    from gateway.problems import SettingsError
    from gateway.settings import load

    with ExitStack() as stack:
        try:
            place = _own_directory() if directory is None else directory.absolute()
            place.mkdir(parents=True, exist_ok=True)
            _lay_out(place, large)
            configuration, more = _repository(place, stack, personality) if xds or personality else ("", ())
            config = place / "demo.yaml"
            text = CONFIGURATION.format(port=port, admin_port=admin_port) + configuration
            config.write_text(text, encoding="utf-8")
        except FileNotFoundError as error:
            console.fail(str(error), code=console.WRONG)
        except OSError as error:
            console.fail(*console.address_failure(error), code=console.WRONG)
        try:
            # The environment is left out: what it says is meant for another gateway.
            settings = load(config, {})
        except SettingsError as error:
            console.stop(error.problems)
        app = lean_app()
        with console.start_failures(
            config, port_cure="They are given with --port and --admin-port; 0 picks a free one."
        ):
            code = app.serve(settings, lambda url: _announce(url, config, (*TRY, *more)))
    raise SystemExit(code)


def _announce(url: str, config: Path, tries: Try) -> None:
    click.echo(f"ready {url}")
    click.echo(f"\nThe sample archive is in {config.parent}, its configuration in {config}. Try:\n")
    for what, command in tries:
        click.echo(f"  {click.style(f'# {what}', dim=True)}\n  {command.format(url=url)}")
    click.echo("\nEnd with Ctrl-C.")
    sys.stdout.flush()


def _repository(place: Path, stack: ExitStack, personality: str | None) -> tuple[str, Try]:
    """Start a fake repository that lives as long as `stack`: the source that reads it, and what to try.

    Raises `OSError`.
    """
    from gateway.demo import archive_directory
    from gateway.demo.xds import REPOSITORY, FakeRepository, named
    from gateway.demo.xds.background import in_background
    from gateway.demo.xds.documents import DEPRECATED, from_archive
    from gateway.ids.sealed import Address, Place, Seal
    from gateway.keyfile import read_key, write_key

    try:
        accepted = named(personality or "standard").accepts
    except KeyError as error:
        raise click.BadParameter(
            f"there is no {error.args[0]!r}; --help names them.", param_hint="--personality"
        ) from None
    documents = list(from_archive(archive_directory()))
    url = stack.enter_context(in_background(FakeRepository(documents)))
    path = place / "seal.key"
    try:
        key = read_key(path) if path.is_file() else write_key(path)
    except ValueError as error:
        console.fail(f"{path}: {error}", "Remove that file; the ids of the demonstration change.", code=console.WRONG)
    seal = Seal("x.", [key], {"a": [Place(None, REPOSITORY)]})
    letter = next(one for one in documents if one.title == "Discharge summary")
    deprecated = next(one for one in documents if one.status == DEPRECATED)
    ids = {
        name: seal.encode(Address.of(None, one.repository, one.unique_id))
        for name, one in (("letter", letter), ("deprecated", deprecated))
    }
    whole = ids["letter"] or ""
    ids["forged"] = whole[:-1] + ("2" if whole[-1] != "2" else "3")
    tries = [(what, command.format(url="{url}", repository=url, **ids)) for what, command in TRY_XDS]
    source = XDS_CONFIGURATION.format(
        url=url,
        endpoint=f"{url}/personality/{personality}/repository" if personality else f"{url}/repository",
        encoding="mtom" if "mtom" in accepted else min(accepted),
        repository=REPOSITORY,
    )
    return source, tries


def _own_directory() -> Path:
    """A directory for temporary files that belongs to this account alone."""
    directory = Path(tempfile.gettempdir(), f"fhir-gateway-demo-{os.getuid()}")
    directory.mkdir(mode=0o700, exist_ok=True)
    status = directory.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o022:
        console.fail(
            f"{directory} belongs to somebody else.", "Choose another place with --directory.", code=console.WRONG
        )
    return directory


def _lay_out(place: Path, large: str) -> None:
    from pydantic_core import PydanticCustomError

    from gateway.demo import LARGE_DOCUMENT, archive_directory
    from gateway.demo.large import write_large
    from gateway.quantities import parse_size

    archive = place / "sample-archive"
    if archive.resolve() != archive_directory().resolve():
        shutil.copytree(archive_directory(), archive, dirs_exist_ok=True)
    try:
        size = parse_size(large)
        path = archive / LARGE_DOCUMENT
        if not path.is_file() or path.stat().st_size != size:
            write_large(path, size=size, progress=_progress(size))
    except (PydanticCustomError, ValueError) as error:
        raise click.BadParameter(str(error), param_hint="--large") from None


def _progress(size: int) -> Callable[[int], None] | None:
    if not sys.stderr.isatty():
        return None

    def report(written: int) -> None:
        end = "\r\033[K" if written == size else ""
        click.echo(f"\rmaking the large document: {written * 100 // size} %{end}", nl=False, err=True)

    return report
