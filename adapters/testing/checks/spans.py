"""C3 and C4: parts of documents.

Rules of this module: checks only; see `adapters.testing.check`. Empty spans are not asked for: the gateway never does.
"""

from __future__ import annotations

from adapters.contract import Span
from adapters.errors import SpanNotSatisfiable
from adapters.testing.check import SPANS, Violation, capabilities_of, check
from adapters.testing.harness import Harness
from adapters.testing.subject import entered, expecting, sample, seed

_SIZE = 300_000
_INSIDE = [
    None,
    Span(0),
    Span(0, 1),
    Span(0, _SIZE),
    Span(1),
    Span(10, 20),
    Span(65_535, 65_537),
    Span(131_071, 131_073),
    Span(196_607, 196_609),
    Span(100_000, 250_000),
    Span(_SIZE - 1),
    Span(_SIZE - 1, _SIZE),
]
_CLAMPED = [Span(0, _SIZE + 1), Span(10, 10**15), Span(_SIZE - 1, _SIZE + 100)]


@check("C3.1", cure="compute `Content.span` and the bytes from the same two numbers")
async def the_span_says_what_the_chunks_carry(harness: Harness) -> None:
    """The span becomes Content-Range: a viewer puts the bytes where the header says."""
    data = sample(_SIZE)
    locator = await seed(harness, data)
    async with entered(harness) as subject:
        for asked in _INSIDE:
            content, got = await subject.read(locator, asked)
            told = content.span.within(len(data))
            if got != data[told.start : told.stop]:
                raise Violation(
                    f"asked for {_text(asked)}, `Content.span` says {_text(content.span)}, "
                    f"and the {len(got)} bytes that came are others"
                )


@check("C3.2", cure="honour `start` and `stop` (half-open), or declare spans=False and return the whole")
async def a_span_is_honoured_as_declared(harness: Harness) -> None:
    """The gateway asks for a part only when the adapter says that it can, and slices by itself when it cannot."""
    spans = capabilities_of(harness).spans
    locator = await seed(harness, sample(_SIZE))
    async with entered(harness) as subject:
        for asked in _INSIDE:
            async with subject.open(locator, asked) as content:
                due = (asked if spans and asked else Span(0)).within(_SIZE)
                if content.span.within(_SIZE) != due:
                    raise Violation(
                        f"declared spans={spans}, asked for {_text(asked)}: "
                        f"{_text(due)} is due and {_text(content.span)} came"
                    )


@check("C4.1", cure="before the `yield`: if span.start >= size, raise SpanNotSatisfiable(size)", needs=[SPANS])
async def a_span_past_the_end_is_refused(harness: Harness) -> None:
    """The client must learn the real size (416), not receive an empty document that looks like a good one."""
    async with entered(harness) as subject:
        for size, spans in ((_SIZE, (Span(_SIZE), Span(_SIZE, _SIZE + 1), Span(10**15))), (0, (Span(0), Span(0, 1)))):
            locator = await seed(harness, sample(size))
            for asked in spans:
                doing = f"entering `open` for {_text(asked)} of {size} bytes"
                with expecting(SpanNotSatisfiable, doing=doing):
                    try:
                        async with subject.open(locator, asked):
                            pass
                    except SpanNotSatisfiable as error:
                        if error.size != size:
                            raise Violation(f"{doing} raised SpanNotSatisfiable({error.size})") from error
                        raise


@check("C4.2", cure="clamp with `span.within(size)`", needs=[SPANS])
async def a_stop_past_the_end_is_clamped(harness: Harness) -> None:
    """Viewers ask for fixed blocks; the last block of nearly every document reaches past its end."""
    data = sample(_SIZE)
    locator = await seed(harness, data)
    async with entered(harness) as subject:
        for asked in _CLAMPED:
            content, got = await subject.read(locator, asked)
            if content.span.within(_SIZE) != asked.within(_SIZE) or got != data[asked.start :]:
                raise Violation(
                    f"asked for {_text(asked)} of {_SIZE} bytes: `Content.span` says {_text(content.span)} "
                    f"and {len(got)} bytes came"
                )


def _text(span: Span | None) -> str:
    if span is None:
        return "the whole"
    return f"{span.start}..{'end' if span.stop is None else span.stop}"
