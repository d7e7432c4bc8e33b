"""The command `adapter try`: one document through one adapter, without a server and without a configuration.

What is printed names no document: its bytes go to --output alone, and its locator is what was typed.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click
from click.core import ParameterSource

from gateway.cli import console
from gateway.problems import Problem, sentence

if TYPE_CHECKING:
    from adapters.errors import AdapterError, OptionError
    from gateway.cli.adapter_trial import Trial
    from gateway.protocol.ranges import ByteRange
    from gateway.settings import SourceSettings

SILENT = 0.5
"""Seconds of reading after which a person wants to see that something happens."""

MEASURABLE = 1 << 16
"""Bytes of the smallest document whose rate says something."""


@click.command(name="try", short_help="Read one document through an adapter, and time it.")
@click.argument("words", nargs=-1, required=True, metavar="[NAME] LOCATOR")
@click.option(
    "--option", "options", multiple=True, metavar="KEY=VALUE", help="An option of the adapter; a.b=1 is b below a."
)
@console.config_option
@click.option("--source", metavar="NAME", help="Take adapter, options and limits from this source of --config.")
@click.option("--range", "part", metavar="FIRST-LAST", help="Only these bytes, as in 0-99, 500- or -100.")
@click.option(
    "--output", "-o", type=click.Path(dir_okay=False, allow_dash=True), metavar="FILE", help="Where to write; - pipes."
)
@click.pass_context
def try_(
    context: click.Context,
    words: tuple[str, ...],
    options: tuple[str, ...],
    config: Path | None,
    source: str | None,
    part: str | None,
    output: str | None,
) -> None:
    """Read the document LOCATOR through the adapter NAME as the gateway would, and say how that went.

    LOCATOR is the archive's own key; one that begins with - goes after --. Options are those of `options:` in a
    configuration. Relative paths begin here, those of a configuration at its directory. Keep a secret off the command
    line: name the file that holds it (--option password_file=FILE), or put it into the environment as
    GATEWAY__SOURCES__NAME__OPTIONS__PASSWORD.

    Exit code 0: the document came whole. 1: it did not. 2: the options or the command line are wrong.
    """
    if output == "-" and sys.stdout.isatty():
        raise click.UsageError("A document would fill the terminal. Give --output FILE, or pipe it into a program.")
    if len(words) > 2 or not all(words):
        raise click.UsageError("Give the adapter's NAME and one LOCATOR; put quotes around one with spaces.")
    from adapters.errors import OptionError
    from gateway.cli.adapter_options import configured, described
    from gateway.workers import SOURCE_THREADS

    byte_range = None if part is None else _byte_range(part)
    adapter, locator = words if len(words) == 2 else (None, words[0])
    if adapter is None or source or context.get_parameter_source("config") is ParameterSource.COMMANDLINE:
        name, of = configured(config, source, adapter, options)
    else:
        config, (name, of) = None, described(adapter, options)
    try:
        code = _tried(name, of, locator, byte_range, output)
    except OptionError as error:
        here = error.option in {option.partition("=")[0] for option in options}
        console.stop([_option_problem(error, None if here else config, name)])
    except KeyboardInterrupt:
        click.echo("Stopped.", err=True)
        code = console.FAILED
    console.leave(code, SOURCE_THREADS)


def _byte_range(text: str) -> ByteRange:
    from gateway.protocol import ranges

    found = ranges.parse(f"bytes={text}")
    if found is None:
        raise click.UsageError(f"{text!r} is no range of bytes. Write the first and the last one, as in 0-99.")
    return found


def _tried(name: str, of: SourceSettings, locator: str, part: ByteRange | None, output: str | None) -> int:
    """Read the document and print what there is to say; the exit code. Raises `OptionError`."""
    import asyncio

    from adapters.errors import AdapterError, OptionError
    from gateway.cli.adapter_trial import Trial, run
    from gateway.telemetry import Telemetry

    trial, failure = Trial(), None
    telemetry = Telemetry(level="warning")
    try:
        with _Keeping(output) as keep, _progress(trial) as tick:

            def take(piece: bytes) -> None:
                keep.write(piece)
                tick()

            asyncio.run(run(trial, name, of, locator, take, part=part, telemetry=telemetry))
            keep.whole = True
    except OptionError:
        raise
    except AdapterError as error:
        failure = error
    except OSError as error:
        if output in (None, "-"):
            raise
        console.fail(*console.address_failure(error), code=console.WRONG)
    finally:
        telemetry.close()
    for label, text in _rows(trial, of.adapter):
        click.echo(f"{click.style(f'{label:<11}', dim=True)} {text}", err=output == "-")
    if failure is not None:
        _explain(failure, trial)
    return console.FINE if failure is None else console.FAILED


class _Keeping:
    """Where the document goes, if anywhere. A file is its owner's alone, and gets its name when it is whole."""

    def __init__(self, output: str | None) -> None:
        self._path = None if output in (None, "-") else Path(str(output))
        self._file: IO[bytes] | None = sys.stdout.buffer if output == "-" else None
        self._partial: Path | None = None
        self.whole = False

    def __enter__(self) -> _Keeping:
        if self._path is None:
            return self
        if self._path.exists() and not self._path.is_file():  # a pipe or a device, which must not be replaced
            self._file = self._path.open("wb")
        else:
            descriptor, partial = tempfile.mkstemp(".partial", ".", self._path.parent)
            self._partial, self._file = Path(partial), open(descriptor, "wb")
        return self

    def __exit__(self, *error: object) -> None:
        if self._path is None or self._file is None:
            return
        self._file.close()
        if self._partial is None:
            return
        if self.whole:
            self._partial.replace(self._path)
        else:
            self._partial.unlink()

    def write(self, piece: bytes) -> None:
        if self._file is not None:
            self._file.write(piece)


