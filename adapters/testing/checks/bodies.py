"""C6 and C11: the bytes, all of them, once.

Rules of this module: checks only; see `adapters.testing.check`.
"""

from __future__ import annotations

from adapters.contract import MAX_CHUNK, Content
from adapters.testing.check import CUT, MUTABLE, REPLACE, SEED, Violation, check
from adapters.testing.harness import Harness
from adapters.testing.subject import MiB, chunks_of, documents, entered, entering, first_chunk, sample, seed, settled

_CUT_SIZE = 400_000
_CUTS = (0, 1, 250_001, _CUT_SIZE - 1)


@check(
    "C6.1",
    cure="read to the end of the object; text modes, decoding and trimming have no place in an adapter",
    needs=[SEED],
)
async def documents_come_back_bit_identical(harness: Harness) -> None:
    """A document is evidence; sizes around the adapter's own chunk are where readers lose or repeat bytes."""
    chunk = await _chunk_of(harness)
    async with entered(harness) as subject:
        for size in (0, 1, 2, 3, chunk - 1, chunk, chunk + 1, 2 * chunk, 5 * MiB):
            data = sample(size)
            got = (await subject.read(await seed(harness, data)))[1]
            if got != data:
                raise Violation(
                    f"a document of {size} bytes came back as {len(got)} bytes{_first_difference(data, got)}"
                )


async def _chunk_of(harness: Harness) -> int:
    """The size of the adapter's own chunks."""
    locator = await seed(harness, sample(3 * MiB))
    async with entered(harness) as subject, subject.open(locator) as content:
        return min(max(4, len(await first_chunk(content))), MAX_CHUNK)


def _first_difference(data: bytes, got: bytes) -> str:
    place = next((at for at, (one, other) in enumerate(zip(data, got, strict=False)) if one != other), None)
    return "" if place is None else f", different from byte {place} on"


@check("C6.2", cure="yield `bytes` of 1 to MAX_CHUNK bytes; skip empty pieces, split large ones")
async def chunks_have_the_right_form(harness: Harness) -> None:
    """Memory per reader is a few chunks; an empty chunk looks like the end to some readers."""
    async with entered(harness) as subject:
        for document in await documents(harness, 0, 1, 300_001, 3 * MiB):
            async with subject.open(document.locator) as content:
                for chunk in await chunks_of(content):
                    if type(chunk) is not bytes:
                        raise Violation(f"a chunk is of type {type(chunk).__name__}, not bytes")
                    if not chunk:
                        raise Violation(f"an empty chunk came of a document of {len(document.data)} bytes")
                    if len(chunk) > MAX_CHUNK:
                        raise Violation(f"a chunk has {len(chunk)} bytes; the largest allowed has {MAX_CHUNK}")


@check(
    "C6.3", cure="count what came; if it is less than the span when the archive says 'end', raise Corrupt", needs=[CUT]
)
async def an_early_end_is_an_error(harness: Harness) -> None:
    """A truncated letter that looks whole is the worst fault this product can have."""
    locator = await seed(harness, sample(_CUT_SIZE))
    async with entered(harness) as subject:
        for count in _CUTS:
            async with entering(harness.cut_after(count)):
                try:
                    got = (await subject.read(locator))[1]
                except Violation:
                    raise
                except Exception:  # which errors are right is the business of C9.3  # noqa: S112
                    continue
                if len(got) < _CUT_SIZE:
                    raise Violation(
                        f"the archive broke off after {count} of {_CUT_SIZE} bytes, "
                        f"and the read ended with {len(got)} bytes and no error"
                    )


@check(
    "C6.4",
    cure="look at the handle again after the last byte (fstat), and raise Changed when it differs",
    needs=[MUTABLE, REPLACE],
)
async def a_change_while_reading_is_never_a_mixture(harness: Harness) -> None:
    """Half of the old letter and half of the new one is a letter that nobody wrote."""
    old = sample(3 * MiB + 5)
    for new in (sample(3 * MiB + 5, 1), sample(2 * MiB, 2), sample(10, 3)):
        locator = await seed(harness, old)
        async with entered(harness) as subject:
            try:
                async with subject.open(locator) as content:
                    got = await first_chunk(content)
                    await settled(harness.replace(locator, new))
                    got += b"".join(await chunks_of(content))
            except Violation:
                raise
            except Exception:  # which errors are right is the business of C9.6  # noqa: S112
                continue
            if got != old:
                raise Violation(
                    f"a document of {len(old)} bytes was replaced after its first chunk by one of {len(new)}, "
                    f"and the read ended without error with {len(got)} bytes that are not the old document"
                )


@check("C11.1", cure="retry only until the first chunk has been handed over; after that, raise", needs=[CUT])
async def nothing_is_read_twice(harness: Harness) -> None:
    """Whoever reads again in the middle may repeat bytes, or continue in a document that was replaced."""
    data = sample(_CUT_SIZE)
    locator = await seed(harness, data)
    async with entered(harness) as subject:
        for count in _CUTS:
            got = bytearray()
            async with entering(harness.cut_after(count)):
                try:
                    async with subject.open(locator) as content:
                        await _pull(content, got)
                except Violation:
                    raise
                except Exception:  # noqa: S110 - the bytes before the error are judged
                    pass
            if len(got) > count or not data.startswith(got):
                raise Violation(
                    f"the archive gave {count} bytes before it broke off, and {len(got)} bytes came: "
                    "the adapter read again after the first chunk"
                )


async def _pull(content: Content, into: bytearray) -> None:
    async for chunk in content.chunks:
        into += chunk
        if len(into) > 4 * _CUT_SIZE:
            raise Violation("the chunks do not end")
