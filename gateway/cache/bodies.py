"""Reading a document that is to be kept, in the pieces a backend stores it in. Counts; knows no backend."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from gateway.cache import Body, Record


class Incomplete(Exception):
    """The body gave fewer bytes than it has."""


def fits(record: Record, body: Body, limit: int) -> bool:
    """Whether record and body speak of the same document, and it has at most `limit` bytes."""
    return record.descriptor.size == body.size <= limit


async def pieces(body: Body, length: int) -> AsyncGenerator[bytes, None]:
    """All of `body` in pieces of `length` bytes, the last one shorter. Raises `Incomplete` and what `body` raises."""
    for offset in range(0, body.size, length):
        wanted = min(length, body.size - offset)
        piece = await body.read(offset, wanted)
        if len(piece) != wanted:
            raise Incomplete
        yield piece
