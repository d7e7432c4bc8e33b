"""From a server's name to a connected share: negotiate, authenticate, connect. All of it is smbprotocol's work.

Rules of this module: it blocks, so it runs on the source's executor; every wait ends at the deadline. It decides what is
not acceptable (an old dialect, no encryption, a guest) and says so with the cure. What comes out is `Established`: either
smbprotocol goes on with it (`adapters.smb.library`), or the socket and the keys are taken from it (`adapters.smb.native`).
"""

from __future__ import annotations

import logging
import socket
import time
import uuid
from dataclasses import dataclass, field
from typing import Any, Literal

import spnego
from smbprotocol import Dialects
from smbprotocol.connection import Ciphers, Connection, SigningAlgorithms
from smbprotocol.exceptions import SMBAuthenticationError, SMBException, SMBResponseException
from smbprotocol.header import NtStatus
from smbprotocol.session import Session
from smbprotocol.tree import TreeConnect

from adapters.errors import AdapterError, CredentialsRejected, TimedOut, Unavailable
from adapters.smb.failures import Lost, Refused, Untrusted
from adapters.smb.transport import Transport

# Its messages repeat paths and its worker logs a traceback for every lost connection; what matters is raised.
logging.getLogger("smbprotocol").setLevel(logging.CRITICAL + 1)

_SIGNING = {
    SigningAlgorithms.AES_GMAC: "AES-GMAC",
    SigningAlgorithms.AES_CMAC: "AES-CMAC",
    SigningAlgorithms.HMAC_SHA256: "HMAC-SHA256",
}
_CIPHERS = {
    Ciphers.AES_128_GCM: "AES-128-GCM",
    Ciphers.AES_256_GCM: "AES-256-GCM",
    Ciphers.AES_128_CCM: "AES-128-CCM",
    Ciphers.AES_256_CCM: "AES-256-CCM",
}
_DIALECTS = {0x0202: "2.0.2", 0x0210: "2.1", 0x0300: "3.0", 0x0302: "3.0.2", 0x0311: "3.1.1"}


@dataclass(frozen=True, slots=True)
class Target:
    """One share of one server."""

    server: str
    port: int
    share: str

    @property
    def unc(self) -> str:
        return rf"\\{self.server}\{self.share}"


@dataclass(frozen=True, slots=True)
class Login:
    """Who logs on. For Kerberos `ticket_cache` and `keytab` are paths, `username` is the principal, and `host` the name in the
    server's own principal where it is not the one that is connected to."""

    protocol: Literal["negotiate", "ntlm", "kerberos"]
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ticket_cache: str | None = None
    keytab: str | None = None
    host: str | None = None

    def credential(self) -> Any:
        """In the form that smbprotocol hands to pyspnego."""
        if self.keytab is not None:
            return spnego.KerberosKeytab(self.keytab, principal=self.username)
        if self.ticket_cache is not None:
            return spnego.KerberosCCache(f"FILE:{self.ticket_cache}", principal=self.username)
        return self.username


@dataclass(frozen=True, slots=True)
class Demands:
    """What is asked of a connection. `minimum_dialect` as on the wire (0x0300); `deadline` in seconds for all of the
    set-up; `window` is the most bytes read ahead of one reader."""

    encryption: bool = True
    signing: bool = True
    minimum_dialect: int = 0x0300
    deadline: float = 5.0
    window: int = 16 << 20


class _Connection(Connection):  # type: ignore[misc]
    """smbprotocol's connection, over a transport of ours and with every answer of a session verified.

    By itself it makes its own transport, believes an answer that bears no signature, and takes plain ones on an encrypted
    session.
    """

    def __init__(self, server: str, port: int, *, signing: bool, transport: Transport) -> None:
        self._given = transport
        super().__init__(uuid.uuid4(), server, port, require_signing=signing)

    @property
    def transport(self) -> Transport:
        return self._given

    @transport.setter
    def transport(self, replaced: object) -> None:
        """Ignored: `Connection.connect` would put its own."""

    def verify_signature(self, header: Any, session_id: int, force: bool = False) -> None:
        session = self.session_table.get(session_id)
        if session is None and self.session_table:
            # The library takes the session from an answer that calls itself one to SESSION_SETUP, and verifies none of them.
            raise SMBException("an answer of another session")
        # An interim answer tells nothing, so it may be believed ([MS-SMB2] 3.2.5.1.3); "there is no such file" does.
        final = session is not None and header["status"].get_value() != NtStatus.STATUS_PENDING
        if final and session.encrypt_data:
            raise SMBException("an answer on an encrypted session was not encrypted")
        super().verify_signature(header, session_id, force=force or (final and session.signing_required))


@dataclass(frozen=True, slots=True)
class Secrets:
    """What the native data path needs to go on with a session ([MS-SMB2] 3.2.1.3). Names as in `wire.protection`;
    `signing` is None where nothing is signed."""

    session_id: int
    signing: str | None
    signing_key: bytes = field(repr=False)
    cipher: str | None
    seal_key: bytes = field(repr=False)
    open_key: bytes = field(repr=False)


