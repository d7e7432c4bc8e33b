"""How the records of one file hang together: each carries a SHA-256 over the one before it and itself.

Pure: bytes in, bytes and verdicts out. The chain needs no secret to be checked, so that a third party can; that nobody
wrote the whole chain anew is what signed checkpoints are for (`keys`, `verifying`).

A line is one JSON object: `n` first, `hash` last. The hash covers every byte before it, and the hash of the line before; that
of the first line covers the name of its file instead, so that no file can be passed off as another.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

_HASH = b',"hash":"'
_END = b'"}'
_TAIL = len(_HASH) + 64 + len(_END)


def beginning(segment: str) -> bytes:
    """What stands for the line before the first one of the file `segment`."""
    return hashlib.sha256(segment.encode()).digest()


def written(number: int, body: bytes, previous: bytes) -> tuple[bytes, bytes]:
    """The line number `number` (with its newline) and its hash. `body` is a JSON object without its opening brace and end."""
    text = b'{"n":%d,%b' % (number, body)
    digest = hashlib.sha256(previous + text)
    return b"%b%b%b%b\n" % (text, _HASH, digest.hexdigest().encode(), _END), digest.digest()


class Broken(Exception):
    """The chain does not hold at a line; the text says how. Holds nothing of what the line says."""


@dataclass(frozen=True)
class Line:
    """One line that belongs where it stands. `offset` is where it begins in its file, `stop` where the next one does."""

    segment: str
    number: int
    offset: int
    stop: int
    digest: bytes
    previous: bytes
    text: bytes

    @cached_property
    def fields(self) -> dict[str, Any]:
        """What the record says, `n` and `hash` included."""
        return dict(json.loads(self.text))

    @property
    def event(self) -> str:
        return str(self.fields.get("event"))

    @property
    def id(self) -> str:
        """The id of this record, the same whenever it is read or sent: what receivers tell duplicates by."""
        return f"{self.segment}-{self.number}"


def read(segment: str, number: int, offset: int, text: bytes, previous: bytes) -> Line:
    """The line `text` (without its newline), judged as number `number` after the hash `previous`. Raises `Broken`."""
    claimed = text[-_TAIL:]
    if not (claimed.startswith(_HASH) and claimed.endswith(_END) and text.startswith(b'{"n":%d,' % number)):
        raise Broken(f"what stands where record {number} should be is not record {number}")
    digest = hashlib.sha256(previous + text[:-_TAIL])
    if digest.hexdigest().encode() != claimed[len(_HASH) : -len(_END)]:
        raise Broken(f"record {number} was changed, or the one before it was")
    return Line(segment, number, offset, offset + len(text) + 1, digest.digest(), previous, text)


def statement(segment: str, number: int, digest: str, at: str) -> bytes:
    """What a checkpoint signs: that at this time record `number` of this file had this hash (hexadecimal)."""
    return f"fhir-gateway audit checkpoint\n{segment}\n{number}\n{digest}\n{at}\n".encode()


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A signed statement of how far a file had come. `public` is the key that signed, in hexadecimal like the rest."""

    segment: str
    last: int
    head: str
    signed: str
    signature: str
    public: str

    @property
    def statement(self) -> bytes:
        return statement(self.segment, self.last, self.head, self.signed)

    def line(self) -> bytes:
        """The checkpoint as a line of a file of checkpoints."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def parsed(cls, text: bytes) -> Checkpoint:
        """What `line` wrote. Raises `ValueError`."""
        found = json.loads(text)
        try:
            return cls(**found)
        except TypeError:
            raise ValueError("not a checkpoint") from None
