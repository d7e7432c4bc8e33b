"""The SMB2 packet header, and how messages are put together on the wire ([MS-SMB2] 2.2.1, 3.2.4.1).

Rules of this module: bytes in, values out; no I/O, no cryptography, nothing that knows a command's body (`requests`,
`replies`). What the peer sent is hostile until it is checked: every length and offset is compared with what is there.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

from adapters.smb.wire.status import STATUS_BUFFER_OVERFLOW, STATUS_SUCCESS

Buffer = bytes | bytearray | memoryview

NEGOTIATE = 0
SESSION_SETUP = 1
LOGOFF = 2
TREE_CONNECT = 3
TREE_DISCONNECT = 4
CREATE = 5
CLOSE = 6
READ = 8
IOCTL = 11
CANCEL = 12
ECHO = 13
QUERY_DIRECTORY = 14
OPLOCK_BREAK = 18

SERVER_TO_REDIR = 0x00000001
ASYNC = 0x00000002
RELATED = 0x00000004
SIGNED = 0x00000008
DFS = 0x10000000

HEADER_SIZE = 64
CREDIT = 1 << 16
"""Bytes that one credit pays for (3.1.5.2)."""

NEXT_COMMAND = 20
"""Where in a header the offset of the next message of a compound stands."""

UNSOLICITED = 0xFFFFFFFFFFFFFFFF
"""The message id of what the server sends unasked, an oplock break notification ([MS-SMB2] 3.2.5.1.3)."""

RELATED_FILE = b"\xff" * 16
"""The file id that stands for the file of the message before, in a compound of related operations (3.2.4.1.4)."""

# ProtocolId, StructureSize, CreditCharge, Status, Command, Credits, Flags, NextCommand, MessageId, AsyncId, SessionId
_HEADER = struct.Struct("<4sHHIHHIIQQQ16x")
_PROTOCOL = b"\xfeSMB"
_NEXT = struct.Struct("<I")


class Malformed(Exception):
    """The peer's bytes break the protocol. The text names the structure and never holds bytes of the message."""


class Header(NamedTuple):
    """An SMB2 packet header ([MS-SMB2] 2.2.1).

    `status` is an NTSTATUS, `next` the offset of the next message of the compound from the start of this one (0: the
    last), `credits` what the server grants. `async_id` counts when `flags` hold `ASYNC`, `tree_id` when they do not; the
    other one is 0.
    """

    command: int
    status: int
    flags: int
    next: int
    message_id: int
    session_id: int
    tree_id: int
    async_id: int
    charge: int
    credits: int


def header_of(message: Buffer) -> Header:
    """The header at the start of `message`, which may go on with further messages of a compound.

    Raises `Malformed`: too short, not SMB2, wrong StructureSize, or a NextCommand that is not aligned or leads outside.
    """
    if len(message) < HEADER_SIZE:
        raise Malformed("SMB2 header: the message is shorter than a header")
    protocol, size, charge, status, command, credits, flags, after, message_id, mixed, session_id = _HEADER.unpack_from(
        message
    )
    if protocol != _PROTOCOL or size != HEADER_SIZE:
        raise Malformed("SMB2 header: wrong ProtocolId or StructureSize")
    if after and (after & 7 or not HEADER_SIZE <= after <= len(message) - HEADER_SIZE):
        raise Malformed("SMB2 header: NextCommand does not lead to a message")
    tree_id, async_id = (0, mixed) if flags & ASYNC else (mixed >> 32, 0)
    return Header(command, status, flags, after, message_id, session_id, tree_id, async_id, charge, credits)


def request(
    command: int,
    body: bytes,
    *,
    message_id: int,
    charge: int,
    credits: int,
    session_id: int,
    tree_id: int,
    flags: int = 0,
    async_id: int | None = None,
) -> bytearray:
    """One request: header and body, alone (NextCommand 0) and not signed ([MS-SMB2] 2.2.1.2).

    `credits` is how many to ask for. `async_id` is for the CANCEL of a request that the server answered with
    STATUS_PENDING: it takes the place of `tree_id` and sets the `ASYNC` flag (2.2.1.1, 3.2.4.24).
    """
    mixed = tree_id << 32
    if async_id is not None:
        mixed, flags = async_id, flags | ASYNC
    message = bytearray(HEADER_SIZE + len(body))
    _HEADER.pack_into(
        message, 0, _PROTOCOL, HEADER_SIZE, charge, 0, command, credits, flags, 0, message_id, mixed, session_id
    )
    message[HEADER_SIZE:] = body
    return message


def chain(messages: Sequence[bytearray]) -> list[bytearray]:
    """The messages of one compound: all but the last padded to 8 bytes, each leading to the next ([MS-SMB2] 3.2.4.1.4).

    Changes the messages in place. Whether they are related is the caller's to say (`RELATED`).
    """
    chained = list(messages)
    for message in chained[:-1]:
        message.extend(bytes(-len(message) % 8))
        _NEXT.pack_into(message, NEXT_COMMAND, len(message))
    return chained


def charge(length: int) -> int:
    """The credits that a request costs which sends or asks for `length` bytes ([MS-SMB2] 3.1.5.2): one per 64 KiB."""
    return max(1, (length + 0xFFFF) >> 16)


def is_error(header: Header) -> bool:
    """Whether the body is an ERROR response (2.2.2) in place of the command's own ([MS-SMB2] 3.3.4.4).

    Warnings are errors too (STATUS_NO_MORE_FILES, STATUS_STOPPED_ON_SYMLINK); only STATUS_BUFFER_OVERFLOW comes with
    what was asked for, cut short, and only in answer to READ and QUERY_DIRECTORY.
    """
    if header.status == STATUS_BUFFER_OVERFLOW:
        return header.command not in (READ, QUERY_DIRECTORY)
    return header.status != STATUS_SUCCESS
