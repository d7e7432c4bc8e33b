"""The real gateway, started as its users start it: `python -m gateway serve --config FILE` on a free port.

For tests that must see the whole service: signals, start-up, memory, what a proxy in front makes of it. Tests of one
behaviour build the application in their own process instead.
"""

from __future__ import annotations

import contextlib
import json
import re
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from tests.support.process import Server, running

READY = re.compile(r"^ready (https?://\S+|unix://\S+)$", re.MULTILINE)
DRAIN_DELAY = "GATEWAY__SERVER__LIMITS__DRAIN_DELAY"
"""The variable by which all gateways of a test run skip the delay."""

PROJECT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Gateway:
    """A running gateway. `url` is the one it announced, without a trailing slash."""

    server: Server
    url: str

    @property
    def host(self) -> str:
        return str(urlsplit(self.url).hostname)

    @property
    def port(self) -> int:
        port = urlsplit(self.url).port
        assert port is not None
        return port

    @property
    def pid(self) -> int:
        return self.server.pid

    def lines(self) -> list[dict[str, Any]]:
        """The log lines it wrote so far; a line that is no JSON object comes as {"unstructured": line}."""
        return [_line(text) for text in self.server.log.read_text(errors="replace").splitlines() if text.strip()]

    def terminate(self, *, patience: float = 15.0) -> int:
        """SIGTERM as an orchestrator sends it; returns the exit status. `patience` is in seconds."""
        return self.server.stop(patience=patience)

    def kill(self) -> None:
        """SIGKILL: nothing is tidied up."""
        self.server.signal(signal.SIGKILL)
        self.server.popen.wait()


@contextlib.contextmanager
def serving(
    configuration: Mapping[str, Any] | Path,
    directory: Path,
    *,
    environ: Mapping[str, str] | None = None,
    interpreter: Sequence[str] = (),
    before: Sequence[str] = (),
    timeout: float = 20.0,
) -> Iterator[Gateway]:
    """Serve this configuration: a file as it is, or a mapping that is written to `directory` first.

    A mapping gets free ports, no authentication and no audit unless it says otherwise. `interpreter` are options for
    Python, `before` words put before the command. Raises `tests.support.process.ServerFailed` with the end of the log.
    """
    directory.mkdir(parents=True, exist_ok=True)
    path = configuration if isinstance(configuration, Path) else _written(configuration, directory)
    command = [*before, sys.executable, *interpreter, "-m", "gateway", "serve", "--config", str(path)]
    with running(
        "the gateway",
        command,
        log=directory / "gateway.log",
        ready=lambda server: _announced(server) is not None,
        environ=environ,
        cwd=PROJECT,
        timeout=timeout,
    ) as server:
        url = _announced(server)
        assert url is not None
        yield Gateway(server, url)


def _announced(server: Server) -> str | None:
    found = READY.search(server.out.read_text())
    return found[1].rstrip("/") if found else None


def _written(configuration: Mapping[str, Any], directory: Path) -> Path:
    whole = {"auth": {"mode": "none"}, "audit": {"mode": "none"}, **configuration}
    for listener in ("server", "admin"):
        whole[listener] = {"host": "127.0.0.1", "port": 0, **configuration.get(listener, {})}
    whole["server"]["limits"] = {"drain_delay": "0s", **whole["server"].get("limits", {})}
    path = directory / "gateway.yaml"
    path.write_text(yaml.safe_dump(whole, sort_keys=False))
    return path


def _line(text: str) -> dict[str, Any]:
    with contextlib.suppress(ValueError):
        value = json.loads(text)
        if isinstance(value, dict):
            return value
    return {"unstructured": text}
