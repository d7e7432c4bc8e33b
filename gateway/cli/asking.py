"""Asking a running gateway something through its admin listener. Standard library alone: a probe must cost little."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gateway.cli import console

# Nothing is bound to these addresses here (S104): a gateway that listens on all of them is asked at one.
ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104

Answer = tuple[int, dict[str, Any]]
"""A status and what was said."""


def ask(
    config: Path | None, method: str, path: str, body: Mapping[str, Any] | None = None, *, seconds: float = 10.0
) -> Answer | None:
    """The running gateway's answer; None when none is running. Ends the command when something else answers."""
    from http.client import HTTPConnection, HTTPException

    host, port = admin_address(config)
    connection = HTTPConnection(ANYWHERE.get(host, host), port, timeout=seconds)
    try:
        data = None if body is None else json.dumps(body).encode()
        connection.request(method, path, data, {"Content-Type": "application/json"} if data else {})
        answer = connection.getresponse()
        said = json.loads(answer.read(10_000_000))
        if not isinstance(said, dict):
            raise ValueError("its answer is none of a gateway")
        return answer.status, said
    except ConnectionRefusedError:
        return None
    except (OSError, HTTPException, ValueError) as error:
        cause = f"The gateway at http://{host}:{port} did not answer: {error or type(error).__name__}."
        console.fail(cause, "Is something else listening on `admin.port`?")
    finally:
        connection.close()


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
