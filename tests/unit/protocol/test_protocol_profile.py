"""The named profiles hold what the table of conflicts says of each specification."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest

from gateway.fhir import Version
from gateway.protocol.profile import PROFILES, Profile

SUGGESTED_DEFAULTS = {
    "no_accept": "native",
    "any_type": "native",
    "forms": "both",
    "other_type": "refuse",
    "unknown_format": 406,
    "generic_type": "match",
    "fhir_stored": "envelope",
    "metadata_accept": "optional",
    "accept_unknown": "no",
    "content_location": True,
    "charset": True,
    "deleted_status": 410,
    "error_profile": None,
    "stu3_fhir_version": "3.0.1",
    "max_document": None,
    "cache_control": "no-store",
    "not_acceptable": 406,
}


def values(profile: Profile) -> dict[str, Any]:
    return {name: getattr(profile, name) for name in profile.__dataclass_fields__}


def test_the_default_profile_is_the_suggested_one() -> None:
    assert values(PROFILES["care-connect"]) == SUGGESTED_DEFAULTS


def test_the_other_profiles_differ_where_the_table_says() -> None:
    differences = {
        name: {key: value for key, value in values(profile).items() if value != SUGGESTED_DEFAULTS[key]}
        for name, profile in PROFILES.items()
    }
    base = "https://fhir.nhs.uk/STU3/StructureDefinition/"
    assert differences == {
        "care-connect": {},
        "gp-connect": {
            "no_accept": "envelope",
            "any_type": "envelope",
            "forms": "envelope",
            "unknown_format": 415,
            "generic_type": "envelope",
            "accept_unknown": "both",
            "error_profile": base + "GPConnect-OperationOutcome-1",
            "max_document": 5_000_000,
            "not_acceptable": 415,
        },
        "nrl": {
            "forms": "native",
            "unknown_format": 415,
            "fhir_stored": "native",
            "error_profile": base + "Spine-OperationOutcome-1",
            "not_acceptable": 415,
        },
    }


@pytest.mark.parametrize(
    "change",
    [
        {"forms": "envelope"},
        {"forms": "envelope", "no_accept": "envelope"},
        {"forms": "native", "no_accept": "envelope"},
        {"forms": "native", "any_type": "envelope"},
        {"forms": "native", "generic_type": "envelope"},
    ],
)
def test_answers_that_contradict_each_other_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="forms is"):
        replace(PROFILES["care-connect"], **change)


def test_profiles_do_not_change() -> None:
    with pytest.raises(FrozenInstanceError):
        PROFILES["nrl"].charset = False  # type: ignore[misc]


def test_a_release_knows_its_names() -> None:
    stu3, r4 = Version.STU3, Version.R4
    assert (stu3.name, stu3.fhir_version, stu3.mime, stu3.content_element) == ("STU3", "3.0.1", "3.0", "content")
    assert (r4.name, r4.fhir_version, r4.mime, r4.content_element) == ("R4", "4.0.1", "4.0", "data")
