"""Every Cache-Status is one member that RFC 9211 allows, and says whether the archive was asked."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.protocol import cache_status
from gateway.protocol.cache_status import BYPASS, CACHE, COLLAPSED, MISS, OUTDATED, CacheStatus

TOKEN = r"[A-Za-z*][!#$%&'*+.^_`|~0-9A-Za-z:/-]*"
"""A token of RFC 9651 3.3.4."""

PARAMETERS = {
    "hit": "",
    "fwd": "bypass|method|uri-miss|vary-miss|miss|request|stale|partial",
    "fwd-status": r"[1-5]\d\d",
    "ttl": r"-?\d{1,15}",
    "stored": "",
    "collapsed": "",
    "key": r'"[^"\\]*"',
    "detail": TOKEN,
}
"""Those of RFC 9211 2, and what their values may be."""


def parameters(status: CacheStatus) -> dict[str, str]:
    name, *rest = status.header.split("; ")
    assert name == CACHE
    assert re.fullmatch(TOKEN, name)
    found = {}
    for one in rest:
        parameter, _, value = one.partition("=")
        assert re.fullmatch(PARAMETERS[parameter], value), one
        assert parameter not in found
        found[parameter] = value
    assert ("hit" in found) != ("fwd" in found), "one of both, never both (RFC 9211 2.2)"
    return found


@given(ttl=st.floats(-1e9, 1e9))
def test_what_came_from_the_cache_says_for_how_long_it_is_fresh(ttl: float) -> None:
    for status in (cache_status.hit(ttl), cache_status.stale(ttl)):
        found = parameters(status)
        assert abs(int(found["ttl"]) - ttl) < 1
        assert ("detail" in found) == (status.word == "stale")


@pytest.mark.parametrize(
    ("status", "forwarded"),
    [(MISS, "uri-miss"), (COLLAPSED, "uri-miss"), (OUTDATED, "stale"), (BYPASS, "bypass")],
    ids=lambda value: getattr(value, "word", value),
)
def test_what_came_from_the_archive_says_why(status: CacheStatus, forwarded: str) -> None:
    found = parameters(status)
    assert found["fwd"] == forwarded
    assert ("collapsed" in found) == (status is COLLAPSED)
