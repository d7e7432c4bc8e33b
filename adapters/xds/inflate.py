"""The body of an HTTP answer without its Content-Encoding (RFC 9110 8.4), which was not asked for and is sent all the same.

Rules of this module: pure; bytes in, pieces of bounded size out. What swells beyond all measure is refused: no document does.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from adapters.errors import Corrupt

PIECE = 256 << 10
"""Bytes of the largest piece."""

MOST_RATIO = 200
"""Times that a body may grow: far above what documents, base64 and XML reach."""

FREE = 8 << 20
"""Bytes below which the ratio does not count."""


class Plain:
    """A body that is sent as it is."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The bytes that `data` brings, piece by piece."""
        if data:
            yield data

    def end(self) -> None:
        """The body has ended."""


class Inflated:
    """A gzip or deflate body. Raises `Corrupt` for damage, for a body that ends early and for one that swells too much."""

    def __init__(self, *, gzip: bool) -> None:
        self._gzip = gzip
        self._inflater = zlib.decompressobj(zlib.MAX_WBITS | 16 if gzip else zlib.MAX_WBITS)
        self._taken = 0
        self._given = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The bytes that `data` brings, piece by piece."""
        self._taken += len(data)
        while data:
            if self._inflater.eof:
                # Some servers send several members, one after the other (RFC 1952, 2.2).
                self._inflater = zlib.decompressobj(zlib.MAX_WBITS | 16 if self._gzip else zlib.MAX_WBITS)
            piece = self._step(data)
            self._given += len(piece)
            if self._given > max(FREE, MOST_RATIO * self._taken):
                raise Corrupt("the answer's compression swells beyond all measure")
            if piece:
                yield piece
            data = self._inflater.unconsumed_tail or self._inflater.unused_data

    def end(self) -> None:
        """The body has ended."""
        if self._taken and not self._inflater.eof:
            raise Corrupt("the compressed answer ended early")

    def _step(self, data: bytes) -> bytes:
        try:
            return self._inflater.decompress(data, PIECE)
        except zlib.error as error:
            if self._gzip or self._given or self._taken != len(data):
                raise Corrupt("the answer's compression is damaged") from error
        # "deflate" without the frame that RFC 9110 8.4.1.2 asks for, as some servers have it.
        self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            return self._inflater.decompress(data, PIECE)
        except zlib.error as error:
            raise Corrupt("the answer's compression is damaged") from error


Body = Plain | Inflated


def body(content_encoding: str | None) -> Body:
    """What reads a body with this Content-Encoding. Raises `Corrupt` for one that nobody asked for or knows."""
    match (content_encoding or "identity").strip().lower():
        case "identity" | "":
            return Plain()
        case "gzip" | "x-gzip":
            return Inflated(gzip=True)
        case "deflate":
            return Inflated(gzip=False)
        case _:
            raise Corrupt("the answer is compressed in a way that is not known here")