@dataclass(slots=True)
class Established:
    """A connected share. `connection`, `session` and `tree` are smbprotocol's objects."""

    target: Target
    transport: Transport
    connection: Any
    session: Any
    tree: Any

    @property
    def encrypted(self) -> bool:
        return bool(self.session.encrypt_data or self.tree.encrypt_data)

    @property
    def dfs(self) -> bool:
        return bool(self.tree.is_dfs_share)

    @property
    def max_read(self) -> int:
        """Most bytes of one READ."""
        return int(self.connection.max_read_size) if self.multi_credit else 1 << 16

    @property
    def multi_credit(self) -> bool:
        return bool(self.connection.supports_multi_credit)

    @property
    def sequence(self) -> tuple[int, int]:
        """The next message id, and how many credits there are ([MS-SMB2] 3.2.4.1.6)."""
        low, high = self.connection.sequence_window["low"], self.connection.sequence_window["high"]
        return low, high - low

    def secrets(self) -> Secrets:
        session, dialect = self.session, self.connection.dialect
        if dialect >= Dialects.SMB_3_1_1 and self.connection.signing_algorithm_id is not None:
            signing = _SIGNING[self.connection.signing_algorithm_id]
        else:
            signing = "AES-CMAC" if dialect >= Dialects.SMB_3_0_0 else "HMAC-SHA256"
        cipher = None
        if self.encrypted:
            cipher = _CIPHERS[self.connection.cipher_id] if dialect >= Dialects.SMB_3_1_1 else "AES-128-CCM"
        return Secrets(
            session_id=session.session_id,
            signing=signing if session.signing_required else None,
            signing_key=session.signing_key,
            cipher=cipher,
            seal_key=session.encryption_key or b"",
            open_key=session.decryption_key or b"",
        )

    def release(self) -> socket.socket:
        """The socket, for whoever goes on with it; smbprotocol is done. Raises `Lost`."""
        try:
            return self.transport.release()
        except OSError as error:
            self.transport.close()
            raise Lost("the connection was lost while it was set up") from error


class Handshake:
    """One attempt. `run` blocks and is called once, on a thread; `abort` ends it from any other."""

    def __init__(self, target: Target, login: Login, demands: Demands) -> None:
        self._target = target
        self._login = login
        self._demands = demands
        self._aborted = False
        self._transport: Transport | None = None

    def abort(self) -> None:
        """End the attempt now; what it already has is closed. Never waits."""
        self._aborted = True
        if self._transport is not None:
            self._transport.abandon()

    def run(self) -> Established:
        """Negotiate, authenticate and connect to the share.

        Raises `Refused` for the server's own refusals, `Lost` when it cannot be reached or ends the connection,
        `TimedOut` at the deadline, `CredentialsRejected` and `Unavailable` with the cure for what is not acceptable.
        """
        target = self._target
        transport = Transport(target.server, target.port, expires=time.monotonic() + self._demands.deadline)
        self._transport = transport
        connection = _Connection(target.server, target.port, signing=self._demands.signing, transport=transport)
        try:
            established = self._established(connection, transport)
            if self._aborted:
                raise Lost("nobody waits for this connection any more")
        except BaseException as error:
            transport.close()
            raise _told(error, transport) from None
        transport.expires = None
        return established

    def _established(self, connection: Any, transport: Transport) -> Established:
        demands, login = self._demands, self._login
        connection.connect(timeout=demands.deadline)
        _acceptable(connection, demands)
        session = Session(
            connection,
            login.credential(),
            login.password,
            require_encryption=demands.encryption,
            hostname_override=login.host,
            auth_protocol=login.protocol,
        )
        try:
            session.connect()
        except SMBException:
            if session.session_id is not None:
                raise
            # So the library leaves a guest, who can neither sign nor encrypt.
        if session.signing_key is None:
            raise CredentialsRejected(
                "the server let the account in as a guest: it does not know it; correct `username`"
            )
        tree = TreeConnect(session, self._target.unc)
        wanted = session.signing_required
        # SMB 3.1.1 wants this one request signed also where nothing else is ([MS-SMB2] 3.2.4.2.5).
        session.signing_required = wanted or not session.encrypt_data
        tree.connect()
        session.signing_required = wanted
        return Established(self._target, transport, connection, session, tree)


def _acceptable(connection: Any, demands: Demands) -> None:
    if connection.dialect < demands.minimum_dialect:
        spoken, wanted = _DIALECTS.get(connection.dialect, "an unknown dialect"), _DIALECTS[demands.minimum_dialect]
        raise Unavailable(
            f"the server speaks SMB {spoken} at most, and `minimum_dialect` asks for {wanted}: enable a newer dialect on "
            "the server, or lower the option"
        )
    if demands.encryption and not connection.supports_encryption:
        raise Unavailable(
            "the server cannot encrypt: enable SMB encryption on it, or set `require_encryption: false` to accept "
            "signed but readable traffic"
        )


def _told(error: BaseException, transport: Transport) -> BaseException:
    """What `error` of smbprotocol means, without its message: that may repeat names."""
    if isinstance(error, AdapterError | Lost | Refused):
        return error
    if isinstance(error, SMBResponseException):
        return Refused(error.status, "could not log on to the share")
    if transport.expired or isinstance(error, TimeoutError):
        return TimedOut("the server did not answer while a connection was set up")
    if isinstance(error, SMBAuthenticationError):
        return CredentialsRejected("the account could not log on: no ticket, or a mechanism the server does not offer")
    if isinstance(error, socket.gaierror):
        return Lost("the server's name is not known here: correct `server`, or the name service", option="server")
    if isinstance(error, ConnectionRefusedError):
        return Lost("nothing listens at this port: correct `server` or `port`, or start the server", option="server")
    if isinstance(error, OSError):
        return Lost(f"the server cannot be reached: {type(error).__name__}")
    if isinstance(error, SMBException):
        return Lost(
            "the server ended the connection while it was set up: see that `port` is that of a file server (445), and what "
            "that server logs",
            option="port",
        )
    if isinstance(error, Exception):
        # Bytes that are no message, an answer to no question: whatever smbprotocol stumbled over.
        return Untrusted(f"the server's answer was not believed while a connection was set up ({type(error).__name__})")
    return error
