"""Signing and encryption of SMB2 messages ([MS-SMB2] 2.2.41, 3.1.4.1, 3.1.4.3, 3.2.5.1.1, 3.2.5.1.3).

Rules of this module: pure; keys come ready made from the session's set-up and never leave it. A frame is what stands
behind one length prefix of the direct TCP transport (2.1); it holds one message or a compound. Nothing is believed before
its tag or signature is found right, and what is not right raises `Forged`.
"""

from __future__ import annotations

import hmac
import os
import struct
from collections.abc import Callable, Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM
from cryptography.hazmat.primitives.cmac import CMAC

from adapters.smb.wire.messages import (
    ASYNC,
    CANCEL,
    HEADER_SIZE,
    SERVER_TO_REDIR,
    SIGNED,
    UNSOLICITED,
    Header,
)
from adapters.smb.wire.status import STATUS_PENDING

# ProtocolId, Signature, Nonce, OriginalMessageSize, Reserved, Flags (before 3.1.1: EncryptionAlgorithm), SessionId
_TRANSFORM = struct.Struct("<4s16s16sI2xHQ")
_SEALED = b"\xfdSMB"
_COMPRESSED = b"\xfcSMB"
_ENCRYPTED = 0x0001
_AUTHENTICATED_FROM = 20
"""The transform header is authenticated from its nonce on (3.1.4.3)."""

_SIGNATURE = slice(48, 64)
_SIGNATURE_SIZE = 16
_NO_SIGNATURE = bytes(_SIGNATURE_SIZE)
_FLAGS = struct.Struct("<I")
_FLAGS_AT = 16
_COMMAND_AT = 12
# Command, Credits, Flags, NextCommand, MessageId
_OURS = struct.Struct("<H2xI4xQ")
_GMAC_NONCE = struct.Struct("<QI")
_BY_SERVER = 1
_OF_CANCEL = 2

_PREFIX = struct.Struct(">I")
_LONGEST_FRAME = 0xFFFFFF
"""The direct TCP transport has three bytes for a length (2.1)."""

_SMALL = 32 << 10
"""Bytes of a sealed message up to which it is quicker to open it in one call."""

_KEY_SIZES = {"AES-128-GCM": 16, "AES-256-GCM": 32, "AES-128-CCM": 16, "AES-256-CCM": 32}

Sign = Callable[[bytearray | memoryview, int, int], bytes]
"""(message whose signature field is zero, message id, role bits of the AES-GMAC nonce) -> signature."""


class Forged(Exception):
    """These bytes are not what the server said under this session's keys, or not protected as they must be."""


