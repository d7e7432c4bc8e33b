"""Sizes and durations: what is read, what is refused, and that writing and reading agree."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

from gateway.quantities import duration_text, is_loopback, parse_duration, parse_size, size_text


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        ("17", 17),
        (17, 17),
        ("1B", 1),
        ("10KB", 10_000),
        ("2mb", 2_000_000),
        ("1GB", 10**9),
        ("32MiB", 32 << 20),
        ("1.5 GiB", 3 << 29),
        (" 4 KiB ", 4096),
    ],
)
def test_sizes(text: Any, number: int) -> None:
    assert parse_size(text) == number


@pytest.mark.parametrize("text", ["", "MiB", "-1", "1.5B", "1e3", "32M", "1,5MiB", "12 parsecs", True, None, 1.5, [1]])
def test_what_is_no_size_is_refused_with_the_units(text: Any) -> None:
    with pytest.raises(PydanticCustomError) as refused:
        parse_size(text)
    assert "MiB" in str((refused.value.context or {})["cure"])


@pytest.mark.parametrize(
    ("text", "seconds"), [("250ms", 0.25), ("5s", 5.0), ("2m", 120.0), ("1.5h", 5400.0), ("7d", 604_800.0), ("0s", 0.0)]
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["5", 5, 5.5])
def test_a_duration_without_a_unit_is_told_apart_from_nonsense(text: Any) -> None:
    with pytest.raises(PydanticCustomError) as refused:
        parse_duration(text)
    assert (refused.value.context or {})["cause"] == "This duration has no unit."


@pytest.mark.parametrize("text", ["", "s", "five seconds", "5S", "-5s", "5 min", True, None])
def test_what_is_no_duration_is_refused(text: Any) -> None:
    with pytest.raises(PydanticCustomError) as refused:
        parse_duration(text)
    assert (refused.value.context or {})["cause"] == "This is not a duration."


@given(st.integers(min_value=0, max_value=1 << 50))
def test_a_size_written_is_read_back(number: int) -> None:
    assert parse_size(size_text(number)) == number


@given(st.integers(min_value=0, max_value=10**9))
def test_a_duration_written_is_read_back(milliseconds: int) -> None:
    assert parse_duration(duration_text(milliseconds / 1000)) == pytest.approx(milliseconds / 1000)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost"])
def test_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.org", "localhost.example.org", ""])
def test_not_loopback(host: str) -> None:
    assert not is_loopback(host)
