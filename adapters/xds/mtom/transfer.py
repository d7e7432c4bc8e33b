"""Undoing a part's Content-Transfer-Encoding as it arrives (RFC 2045 section 6).

Rules of this module: a decoder holds back a few bytes at most. An encoding that is not known is taken as binary: what stacks
write there ("binary; charset=utf-8") says more about the stack than about the bytes.
"""

from __future__ import annotations

import binascii
import re
from typing import Protocol

from adapters.xds.mtom.base64 import Base64Decoder

# What the next bytes may give another meaning: an escape that began, or blanks and a return before a line's end.
_UNDECIDED = re.compile(rb"(?:=[0-9A-Fa-f]?|=?[ \t]{0,1000}\r?)\Z")


class Decoder(Protocol):
    """Bytes as they travel into bytes as they are; either method may give nothing."""

    def feed(self, data: bytes) -> bytes: ...
    def end(self) -> bytes: ...


class Identity:
    """7bit, 8bit, binary: the same object comes back."""

    def feed(self, data: bytes) -> bytes:
        return data

    def end(self) -> bytes:
        return b""


class QuotedPrintable:
    """RFC 2045 section 6.7; what is no valid escape stays as it is."""

    def __init__(self) -> None:
        self._carry = b""

    def feed(self, data: bytes) -> bytes:
        data = self._carry + data
        undecided = _UNDECIDED.search(data, max(0, len(data) - 1002))
        cut = undecided.start() if undecided else len(data)
        self._carry = data[cut:]
        return binascii.a2b_qp(data[:cut])

    def end(self) -> bytes:
        rest, self._carry = self._carry, b""
        return binascii.a2b_qp(rest)


def decoder_for(encoding: str) -> Decoder:
    """The decoder for the value of a Content-Transfer-Encoding header, empty for none."""
    match encoding.split(";")[0].strip().lower():
        case "base64":
            return Base64Decoder()
        case "quoted-printable":
            return QuotedPrintable()
        case _:
            return Identity()
