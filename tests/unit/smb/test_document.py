"""A server's facts as those of a document, and when a file is no longer the one that was opened."""

from __future__ import annotations

import datetime
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.errors import Busy, Unsupported
from adapters.smb.document import EPOCH, TICKS, descriptor, refuse_stand_in, refuse_unsettled, unchanged
from adapters.smb.share import Facts

UNSIGNED = st.integers(0, 2**64 - 1)
FACTS = st.builds(
    Facts,
    UNSIGNED,
    UNSIGNED,
    UNSIGNED,
    UNSIGNED,
    st.integers(0, 2**32 - 1),
    st.sampled_from([b"", b"1" * 32, b"2" * 32]),
)
LETTER = Facts(
    size=1000,
    created=EPOCH,
    written=EPOCH + 1_700_000_000 * TICKS + 1_234_567,
    changed=EPOCH + 1_700_000_001 * TICKS,
    attributes=0x20,
    disk_id=b"7" * 32,
)


def test_facts_become_those_of_a_document() -> None:
    found = descriptor(LETTER)
    assert found.size == 1000
    assert found.modified == datetime.datetime(2023, 11, 14, 22, 13, 20, tzinfo=datetime.UTC)
    assert found.version
    assert found.validator
    assert (found.media_type, found.title, found.digest) == (None, None, None)


@pytest.mark.parametrize("name", [field.name for field in fields(Facts)])
def test_the_version_moves_with_the_bytes_and_the_validator_with_any_change(name: str) -> None:
    other = replace(LETTER, **{name: b"8" * 32 if name == "disk_id" else getattr(LETTER, name) + 1})
    before, after = descriptor(LETTER), descriptor(other)
    assert (before.version != after.version) == (name in ("size", "written", "disk_id"))
    assert (before.validator != after.validator) == (name in ("size", "written", "disk_id", "changed"))


@given(FACTS, FACTS)
def test_equal_versions_are_equal_documents(one: Facts, other: Facts) -> None:
    same = (one.size, one.written, one.disk_id) == (other.size, other.written, other.disk_id)
    assert (descriptor(one).version == descriptor(other).version) == same


@given(FACTS)
def test_no_time_of_a_server_is_too_odd(facts: Facts) -> None:
    found = descriptor(facts)
    assert found.modified is None or found.modified.utcoffset() == datetime.timedelta(0)
    assert found.version is not None
    assert found.version.isprintable()


def test_a_time_that_the_server_does_not_keep_is_not_stated() -> None:
    assert descriptor(replace(LETTER, written=0)).modified is None


@pytest.mark.parametrize("name", ["size", "written", "changed"])
def test_a_file_that_moved_is_not_what_was_opened(name: str) -> None:
    closing = replace(LETTER, disk_id=b"", created=1, attributes=0x80)
    assert unchanged(LETTER, closing)
    for step in (1, -1):
        assert not unchanged(LETTER, replace(closing, **{name: getattr(LETTER, name) + step}))


def test_another_file_is_not_what_was_opened() -> None:
    assert unchanged(LETTER, LETTER)
    assert not unchanged(LETTER, replace(LETTER, disk_id=b"8" * 32))


@pytest.mark.parametrize("attributes", [0x400, 0x420, 0x1600])
def test_a_file_that_stands_for_another_is_refused_with_the_option(attributes: int) -> None:
    with pytest.raises(Unsupported, match="reparse_points: serve"):
        refuse_stand_in(replace(LETTER, attributes=attributes))


@pytest.mark.parametrize("attributes", [0x20, 0x80, 0x1, 0x1000, 0x2000, 0x200])
def test_other_attributes_are_nobodys_business(attributes: int) -> None:
    refuse_stand_in(replace(LETTER, attributes=attributes))


@pytest.mark.parametrize(
    ("age", "busy"), [(0.0, True), (4.5, True), (5.5, False), (-2.0, True), (-400.0, False), (1e9, False)]
)
def test_a_young_document_waits_for_its_writer(age: float, busy: bool) -> None:
    now = (LETTER.written - EPOCH) / TICKS + age
    if busy:
        with pytest.raises(Busy) as refused:
            refuse_unsettled(LETTER, 5.0, now)
        assert refused.value.retry_after == 5.0
    else:
        refuse_unsettled(LETTER, 5.0, now)
