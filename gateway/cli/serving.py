"""Commands around a serving process: `serve` runs it, `health` asks a running one how it is."""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType
from typing import Any

import click

from gateway.cli import console

HEALTH_SECONDS = 3.0
"""How long `health` waits: less than the five seconds that an orchestrator gives a probe."""

ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104


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
    app = lean_app()
    with console.start_failures(config):
        code = app.serve(settings)
    raise SystemExit(code)


@click.command(short_help="Ask a running gateway whether it is ready.")
@console.config_option
@click.option(
    "--timeout", type=click.FloatRange(min=0.1), default=HEALTH_SECONDS, show_default=True, help="Seconds to wait."
)
def health(config: Path | None, timeout: float) -> None:
    """Ask a running gateway whether it takes requests; exit 0 or 1. For a container's HEALTHCHECK."""
    from http.client import HTTPConnection, HTTPException

    host, port = admin_address(config)
    connection = HTTPConnection(ANYWHERE.get(host, host), port, timeout=timeout)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        text = answer.read(100_000).decode("utf-8", "replace").strip()
    except (OSError, HTTPException) as error:
        console.fail(f"No answer from http://{host}:{port}/readyz: {error}.", "Is the gateway running?")
    finally:
        connection.close()
    click.echo(text)
    raise SystemExit(console.FINE if answer.status == 200 else console.FAILED)


def admin_address(config: Path | None) -> tuple[str, int]:
    """The admin listener's address, without the models: a probe must cost little."""
    from gateway.marked_yaml import read
    from gateway.problems import SettingsError

    try:
        admin: Any = read(config).data.get("admin") if config else None
    except SettingsError as error:
        console.stop(error.problems)
    admin = admin if isinstance(admin, dict) else {}
    host = os.environ.get("GATEWAY__ADMIN__HOST") or admin.get("host") or "127.0.0.1"
    port = str(os.environ.get("GATEWAY__ADMIN__PORT") or admin.get("port", 8081))
    if not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        cure = "Give `admin.port` a fixed number; 0 means that the gateway picked a port that only its log names."
        console.fail("The configuration does not say on which port the gateway can be asked.", cure, code=console.WRONG)
    return str(host), int(port)
