"""Who the gateway is to a file server: a `Login` for each new connection, from what the options name.

Rules of this module: a password is read when it is needed and kept nowhere. One that a server called wrong is held back for
a while: a gateway that tries it every few seconds locks the account out of the whole domain.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from pathlib import Path

from adapters.contract import Services
from adapters.errors import CredentialsRejected
from adapters.smb.failures import WRONG_PASSWORD, Refused
from adapters.smb.options import SmbOptions
from adapters.smb.session import Login

HELD_BACK = 600.0
"""Seconds after which a password that was called wrong is tried again. Domains lock out after five to ten wrong ones in ten
minutes or more; several replicas share one account."""

LONGEST_PASSWORD = 4096
"""Bytes of the longest password file that is read."""


class Credentials:
    """The account of one source."""

    def __init__(self, options: SmbOptions, services: Services) -> None:
        self._options = options
        self._services = services
        self._clock: Callable[[], float] = services.clock
        self._salt = secrets.token_bytes(16)
        self._wrong: bytes | None = None
        self._wrong_until = 0.0

    async def login(self) -> Login:
        """What to log on with now. Raises `CredentialsRejected` when there is nothing to try."""
        options = self._options
        password = None if options.password is None else options.password.get_secret_value()
        if options.password_file is not None:
            password = await self._services.call(_read, options.password_file)
        login = Login(
            protocol=options.auth,
            username=account(options),
            password=password,
            ticket_cache=None if options.ticket_cache is None else str(options.ticket_cache),
            keytab=None if options.keytab is None else str(options.keytab),
            host=options.kerberos_host,
        )
        if self._wrong == self._mark(login) and self._clock() < self._wrong_until:
            raise CredentialsRejected(
                "the server called the account or its password wrong, and it is not tried again for some minutes, so "
                "that the account is not locked out: correct `password_file`, which is tried at once, or the options"
            )
        return login

    def note(self, login: Login, error: Refused) -> None:
        """Remember that the server refused a log-on with `login`, when that was for a wrong password."""
        if error.status in WRONG_PASSWORD and login.password is not None:
            self._wrong, self._wrong_until = self._mark(login), self._clock() + HELD_BACK

    def _mark(self, login: Login) -> bytes:
        """What tells two passwords apart without keeping them."""
        return hashlib.blake2b((login.password or "").encode(), key=self._salt).digest()


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
