"""Commands around a serving process: `serve` runs it, `health` asks a running one how it is."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import ModuleType

import click

from gateway.cli import console
from gateway.cli.asking import ANYWHERE, admin_address

HEALTH_SECONDS = 3.0
"""How long `health` waits: less than the five seconds that an orchestrator gives a probe."""


def lean_app() -> ModuleType:
    """The module `gateway.app`, loaded without rich.

    structlog loads rich where it is installed: a tenth of a second and several MiB that serving never needs.
    """
    import sys

    absent = "rich" not in sys.modules
    if absent:
        sys.modules["rich"] = None  # type: ignore[assignment]
    try:
        from gateway import app
    finally:
        if absent:
            del sys.modules["rich"]
    return app


@click.command()
@console.config_option
def serve(config: Path | None) -> None:
    """Serve the configured archives until SIGTERM.

    Prints `ready http://HOST:PORT` when requests are taken. Log lines go to standard error.
    """
    settings = console.load_settings(config)
    from gateway.cli.check_places import places

    wrong = [one for one in places(settings) if one.state == "wrong"]
    if wrong:
        console.stop(console.key_problem(config, one.path, one.cause, one.cure) for one in wrong)
    app = lean_app()
    with console.start_failures(config, settings=settings):
        code = app.serve(settings, config=config)
    raise SystemExit(code)


@click.command(hidden=True)
def worker() -> None:
    """Serve as one of several processes; started by `serve`, which tells on standard input what to do."""
    from gateway.problems import SettingsError
    from gateway.settings import load
    from gateway.supervision.orders import read_orders

    try:
        orders = read_orders()
        settings = load(orders.file, os.environ, text=orders.text)
    except ValueError as error:
        console.fail(str(error), code=console.WRONG)
    except SettingsError as error:
        console.stop(error.problems)
    app = lean_app()
    from gateway.supervision.seat import Seat

    with console.start_failures(orders.file, settings=settings):
        code = app.work(settings, Seat(orders))
    raise SystemExit(code)


@click.command(short_help="Ask a running gateway whether it is ready.")
@console.config_option
@click.option(
    "--timeout", type=click.FloatRange(min=0.1), default=HEALTH_SECONDS, show_default=True, help="Seconds to wait."
)
@click.option("--verbose", "-v", is_flag=True, help="Show how its archives are as well; `status` shows still more.")
def health(config: Path | None, timeout: float, verbose: bool) -> None:
    """Ask a running gateway whether it takes requests; exit 0 or 1. For a container's HEALTHCHECK.

    What its archives, its cache and its keys do has no influence on that.
    """
    from http.client import HTTPConnection, HTTPException

    host, port = admin_address(config)
    connection = HTTPConnection(ANYWHERE.get(host, host), port, timeout=timeout)
    try:
        connection.request("GET", "/readyz?verbose" if verbose else "/readyz")
        answer = connection.getresponse()
        text = answer.read(100_000).decode("utf-8", "replace").strip()
    except (OSError, HTTPException) as error:
        said = getattr(error, "strerror", None) or str(error) or type(error).__name__
        cure = "Start the gateway, or see in its log why it did not start; `admin.host` and `admin.port` say where it is asked."
        console.fail(f"No answer from http://{host}:{port}/readyz: {said}.", cure)
    finally:
        connection.close()
    click.echo(_laid_out(text) if verbose else text)
    raise SystemExit(console.FINE if answer.status == 200 else console.FAILED)


def _laid_out(text: str) -> str:
    """What a probe says in detail, one thing on each line."""
    try:
        said = json.loads(text)
        sources = said.pop("sources", {})
        return "\n".join(f"{name:<20} {value}" for name, value in [*said.items(), *sources.items()])
    except (ValueError, AttributeError):
        return text
