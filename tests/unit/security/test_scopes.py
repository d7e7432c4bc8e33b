"""Scopes of SMART 1 and 2: what lets a read of Binary pass, and for which documents."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.security.scopes import MAX_SCOPES, Reach, reach

EVERYTHING = [
    "system/Binary.read", "system/Binary.r", "system/Binary.rs", "system/*.read", "system/*.rs", "system/*.*",
    "system/Binary.*", "user/Binary.read", "user/Binary.r", "user/*.rs", "user/*.cruds", "system/Binary.cruds",
    "user/Binary.crud", "system/*.r",
]  # fmt: skip

NOTHING = [
    "", "system/Binary.write", "system/Binary.s", "system/Binary.c", "system/Binary.cud", "system/DocumentReference.rs",
    "system/Binary", "system/Binary.", "system/binary.read", "System/Binary.read", "system/Binary.sr", "system/Binary.rr",
    "system/Binary.readx", "system/Binary.rs?_tag=x", "system/Binary.r ", "launch", "openid", "read", "*", "*/*.*",
    "system/*", "system/Bin*.read", "system//Binary.read", "system/Binary.reаd", "system/Binary.read\n", "user/Patient.read",
    "organization/*.read", "system/Binary.READ",
]  # fmt: skip


@pytest.mark.requirement("FR-227", "FR-228", "FR-229", "FR-230", "FR-231")
@pytest.mark.parametrize("scope", EVERYTHING)
def test_a_scope_that_covers_a_read_reaches_every_document(scope: str) -> None:
    assert reach(frozenset({"openid", scope, "system/Patient.read"})) is Reach.EVERYTHING


@pytest.mark.requirement("FR-227", "FR-228", "FR-230", "FR-233")
@pytest.mark.parametrize("scope", NOTHING)
def test_a_scope_that_covers_none_reaches_nothing(scope: str) -> None:
    assert reach(frozenset({scope})) is Reach.NOTHING
    assert reach(frozenset({scope, "patient/Binary.r"})) is Reach.PATIENT


@pytest.mark.requirement("FR-232")
@pytest.mark.parametrize("scope", ["patient/Binary.read", "patient/*.read", "patient/Binary.rs", "patient/*.cruds"])
def test_a_patients_scope_reaches_that_patient(scope: str) -> None:
    assert reach(frozenset({scope})) is Reach.PATIENT
    assert reach(frozenset({scope, "user/Binary.r"})) is Reach.EVERYTHING


def test_a_caller_with_too_many_scopes_is_not_understood() -> None:
    many = {f"system/Binary.read{number}" for number in range(MAX_SCOPES)}
    assert reach(frozenset({*many, "system/Binary.read"})) is Reach.NOTHING


@given(st.frozensets(st.text(max_size=40), max_size=5))
def test_no_text_is_a_scope_by_chance(scopes: frozenset[str]) -> None:
    assert reach(scopes) is Reach.NOTHING or any("/" in scope and "." in scope for scope in scopes)


@given(st.sampled_from(EVERYTHING), st.text(min_size=1, max_size=3))
def test_nothing_may_be_added_to_a_scope(scope: str, more: str) -> None:
    changed = reach(frozenset({scope + more}))
    assert changed is Reach.NOTHING or scope + more in EVERYTHING or more.strip("cruds") == ""
