"""When a stored document may be used: never later than the operator allowed, never against the archive's word."""

from __future__ import annotations

import inspect
from datetime import UTC, datetime

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from adapters import errors
from adapters.contract import Descriptor, Digest
from gateway.cache import Record
from gateway.cache.policy import CLOCKS_DIFFER, Freshness, Policy, excuses, same_document, withdraws

POLICY = Policy(ttl=100, stale_while_revalidate=50, stale_if_error=200)
FAILURES = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, errors.AdapterError) and kind is not errors.AdapterError
]

seconds = st.floats(0, 1e6)


def stored(at: float) -> Record:
    return Record(Descriptor(1), None, at)


@pytest.mark.parametrize(
    ("age", "freshness"),
    [
        (-CLOCKS_DIFFER - 1, Freshness.OVER),
        (-CLOCKS_DIFFER, Freshness.FRESH),
        (0, Freshness.FRESH),
        (99.9, Freshness.FRESH),
        (100, Freshness.REFRESHED),
        (149.9, Freshness.REFRESHED),
        (150, Freshness.KEPT),
        (299.9, Freshness.KEPT),
        (300, Freshness.OVER),
        (1e12, Freshness.OVER),
    ],
)
def test_an_entry_ages(age: float, freshness: Freshness) -> None:
    assert POLICY.freshness(stored(1e9), 1e9 + age) is freshness


@given(ttl=seconds, swr=seconds, sie=seconds, age=st.floats(-1e7, 1e7))
def test_nothing_is_used_beyond_what_is_allowed(ttl: float, swr: float, sie: float, age: float) -> None:
    policy = Policy(ttl=ttl, stale_while_revalidate=swr, stale_if_error=sie)
    freshness = policy.freshness(stored(0.0), age)
    match freshness:
        case Freshness.FRESH:
            assert -CLOCKS_DIFFER <= age < ttl
        case Freshness.REFRESHED:
            assert ttl <= age < ttl + swr
        case Freshness.KEPT:
            assert ttl + swr <= age < ttl + sie
        case Freshness.OVER:
            assert age < -CLOCKS_DIFFER or age >= max(ttl + swr, ttl + sie, ttl)
    if freshness is not Freshness.OVER:
        assert age < policy.keep


@pytest.mark.parametrize("kind", FAILURES, ids=lambda kind: kind.__name__)
def test_only_an_archive_that_could_not_be_asked_is_excused(kind: type[errors.AdapterError]) -> None:
    error = kind(5) if kind is errors.SpanNotSatisfiable else kind("said so")  # type: ignore[call-arg, arg-type]
    assert excuses(error) == (kind.__name__ in {"Unavailable", "Busy", "TimedOut"})
    assert withdraws(error) == (kind.__name__ in {"NotFound", "Deleted", "InvalidLocator", "AccessDenied"})
    assert not (excuses(error) and withdraws(error))


descriptors = st.builds(
    Descriptor,
    size=st.none() | st.integers(0, 1),
    modified=st.none() | st.sampled_from([datetime(2020, 1, day, tzinfo=UTC) for day in (1, 2)]),
    digest=st.none() | st.sampled_from([Digest("sha1", b"1"), Digest("sha1", b"2"), Digest("sha256", b"1")]),
    version=st.none() | st.sampled_from("12"),
    validator=st.none() | st.sampled_from("12"),
)


@given(kept=descriptors, now=descriptors)
def test_a_document_is_the_same_when_nothing_speaks_against_it_and_something_for_it(
    kept: Descriptor, now: Descriptor
) -> None:
    stated = [
        (getattr(kept, name), getattr(now, name))
        for name in ("version", "validator", "digest", "size", "modified")
        if getattr(kept, name) is not None and getattr(now, name) is not None
    ]
    strong = any(getattr(kept, name) and getattr(now, name) for name in ("version", "validator", "digest"))
    assert same_document(kept, now) == (strong and all(was == is_now for was, is_now in stated))
    assert same_document(kept, now) == same_document(now, kept)


@given(descriptor=descriptors)
def test_a_document_is_the_same_as_itself_when_anything_tells(descriptor: Descriptor) -> None:
    assume(descriptor.version or descriptor.validator or descriptor.digest)
    assert same_document(descriptor, descriptor)
    assert not same_document(Descriptor(1), Descriptor(1)), "size alone tells nothing"
