"""Key files: 32 secret bytes in a file that only its owner reads, raw, in hex or in base64.

Reading and making them, and nothing about what a key is for. No message repeats what the file holds.
"""

from __future__ import annotations

import base64
import os
from pathlib import Path

KEY_BYTES = 32

_LONGEST = 1024
"""Bytes of the longest key file that is read: a key with line ends, not a document."""

_FROM_URL_SAFE = str.maketrans("-_", "+/")


def read_key(path: Path) -> bytes:
    """The 32 bytes that `path` holds. Raises `OSError`, or `ValueError` with a sentence when it holds no key."""
    with path.open("rb") as file:
        raw = file.read(_LONGEST)
    text = raw.strip()
    if len(raw) == KEY_BYTES and not (text == raw and _is_hex(text)):
        return raw
    for decode in (bytes.fromhex, _base64):
        try:
            key = decode(text.decode("ascii"))
        except ValueError:
            continue
        if len(key) == KEY_BYTES:
            return key
    if len(text) == KEY_BYTES and _is_hex(text):
        # Half a key, that `openssl rand -hex 16` made: as text it would be 32 bytes with the strength of 16.
        raise ValueError(f"The file holds a key of {KEY_BYTES // 2} bytes in hex, and {KEY_BYTES} are needed.")
    raise ValueError(f"The file does not hold a key of {KEY_BYTES} bytes, raw, in hex or in base64.")


def write_key(path: Path) -> bytes:
    """A new random key, written to `path` in hex for its owner's eyes. Raises `FileExistsError`, `OSError`."""
    key = os.urandom(KEY_BYTES)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(key.hex().encode() + b"\n")
    return key


def _is_hex(text: bytes) -> bool:
    return set(text) <= set(b"0123456789abcdefABCDEF")


def _base64(text: str) -> bytes:
    return base64.b64decode(text.translate(_FROM_URL_SAFE), validate=True)
