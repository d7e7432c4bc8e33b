"""Sessions to protect: ours from `adapters.smb.wire`, and the same ones by smbprotocol's opinion."""

from __future__ import annotations

import struct
import uuid
from collections.abc import Sequence
from typing import Any

from smbprotocol import Dialects
from smbprotocol.connection import Ciphers, Connection, SigningAlgorithms

from adapters.smb.wire import (
    CLOSE,
    CREATE,
    READ,
    RELATED,
    SERVER_TO_REDIR,
    SIGNED,
    Protection,
    chain,
    close,
    create,
    header_of,
    read,
    request,
)

SESSION = 0x1122334455667788
KEY, OTHER = bytes(range(16)), bytes(range(16, 32))
LONG_KEY, OTHER_LONG = bytes(range(32)), bytes(range(32, 64))

SIGNING = {
    "AES-GMAC": (Dialects.SMB_3_1_1, SigningAlgorithms.AES_GMAC),
    "AES-CMAC": (Dialects.SMB_3_0_2, None),
    "HMAC-SHA256": (Dialects.SMB_2_1_0, None),
}
CIPHERS = {
    "AES-128-GCM": (Dialects.SMB_3_1_1, Ciphers.AES_128_GCM),
    "AES-256-GCM": (Dialects.SMB_3_1_1, Ciphers.AES_256_GCM),
    "AES-128-CCM": (Dialects.SMB_3_0_2, None),
    "AES-256-CCM": (Dialects.SMB_3_1_1, Ciphers.AES_256_CCM),
}


def theirs(dialect: int, *, signing: int | None = None, cipher: int | None = None) -> Any:
    """smbprotocol's connection, which is never connected: its cryptography alone is used."""
    connection = Connection(uuid.uuid4(), "server.example", 445)
    connection.dialect = dialect
    connection.signing_algorithm_id = signing
    connection.cipher_id = cipher
    return connection


def signed(algorithm: str, *, required: bool = True) -> Protection:
    return Protection(
        SESSION, signing=algorithm, signing_key=KEY, cipher=None, seal_key=b"", open_key=b"", required=required
    )


def keys_for(cipher: str) -> tuple[bytes, bytes]:
    return (LONG_KEY, OTHER_LONG) if "256" in cipher else (KEY, OTHER)


def sealed(cipher: str, *, peer: bool = False) -> Protection:
    """An encrypted session; `peer` is its other end."""
    seal_key, open_key = keys_for(cipher)[::-1] if peer else keys_for(cipher)
    return Protection(
        SESSION, signing="AES-CMAC", signing_key=KEY, cipher=cipher, seal_key=seal_key, open_key=open_key, required=True
    )


def compound() -> list[bytearray]:
    """CREATE, READ and CLOSE, chained."""
    bodies = [(CREATE, create("letter.pdf"), 0), (READ, read(b"\xff" * 16, 0, 262144), RELATED)]
    bodies.append((CLOSE, close(b"\xff" * 16), RELATED))
    return chain(
        [
            request(command, body, message_id=number, charge=1, credits=1, session_id=SESSION, tree_id=3, flags=flags)
            for number, (command, body, flags) in enumerate(bodies, 1000)
        ]
    )


def split(frame: Sequence[int]) -> list[bytearray]:
    """The messages of a plain frame."""
    whole, found = memoryview(bytes(frame)), []
    while True:
        after = header_of(whole).next
        found.append(bytearray(whole[: after or len(whole)]))
        if not after:
            return found
        whole = whole[after:]


def content(frame: bytes) -> bytearray:
    """A frame without its length prefix, which must be right."""
    assert struct.unpack(">I", frame[:4])[0] == len(frame) - 4
    return bytearray(frame[4:])


def sign_reply(message: bytearray, algorithm: str) -> bytearray:
    """`message` as a server signs it, by smbprotocol's opinion of that."""
    dialect, identifier = SIGNING[algorithm]
    header = header_of(message)
    struct.pack_into("<I", message, 16, header.flags | SIGNED)
    message[48:64] = theirs(dialect, signing=identifier)._generate_signature(
        bytes(message), KEY, header.message_id, bool(header.flags & SERVER_TO_REDIR), header.command
    )
    return message
