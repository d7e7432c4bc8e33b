"""SMB2 messages as bytes, and nothing that moves them: no sockets, no asyncio, no smbprotocol ([MS-SMB2]).

Rules of this package: the standard library and `cryptography` only, and it does no I/O. `messages` is the header and the
framing, `requests` and `replies` the bodies of the commands, `protection` signing and encryption, `credits` message ids
and flow control. Other packages import from here, the codes alone from `status`.
"""

from __future__ import annotations

from adapters.smb.wire.credits import Credits
from adapters.smb.wire.messages import (
    ASYNC,
    CANCEL,
    CLOSE,
    CREATE,
    CREDIT,
    DFS,
    ECHO,
    HEADER_SIZE,
    IOCTL,
    LOGOFF,
    NEGOTIATE,
    OPLOCK_BREAK,
    QUERY_DIRECTORY,
    READ,
    RELATED,
    RELATED_FILE,
    SERVER_TO_REDIR,
    SESSION_SETUP,
    SIGNED,
    TREE_CONNECT,
    TREE_DISCONNECT,
    UNSOLICITED,
    Header,
    Malformed,
    chain,
    charge,
    header_of,
    is_error,
    request,
)
from adapters.smb.wire.protection import (
    Forged,
    Protection,
)
from adapters.smb.wire.replies import (
    Closed,
    Created,
    closed,
    created,
    listed,
    read_data,
)
from adapters.smb.wire.requests import (
    cancel,
    close,
    create,
    echo,
    logoff,
    query_directory,
    read,
    tree_disconnect,
)
from adapters.smb.wire.status import name_of

__all__ = [
    "ASYNC",
    "CANCEL",
    "CLOSE",
    "CREATE",
    "CREDIT",
    "DFS",
    "ECHO",
    "HEADER_SIZE",
    "IOCTL",
    "LOGOFF",
    "NEGOTIATE",
    "OPLOCK_BREAK",
    "QUERY_DIRECTORY",
    "READ",
    "RELATED",
    "RELATED_FILE",
    "SERVER_TO_REDIR",
    "SESSION_SETUP",
    "SIGNED",
    "TREE_CONNECT",
    "TREE_DISCONNECT",
    "UNSOLICITED",
    "Closed",
    "Created",
    "Credits",
    "Forged",
    "Header",
    "Malformed",
    "Protection",
    "cancel",
    "chain",
    "charge",
    "close",
    "closed",
    "create",
    "created",
    "echo",
    "header_of",
    "is_error",
    "listed",
    "logoff",
    "name_of",
    "query_directory",
    "read",
    "read_data",
    "request",
    "tree_disconnect",
]
