"""What this machine must offer before a gateway can serve: its addresses, its temporary files, keys of their own. Values only.

Addresses are tried and let go at once. One on which a gateway serves already is fine: somebody looks at a running service.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from gateway.cli.addresses import LONGEST_SOCKET, Address, addresses, holder, words
from gateway.cli.mistake import Mistake
from gateway.keyfile import read_key
from gateway.settings import Settings
from gateway.settings.paths import key_files


async def examine_places(settings: Settings, config: Path | None = None) -> tuple[Mistake, ...]:
    """Try every address, and look at the directory for temporary files and at the keys. `config` is the file of `settings`."""
    found = await asyncio.gather(
        *(asyncio.to_thread(_address, address, config) for address in addresses(settings)),
        asyncio.to_thread(lambda: list(places(settings))),
    )
    return tuple(one for some in found for one in some)


def places(settings: Settings) -> Iterator[Mistake]:
    """What is wrong with directories and keys, found without listening. Blocking."""
    directory = settings.spool.directory
    if directory is not None:
        yield from _spool(directory)
    yield from _keys(settings)


def _address(address: Address, config: Path | None) -> list[Mistake]:
    try:
        _try(address)
    except OSError as error:
        cause, cure = words(address, error)
        path = address.key(error.errno)
        by = holder(address) if error.errno == errno.EADDRINUSE else None
        if by is not None and by.serves(config):
            return [
                Mistake(path, f"A gateway is serving there now (process {by.pid}).", "Nothing is to be done.", "note")
            ]
        return [Mistake(path, cause, cure)]
    return []


def _try(address: Address) -> None:
    """Raises `OSError` when `address` cannot be listened on."""
    if address.path is not None:
        _try_socket(address.path)
        return
    found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    for family, _, _, _, place in dict.fromkeys(found):
        with socket.socket(family, socket.SOCK_STREAM) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                trial.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            trial.bind(place)


def _try_socket(path: Path) -> None:
    """A socket that is bound would be left behind if this process ended now: what is there is looked at instead."""
    if len(os.fsencode(path)) > LONGEST_SOCKET:
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
    with suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise OSError(errno.EEXIST, os.strerror(errno.EEXIST))
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe, suppress(ConnectionRefusedError):
            probe.settimeout(1.0)
            probe.connect(str(path))
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
    if not path.parent.is_dir():
        raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
    if not os.access(path.parent, os.W_OK | os.X_OK, effective_ids=True):
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))


def _spool(directory: Path) -> Iterator[Mistake]:
    path = ("spool", "directory")
    if not directory.exists():
        yield Mistake(path, f"There is no directory {directory}.", "Make it, or correct the path.")
    elif not directory.is_dir():
        yield Mistake(path, f"{directory} is no directory.", "Name a directory for temporary files.")
    elif not os.access(directory, os.W_OK | os.X_OK, effective_ids=True):
        cure = f"Let the account that runs the gateway (user id {os.geteuid()}) write there."
        yield Mistake(path, f"No file can be made in {directory}.", cure)


def _keys(settings: Settings) -> Iterator[Mistake]:
    """Keys that serve two purposes: who gets at one for logs could open ids or the trail with it."""
    first: dict[bytes, tuple[str | int, ...]] = {}
    for path, file in key_files(settings):
        with suppress(OSError, ValueError):
            other = first.setdefault(read_key(file), path)
            if _purpose(other) != _purpose(path):
                from gateway.marked_yaml import dotted

                cause = f"This is the same key as that of `{dotted(other)}`: who learns one has both."
                cure = f"Make one of its own: head -c 32 /dev/urandom > {file.with_name('another.key')}"
                yield Mistake(path, cause, cure, "note")


def _purpose(path: tuple[str | int, ...]) -> str | int:
    return path[0]
