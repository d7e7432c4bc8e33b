"""Real servers as child processes: started for a test, waited for, and gone afterwards whatever happens.

A server a test needs and cannot get is a failure with a sentence, never a skip: see `require`. Every process dies with
the test run, even when the run itself is killed, since the kernel signals it when its parent ends.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pytest

from tests.support.ports import accepts

PACKAGES = {
    "curl": "curl",
    "fusermount3": "fuse3",
    "haproxy": "haproxy",
    "kadmin.local": "krb5-admin-server",
    "kdb5_util": "krb5-kdc",
    "kinit": "krb5-user",
    "krb5kdc": "krb5-kdc",
    "nginx": "nginx",
    "openssl": "openssl",
    "rclone": "rclone",
    "pdbedit": "samba",
    "prlimit": "util-linux",
    "redis-server": "redis-server",
    "setpriv": "util-linux",
    "slowhttptest": "slowhttptest",
    "unshare": "util-linux",
    "smbclient": "smbclient",
    "smbcontrol": "samba",
    "smbd": "samba",
    "smbstatus": "samba",
    "testparm": "samba-common-bin",
    "varnishd": "varnish",
    "wrk": "wrk",
}
"""The Debian and Ubuntu package behind each program that tests and benchmarks start."""

SEARCH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])
"""Servers live in sbin, which an ordinary account's PATH on Debian leaves out."""


class ServerFailed(Exception):
    """A server did not come up; the message carries the end of its log."""


def require(program: str) -> str:
    """The path of an installed program; fails the test with the way to get it otherwise."""
    found = shutil.which(program, path=SEARCH)
    if found is None:
        _missing(program)
    return found


def _missing(program: str) -> NoReturn:
    package = PACKAGES[program]
    pytest.fail(
        f"This test needs the program {program!r}, and it is not installed. `make test` installs the package "
        f"{package!r} when it may; as an administrator: apt-get install {package}",
        pytrace=False,
    )


@dataclass(slots=True)
class Server:
    """A running child process. `log` holds what it writes to standard error, `out` to standard output."""

    name: str
    popen: subprocess.Popen[str]
    log: Path
    out: Path

    @property
    def pid(self) -> int:
        return self.popen.pid

    @property
    def running(self) -> bool:
        return self.popen.poll() is None

    def tail(self, lines: int = 30) -> str:
        """The end of the log, for messages of failure."""
        text = self.log.read_text(errors="replace") + self.out.read_text(errors="replace")
        return "\n".join(text.splitlines()[-lines:]) or "(it wrote nothing)"

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process and its children; SIGSTOP makes a server that hangs."""
        if self.running:
            os.killpg(self.popen.pid, number)

    def stop(self, *, patience: float = 5.0) -> int:
        """End it politely, then not, and its children with it; returns the exit status. `patience` is in seconds."""
        if self.running:
            os.killpg(self.popen.pid, signal.SIGCONT)
            self.popen.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.popen.wait(patience)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        return self.popen.wait()


@contextlib.contextmanager
def running(
    name: str,
    command: Sequence[str | Path],
    *,
    log: Path,
    ready: Callable[[Server], bool],
    environ: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: int = subprocess.DEVNULL,
    timeout: float = 15.0,
) -> Iterator[Server]:
    """Start `command`, wait until `ready` says yes, yield the server, stop it.

    `stdin=subprocess.PIPE` holds its standard input open for as long as it runs. Raises `ServerFailed` when it ends or
    stays silent for `timeout` seconds.
    """
    out = log.with_suffix(".out")
    with log.open("wb") as errors, out.open("wb") as output:
        popen = subprocess.Popen(
            [*_mortal(), *map(str, command)],
            stdin=stdin,
            stdout=output,
            stderr=errors,
            env=None if environ is None else dict(environ),
            cwd=cwd,
            text=True,
            start_new_session=True,
        )
    server = Server(name, popen, log, out)
    try:
        _await(server, ready, timeout)
        yield server
    finally:
        server.stop()
        if popen.stdin is not None:
            popen.stdin.close()


def port_ready(port: int) -> Callable[[Server], bool]:
    """Readiness for servers that say nothing: the port accepts connections."""
    return lambda _server: accepts(port)


def _mortal() -> list[str]:
    """Words before a command that make the kernel end it when its parent ends."""
    setpriv = shutil.which("setpriv", path=SEARCH)
    return [setpriv, "--pdeathsig", "TERM", "--"] if setpriv else []


def _await(server: Server, ready: Callable[[Server], bool], timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while not ready(server):
        if not server.running:
            raise ServerFailed(f"{server.name} ended with status {server.popen.returncode}:\n{server.tail()}")
        if time.monotonic() > deadline:
            raise ServerFailed(f"{server.name} was not ready after {timeout:g} s:\n{server.tail()}")
        time.sleep(0.01)