class Protection:
    """What one session does to each frame on its way out and in.

    `signing` is AES-GMAC, AES-CMAC or HMAC-SHA256, None for a session without a key. `cipher` is AES-128-GCM, AES-256-GCM,
    AES-128-CCM or AES-256-CCM, None not to encrypt; `seal_key` is for what goes out, `open_key` for what comes in.
    `required`: what is not encrypted must be signed. Raises ValueError when these contradict each other.
    """

    __slots__ = ("_cipher", "_nonces", "_required", "_session_id", "_sign")

    def __init__(
        self,
        session_id: int,
        *,
        signing: str | None,
        signing_key: bytes,
        cipher: str | None,
        seal_key: bytes,
        open_key: bytes,
        required: bool,
    ) -> None:
        if required and signing is None and cipher is None:
            raise ValueError("signatures are required and there is no algorithm for them")
        self._session_id = session_id
        self._sign = None if signing is None else _signer(signing, signing_key)
        self._cipher = None if cipher is None else _cipher(cipher, seal_key, open_key)
        self._nonces = 0 if self._cipher is None else _first_nonce(self._cipher.nonce_size)
        self._required = required

    @property
    def sealed(self) -> bool:
        """Whether every frame is encrypted; then there is nothing left to `check`."""
        return self._cipher is not None

    def outgoing(self, messages: Sequence[bytearray]) -> bytes:
        """The frame of one message, or of one compound that is chained already, with its length prefix.

        Signs the messages in place, each with its padding, or seals all of them together.
        """
        if self._cipher is not None:
            return self._seal(b"".join(messages), self._cipher)
        if self._sign is not None:
            for message in messages:
                self._sign_in_place(message, self._sign)
        return _framed(b"".join(messages))

    def incoming(self, frame: bytearray | memoryview) -> memoryview:
        """The messages of a frame (without its length prefix), opened if it was sealed. The frame is left as it is.

        Raises `Forged` for a sealed frame that does not open, a plain one where all must be sealed, and a compressed one
        (which was never agreed). What comes back of a plain frame is still to be checked (`check`).
        """
        start = bytes(frame[:4])
        if start == _SEALED:
            return self._open(memoryview(frame))
        if start == _COMPRESSED:
            raise Forged("a compressed message, though compression was not agreed")
        if self._cipher is not None:
            raise Forged("a message in the clear, though this session is encrypted")
        return memoryview(frame)

    def check(self, message: memoryview, header: Header) -> None:
        """Verify the signature of one message of a frame, its padding included ([MS-SMB2] 3.2.5.1.3).

        Zeroes the signature field of `message`, which must be writable. Raises `Forged` when the signature is wrong or
        missing. Exempt are, as the specification says, interim replies and what the server sends unasked: neither may be
        believed for more than that. In an encrypted session all was verified when the frame was opened.
        """
        if not header.flags & SERVER_TO_REDIR:
            # AES-CMAC and HMAC do not tell a reply from a request of ours that somebody sent back.
            raise Forged("a message that does not come from a server")
        # An interim reply is asynchronous (3.3.4.2). Without that condition anybody could end a request by a status.
        interim = header.status == STATUS_PENDING and header.flags & ASYNC
        if self._cipher is not None or interim or header.message_id == UNSOLICITED:
            return
        if not header.flags & SIGNED:
            if self._required:
                raise Forged("a message without a signature, though this session is signed")
            return
        if self._sign is None:
            return
        claimed = bytes(message[_SIGNATURE])
        message[_SIGNATURE] = _NO_SIGNATURE
        role = _BY_SERVER | (_OF_CANCEL if header.command == CANCEL else 0)
        if not hmac.compare_digest(claimed, self._sign(message, header.message_id, role)):
            raise Forged("a message with a wrong signature")

    def _sign_in_place(self, message: bytearray, sign: Sign) -> None:
        # A message of ours: padded, it leads to one that is not in this buffer, which `header_of` would refuse.
        command, flags, message_id = _OURS.unpack_from(message, _COMMAND_AT)
        _FLAGS.pack_into(message, _FLAGS_AT, flags | SIGNED)
        message[_SIGNATURE] = _NO_SIGNATURE
        message[_SIGNATURE] = sign(message, message_id, _OF_CANCEL if command == CANCEL else 0)

    def _seal(self, plain: bytes, cipher: _Gcm | _Ccm) -> bytes:
        # One nonce must never serve twice under one key. A counter cannot repeat itself; that it starts at random keeps it
        # clear of nonces that the session's set-up drew under the same key.
        self._nonces = (self._nonces + 1) % (1 << 8 * cipher.nonce_size)
        nonce = self._nonces.to_bytes(cipher.nonce_size, "little")
        header = bytearray(_TRANSFORM.pack(_SEALED, _NO_SIGNATURE, nonce, len(plain), _ENCRYPTED, self._session_id))
        sealed = cipher.seal(nonce, plain, bytes(header[_AUTHENTICATED_FROM:]))
        header[4:_AUTHENTICATED_FROM] = sealed[-_SIGNATURE_SIZE:]
        return _framed(bytes(header) + sealed[:-_SIGNATURE_SIZE])

    def _open(self, frame: memoryview) -> memoryview:
        if self._cipher is None:
            raise Forged("an encrypted message, though this session has no key for it")
        if len(frame) < _TRANSFORM.size + HEADER_SIZE:
            raise Forged("an encrypted message too short to hold one")
        _protocol, tag, nonce, size, flags, session_id = _TRANSFORM.unpack_from(frame)
        if flags != _ENCRYPTED or session_id != self._session_id or size != len(frame) - _TRANSFORM.size:
            raise Forged("an encrypted message with a wrong flag, session or size")
        authenticated = bytes(frame[_AUTHENTICATED_FROM : _TRANSFORM.size])
        try:
            plain = self._cipher.open(nonce[: self._cipher.nonce_size], tag, frame[_TRANSFORM.size :], authenticated)
        except InvalidTag:
            raise Forged("an encrypted message that its key does not open") from None
        return memoryview(plain)


