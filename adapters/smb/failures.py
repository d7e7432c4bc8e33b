"""What can go wrong between this machine and a file server, and what it means to a reader.

Rules of this module: the only place where an NTSTATUS becomes an adapter error. Both engines (`adapters.smb.share`) raise
`Refused` and `Lost` and nothing else; neither ever carries a path or a name (C12). "There is no such document" and "the
archive could not be asked" lead a clinician to opposite decisions: what is not in a table means the second.
"""

from __future__ import annotations

from adapters.errors import (
    AccessDenied,
    AdapterError,
    Busy,
    Changed,
    Corrupt,
    CredentialsRejected,
    InvalidLocator,
    NotFound,
    TimedOut,
    Unavailable,
    Unsupported,
)
from adapters.smb.wire import status as nt
from adapters.smb.wire.status import name_of

RETRY_SOON = 5.0
"""Seconds a reader is asked to wait when another program or the server's load stands in the way."""

RETRY_RECALLED = 60.0
"""Seconds a reader is asked to wait for a document that is brought back from slow storage."""


class Refused(Exception):
    """The server answered a request with an error. `status` is the NTSTATUS ([MS-ERREF] 2.3).

    `again`: it did so when it was asked a second time, on a fresh connection.
    """

    again = False

    def __init__(self, status: int, doing: str) -> None:
        super().__init__(f"{doing}: NTSTATUS 0x{status:08X}")
        self.status = status
        self.doing = doing


class Unconnected(Refused):
    """The server refused the log-on or the share: whatever it says, it is about no document."""


class Lost(Exception):
    """The connection ended, or was ended since it could not be relied on; every document open on it is lost with it.

    `again`: so was a fresh one, which was tried after it. `option` is the one to look at, where one may be the cause.
    """

    again = False

    def __init__(self, words: str = "", *, option: str | None = None) -> None:
        super().__init__(words)
        self.option = option


class Untrusted(Lost):
    """The server's bytes broke the protocol, or failed their signature: whatever sent them, it is not believed."""


Meaning = tuple[type[AdapterError], str]
"""The error, and words for the operator: what is the matter, or the cure."""

_NOT_FOUND: Meaning = (NotFound, "there is no such document")
_IN_USE: Meaning = (Busy, "another program holds the document")
_LOADED: Meaning = (Busy, "the server has no room for another request")
_GONE: Meaning = (Unavailable, "the server ended the session")
_NO_SHARE = "the server has no share of this name: correct `share`, or bring the share back"
_DOMAIN = "the server cannot ask its domain controller who the account is"
_STUB: Meaning = (Unsupported, "the file only stands for another, and the server cannot resolve it")
_DISK: Meaning = (Corrupt, "the server's disk or file system is damaged there")

