"""An open document is what was asked for and what was announced, or an error: spans, counts, digests, the last piece."""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import aclosing

import hypothesis
import hypothesis.strategies as st
import pytest

from adapters.contract import MAX_CHUNK, Digest, Span
from adapters.errors import AdapterError, Corrupt, SpanNotSatisfiable
from tests.support.odd_source import DATA, bench, in_chunks
from tests.support.scripted import Script

# --- spans -----------------------------------------------------------------------------------------------------------


@hypothesis.given(
    size=st.integers(0, 40),
    cuts=st.lists(st.integers(1, 10), max_size=8),
    start=st.integers(0, 45),
    length=st.none() | st.integers(1, 45),
    known=st.booleans(),
)
async def test_a_span_is_cut_out_of_an_adapter_that_gives_the_whole(
    size: int, cuts: list[int], start: int, length: int | None, known: bool
) -> None:
    data = bytes(range(size))
    span = Span(start, None if length is None else start + length)
    hypothesis.assume(known or (span.stop is not None and span.stop <= size))
    script = Script(in_chunks(data, *cuts), size="true" if known else None)
    async with bench(script) as at:
        if start >= size:
            with pytest.raises(SpanNotSatisfiable) as failed:
                await at.read("a", span)
            assert failed.value.size == size
        else:
            async with at.source.open("a", span) as content:
                assert content.span == (span.within(size) if known else span)
                chunks = [chunk async for chunk in content.chunks]
            assert b"".join(chunks) == data[span.start : span.stop]
            assert all(chunks), "no piece is empty"
        assert at.is_free()


async def test_pulling_stops_with_the_last_byte_wanted() -> None:
    script = Script([b"abcd", b"efgh", asyncio.Event()], size=100)
    async with bench(script) as at:
        assert await at.read("a", Span(2, 8)) == b"cdefgh"
        assert script.pulled == 2


@pytest.mark.parametrize(
    ("asked", "answers"),
    [
        (Span(2, 9), Span(5, 10)),
        (Span(2, 9), Span(0, 6)),
        (Span(2, 9), Span(3, 8)),
        (None, Span(0, 6)),
        (None, Span(1, 10)),
        (Span(0), Span(0, 6)),
    ],
)
async def test_an_answer_to_another_question_is_refused_before_its_first_byte(
    asked: Span | None, answers: Span
) -> None:
    script = Script([b"0123456789"[answers.start : answers.stop]], size=10)
    async with bench(script, answers=answers) as at, at.source.open("a", asked) as content:
        with pytest.raises(Corrupt):
            await anext(content.chunks)
        assert script.pulled == 0


# --- counts and digests ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "script",
    [
        Script([b"abc", b"def"], size=7),
        Script([b"abc", b"def"], size=5),
        Script([b"abc", b"def", b"ghi"], size=6),
        Script([], size=1),
        Script([b"abc"], size=0),
        Script([b"abc", b"", b"def"], size=6),
        Script([b"x" * (MAX_CHUNK + 1)]),
        Script([b"abc", b"def"], digest=Digest("sha256", bytes(32))),
        Script([b"abc", b"def"], size=None, digest=Digest("sha1", bytes(20))),
    ],
    ids=["short", "long", "one too many", "nothing", "something", "empty piece", "huge piece", "digest", "no size"],
)
async def test_a_body_that_is_not_what_was_announced_never_ends_well(script: Script) -> None:
    async with bench(script) as at:
        received = []
        async with at.source.open("a") as content:
            with pytest.raises(Corrupt) as failed:
                async for chunk in content.chunks:
                    received.append(chunk)
        assert failed.value.source == "letters"
        there = sum(len(step) for step in script.steps if isinstance(step, bytes))
        announced = script.size if isinstance(script.size, int) else there
        assert len(b"".join(received)) < max(announced, 1), "the last piece was held back"


async def test_a_piece_that_is_not_the_last_one_waits_for_no_other() -> None:
    never = asyncio.Event()
    async with bench(Script([b"abc", never], size=6)) as at, at.source.open("a") as content:
        async with asyncio.timeout(5):
            assert await anext(content.chunks) == b"abc"


@pytest.mark.parametrize("size", ["true", None])
@pytest.mark.parametrize("algorithm", ["sha1", "sha256"])
async def test_a_digest_that_agrees_lets_the_last_piece_out(algorithm: str, size: str | None) -> None:
    digest = Digest(algorithm, hashlib.new(algorithm, DATA).digest())
    async with bench(Script(in_chunks(DATA, 100, 1), size=size, digest=digest)) as at:
        assert await at.read() == DATA


async def test_a_digest_of_an_unknown_kind_is_the_adapters_fault() -> None:
    async with bench(Script([DATA], digest=Digest("crc-8", bytes(1)))) as at:
        with pytest.raises(AdapterError) as failed:
            await at.read()
        assert failed.value.source == "letters"


async def test_a_part_is_not_held_against_the_digest_of_the_whole() -> None:
    async with bench(Script([DATA], digest=Digest("sha1", bytes(20)))) as at:
        assert await at.read("a", Span(1, 5)) == DATA[1:5]


async def test_chunks_are_closed_with_their_context() -> None:
    script = Script([DATA] * 3)
    async with bench(script) as at:
        async with at.source.open("a") as content, aclosing(content.chunks) as chunks:  # type: ignore[type-var]
            await anext(chunks)
        assert script.left_with == [None]
        assert at.is_free()
