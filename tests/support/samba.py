"""A real smbd on a loopback port: its own configuration and accounts, every file of it below one folder.

Up in about a tenth of a second, by root and by an ordinary user alike; a test module may share one. What an ordinary
user cannot have is a server that is another account than the test.

Run by root, smbd goes without the right to read whatever it likes: a file without permissions is ACCESS_DENIED for its
clients, as it is elsewhere.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from tests.support.ports import LOOPBACK, free_port
from tests.support.process import Server, require, running
from tests.support.samba_conf import FOLDERS, Encryption, Share, Signing, configuration, unix_accounts, user_map
from tests.support.samba_processes import alive, clients_of, connections_to, listens, open_below
from tests.support.samba_tools import Tools

__all__ = ["Samba", "Share", "samba"]

PATIENCE = 10.0
"""Seconds that smbd gets for what it does in milliseconds."""

LONGEST_PATH = 82
"""Bytes of a folder's path that leave room for the names of smbd's Unix sockets below it (sun_path, unix(7))."""


class Samba:
    """One smbd, up or down. `users` holds each user's password; `user` and `password` are the first one's."""

    def __init__(
        self,
        folder: Path,
        *,
        shares: Sequence[str | Share],
        configure: Callable[[Sequence[Share]], str],
        host: str,
        port: int,
        users: Sequence[str],
        environ: Mapping[str, str],
        lifeline: int,
    ) -> None:
        self.host = host
        self.port = port
        self.user = users[0]
        self.users = {name: secrets.token_urlsafe(12) for name in users}
        self.conf = folder / "smb.conf"
        self._folder = folder
        self._configure = configure
        self._environ = dict(os.environ) | dict(environ)
        self._tools = Tools(self.conf, self._environ)
        self._lifeline = lifeline
        self._accounts = unix_accounts(users)
        self._shares: dict[str, Share] = {}
        self._server: Server | None = None
        self._running = contextlib.ExitStack()
        self._guard: subprocess.Popen[bytes] | None = None
        assert len(os.fsencode(folder)) <= LONGEST_PATH, (
            f"smbd needs a folder with a path of {LONGEST_PATH} bytes at most"
        )
        for name in FOLDERS:
            (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / "private").chmod(0o700)
        (folder / "users.map").write_text(user_map(self._accounts))
        for share in shares:
            self._know(share)
        self._write()
        for name, password in self.users.items():
            self.change_password(password, user=name)

    # --- what tests want to know -----------------------------------------------------------------------------------

    @property
    def password(self) -> str:
        return self.users[self.user]

    @property
    def password_file(self) -> Path:
        """A file with the password as it is now, written at each call."""
        path = self._folder / "password"
        path.write_text(self.password + "\n")
        path.chmod(0o600)
        return path

    def folder(self, share: str = "letters") -> Path:
        """Where the documents of a share lie; tests put them there behind the server's back."""
        folder = self._shares[share].folder
        assert folder is not None
        return folder

    def options(self, **more: object) -> dict[str, object]:
        """The `options:` of an smb source of the gateway; `more` is added, and `password_file` replaces `password`."""
        share = next(iter(self._shares))
        given = {"server": self.host, "port": self.port, "share": share, "username": self.user}
        if "password_file" not in more:
            given["password"] = self.password
        return given | more

    def log(self) -> str:
        """The end of what smbd has written since it was started."""
        return self._up().tail()

    def open_files(self) -> int:
        """How many open files of the shares smbd holds for its clients, folders included."""
        return open_below(map(self.folder, self._shares), self.clients())

    def connections(self) -> int:
        """How many connections clients have to it, logged in or not."""
        return connections_to(self.host, self.port)

    def clients(self) -> list[int]:
        """The process ids of smbd's children, one for each client; a client's connections may share one."""
        return clients_of(self._up().pid)

    # --- what happens to servers -----------------------------------------------------------------------------------

    def start(self) -> None:
        """Start it, on the port and with the files it had."""
        assert self._server is None, "it is running"
        smbd = require("smbd")
        command = [*_humble(), smbd, "-F", "--no-process-group", "--debug-stdout", "-s", self.conf, "-l", self._folder]
        self._server = self._running.enter_context(
            running(
                "smbd",
                command,
                log=self._folder / "smbd.log",
                ready=lambda _server: listens(self.host, self.port),
                environ=self._environ,
                stdin=self._lifeline,  # smbd ends when its standard input does
            )
        )

    def stop(self) -> None:
        """End it and its connections; its port refuses until `start`. Idempotent."""
        if self._server is None:
            return
        group, self._server = self._server.pid, None
        self._running.close()
        self._release_guard()
        _await(lambda: not alive(group), "smbd left processes behind")

    def restart(self) -> None:
        """A server that was rebooted: all connections are gone, the port is the same."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Make it hang, with all its connections: nothing is closed and nothing answered until `resume`."""
        if self._guard is None:
            # A stopped process misses the signal that ends it with the test run, so somebody watches over it.
            self._guard = subprocess.Popen(
                ["sh", "-c", f"cat; kill -s KILL -- -{self._up().pid}"], stdin=subprocess.PIPE, start_new_session=True
            )
        self._up().signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._up().signal(signal.SIGCONT)
        self._release_guard()

    def disconnect_clients(self) -> None:
        """Kill the processes behind the connections, as a crash does; new connections are served."""
        killed = set(self.clients())
        for pid in killed:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        _await(lambda: killed.isdisjoint(self.clients()), "smbd kept its connections")

    def change_password(self, new: str, *, user: str | None = None) -> None:
        """From now on new sessions need this password; those that exist go on."""
        name = user or self.user
        self.users[name] = new
        self._tools.account(self._accounts[name], "--create", "--password-from-stdin", text=f"{new}\n{new}\n")

    def account(self, *words: str, user: str | None = None) -> None:
        """Change an account with words for pdbedit.

        `--account-control=[D]` disables it, `[L]` locks it out, `[]` gives it back; `--kickoff-time=1` lets it expire.
        """
        self._tools.account(self._accounts[user or self.user], "--modify", *words)

    # --- what happens to shares ------------------------------------------------------------------------------------

    def add_share(self, share: str | Share) -> None:
        """Offer one more share, or one that was removed, while the server runs."""
        self._know(share)
        self._reload()

    def close_share(self, name: str = "letters") -> None:
        """Throw every client out of a share; it may be connected to again at once."""
        self._tell("close-share", name)

    def remove_share(self, name: str = "letters") -> None:
        """Offer the share no longer and throw its clients out. Its folder stays."""
        del self._shares[name]
        self._reload()
        self._tell("close-share", name)

    def add_link(self, share: str, name: str, target: str) -> None:
        r"""A DFS link in a share with `msdfs root = yes`; `target` as in `127.0.0.2\letters`, several with commas."""
        (self.folder(share) / name).symlink_to(f"msdfs:{target}")

    # --- how -------------------------------------------------------------------------------------------------------

    def _up(self) -> Server:
        assert self._server is not None, "smbd is stopped"
        return self._server

    def _know(self, share: str | Share) -> None:
        one = Share(share) if isinstance(share, str) else share
        folder = one.folder or self._folder / "shares" / one.name
        folder.mkdir(parents=True, exist_ok=True)
        self._shares[one.name] = replace(one, folder=folder)

    def _write(self) -> None:
        self.conf.write_text(self._configure(list(self._shares.values())))

    def _reload(self) -> None:
        self._write()
        if self._server is not None:
            self._tell("reload-config")

    def _tell(self, *message: str) -> None:
        """Tell smbd something, and each child that has a client."""
        smbd = self._up().pid
        _await(lambda: self._tools.tell(smbd, *message), "smbd does not listen")
        for pid in self.clients():  # those that come from now on know already
            _await(partial(self._told_or_gone, pid, *message), "smbd does not listen")

    def _told_or_gone(self, pid: int, *message: str) -> bool:
        return self._tools.tell(pid, *message) or pid not in self.clients()

    def _release_guard(self) -> None:
        if self._guard is not None:
            self._guard.kill()
            self._guard.communicate()
            self._guard = None


