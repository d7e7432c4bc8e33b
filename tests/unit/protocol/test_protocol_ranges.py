"""Range: one part or the whole, never an error but for a part that does not exist (RFC 9110 section 14)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.contract import Span
from gateway.protocol import ranges
from gateway.protocol.ranges import ByteRange, Part, Unsatisfiable


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-499", ByteRange(Span(0, 500))),
        ("bytes=0-0", ByteRange(Span(0, 1))),
        ("bytes=500-", ByteRange(Span(500))),
        ("bytes=-500", ByteRange(None, 500)),
        ("bytes=-0", ByteRange(None, 0)),
        ("BYTES=0-499", ByteRange(Span(0, 500))),
        ("bytes= 0-499 ", ByteRange(Span(0, 500))),
        ("bytes=,0-499,", ByteRange(Span(0, 500))),
        ("bytes=007-09", ByteRange(Span(7, 10))),
        ("bytes=18446744073709551615-", ByteRange(Span(2**64 - 1))),
    ],
)
def test_a_single_range_is_read(header: str, expected: ByteRange) -> None:
    assert ranges.parse(header) == expected


@pytest.mark.requirement("FR-132")
@pytest.mark.parametrize("header", ["bytes=0-1,5-6", "bytes=0-0, -1", "bytes=0-,0-,0-", "bytes=0-1, bytes=3-4"])
def test_several_ranges_are_ignored(header: str) -> None:
    assert ranges.parse(header) is None


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=--5",
        "bytes=5",
        "bytes=a-b",
        "bytes=9-3",
        "bytes=9-8",
        "bytes=1-2-3",
        "bytes=+1-2",
        "bytes=1_0-2_0",
        "bytes=0x10-",
        "bytes=1.5-",
        "bytes=0 - 9",
        "bytes=١-٢",
        "bytes=²-",
        "items=0-5",
        "seconds=1-2",
        " =0-5",
        "bytes:0-5",
        "bytes=" + "9" * 21 + "-",
        "bytes=0-" + "9" * 5000,
        "bytes=-" + "0" * 21,
    ],
)
def test_what_is_no_single_byte_range_is_ignored(header: str | None) -> None:
    assert ranges.parse(header) is None


@pytest.mark.parametrize(
    ("header", "size", "first", "last"),
    [
        ("bytes=0-499", 1000, 0, 499),
        ("bytes=0-4999", 1000, 0, 999),
        ("bytes=999-", 1000, 999, 999),
        ("bytes=-1", 1000, 999, 999),
        ("bytes=-500", 1000, 500, 999),
        ("bytes=-5000", 1000, 0, 999),
        ("bytes=0-0", 1, 0, 0),
        ("bytes=3-18446744073709551615", 10, 3, 9),
    ],
)
def test_a_part_is_named_in_content_range(header: str, size: int, first: int, last: int) -> None:
    asked = ranges.parse(header)
    assert asked is not None
    part = ranges.resolve(asked, size)
    assert isinstance(part, Part)
    assert ranges.content_range(part) == f"bytes {first}-{last}/{size}"


@pytest.mark.parametrize(
    ("header", "size"),
    [
        ("bytes=1000-", 1000),
        ("bytes=1000-2000", 1000),
        ("bytes=99999999999999999999-", 1000),
        ("bytes=-0", 1000),
        ("bytes=0-", 0),
        ("bytes=0-0", 0),
        ("bytes=-5", 0),
        ("bytes=-0", 0),
    ],
)
def test_a_part_that_does_not_exist_is_unsatisfiable(header: str, size: int) -> None:
    asked = ranges.parse(header)
    assert asked is not None
    assert ranges.resolve(asked, size) == Unsatisfiable(size)
    assert ranges.unsatisfied_range(size) == f"bytes */{size}"


def test_only_a_range_from_the_start_can_be_opened_before_the_size_is_known() -> None:
    explicit, suffix = ranges.parse("bytes=5-9"), ranges.parse("bytes=-5")
    assert explicit is not None
    assert suffix is not None
    assert explicit.span == Span(5, 10)
    assert suffix.span is None


positions = st.integers(min_value=0, max_value=40)


@given(st.binary(max_size=30), positions, st.none() | positions)
def test_a_range_gives_the_bytes_of_the_slice(data: bytes, first: int, last: int | None) -> None:
    asked = ranges.parse(f"bytes={first}-{'' if last is None else last}")
    if last is not None and last < first:
        assert asked is None
        return
    assert asked is not None
    expected = data[first:] if last is None else data[first : last + 1]
    part = ranges.resolve(asked, len(data))
    got = data[part.span.start : part.span.stop] if isinstance(part, Part) else b""
    assert got == expected


@given(st.binary(max_size=30), positions)
def test_a_suffix_gives_the_last_bytes(data: bytes, suffix: int) -> None:
    asked = ranges.parse(f"bytes=-{suffix}")
    assert asked is not None
    part = ranges.resolve(asked, len(data))
    got = data[part.span.start : part.span.stop] if isinstance(part, Part) else b""
    assert got == (data[-suffix:] if suffix else b"")


@given(
    st.text() | st.from_regex(r"[bB]ytes=[ ,]?[0-9]{0,22}-[0-9]{0,22}[ ,]?", fullmatch=True),
    st.integers(0, 2**70) | st.integers(0, 50),
)
def test_a_part_always_lies_in_the_document(header: str, size: int) -> None:
    asked = ranges.parse(header)
    if asked is None:
        return
    part = ranges.resolve(asked, size)
    if isinstance(part, Part):
        assert part.size == size
        assert part.span.stop is not None
        assert 0 <= part.span.start < part.span.stop <= size
