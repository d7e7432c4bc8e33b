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
from adapters.testing.subject import chunks_of, entered, expecting, sample, seed, settled

_SIZE = 300_001


async def _read(file: LocalFile, offset: int, length: int) -> bytes:
    return await file.read(offset, length)


@check("F.1", cure="read with `os.pread` on the descriptor that was opened, whatever its position", needs=[FILE])
async def the_file_holds_what_the_chunks_carry(harness: Harness) -> None:
    """The gateway takes the file when it can and the chunks when it must; a reader must not notice which."""
    data = sample(_SIZE)
    locator = await seed(harness, data)
    async with entered(harness) as subject, subject.open(locator) as content:
        file = content.file
        if file is None:
            raise Violation("`Content.file` is not offered")
        facts = os.fstat(file.fd)
        if not stat.S_ISREG(facts.st_mode) or facts.st_size != _SIZE:
            raise Violation("`fd` is not the regular file with the document's bytes")
        for offset, length in ((0, _SIZE), (0, 1), (_SIZE - 1, 1), (100_000, 70_000), (65_535, 2)):
            due = data[offset : offset + length]
            if await file.read(offset, length) != due:
                raise Violation(f"`read({offset}, {length})` brought other bytes than the document has there")
            if file.read_now(offset, length) not in (None, due):
                raise Violation(f"`read_now({offset}, {length})` brought neither None nor exactly those bytes")
        if b"".join(await chunks_of(content)) != data:
            raise Violation("the chunks are not the document after the file was read: they share a position")
        file.check()


@check(
    "F.2", cure="offer the whole file for every span; offsets are of the object, not of the span", needs=[FILE, SPANS]
)
async def the_file_is_the_whole_object_for_a_span(harness: Harness) -> None:
    """The gateway adds the span's start itself; added twice, the reader gets another page."""
    data = sample(_SIZE)
    locator = await seed(harness, data)
    async with entered(harness) as subject, subject.open(locator, Span(1000, 2000)) as content:
        if content.file is not None and await content.file.read(10, 20) != data[10:30]:
            raise Violation("with a span given, `read(10, 20)` is not bytes 10 to 30 of the object")


@check("F.3", cure="a short read is an error: raise Changed (or Corrupt), never return fewer bytes", needs=[FILE])
async def a_read_past_the_end_is_an_error(harness: Harness) -> None:
    """A file that was cut while it is sent must not become a short letter."""
    locator = await seed(harness, sample(_SIZE))
    async with entered(harness) as subject, subject.open(locator) as content:
        if content.file is None:
            raise Violation("`Content.file` is not offered")
        for offset, length in ((_SIZE - 1, 2), (_SIZE, 1), (_SIZE + 100, 10)):
            with expecting(Changed, Corrupt, doing=f"`read({offset}, {length})` of {_SIZE} bytes"):
                await _read(content.file, offset, length)
            try:
                got = content.file.read_now(offset, length)
            except (Changed, Corrupt):
                continue
            if got is not None:
                raise Violation(f"`read_now({offset}, {length})` of {_SIZE} bytes returned {len(got)} bytes")


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
