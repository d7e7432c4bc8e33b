"""What documents hold, and the ways their bytes are written into a message.

Rules of this module: nothing is held that grows with a document, every call yields the same bytes, and no I/O. A `Run`
is a stretch of a message that can be written any number of times; its length is known before it is written wherever
arithmetic can tell.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import chain, repeat
from typing import Protocol

BLOCK = 3 * 85 * 1024
"""Bytes of one block of generated content: a multiple of three, so that the base64 of blocks can be joined."""

_COUNTER = 12
"""Digits at the start of each block. With them no two blocks are equal, so that a swapped one changes the hash."""

SLICE = 3 * 64 * 1024
"""Bytes of stored content that are handed out at a time, a multiple of three too."""


class Content(Protocol):
    """The bytes of a document."""

    @property
    def size(self) -> int:
        """Bytes."""
        ...

    @property
    def sha1(self) -> str:
        """In lower-case hex, as an XDS registry states it (ITI TF-3 4.2.3.2.10)."""
        ...

    def chunks(self) -> Iterator[bytes]:
        """The bytes in order."""
        ...

    def encoded(self) -> Iterator[bytes]:
        """The same as one line of base64."""
        ...


@dataclass(frozen=True)
class Stored:
    """Content that is held in memory."""

    data: bytes

    @property
    def size(self) -> int:
        return len(self.data)

    @cached_property
    def sha1(self) -> str:
        return hashlib.sha1(self.data, usedforsecurity=False).hexdigest()

    def chunks(self) -> Iterator[bytes]:
        return (self.data[start : start + SLICE] for start in range(0, len(self.data), SLICE))

    def encoded(self) -> Iterator[bytes]:
        return map(base64.b64encode, self.chunks())


@dataclass(frozen=True)
class Generated:
    """Content of any size that is made while it is sent: noise with a counter at the start of each block.

    The same size and seed give the same bytes. `sha1` reads all of it, once: a second for a few hundred megabytes.
    """

    size: int
    seed: str = ""

    @cached_property
    def sha1(self) -> str:
        digest = hashlib.sha1(usedforsecurity=False)
        for chunk in self.chunks():
            digest.update(chunk)
        return digest.hexdigest()

    def chunks(self) -> Iterator[bytes]:
        tail, _encoded = _noise(self.seed)
        for start in range(0, self.size, BLOCK):
            block = _counter(start) + tail
            yield block if start + BLOCK <= self.size else block[: self.size - start]

    def encoded(self) -> Iterator[bytes]:
        tail, encoded = _noise(self.seed)
        for start in range(0, self.size, BLOCK):
            counter = _counter(start)
            if start + BLOCK <= self.size:
                yield base64.b64encode(counter) + encoded
            else:
                yield base64.b64encode((counter + tail)[: self.size - start])


def _counter(start: int) -> bytes:
    return b"%0*d" % (_COUNTER, start // BLOCK)


@lru_cache(maxsize=4)
def _noise(seed: str) -> tuple[bytes, bytes]:
    """What follows the counter in each block, plain and in base64, which is the costly part of a large document."""
    tail = hashlib.shake_128(f"content {seed}".encode()).digest(BLOCK - _COUNTER)
    return tail, base64.b64encode(tail)


@dataclass(frozen=True, slots=True)
class Run:
    """A stretch of a message. `length` is in bytes, None where only writing tells; `payload` marks a document's."""

    write: Callable[[], Iterable[bytes]]
    length: int | None
    payload: bool = False


def fixed(data: bytes) -> Run:
    """A stretch of these bytes."""
    return Run(lambda: (data,), len(data))


def filler(data: bytes, times: int) -> Run:
    """The same bytes many times, without holding them all."""
    return Run(lambda: repeat(data, times), len(data) * times)


def total(runs: Iterable[Run]) -> int | None:
    """The bytes of all of them; None when one does not know."""
    length = 0
    for run in runs:
        if run.length is None:
            return None
        length += run.length
    return length


# --- transfer encodings of a part (RFC 2045 section 6) -------------------------------------------------------------


def binary(content: Content) -> Run:
    """The bytes as they are."""
    return Run(content.chunks, content.size, payload=True)


def part_base64(content: Content, eol: bytes) -> Run:
    """In base64 with lines of 76 characters, as mail writes it."""
    return inline_base64(content, Inline(wrap=76, eol=eol))


def quoted_printable(content: Content) -> Run:
    """Quoted-printable; line ends inside the document are written as data. Small documents only."""
    return Run(lambda: (binascii.b2a_qp(b"".join(content.chunks()), istext=False),), None, payload=True)


# --- inside the envelope -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Inline:
    """How base64 stands inside an element. `wrap` is in characters, 0 for one line; `around` stands on both sides."""

    wrap: int = 0
    eol: bytes = b"\n"
    around: bytes = b""
    padding: bool = True
    url_safe: bool = False
    spoil_at: int | None = None
    """Where a character stands that base64 does not know."""


def inline_base64(content: Content, form: Inline) -> Run:
    """Content in base64 as `form` says."""
    size = -(-content.size // 3) * 4
    if not form.padding:
        size -= -content.size % 3
    lines = -(-size // form.wrap) if form.wrap else 0
    length = size + lines * len(form.eol) + 2 * len(form.around)
    return Run(lambda: _inline(content, form), length, payload=True)


def _inline(content: Content, form: Inline) -> Iterator[bytes]:
    pieces = content.encoded()
    if form.url_safe:
        pieces = (piece.translate(_URL_SAFE) for piece in pieces)
    if not form.padding:
        pieces = (piece.rstrip(b"=") for piece in pieces)
    if form.spoil_at is not None:
        pieces = _spoilt(pieces, form.spoil_at)
    if form.wrap:
        pieces = _wrapped(pieces, form.wrap, form.eol)
    return filter(None, chain((form.around,), pieces, (form.around,)))


_URL_SAFE = bytes.maketrans(b"+/", b"-_")


def _spoilt(pieces: Iterable[bytes], at: int) -> Iterator[bytes]:
    position = 0
    for piece in pieces:
        if position <= at < position + len(piece):
            yield piece[: at - position] + b"*" + piece[at - position + 1 :]
        else:
            yield piece
        position += len(piece)


def _wrapped(pieces: Iterable[bytes], width: int, eol: bytes) -> Iterator[bytes]:
    """Lines of `width` characters, each with its end, the last one too."""
    rest = b""
    for piece in pieces:
        text = rest + piece
        whole = len(text) - len(text) % width
        yield b"".join(text[start : start + width] + eol for start in range(0, whole, width))
        rest = text[whole:]
    if rest:
        yield rest + eol