@contextlib.contextmanager
def samba(
    folder: Path,
    *,
    shares: Sequence[str | Share] = ("letters",),
    encryption: Encryption = "off",
    signing: Signing = "auto",
    host: str = LOOPBACK,
    port: int | None = None,
    settings: Mapping[str, str] | None = None,
    users: Sequence[str] = ("svc-fhir",),
    environ: Mapping[str, str] | None = None,
) -> Iterator[Samba]:
    """A running smbd with everything of its below `folder`, gone afterwards.

    `host` is any address of 127.0.0.0/8: servers on different ones may share a port number, as the targets of DFS links
    must. `settings` are further lines of the `[global]` section; of those, `max smbd processes` counts two more than the
    clients it admits.
    """
    port = port or free_port()

    def configure(known: Sequence[Share]) -> str:
        return configuration(
            folder,
            known,
            users=unix_accounts(users),
            host=host,
            port=port,
            encryption=encryption,
            signing=signing,
            settings=settings or {},
        )

    # One pipe for every start, so that a test which restarts its module's server ends with the descriptors it began with.
    lifeline, held = os.pipe()
    try:
        server = Samba(
            folder,
            shares=shares,
            configure=configure,
            host=host,
            port=port,
            users=users,
            environ=environ or {},
            lifeline=lifeline,
        )
        try:
            server.start()
            yield server
        finally:
            server.stop()
    finally:
        os.close(held)
        os.close(lifeline)


def _humble() -> list[str | Path]:
    """Words before smbd that take root's right to read everything away."""
    if os.geteuid() != 0:
        return []
    return [require("setpriv"), "--bounding-set=-dac_override,-dac_read_search", "--"]


def _await(condition: Callable[[], bool], failure: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, failure
        time.sleep(0.005)
