"""Who the gateway is to a file server: a `Login` for each new connection, from what the options name.

Rules of this module: a password is read when it is needed and kept nowhere. One that a server called wrong is held back for
a while: a gateway that tries it every few seconds locks the account out of the whole domain. So does one whose ten sources
try it at once, so what is known of a password is known to all sources of the process.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar
from weakref import WeakKeyDictionary

from adapters.contract import Services
from adapters.errors import CredentialsRejected
from adapters.smb.failures import WRONG_PASSWORD, Refused
from adapters.smb.options import SmbOptions
from adapters.smb.session import Login

HELD_BACK = 600.0
"""Seconds after which a password that was called wrong is tried again. Domains lock out after five to ten wrong ones in ten
minutes or more; several replicas share one account."""

TURN = 1.0
"""Seconds that a log-on waits for another one with the same password, which nobody has called right yet. No longer: a server
that hangs holds up its own source alone."""

LONGEST_PASSWORD = 4096
"""Bytes of the longest password file that is read."""

Result = TypeVar("Result")

_salt = secrets.token_bytes(16)


@dataclass(slots=True)
class _Known:
    """What servers said of one password of one account."""

    right: bool = False
    wrong_until: float = 0.0
    trying: asyncio.Lock = field(default_factory=asyncio.Lock)


_known: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[bytes, _Known]] = WeakKeyDictionary()


class Credentials:
    """The account of one source."""

    def __init__(self, options: SmbOptions, services: Services) -> None:
        self._options = options
        self._services = services
        self._clock: Callable[[], float] = services.clock

    async def logged_on(self, server: str, work: Callable[[Login], Awaitable[Result]]) -> Result:
        """What `work(login)`, a log-on to `server`, gets. Raises `CredentialsRejected` when there is nothing to try."""
        login = await self._login()
        if login.password is None:
            return await work(login)
        known = self._what_is_known(server, login)
        if known.right:
            return await self._tried(known, login, work)
        taken = await _turn(known.trying)
        try:
            return await self._tried(known, login, work)
        finally:
            if taken:
                known.trying.release()

    async def _tried(self, known: _Known, login: Login, work: Callable[[Login], Awaitable[Result]]) -> Result:
        if self._clock() < known.wrong_until:
            raise CredentialsRejected(
                "the server called the account or its password wrong, and it is not tried again for some minutes, so "
                "that the account is not locked out: correct `password_file`, which is tried at once, or the options"
            )
        try:
            result = await work(login)
        except Refused as error:
            if error.status in WRONG_PASSWORD:
                known.right, known.wrong_until = False, self._clock() + HELD_BACK
            raise
        known.right = True
        return result

    async def _login(self) -> Login:
        options = self._options
        password = None if options.password is None else options.password.get_secret_value()
        if options.password_file is not None:
            password = await self._services.call(_read, options.password_file)
        return Login(
            protocol=options.auth,
            username=account(options),
            password=password,
            ticket_cache=None if options.ticket_cache is None else str(options.ticket_cache),
            keytab=None if options.keytab is None else str(options.keytab),
            host=options.kerberos_host,
        )

    def _what_is_known(self, server: str, login: Login) -> _Known:
        """An account of a domain is the same on every server, and a server's own is not. The password itself is not kept."""
        name = login.username or ""
        where = "" if "\\" in name or "@" in name else server
        mark = hashlib.blake2b("\0".join((where.lower(), name.lower(), login.password or "")).encode(), key=_salt)
        return _known.setdefault(asyncio.get_running_loop(), {}).setdefault(mark.digest(), _Known())


async def _turn(lock: asyncio.Lock) -> bool:
    """Take `lock`; False when it does not come free in time."""
    try:
        async with asyncio.timeout(TURN):
            return await lock.acquire()
    except TimeoutError:
        return False


def account(options: SmbOptions) -> str | None:
    r"""The account as servers take it: `user`, `DOMAIN\user` or `user@domain`."""
    if options.domain is None:
        return options.username
    if options.auth == "kerberos":
        return f"{options.username}@{options.domain}"
    return f"{options.domain}\\{options.username}"


def _read(file: Path) -> str:
    """The password in `file`, without the line's end. Blocks; raises `CredentialsRejected`."""
    try:
        with file.open("rb") as opened:
            text = opened.read(LONGEST_PASSWORD + 1).decode("utf-8")
    except OSError as error:
        reason = f"cannot be read ({type(error).__name__})"
    except UnicodeDecodeError:
        reason = "is not UTF-8"
    else:
        password = text.removesuffix("\n").removesuffix("\r")
        if password and len(text) <= LONGEST_PASSWORD:
            return password
        reason = "is too long" if password else "is empty"
    raise CredentialsRejected(f"`password_file` {reason}: it holds the account's password alone")
