"""The secrets of the trail, all made from one key: what seals, what turns ids into pseudonyms, what signs.

The one key (32 bytes) is spread by HKDF-SHA-256 (RFC 5869), so that none of the keys made from it tells about another.
Sealing is AES-256-GCM with a key for each process and a counter as nonce: no nonce can come twice, however many records
there are. Signatures are Ed25519 (RFC 8032); whoever checks one needs `public` alone.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Mapping
from functools import lru_cache
from itertools import count
from typing import Any

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pydantic_core import to_json

_SALT = 8
_NONCE = 12

PSEUDONYM_BYTES = 16


class Unreadable(Exception):
    """A sealed field was sealed with another key, or was changed."""


class AuditKeys:
    """What can be done with the key of a trail."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._signing = Ed25519PrivateKey.from_private_bytes(_derived(secret, b"sign"))
        self._pseudonyms = _derived(secret, b"pseudonym")
        self.public = self._signing.public_key().public_bytes_raw()
        self._sealing = lru_cache(maxsize=64)(self._cipher)
        self.pseudonym = lru_cache(maxsize=4096)(self._pseudonym)

    def sign(self, statement: bytes) -> str:
        """The signature of `statement`, in hexadecimal."""
        return self._signing.sign(statement).hex()

    def sealer(self) -> Sealer:
        """Something that seals for one process."""
        salt = os.urandom(_SALT)
        return Sealer(salt, self._sealing(salt))

    def opened(self, sealed: str) -> dict[str, Any]:
        """What `sealed` holds. Raises `Unreadable`."""
        try:
            raw = base64.b64decode(sealed, validate=True)
            salt, nonce, text = raw[:_SALT], raw[_SALT : _SALT + _NONCE], raw[_SALT + _NONCE :]
            return dict(json.loads(self._sealing(salt).decrypt(nonce, text, None)))
        except (ValueError, InvalidTag):
            raise Unreadable("The sealed field was sealed with another key, or was changed.") from None

    def _cipher(self, salt: bytes) -> AESGCM:
        return AESGCM(_derived(self._secret, b"seal " + salt))

    def _pseudonym(self, text: str) -> str:
        encoded = text.encode("utf-8", "surrogatepass")
        return hashlib.blake2b(encoded, key=self._pseudonyms, digest_size=PSEUDONYM_BYTES).hexdigest()


class Sealer:
    """Seals fields for one process. Not for several threads at once."""

    def __init__(self, salt: bytes, cipher: AESGCM) -> None:
        self._salt = salt
        self._cipher = cipher
        self._numbers = count(1)

    def sealed(self, fields: Mapping[str, str]) -> str:
        """`fields` so that only the key of the trail shows them: base64 of salt, nonce, AES-GCM text and tag."""
        nonce = next(self._numbers).to_bytes(_NONCE, "big")
        try:
            text = to_json(fields)
        except ValueError:
            # A lone surrogate, which only the standard library writes.
            text = json.dumps(fields).encode()
        sealed = self._cipher.encrypt(nonce, text, None)
        return base64.b64encode(self._salt + nonce + sealed).decode()


def signed_by(public: bytes, statement: bytes, signature: str) -> bool:
    """Whether the key behind `public` signed `statement`."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(bytes.fromhex(signature), statement)
    except (InvalidSignature, ValueError):
        return False
    return True


def _derived(secret: bytes, purpose: bytes) -> bytes:
    return HKDF(SHA256(), 32, salt=None, info=b"fhir-gateway audit " + purpose).derive(secret)