_MEANINGS: dict[int, Meaning] = {
    # The server looked, and there is no such file.
    nt.STATUS_OBJECT_NAME_NOT_FOUND: _NOT_FOUND,
    nt.STATUS_OBJECT_PATH_NOT_FOUND: _NOT_FOUND,
    nt.STATUS_NO_SUCH_FILE: _NOT_FOUND,
    nt.STATUS_NOT_A_DIRECTORY: _NOT_FOUND,
    nt.STATUS_DELETE_PENDING: (NotFound, "the document is being deleted"),
    nt.STATUS_FILE_DELETED: (NotFound, "the document was deleted"),
    nt.STATUS_FILE_IS_A_DIRECTORY: (NotFound, "there is no document, but a folder"),
    # No file of this server can have such a name.
    nt.STATUS_OBJECT_NAME_INVALID: (InvalidLocator, "the server takes no such name"),
    nt.STATUS_OBJECT_PATH_INVALID: (InvalidLocator, "the server takes no such name"),
    nt.STATUS_OBJECT_PATH_SYNTAX_BAD: (InvalidLocator, "the server takes no such name"),
    nt.STATUS_NAME_TOO_LONG: (InvalidLocator, "the server takes no name of this length"),
    nt.STATUS_STOPPED_ON_SYMLINK: (InvalidLocator, "a symbolic link is on the way, and links are refused"),
    # The document is there and is kept from us.
    nt.STATUS_ACCESS_DENIED: (AccessDenied, "give the account the right to read, in the share and in its folders"),
    nt.STATUS_NETWORK_ACCESS_DENIED: (AccessDenied, "give the account the right to use the share over the network"),
    nt.STATUS_PRIVILEGE_NOT_HELD: (AccessDenied, "give the account the right to read"),
    nt.STATUS_VIRUS_INFECTED: (AccessDenied, "the server's virus scanner holds the document back"),
    # Not "not found": somebody must learn that a letter was there.
    nt.STATUS_VIRUS_DELETED: (AccessDenied, "the server's virus scanner removed the document"),
    # The account itself.
    nt.STATUS_LOGON_FAILURE: (CredentialsRejected, "the account or its password is wrong"),
    nt.STATUS_WRONG_PASSWORD: (CredentialsRejected, "the password is wrong"),
    nt.STATUS_NO_SUCH_USER: (CredentialsRejected, "the server does not know the account: correct `username`, `domain`"),
    nt.STATUS_NO_SUCH_LOGON_SESSION: (CredentialsRejected, "the ticket is not accepted: renew it"),
    nt.STATUS_PASSWORD_EXPIRED: (CredentialsRejected, "the password has expired: set a new one that does not"),
    nt.STATUS_PASSWORD_MUST_CHANGE: (CredentialsRejected, "the password must be changed before the first log-on"),
    nt.STATUS_ACCOUNT_DISABLED: (CredentialsRejected, "the account is disabled: enable it"),
    nt.STATUS_ACCOUNT_EXPIRED: (CredentialsRejected, "the account has expired: prolong it"),
    nt.STATUS_ACCOUNT_LOCKED_OUT: (
        CredentialsRejected,
        "the account is locked out: unlock it, and look for a program that still has an old password",
    ),
    nt.STATUS_ACCOUNT_RESTRICTION: (
        CredentialsRejected,
        "a policy keeps the account out (an empty password, NTLM not allowed, a protected account)",
    ),
    nt.STATUS_INVALID_LOGON_HOURS: (CredentialsRejected, "the account may not log on at this hour"),
    nt.STATUS_INVALID_WORKSTATION: (CredentialsRejected, "the account may not log on from this machine"),
    nt.STATUS_LOGON_TYPE_NOT_GRANTED: (
        CredentialsRejected,
        'the account lacks the right "Access this computer from the network" on the server',
    ),
    nt.STATUS_TIME_DIFFERENCE_AT_DC: (
        CredentialsRejected,
        "the clocks differ: Kerberos wants them within five minutes",
    ),
    # Come back later.
    nt.STATUS_SHARING_VIOLATION: _IN_USE,
    nt.STATUS_FILE_LOCK_CONFLICT: _IN_USE,
    nt.STATUS_LOCK_NOT_GRANTED: _IN_USE,
    nt.STATUS_TOO_MANY_OPENED_FILES: (Busy, "the server lets the account open no more files: lower `max_open`"),
    nt.STATUS_TOO_MANY_SESSIONS: (Busy, "the server lets no more sessions in: lower `connections`"),
    nt.STATUS_REQUEST_NOT_ACCEPTED: (Busy, "the server or the share has as many connections as it takes"),
    nt.STATUS_INSUFFICIENT_RESOURCES: _LOADED,
    nt.STATUS_INSUFF_SERVER_RESOURCES: _LOADED,
    nt.STATUS_NO_MEMORY: _LOADED,
    nt.STATUS_NETWORK_BUSY: _LOADED,
    nt.STATUS_SHARING_PAUSED: (Busy, "the server is paused"),
    nt.STATUS_RETRY: _LOADED,
    nt.STATUS_FILE_IS_OFFLINE: (Busy, "the document is on slow storage and is being brought back"),
    nt.STATUS_FILE_NOT_AVAILABLE: (Busy, "the document is on slow storage and is being brought back"),
    nt.STATUS_IO_TIMEOUT: (TimedOut, "the server waited too long for its disk"),
    # What is there is damaged.
    nt.STATUS_FILE_CORRUPT_ERROR: _DISK,
    nt.STATUS_DISK_CORRUPT_ERROR: _DISK,
    nt.STATUS_CRC_ERROR: _DISK,
    nt.STATUS_DATA_ERROR: _DISK,
    nt.STATUS_DEVICE_DATA_ERROR: _DISK,
    nt.STATUS_END_OF_FILE: (Corrupt, "the file ends before its size"),
    # The server cannot do it, now or later.
    nt.STATUS_IO_REPARSE_TAG_NOT_HANDLED: _STUB,
    nt.STATUS_IO_REPARSE_TAG_INVALID: _STUB,
    nt.STATUS_IO_REPARSE_TAG_MISMATCH: _STUB,
    nt.STATUS_IO_REPARSE_DATA_INVALID: _STUB,
    nt.STATUS_REPARSE_POINT_NOT_RESOLVED: _STUB,
    nt.STATUS_NOT_SUPPORTED: (Unsupported, "the server cannot do this"),
    nt.STATUS_NOT_IMPLEMENTED: (Unsupported, "the server cannot do this"),
    # It could not be asked, and these are worth words.
    nt.STATUS_BAD_NETWORK_NAME: (Unavailable, _NO_SHARE),
    nt.STATUS_NETWORK_NAME_DELETED: (Unavailable, "the server took the share away"),
    nt.STATUS_USER_SESSION_DELETED: _GONE,
    nt.STATUS_NETWORK_SESSION_EXPIRED: (Unavailable, "the session has expired"),
    nt.STATUS_SHARE_UNAVAILABLE: (Unavailable, "the share is being moved"),
    nt.STATUS_PATH_NOT_COVERED: (Unavailable, "the folder is on another server, and the server does not say on which"),
    nt.STATUS_DFS_UNAVAILABLE: (Unavailable, "the server's DFS service is not running"),
    nt.STATUS_NO_LOGON_SERVERS: (Unavailable, _DOMAIN),
    nt.STATUS_DOMAIN_CONTROLLER_NOT_FOUND: (Unavailable, _DOMAIN),
    nt.STATUS_NETLOGON_NOT_STARTED: (Unavailable, _DOMAIN),
    nt.STATUS_TRUSTED_DOMAIN_FAILURE: (Unavailable, _DOMAIN),
    nt.STATUS_TRUSTED_RELATIONSHIP_FAILURE: (Unavailable, _DOMAIN),
    nt.STATUS_TRUST_FAILURE: (Unavailable, _DOMAIN),
    nt.STATUS_FILE_CLOSED: (Unavailable, "the server closed the document"),
    nt.STATUS_FILE_FORCED_CLOSED: (Unavailable, "the server closed the document"),
    nt.STATUS_VOLUME_DISMOUNTED: (Unavailable, "the server's disk is away"),
    nt.STATUS_DEVICE_NOT_READY: (Unavailable, "the server's disk is away"),
    nt.STATUS_DEVICE_NOT_CONNECTED: (Unavailable, "the server's disk is away"),
    nt.STATUS_NO_SUCH_DEVICE: (Unavailable, "the server's disk is away"),
}

