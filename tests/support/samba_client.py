"""A client of Windows shares to look at test servers with: smbprotocol, without its pool, its retries and its DFS.

One connection, one session, one share. Whatever the server refuses is an `SMBResponseException` with its `status`.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from typing import Any

from smbprotocol.connection import Connection
from smbprotocol.exceptions import SMBResponseException
from smbprotocol.open import (
    CreateDisposition,
    CreateOptions,
    FilePipePrinterAccessMask,
    ImpersonationLevel,
    Open,
    ShareAccess,
)
from smbprotocol.session import Session
from smbprotocol.tree import TreeConnect

from tests.support.samba import Samba

EVERYONE = ShareAccess.FILE_SHARE_READ | ShareAccess.FILE_SHARE_WRITE | ShareAccess.FILE_SHARE_DELETE


class Client:
    """Connected to one share. `port` may be that of a proxy in front of the server."""

    def __init__(
        self,
        server: Samba,
        share: str,
        *,
        port: int | None = None,
        username: str | None = None,
        password: str | None = None,
        auth: str = "ntlm",
        dialect: int | None = None,
        signing: bool = True,
        encryption: bool = False,
        host: str | None = None,
    ) -> None:
        self.host = host or server.host
        self._share = share
        self._encryption = encryption
        self.connection = Connection(uuid.uuid4(), self.host, port or server.port, require_signing=signing)
        self._login = (username or server.user, password or server.password, auth)
        self._dialect = dialect
        self.session: Session | None = None
        self.tree: TreeConnect | None = None

    def connect(self) -> None:
        """Raises `SMBResponseException` for a refusal, of the login or of the share."""
        username, password, auth = self._login
        self.connection.connect(self._dialect, timeout=10)
        self.session = Session(
            self.connection, username, password, require_encryption=self._encryption, auth_protocol=auth
        )
        self.session.connect()
        self.tree = TreeConnect(self.session, rf"\\{self.host}\{self._share}")
        # The request that would confirm the negotiation is one more that a plain 3.0 connection has to sign.
        self.tree.connect(require_secure_negotiate=False)

    def open(self, name: str, *, share: int = EVERYONE) -> Open:
        """Open a file for reading; `share` is what others may do to it meanwhile, 0 for nothing."""
        one = Open(self.tree, name)
        one.create(
            ImpersonationLevel.Impersonation,
            FilePipePrinterAccessMask.FILE_READ_DATA | FilePipePrinterAccessMask.FILE_READ_ATTRIBUTES,
            0,
            share,
            CreateDisposition.FILE_OPEN,
            CreateOptions.FILE_NON_DIRECTORY_FILE,
        )
        return one

    def read(self, name: str) -> bytes:
        """The first 64 KiB of a file."""
        one = self.open(name)
        try:
            data: bytes = one.read(0, 65536)
        finally:
            with contextlib.suppress(SMBResponseException):
                one.close()
        return data

    def status(self, name: str) -> int:
        """The NTSTATUS with which the server refuses a file; 0 when it gives it."""
        try:
            self.read(name)
        except SMBResponseException as error:
            return int(error.status)
        return 0

    def close(self) -> None:
        """Let go of the connection without a word, whatever state it is in."""
        self.connection.disconnect(close=False)


@contextlib.contextmanager
def client(server: Samba, share: str = "letters", **how: Any) -> Iterator[Client]:
    """A connected `Client`."""
    one = Client(server, share, **how)
    try:
        one.connect()
        yield one
    finally:
        one.close()


def refused(server: Samba, share: str = "letters", **how: Any) -> int:
    """The NTSTATUS with which the server refuses a login or a share; 0 when it takes them."""
    try:
        with client(server, share, **how):
            return 0
    except SMBResponseException as error:
        return int(error.status)
