"""What the commands share: finding the configuration, printing problems, leaving with the right exit code."""

from __future__ import annotations

import errno
import os
import re
import shlex
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from gateway.problems import Problem, raised_at, sentence

if TYPE_CHECKING:
    from gateway.settings import Settings

FINE, FAILED, WRONG = 0, 1, 2
"""The exit codes."""

LINGERING = 2.0
"""Seconds that threads hanging in an archive get to end before the process ends without them."""

CONFIG_VARIABLE = "GATEWAY_CONFIG"

MANIFEST_CURE = "Correct the file that is named; a running gateway keeps what it has until then."

DEFECT_CURE = (
    "This is a defect in that file, not in the configuration: tell its makers the file, the line and the version."
)

PORT_CURE = "The ports are `server.port` and `admin.port`."

_ADDRESS = re.compile(r"\('?([^',]+)'?, (\d+)")


def config_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """The option --config, as every command that needs the configuration has it."""
    return click.option(
        "--config",
        "-c",
        type=click.Path(path_type=Path, readable=False),
        envvar=CONFIG_VARIABLE,
        metavar="FILE",
        help=f"The configuration in YAML; the environment variable {CONFIG_VARIABLE} names it too.",
    )(command)


def load_settings(config: Path | None) -> Settings:
    """The settings, or the end: every problem is printed and the command exits with 2."""
    from gateway.problems import SettingsError

    try:
        return read_settings(config)
    except SettingsError as error:
        stop(error.problems)


def read_settings(config: Path | None) -> Settings:
    """The settings; raises `SettingsError`. Without any configuration the command line is wrong."""
    from gateway.settings import load

    demand(config)
    return load(config, os.environ)


def demand(config: Path | None) -> None:
    """Without any configuration the command line is wrong."""
    from gateway.settings.environment import PREFIX

    if config is None and not any(name.startswith(f"{PREFIX}SOURCES__") for name in os.environ):
        usual = (
            "There is a gateway.yaml here: --config gateway.yaml"
            if Path("gateway.yaml").is_file()
            else (f"Give it with --config FILE; `{program()} config init --from-dir DIR` writes one.")
        )
        raise click.UsageError(f"No configuration. {usual}")


def program() -> str:
    """This command as it can be typed again: its path where the shell would not find it by name."""
    given = Path(sys.argv[0])
    if given.name != "fhir-gateway" or shutil.which("fhir-gateway") == shutil.which(str(given)):
        return "fhir-gateway"
    return shlex.quote(str(given))


def stop(problems: Iterable[Problem]) -> NoReturn:
    """Print the problems and exit with 2."""
    problems = list(problems)
    for problem in problems:
        show(problem)
    conclude(WRONG, len(problems))
    raise SystemExit(WRONG)


def conclude(code: int, count: int) -> None:
    """The last line: what the exit code means. `count` is the number of mistakes."""
    if code == WRONG:
        click.secho(f"{count} problem{'s' * (count != 1)} in the configuration.", err=True, bold=True)
    else:
        click.secho("All well." if code == FINE else "Something does not answer as it should.", bold=True)


def show(problem: Problem, state: str = "") -> None:
    """One paragraph on standard error: where, which key, what is wrong, what to do. `state` is a word about how bad it is."""
    colour = {"": "red", "away": "yellow"}.get(state, "cyan")
    head = click.style(problem.place, bold=True) + (f"  {click.style(problem.key, fg='cyan')}" if problem.key else "")
    head += f"  ({state})" if state else ""
    cause, cure = (text.replace("\n", "\n  ") for text in (problem.cause, problem.cure))
    click.echo(f"{head}\n  {click.style(cause, fg=colour)}\n  {cure}\n", err=True)


def fail(cause: str, cure: str = "", *, code: int = FAILED) -> NoReturn:
    """Print one failure that is not about a key, and exit."""
    click.echo(click.style(cause, fg="red") + (f"\n{cure}" if cure else ""), err=True)
    raise SystemExit(code)