_ENDS_SESSION = frozenset(
    {
        nt.STATUS_USER_SESSION_DELETED,
        nt.STATUS_NETWORK_SESSION_EXPIRED,
        nt.STATUS_NETWORK_NAME_DELETED,
        nt.STATUS_CONNECTION_DISCONNECTED,
        nt.STATUS_CONNECTION_RESET,
        nt.STATUS_CONNECTION_ABORTED,
        # Clustered shares say so while they move to another node; a new connection finds that node.
        nt.STATUS_SHARE_UNAVAILABLE,
    }
)

PATH_GONE = frozenset({nt.STATUS_OBJECT_PATH_NOT_FOUND, nt.STATUS_NOT_A_DIRECTORY})
"""A folder on the way to a document is not there, perhaps the source's own."""

NO_FOLDER = PATH_GONE | {nt.STATUS_OBJECT_NAME_NOT_FOUND, nt.STATUS_NO_SUCH_FILE}
"""A folder is not there."""

_IN_A_BODY = (Changed, Corrupt, Unavailable, TimedOut)
"""What may be raised while a document is pulled (`Adapter.open`)."""

WRONG_PASSWORD = frozenset({nt.STATUS_LOGON_FAILURE, nt.STATUS_WRONG_PASSWORD})
"""The refusals that a domain counts before it locks an account out."""


def ends_session(status: int) -> bool:
    """Whether a connection that was answered so is of no more use: the session or the share on it is gone."""
    return status in _ENDS_SESSION


def meaning(error: Refused | Lost, doing: str) -> AdapterError:
    """The error to raise for `error`, when it came from `doing` ("open the document")."""
    exhausted = error.again
    if isinstance(error, Unconnected):
        return no_answer(Refused(error.status, error.doing), "connect to the share")
    if isinstance(error, Untrusted):
        return Corrupt(f"could not {doing}: the server's answer was not sound: {error}", exhausted=exhausted)
    if isinstance(error, Lost):
        return Unavailable(f"could not {doing}: {error}", exhausted=exhausted)
    kind, words = _MEANINGS.get(error.status, (Unavailable, "the server could not do it"))
    retry_after = None
    if kind is Busy:
        recalled = error.status in (nt.STATUS_FILE_IS_OFFLINE, nt.STATUS_FILE_NOT_AVAILABLE)
        retry_after = RETRY_RECALLED if recalled else RETRY_SOON
    detail = f"could not {doing}: {words} ({name_of(error.status)})"
    return kind(detail, retry_after=retry_after, exhausted=exhausted)


def broken_read(error: Refused | Lost) -> AdapterError:
    """The error to raise when an open document could not be read on: whatever it says, it was there a moment ago."""
    found = meaning(error, "read the document")
    return found if isinstance(found, _IN_A_BODY) else Unavailable(found.detail)


def no_answer(error: Refused | Lost, doing: str) -> AdapterError:
    """The error to raise when the share itself could not be asked ("connect to the share"): it is about no document."""
    found = meaning(error, doing)
    if not isinstance(found, AccessDenied | CredentialsRejected | Unavailable | TimedOut):
        found = Unavailable(found.detail, exhausted=found.exhausted)
    if isinstance(error, Lost):
        found.option = error.option
    elif isinstance(found, CredentialsRejected):
        found.option = "username"
    elif error.status in (nt.STATUS_BAD_NETWORK_NAME, nt.STATUS_ACCESS_DENIED, nt.STATUS_NETWORK_ACCESS_DENIED):
        found.option = "share"
    return found
