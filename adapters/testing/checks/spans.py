"""C3 and C4: parts of documents.

Rules of this module: checks only; see `adapters.testing.check`. Empty spans are not asked for: the gateway never does.
"""

from __future__ import annotations

from adapters.contract import Span
from adapters.errors import SpanNotSatisfiable
from adapters.testing.check import SPANS, Violation, capabilities_of, check
from adapters.testing.harness import Harness
from adapters.testing.subject import document, documents, entered, expecting

_SIZE = 300_000


def _inside(size: int) -> list[Span | None]:
    """Spans within an object of `size` bytes, those that do not fit it left out; None is the whole."""
    pairs: list[tuple[int, int | None]] = [(0, None), (0, 1), (0, size), (1, None), (10, 20), (size // 3, size // 2)]
    pairs += [(seam - 1, seam + 1) for seam in (1 << 16, 1 << 17, 3 << 16)]
    pairs += [(size - 1, None), (size - 1, size)]
    return [
        None,
        *(Span(start, stop) for start, stop in pairs if 0 <= start < (size if stop is None else stop) <= size),
    ]


def _clamped(size: int) -> list[Span]:
    """Spans that begin within the object and stop past its end."""
    starts = (0, size + 1), (10, 10**15), (size - 1, size + 100)
    return [Span(start, stop) for start, stop in starts if start < size]


@check("C3.1", cure="compute `Content.span` and the bytes from the same two numbers")
async def the_span_says_what_the_chunks_carry(harness: Harness) -> None:
    """The span becomes Content-Range: a viewer puts the bytes where the header says."""
    given = await document(harness, _SIZE)
    size = len(given.data)
    async with entered(harness) as subject:
        for asked in _inside(size):
            content, got = await subject.read(given.locator, asked)
            told = content.span.within(size)
            if got != given.data[told.start : told.stop]:
                raise Violation(
                    f"asked for {_text(asked)}, `Content.span` says {_text(content.span)}, "
                    f"and the {len(got)} bytes that came are others"
                )


@check("C3.2", cure="honour `start` and `stop` (half-open), or declare spans=False and return the whole")
async def a_span_is_honoured_as_declared(harness: Harness) -> None:
    """The gateway asks for a part only when the adapter says that it can, and slices by itself when it cannot."""
    spans = capabilities_of(harness).spans
    given = await document(harness, _SIZE)
    size = len(given.data)
    async with entered(harness) as subject:
        for asked in _inside(size):
            async with subject.open(given.locator, asked) as content:
                due = (asked if spans and asked else Span(0)).within(size)
                if content.span.within(size) != due:
                    raise Violation(
                        f"declared spans={spans}, asked for {_text(asked)}: "
                        f"{_text(due)} is due and {_text(content.span)} came"
                    )


@check("C4.1", cure="before the `yield`: if span.start >= size, raise SpanNotSatisfiable(size)", needs=[SPANS])
async def a_span_past_the_end_is_refused(harness: Harness) -> None:
    """The client must learn the real size (416), not receive an empty document that looks like a good one."""
    async with entered(harness) as subject:
        for given in await documents(harness, _SIZE, 0):
            size = len(given.data)
            for asked in (Span(size), Span(size, size + 1), Span(10**15)):
                doing = f"entering `open` for {_text(asked)} of {size} bytes"
                with expecting(SpanNotSatisfiable, doing=doing):
                    try:
                        async with subject.open(given.locator, asked):
                            pass
                    except SpanNotSatisfiable as error:
                        if error.size != size:
                            raise Violation(f"{doing} raised SpanNotSatisfiable({error.size})") from error
                        raise


@check("C4.2", cure="clamp with `span.within(size)`", needs=[SPANS])
async def a_stop_past_the_end_is_clamped(harness: Harness) -> None:
    """Viewers ask for fixed blocks; the last block of nearly every document reaches past its end."""
    given = await document(harness, _SIZE)
    size = len(given.data)
    async with entered(harness) as subject:
        for asked in _clamped(size):
            content, got = await subject.read(given.locator, asked)
            if content.span.within(size) != asked.within(size) or got != given.data[asked.start :]:
                raise Violation(
                    f"asked for {_text(asked)} of {size} bytes: `Content.span` says {_text(content.span)} "
                    f"and {len(got)} bytes came"
                )


def _text(span: Span | None) -> str:
    if span is None:
        return "the whole"
    return f"{span.start}..{'end' if span.stop is None else span.stop}"
