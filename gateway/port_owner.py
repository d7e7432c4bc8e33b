"""Who listens on a port of this machine, as Linux tells those who may know. Reads /proc; asks nobody.

A process of another account can be seen to listen and not be named: then nothing is said rather than something wrong.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

_LISTENING = "0A"
"""The state of a listening socket (include/net/tcp_states.h)."""

_ACCEPTS = 0x10000
"""The flag of a listening Unix socket (__SO_ACCEPTCON, include/linux/net.h)."""

_LONGEST = 60
"""Characters of a command that are repeated: enough to know it by."""


@dataclass(frozen=True, slots=True)
class Owner:
    """A process. `command` is its program and the first arguments, without paths of the program.

    `config` is the file that a gateway was given on its command line, where it can be told.
    """

    pid: int
    command: str
    config: Path | None = None

    @property
    def is_gateway(self) -> bool:
        """Whether this is a gateway that serves, by its command."""
        words = self.command.split()
        return bool({"serve", "worker"} & {*words}) and bool({"fhir-gateway", "gateway"} & {*words})

    def serves(self, config: Path | None) -> bool:
        """Whether this is a gateway of this configuration, as far as can be told."""
        if not self.is_gateway:
            return False
        if self.config is None or config is None:
            return True
        with suppress(OSError):
            return self.config.samefile(config)
        return False

    def __str__(self) -> str:
        return f"`{self.command}` (process {self.pid})"


def owner_of_port(port: int) -> Owner | None:
    """The process that listens on this TCP port; None where there is none or this account may not know. Blocking."""
    return _owner(_tcp_sockets(port))


def owner_of_socket(path: Path) -> Owner | None:
    """The process that listens on the Unix socket of this name. Blocking."""
    return _owner(_unix_sockets(str(path)))


def _tcp_sockets(port: int) -> Iterator[str]:
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for columns in _rows(table):
            if columns[3] == _LISTENING and int(columns[1].rpartition(":")[2], 16) == port:
                yield columns[9]


def _unix_sockets(path: str) -> Iterator[str]:
    for columns in _rows("/proc/net/unix"):
        if columns[7:] == [path] and int(columns[3], 16) & _ACCEPTS:
            yield columns[6]


def _rows(table: str) -> Iterator[list[str]]:
    with suppress(OSError):
        yield from (line.split() for line in Path(table).read_text().splitlines()[1:])


def _owner(inodes: Iterator[str]) -> Owner | None:
    wanted = {f"socket:[{inode}]" for inode in inodes}
    if not wanted:
        return None
    for entry in sorted(int(name) for name in os.listdir("/proc") if name.isdigit()):
        # Processes of other accounts, and those that ended meanwhile.
        with suppress(OSError), os.scandir(f"/proc/{entry}/fd") as files:
            if any(_target(file.path) in wanted for file in files):
                words = _words(entry)
                return Owner(entry, _shown(words), _config(entry, words))
    return None


def _target(link: str) -> str:
    with suppress(OSError):
        return os.readlink(link)
    return ""


def _words(pid: int) -> list[str]:
    """Its command line, or its name where that is hidden."""
    words: list[str] = []
    with suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_text(errors="replace").replace("\0", " ").split()
    if not words:
        with suppress(OSError):
            words = Path(f"/proc/{pid}/comm").read_text(errors="replace").split()
    return words


def _config(pid: int, words: list[str]) -> Path | None:
    for option, value in pairwise(words):
        if option in ("--config", "-c"):
            return Path(f"/proc/{pid}/cwd", value)
    return None


def _shown(words: list[str]) -> str:
    """The command to know it by; arguments that may hold a secret are left out."""
    shown: list[str] = []
    for word in words[:4]:
        if word.startswith("--") or "=" in word or len(" ".join([*shown, word])) > _LONGEST:
            break
        shown.append(word.rpartition("/")[2] or word)
    text = " ".join(shown)
    return text if text.isprintable() and text else "unknown"
