"""Other servers that a site might put before its files: how each is started, and what it is asked.

nginx is `Rig.nginx`; here are rclone, Varnish in front of nginx, and what is commonly built in Python. All on free loopback
ports, pinned as the rig says, and each shown to own its port.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.rig import Contender, Rig
from tests.support.gateway import PROJECT
from tests.support.nginx import file_server
from tests.support.ports import LOOPBACK, free_port
from tests.support.process import port_ready, require, running

VCL = """\
vcl 4.1;
backend files { .host = "%s"; .port = "%d"; }
sub vcl_backend_response { set beresp.ttl = 1h; }
"""


@contextlib.contextmanager
def started(name: str, command: list[str | Path], port: int, log: Path) -> Iterator[Contender]:
    """This command as a contender, which owns `port`."""
    with running(name, command, log=log, ready=port_ready(port), cwd=PROJECT, timeout=30) as process:
        contender = Contender(name, process.pid, port)
        contender.check()
        yield contender
        contender.check()


@contextlib.contextmanager
def python(rig: Rig, kind: str, name: str) -> Iterator[Contender]:
    """One of `benchmarks.python_peers`, called `name` in the table."""
    port = free_port()
    command = [*rig.server_words, sys.executable, "-m", "benchmarks.python_peers", kind, str(port), rig.archive]
    with started(name, command, port, rig.directory / f"{kind}.log") as contender:
        yield contender


@contextlib.contextmanager
def rclone(rig: Rig) -> Iterator[Contender]:
    """`rclone serve http` over the same folder, its listings in memory."""
    port = free_port()
    options = ["--addr", f"{LOOPBACK}:{port}", "--read-only", "--dir-cache-time=24h", "--config", "/dev/null"]
    command = [*rig.server_words, require("rclone"), "serve", "http", rig.archive, *options]
    with started("rclone", command, port, rig.directory / "rclone.log") as contender:
        yield contender


@contextlib.contextmanager
def varnish(rig: Rig) -> Iterator[Contender]:
    """Varnish that keeps what nginx serves in its memory."""
    require("cc")  # compiles its configuration
    directory = rig.directory / "varnish"
    directory.mkdir(exist_ok=True)
    port = free_port()
    with file_server(rig.directory / "nginx-varnish", rig.archive, before=rig.client_words) as files:
        configuration = directory / "files.vcl"
        configuration.write_text(VCL % (LOOPBACK, files.port))
        command: list[str | Path] = [
            *rig.server_words, require("varnishd"), "-F", "-n", directory / "work", "-j", "none", "-T", "none",
            "-a", f"{LOOPBACK}:{port}", "-f", configuration, "-s", "malloc,512m",
        ]  # fmt: skip
        with started("varnish", command, port, rig.directory / "varnish.log") as contender:
            yield contender
