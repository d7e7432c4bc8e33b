"""A real nginx on a free loopback port: a reverse proxy in front of the gateway, or a file server to compare with.

Everything it writes stays below one directory, its prefix. One worker process, no access log, and otherwise its
defaults: they are what tests want to know about (HTTP/1.0 towards the upstream, buffering on).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.ports import LOOPBACK, free_port
from tests.support.process import Server, port_ready, require, running

CONFIGURATION = """\
{user}
daemon off;
worker_processes 1;
pid nginx.pid;
error_log stderr warn;
events {{ worker_connections {connections}; }}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    default_type application/octet-stream;
    keepalive_requests 1000000;
{http}
    server {{
        listen {host}:{port}{tls};
{server}
    }}
}}
"""


@dataclass(frozen=True, slots=True)
class Nginx:
    """A running nginx. `url` has no trailing slash."""

    server: Server
    port: int

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"


@contextmanager
def nginx(
    directory: Path,
    *,
    server: str,
    http: str = "",
    before: tuple[str, ...] = (),
    connections: int = 1024,
    tls: bool = False,
) -> Iterator[Nginx]:
    """nginx with these statements in its `server` and `http` blocks; `before` are words put before its command.

    `connections` is how many it may have, those to where it asks included. With `tls` it speaks nothing else, by the
    certificate that `server` names.
    """
    program = require("nginx")
    directory.mkdir(parents=True, exist_ok=True)
    port = free_port()
    configuration = directory / "nginx.conf"
    words = {"user": _user(), "host": LOOPBACK, "port": port, "tls": " ssl" if tls else "", "connections": connections}
    configuration.write_text(CONFIGURATION.format(**words, http=http, server=server))
    command: list[str | Path] = [*before, program, "-p", directory, "-c", configuration, "-e", "stderr"]
    with running("nginx", command, log=directory / "nginx.log", ready=port_ready(port)) as process:
        yield Nginx(process, port)


@contextmanager
def proxy(directory: Path, upstream: str, *, statements: str = "") -> Iterator[Nginx]:
    """nginx in front of `upstream` (a URL without a path), with `proxy_pass` as it comes; `statements` go beside it."""
    with nginx(directory, server=f"location / {{ proxy_pass {upstream}; {statements} }}") as front:
        yield front


@contextmanager
def file_server(directory: Path, root: Path, *, before: tuple[str, ...] = ()) -> Iterator[Nginx]:
    """nginx serving the files below `root` with `sendfile on`."""
    with nginx(
        directory, server=f"root {_quoted(root)};", http="    sendfile on;\n    tcp_nopush on;", before=before
    ) as peer:
        yield peer


def _user() -> str:
    """The worker keeps this account: the one it would change to cannot read a test's private directory."""
    return "user root;" if os.geteuid() == 0 else ""


def _quoted(path: Path) -> str:
    """A path as one nginx word."""
    return '"' + str(path).replace("\\", "\\\\").replace('"', '\\"') + '"'