@contextmanager
def start_failures(
    config: Path | None, *, port_cure: str = PORT_CURE, settings: Settings | None = None
) -> Iterator[None]:
    """Turn what can go wrong while a gateway starts into sentences and exit codes: those of `check`.

    `settings` are given by who listens, so that the key of an address is known.
    """
    from gateway.cli.starting import problem_of

    try:
        yield
    except (click.ClickException, click.exceptions.Exit, click.Abort):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno == errno.EPIPE:
            raise
        problem = problem_of(error, config, settings)
        if problem is not None:
            stop([problem])
        if isinstance(error, OSError):
            fail(*address_failure(error, port_cure), code=WRONG)
        # An adapter or a policy of somebody else's may fail in any way; a traceback helps nobody who runs the gateway.
        fail(f"The gateway failed: {raised_at(error)}.", DEFECT_CURE)


def option_problem(error: Any, config: Path | None, source: str | None) -> Problem:
    """An `OptionError` of a source as a problem with its place in the file."""
    cure = sentence(error.cure) if error.cure else "Correct the options of this source."
    return key_problem(config, option_path(source, error.option), sentence(error.detail), cure)


def key_problem(config: Path | None, path: tuple[str | int, ...], cause: str, cure: str) -> Problem:
    """A problem of the key at `path`, with its place: the variable that set it, else the line of the file."""
    from gateway.marked_yaml import Document, read
    from gateway.settings import Settings
    from gateway.settings.environment import apply
    from gateway.settings.explain import Origin

    document = read(config) if config else Document({})
    variables = apply(document.data, os.environ, Settings).origins
    return Origin(str(config) if config else None, document, variables).problem(path, "option", cause, cure)


def dotted_path(path: tuple[str | int, ...]) -> str:
    """`sources.letters.options.root` for its path."""
    from gateway.marked_yaml import dotted

    return dotted(path)


def option_places(options: Iterable[str | None], config: Path | None, source: str) -> list[str]:
    """Where each of these options of a source is written, as "gateway.yaml:14:12 sources.a.options.url"; "" for none."""
    from gateway.marked_yaml import Document, dotted, read

    options = list(options)
    document = read(config) if config and any(options) else Document({})
    places = []
    for option in options:
        path = option_path(source, option)
        where = (str(part) for part in (config, *document.mark(path)) if part is not None)
        places.append(f"{':'.join(where)} {dotted(path)}".strip() if option else "")
    return places


def option_path(source: str | None, option: str | None) -> tuple[str | int, ...]:
    """The key path of what an adapter calls `option` ("endpoints.0.tls.ca")."""
    if source is None:
        return ("sources",)
    parts = option.split(".") if option else ()
    return ("sources", source, "options", *(int(part) if part.isdecimal() else part for part in parts))


def address_failure(error: OSError, port_cure: str = PORT_CURE) -> tuple[str, str]:
    """Cause and cure when an address cannot be listened on, or a file cannot be used."""
    found = _ADDRESS.search(str(error))
    address, port = (found[1], found[2]) if found else ("the address", "")
    match error.errno:
        case errno.EADDRINUSE:
            from gateway.port_owner import owner_of_port

            by = (owner_of_port(int(port)) if port else None) or "another program"
            cause = f"Port {port} on {address} is in use by {by}." if port else "The port is in use."
            return cause, f"Stop that program, or choose another port. {port_cure}"
        case errno.EACCES | errno.EPERM if found:
            return f"Port {port} is not allowed to this account.", "Choose a port from 1024 on."
        case errno.EADDRNOTAVAIL:
            return f"{address} is not an address of this machine.", "Write 127.0.0.1, or 0.0.0.0 for all addresses."
    if type(error).__name__ == "gaierror":
        return "The host name to listen on is not known.", "Write an address in `server.host` and `admin.host`."
    cause = sentence(error.strerror or type(error).__name__)
    return (f"{error.filename}: {cause}" if error.filename else cause), ""


def leave(code: int, threads: str | tuple[str, ...]) -> NoReturn:
    """End with this exit code, without threads (whose names begin with `threads`) that hang in an archive."""
    end = time.monotonic() + LINGERING
    while any(thread.name.startswith(threads) for thread in threading.enumerate()):
        if time.monotonic() > end:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
        time.sleep(0.01)
    raise SystemExit(code)
