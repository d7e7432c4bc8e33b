"""F: `Content.file`, the short cut past the chunks.

Rules of this module: checks only; see `adapters.testing.check`.
"""

from __future__ import annotations

import os
import stat

from adapters.contract import LocalFile, Span
from adapters.errors import Changed, Corrupt
from adapters.testing.check import FILE, MUTABLE, REPLACE, SPANS, Violation, check
from adapters.testing.harness import Harness
from adapters.testing.subject import chunks_of, document, entered, expecting, sample, seed, settled

_SIZE = 300_001


async def _read(file: LocalFile, offset: int, length: int) -> bytes:
    return await file.read(offset, length)


@check("F.1", cure="read with `os.pread` on the descriptor that was opened, whatever its position", needs=[FILE])
async def the_file_holds_what_the_chunks_carry(harness: Harness) -> None:
    """The gateway takes the file when it can and the chunks when it must; a reader must not notice which."""
    given = await document(harness, _SIZE)
    data, size = given.data, len(given.data)
    async with entered(harness) as subject, subject.open(given.locator) as content:
        file = content.file
        if file is None:
            raise Violation("`Content.file` is not offered")
        facts = os.fstat(file.fd)
        if not stat.S_ISREG(facts.st_mode) or facts.st_size != size:
            raise Violation("`fd` is not the regular file with the document's bytes")
        for offset, stop in ((0, size), (0, 1), (size - 1, size), (size // 3, size // 2), (65_535, 65_537)):
            offset, length = min(offset, size), min(stop, size) - min(offset, size)
            due = data[offset : offset + length]
            if await file.read(offset, length) != due:
                raise Violation(f"`read({offset}, {length})` brought other bytes than the document has there")
            if file.read_now(offset, length) not in (None, due):
                raise Violation(f"`read_now({offset}, {length})` brought neither None nor exactly those bytes")
            view = memoryview(bytearray(length))
            if file.read_into(view, offset) and view != due:
                raise Violation(f"`read_into` said that it filled {length} bytes from {offset}, and they are others")
        if b"".join(await chunks_of(content)) != data:
            raise Violation("the chunks are not the document after the file was read: they share a position")
        file.check()


@check(
    "F.2", cure="offer the whole file for every span; offsets are of the object, not of the span", needs=[FILE, SPANS]
)
async def the_file_is_the_whole_object_for_a_span(harness: Harness) -> None:
    """The gateway adds the span's start itself; added twice, the reader gets another page."""
    given = await document(harness, _SIZE)
    half = len(given.data) // 2
    async with entered(harness) as subject, subject.open(given.locator, Span(half)) as content:
        if content.file is not None and await content.file.read(0, half) != given.data[:half]:
            raise Violation(f"with a span from {half} on, `read(0, {half})` is not the object's first half")


@check("F.3", cure="a short read is an error: raise Changed (or Corrupt), never return fewer bytes", needs=[FILE])
async def a_read_past_the_end_is_an_error(harness: Harness) -> None:
    """A file that was cut while it is sent must not become a short letter."""
    given = await document(harness, _SIZE)
    size = len(given.data)
    async with entered(harness) as subject, subject.open(given.locator) as content:
        if content.file is None:
            raise Violation("`Content.file` is not offered")
        for offset, length in ((size - 1, 2), (size, 1), (size + 100, 10)):
            with expecting(Changed, Corrupt, doing=f"`read({offset}, {length})` of {size} bytes"):
                await _read(content.file, offset, length)
            try:
                got = content.file.read_now(offset, length)
            except (Changed, Corrupt):
                continue
            if got is not None:
                raise Violation(f"`read_now({offset}, {length})` of {size} bytes returned {len(got)} bytes")
            if content.file.read_into(memoryview(bytearray(length)), offset):
                raise Violation(f"`read_into` filled {length} bytes from {offset} of {size} bytes")


@check("F.4", cure="`fstat` the descriptor again: size, mtime, ctime, inode", needs=[FILE, MUTABLE, REPLACE])
async def the_file_notices_a_replacement(harness: Harness) -> None:
    """`check` is asked before the last piece of a body is let go; it is what makes a changed letter break off."""
    locator = await seed(harness, sample(_SIZE))
    for new in (sample(_SIZE, 1), sample(10, 2)):
        async with entered(harness) as subject, subject.open(locator) as content:
            if content.file is None:
                raise Violation("`Content.file` is not offered")
            content.file.check()
            await settled(harness.replace(locator, new))
            with expecting(Changed, doing="`check` after the document was replaced"):
                content.file.check()