@contextmanager
def _progress(trial: Trial) -> Iterator[Callable[[], None]]:
    """Shows how a long document proceeds, where somebody can see it; yields what to call for each piece."""
    if not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TransferSpeedColumn

    columns = BarColumn(), DownloadColumn(), TransferSpeedColumn()
    bars = Progress(*columns, console=Console(stderr=True), transient=True)
    began, bar = time.monotonic(), None

    def tick() -> None:
        nonlocal bar
        if bar is None and time.monotonic() - began > SILENT:
            bars.start()
            bar = bars.add_task("", total=trial.expected)
        if bar is not None:
            bars.update(TaskID(bar), completed=trial.count)

    try:
        yield tick
    finally:
        if bar is not None:
            bars.stop()


# --- words -----------------------------------------------------------------------------------------------------------


def _rows(trial: Trial, adapter: str) -> Iterator[tuple[str, str]]:
    """What was seen, as pairs of a name and a text."""
    if trial.entered is None or trial.capabilities is None:
        return
    yield "adapter", adapter + (", local disk" if trial.capabilities.local else ", not local")
    yield "entered", f"in {_milliseconds(trial.entered)}"
    yield "spans", "yes" if trial.capabilities.spans else "no: the gateway reads the whole and cuts the part out"
    if trial.facts is None:
        return
    facts, stated = trial.facts, trial.facts.descriptor
    yield "size", "not stated" if facts.size is None else f"{facts.size:,} bytes"
    yield (
        "type",
        f"{facts.media_type}, {'stated by the archive' if stated.media_type else 'which the archive does not state'}",
    )
    if trial.contradiction:
        yield "", click.style(f"but the bytes look like {trial.contradiction}", fg="yellow")
    elif trial.head:
        yield "", f"the bytes show {trial.shown}" if trial.shown else "the bytes show no type"
    yield "version", stated.version or "none: without one nothing can be kept or resumed"
    if stated.modified is not None:
        yield "modified", stated.modified.isoformat(sep=" ")
    if stated.digest is not None:
        yield "digest", f"{stated.digest.algorithm} {stated.digest.value.hex()}, stated by the archive"
    if trial.span is not None:
        last = "" if trial.span.stop is None else trial.span.stop - 1
        yield "part", f"bytes {trial.span.start}-{last}"
    if trial.first is not None:
        looked = f", {_milliseconds(trial.looked)} of it for a look first" if trial.looked is not None else ""
        yield "first byte", f"after {_milliseconds(trial.first)}{looked}"
    if trial.seconds is not None and trial.digest is not None:
        rate = f", {trial.count / trial.seconds / 1e6:,.1f} MB/s" if trial.count >= MEASURABLE else ""
        yield "total", f"{trial.count:,} bytes in {_milliseconds(trial.seconds)}{rate}"
        yield "sha256", trial.digest.hex()


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:,.1f} ms"


def _explain(error: AdapterError, trial: Trial) -> None:
    """The error's class and sentence, what a client would get of it, and the cure."""
    from gateway import errors

    click.secho(f"{type(error).__name__}: {sentence(error.detail or 'no detail was given')}", fg="red", err=True)
    if error.__cause__ is not None:
        click.echo(f"Caused by {_origin(error)}.", err=True)
    entry = errors.problem_for(error).entry
    if trial.first is None:
        click.echo(f"A client gets the answer {entry.status} ({entry.code}).\n{entry.cure}", err=True)
    else:
        row = errors.ENDED_BY_CHANGE if entry is errors.CHANGED_REPEATEDLY else errors.ENDED_BY_SOURCE
        click.echo(f"A client's connection is reset after {trial.count:,} bytes ({row.code}).\n{row.cure}", err=True)


def _origin(error: BaseException) -> str:
    """The class of the error that was translated, and where it was raised. Not its text, which may hold a path."""
    import traceback

    while (cause := error.__cause__) is not None:
        error = cause
    frames = traceback.extract_tb(error.__traceback__)[-3:]
    where = " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in reversed(frames))
    return f"{type(error).__name__} in {where}"


def _option_problem(error: OptionError, config: Path | None, name: str) -> Problem:
    if config is not None:
        return console.option_problem(error, config, name)
    cure = sentence(error.cure or "Correct the options")
    return Problem("option", sentence(error.detail), cure, error.option or "", variable="--option")
