"""How entries are named and protected where they lie outside this process: AES-256-GCM, one key per entry.

Pure: bytes in, bytes out. An entry is a *head* (the record, and whatever its backend adds) and numbered *chunks* of
`CHUNK` bytes. Each entry has a key of its own, derived from a configured key and 16 random bytes, so that a chunk's number
can be its nonce (NIST SP 800-38D 8.2.1) and no chunk of one entry fits another, nor an older entry of the same name. The
name, the number and the size are associated data: what was swapped, moved or cut does not open.

Without encryption the same construction authenticates what lies open (GMAC), under a key that everybody knows: it finds
every accident, and is no protection against intent.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from adapters.contract import Descriptor, Digest
from gateway.cache import Broken, Key, Record

TAG = 16

SEALED_CHUNK = (1 << 18) - 64
"""Bytes of a sealed chunk. With 2^18 Redis' allocator takes a quarter more for each (its next size class)."""

CHUNK = SEALED_CHUNK - TAG
"""Bytes of a document in one chunk."""

STEM = 16
"""Digits of a name that stand for the source and the locator alone."""

_FORMAT = 1
_HEAD_NONCE = b"\xff" * 12
_PUBLIC = hashlib.sha256(b"fhir-gateway cache without encryption").digest()
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class CacheKey:
    """A configured key: its id stands in the open at each entry, its 32 bytes nowhere."""

    id: str
    secret: bytes


class Keyring:
    """The configured keys: the first one seals, all of them open. Without keys nothing is hidden."""

    def __init__(self, keys: Sequence[CacheKey] = ()) -> None:
        self.encrypts = bool(keys)
        used = keys or (CacheKey("", _PUBLIC),)
        self._secrets = {key.id: key.secret for key in used}
        self._first = used[0]
        self._name_keys = [_derived(key.secret, b"names") for key in used]

    def names(self, key: Key) -> list[str]:
        """The names that an entry may have, 48 hexadecimal digits each: first the one that is written under.

        An HMAC, so that a name says nothing about a locator, which may hold a patient's number. One for each configured
        key: entries from before a change of keys are still found. Each begins with one of `stems`.
        """
        text = json.dumps([key.source, key.epoch, key.locator, key.partition]).encode()
        stems = self.stems(key.source, key.locator)
        return [
            stem + hmac.digest(secret, text, "sha256")[:16].hex()
            for stem, secret in zip(stems, self._name_keys, strict=True)
        ]

    def stems(self, source: str, locator: str) -> list[str]:
        """What the names of a document begin with in all its partitions and epochs: `STEM` digits for each key."""
        text = json.dumps([source, locator]).encode()
        return [hmac.digest(secret, text, "sha256").hex()[:STEM] for secret in self._name_keys]

    def sealer(self, name: str, size: int) -> Sealer:
        """What seals a new entry of `size` bytes under `name`."""
        salt = os.urandom(16)
        return Sealer(self._first.id, salt, AESGCM(_derived(self._first.secret, salt)), name, size, self.encrypts)

    def open(self, name: str, head: bytes) -> tuple[Record, Mapping[str, str], Sealer]:
        """The record in `head`, what its backend added, and what opens the chunks. Raises `Broken`."""
        try:
            version, length = head[0], head[1]
            identity, salt = head[2 : 2 + length].decode(), head[2 + length : 18 + length]
            secret = self._secrets.get(identity)
            if version != _FORMAT or len(salt) != 16 or secret is None:
                raise Broken("an entry of another version or key")
            cipher = AESGCM(_derived(secret, salt))
            content = _open(cipher, _HEAD_NONCE, head[18 + length :], name.encode(), self.encrypts)
            record, extra = _read(json.loads(content))
        except (IndexError, UnicodeDecodeError, ValueError, KeyError, TypeError, OverflowError):
            raise Broken("not the head of an entry") from None
        return record, extra, Sealer(identity, salt, cipher, name, record.size, self.encrypts)


class Sealer:
    """Seals or opens the parts of one entry."""

    __slots__ = ("_cipher", "_encrypts", "_id", "_name", "_salt", "_size")

    def __init__(self, id: str, salt: bytes, cipher: AESGCM, name: str, size: int, encrypts: bool) -> None:
        self._id = id
        self._salt = salt
        self._cipher = cipher
        self._name = name.encode()
        self._size = size
        self._encrypts = encrypts

    def head(self, record: Record, extra: Mapping[str, str]) -> bytes:
        """The sealed record with what the backend adds."""
        content = json.dumps(_written(record, extra), separators=(",", ":")).encode()
        opening = bytes((_FORMAT, len(self._id))) + self._id.encode() + self._salt
        return opening + _seal(self._cipher, _HEAD_NONCE, content, self._name, self._encrypts)

    def seal(self, number: int, data: bytes) -> bytes:
        """Chunk `number` of the document, ready to lie somewhere: `TAG` bytes longer."""
        return _seal(self._cipher, number.to_bytes(12, "big"), data, self._place(number), self._encrypts)

    def open(self, number: int, sealed: bytes | memoryview) -> bytes:
        """The bytes of chunk `number`. Raises `Broken` when they are not what was sealed there."""
        return _open(self._cipher, number.to_bytes(12, "big"), sealed, self._place(number), self._encrypts)

    def _place(self, number: int) -> bytes:
        return self._name + struct.pack(">QQ", number, self._size)


def chunk_count(size: int) -> int:
    """How many chunks a document of `size` bytes has."""
    return -(-size // CHUNK)


def _derived(secret: bytes, purpose: bytes) -> bytes:
    """A key for one purpose. One block of HKDF-Expand (RFC 5869 2.3): the configured keys are uniformly random."""
    return hmac.digest(secret, b"fhir-gateway cache 1 " + purpose + b"\x01", "sha256")


def _seal(cipher: AESGCM, nonce: bytes, data: bytes, place: bytes, encrypts: bool) -> bytes:
    if encrypts:
        return cipher.encrypt(nonce, data, place)
    return data + cipher.encrypt(nonce, b"", place + data)


def _open(cipher: AESGCM, nonce: bytes, sealed: bytes | memoryview, place: bytes, encrypts: bool) -> bytes:
    try:
        if encrypts:
            return cipher.decrypt(nonce, sealed, place)
        data = bytes(sealed[:-TAG])
        cipher.decrypt(nonce, sealed[-TAG:], place + data)
        return data
    except (InvalidTag, ValueError):
        raise Broken("a part that is not what was stored there") from None


def _written(record: Record, extra: Mapping[str, str]) -> dict[str, Any]:
    descriptor = record.descriptor
    return {
        "size": record.size,
        "type": descriptor.media_type,
        "modified": None
        if descriptor.modified is None
        else (descriptor.modified - _EPOCH) // timedelta(microseconds=1),
        "digest": None if descriptor.digest is None else [descriptor.digest.algorithm, descriptor.digest.value.hex()],
        "version": descriptor.version,
        "validator": descriptor.validator,
        "sniffed": record.sniffed,
        "stored": record.stored,
        "extra": dict(extra),
    }


def _read(content: Mapping[str, Any]) -> tuple[Record, Mapping[str, str]]:
    modified, digest = content["modified"], content["digest"]
    descriptor = Descriptor(
        size=int(content["size"]),
        media_type=content["type"],
        modified=None if modified is None else _EPOCH + timedelta(microseconds=modified),
        digest=None if digest is None else Digest(digest[0], bytes.fromhex(digest[1])),
        version=content["version"],
        validator=content["validator"],
    )
    return Record(descriptor, content["sniffed"], float(content["stored"])), content["extra"]
