"""Byte ranges: what part of a document a request asks for (RFC 9110 section 14).

One range or the whole. RFC 9110 14.2 lets a server ignore a Range field, and this gateway ignores every one that it
does not serve as a single part: other units, several ranges (no client of clinical documents needs them, and answering
them has been a source of attacks), reversed or unreadable ones. None of these is an error (FR-132). The only refusal,
416, is for a well-formed range that has no byte in common with the document.

Whether Range applies at all (only to native content, FR-131, and under If-Range: `conditional.range_applies`) is the
caller's to decide first.
"""

from __future__ import annotations

from dataclasses import dataclass

from adapters.contract import Span
from gateway.protocol.fields import OWS

MAX_DIGITS = 20
"""Longest position in digits: no file system or protocol counts bytes beyond 2^64, which has 20."""


@dataclass(frozen=True, slots=True)
class ByteRange:
    """One range as asked: `span` when it counts from the start, else None and the last `suffix` bytes are meant.

    An explicit `span` can be opened before the size of the document is known; its stop may lie past the end.
    """

    span: Span | None
    suffix: int = 0


@dataclass(frozen=True, slots=True)
class Part:
    """A non-empty part of a document of `size` bytes, for 206. Both ends of `span` are numbers within the document."""

    span: Span
    size: int


@dataclass(frozen=True, slots=True)
class Unsatisfiable:
    """No byte of a document of `size` bytes was asked for: 416."""

    size: int


def parse(header: str | None) -> ByteRange | None:
    """The single byte range a Range field asks for; None when there is none or it is to be ignored."""
    if header is None:
        return None
    unit, _, ranges = header.partition("=")
    if unit.strip(OWS).lower() != "bytes":
        return None
    # A list may have empty members (RFC 9110 5.6.1.2), so a comma at either end does not make two ranges.
    first, dash, last = ranges.strip(OWS + ",").partition("-")
    if not dash or not _is_position(first or "0") or not _is_position(last or "0"):
        return None
    if first:
        start = int(first)
        if not last:
            return ByteRange(Span(start))
        stop = int(last) + 1
        return ByteRange(Span(start, stop)) if stop > start else None
    return ByteRange(None, int(last)) if last else None


def resolve(byte_range: ByteRange, size: int) -> Part | Unsatisfiable:
    """The part of a document of `size` bytes that `byte_range` means (RFC 9110 14.1.2).

    An empty document has no part at all: also a suffix, which RFC 9110 calls satisfiable there, is answered with 416,
    since Content-Range cannot name an empty part.
    """
    asked = byte_range.span or Span(max(size - byte_range.suffix, 0))
    span = asked.within(size)
    return Part(span, size) if span.start < size else Unsatisfiable(size)


def content_range(part: Part) -> str:
    """The Content-Range field of a 206 (RFC 9110 14.4)."""
    span, size = part.span, part.size
    assert span.stop is not None
    return f"bytes {span.start}-{span.stop - 1}/{size}"


def unsatisfied_range(size: int) -> str:
    """The Content-Range field of a 416 for a document of `size` bytes (RFC 9110 15.5.17)."""
    return f"bytes */{size}"


def _is_position(text: str) -> bool:
    return len(text) <= MAX_DIGITS and text.isascii() and text.isdigit()