class _Gcm:
    """AES-GCM. A large reply is opened without being copied in front of its tag; of a small one the copy is the lesser cost."""

    __slots__ = ("_aes", "_opening", "_sealing")
    nonce_size = 12

    def __init__(self, seal_key: bytes, open_key: bytes) -> None:
        self._sealing, self._opening = AESGCM(seal_key), AESGCM(open_key)
        self._aes = algorithms.AES(open_key)

    def seal(self, nonce: bytes, plain: bytes, authenticated: bytes) -> bytes:
        return self._sealing.encrypt(nonce, plain, authenticated)

    def open(self, nonce: bytes, tag: bytes, sealed: memoryview, authenticated: bytes) -> bytes:
        if len(sealed) <= _SMALL:
            return self._opening.decrypt(nonce, b"".join((sealed, tag)), authenticated)
        opening = Cipher(self._aes, modes.GCM(nonce, tag)).decryptor()
        opening.authenticate_additional_data(authenticated)
        plain = opening.update(sealed)
        opening.finalize()
        return plain


class _Ccm:
    """AES-CCM, for servers before SMB 3.1.1."""

    __slots__ = ("_opening", "_sealing")
    nonce_size = 11

    def __init__(self, seal_key: bytes, open_key: bytes) -> None:
        self._sealing, self._opening = AESCCM(seal_key), AESCCM(open_key)

    def seal(self, nonce: bytes, plain: bytes, authenticated: bytes) -> bytes:
        return self._sealing.encrypt(nonce, plain, authenticated)

    def open(self, nonce: bytes, tag: bytes, sealed: memoryview, authenticated: bytes) -> bytes:
        return self._opening.decrypt(nonce, b"".join((sealed, tag)), authenticated)


def _cipher(name: str, seal_key: bytes, open_key: bytes) -> _Gcm | _Ccm:
    size = _KEY_SIZES.get(name)
    if size is None or len(seal_key) != size or len(open_key) != size:
        raise ValueError("an unknown cipher, or keys that do not fit it")
    return _Gcm(seal_key, open_key) if name.endswith("GCM") else _Ccm(seal_key, open_key)


def _first_nonce(size: int) -> int:
    return int.from_bytes(os.urandom(size), "little")


def _signer(algorithm: str, key: bytes) -> Sign:
    """The signature function of [MS-SMB2] 3.1.4.1. AES-GMAC and AES-CMAC take keys of 16 bytes."""
    if algorithm == "AES-GMAC":
        gmac = AESGCM(key)
        return lambda message, message_id, role: gmac.encrypt(_GMAC_NONCE.pack(message_id, role), b"", message)
    if algorithm == "AES-CMAC":
        return _cmac(CMAC(algorithms.AES(key)))
    if algorithm == "HMAC-SHA256":
        return lambda message, _message_id, _role: hmac.digest(key, message, "sha256")[:_SIGNATURE_SIZE]
    raise ValueError("an unknown signing algorithm")


def _cmac(keyed: CMAC) -> Sign:
    def sign(message: bytearray | memoryview, _message_id: int, _role: int) -> bytes:
        signing = keyed.copy()
        signing.update(message)  # type: ignore[arg-type]
        return signing.finalize()

    return sign


def _framed(content: bytes) -> bytes:
    if len(content) > _LONGEST_FRAME:
        raise ValueError("a frame of 16 MiB or more cannot be sent")
    return _PREFIX.pack(len(content)) + content
