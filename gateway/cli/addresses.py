"""What is said when an address cannot be listened on: the same words while checking and at the start.

Values only. Which program is in the way is looked up where the system tells.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.port_owner import Owner, owner_of_port, owner_of_socket

if TYPE_CHECKING:
    from gateway.settings import Settings

LONGEST_SOCKET = 107
"""Bytes of a Unix socket's path on Linux (sun_path without its end, unix(7))."""

PRIVILEGED = 1024
"""The first port that every account may listen on."""


@dataclass(frozen=True, slots=True)
class Address:
    """One address of the settings: `section` is `server` or `admin`; a Unix socket has a `path` and no port."""

    section: str
    host: str = ""
    port: int = 0
    path: Path | None = None

    def key(self, number: int | None) -> tuple[str, str]:
        """The key to look at when listening fails with this errno."""
        if self.path is not None:
            return self.section, "unix_socket"
        return self.section, "port" if number in (errno.EADDRINUSE, errno.EACCES, errno.EPERM) else "host"


def addresses(settings: Settings) -> Iterator[Address]:
    """What a gateway of these settings listens on, in the order in which it begins to."""
    yield Address("admin", settings.admin.host, settings.admin.port)
    server = settings.server
    if server.unix_socket is not None:
        yield Address("server", path=server.unix_socket)
    else:
        yield Address("server", server.host, server.port)


def holder(address: Address) -> Owner | None:
    """Who listens there already, as far as this account may know. Blocking."""
    return owner_of_port(address.port) if address.path is None else owner_of_socket(address.path)


def words(address: Address, error: OSError) -> tuple[str, str]:
    """Cause and cure of `error`, which came of listening on `address`. Blocking."""
    if address.path is not None:
        return _of_socket(address.path, error)
    host, port = address.host, address.port
    match error.errno:
        case errno.EADDRINUSE:
            by = holder(address)
            cause = f"Port {port} on {host} is in use by {by or 'another program'}."
            ways = (
                "Stop that program"
                if by
                else f"Find that program with `ss -ltnp 'sport = :{port}'` as root and stop it"
            )
            return cause, f"{ways}, or choose another port in `{address.section}.port`."
        case errno.EACCES | errno.EPERM:
            cure = f"Choose a port from {PRIVILEGED} on, or give the service the capability CAP_NET_BIND_SERVICE."
            return f"Port {port} is not allowed to this account (user id {os.geteuid()}).", cure
        case errno.EADDRNOTAVAIL:
            cause = f"{host} is not an address of this machine."
            return cause, "Write 127.0.0.1, or 0.0.0.0 for all addresses; `ip address` lists those that there are."
    if type(error).__name__ == "gaierror":
        cure = "Write an address, as in 127.0.0.1 or 0.0.0.0, or correct the name."
        return f"The name {host} cannot be resolved to an address of this machine.", cure
    return f"{host}:{port} cannot be listened on: {error.strerror or type(error).__name__}.", "Choose another address."


def _of_socket(path: Path, error: OSError) -> tuple[str, str]:
    if len(os.fsencode(path)) > LONGEST_SOCKET:
        cause = f"The path of the Unix socket has {len(os.fsencode(path))} bytes, and {LONGEST_SOCKET} are possible."
        return cause, "Choose a shorter one, as in /run/fhir-gateway/gateway.sock."
    match error.errno:
        case errno.EADDRINUSE if path.is_socket():
            by = owner_of_socket(path)
            cause = f"{path} is in use by {by or 'another program'}."
            return cause, "Stop that program, or choose another name in `server.unix_socket`."
        case errno.EADDRINUSE | errno.EEXIST:
            cause = f"{path} exists and is no Unix socket."
            return (
                cause,
                "Move it away, or choose another name; a gateway replaces only sockets that nobody listens on.",
            )
        case errno.ENOENT | errno.ENOTDIR:
            return f"There is no directory {path.parent}.", "Make it, or correct the path."
        case errno.EACCES | errno.EPERM | errno.EROFS:
            cause = f"This account (user id {os.geteuid()}) may not make a socket in {path.parent}."
            return cause, "Give it the right to write there, or choose another directory."
    return f"{path} cannot be listened on: {error.strerror or type(error).__name__}.", "Choose another name."
