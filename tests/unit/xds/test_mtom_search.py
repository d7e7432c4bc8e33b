"""Looking for a boundary: the C library's search must decide nothing that `bytes.find` would decide otherwise."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.xds.mtom import search
from adapters.xds.mtom.search import SHORTEST, find

NEAR = st.lists(st.sampled_from([b"\r\n--b", b"\r\n--", b"\r", b"\n", b"-", b"b", b"\0", b"x"]), max_size=60).map(
    b"".join
)


def test_this_platform_has_the_search() -> None:
    assert search._search is not None


@pytest.mark.parametrize("library", [True, False])
@given(NEAR, NEAR, st.integers(0, SHORTEST + 400))
def test_it_answers_as_find_does(library: bool, before: bytes, behind: bytes, start: int) -> None:
    data = before + bytes(SHORTEST) + behind
    with pytest.MonkeyPatch.context() as patch:
        if not library:
            patch.setattr(search, "_search", None)
        for wanted in (b"\r\n--b", b"\r\n--b\0", b"\0\0\0b"):
            assert find(data, wanted, start) == data.find(wanted, start)


@pytest.mark.parametrize("size", [0, 1, SHORTEST - 1, SHORTEST, SHORTEST + 1, 3 * SHORTEST])
def test_at_the_very_end_and_not_behind_it(size: int) -> None:
    data = bytes(size) + b"\r\n--b"
    assert find(data, b"\r\n--b") == size
    assert find(data, b"\r\n--b", size) == size
    assert find(data, b"\r\n--b", size + 1) == -1
    assert find(data[:-1], b"\r\n--b") == -1
