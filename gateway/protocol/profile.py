"""The points where the NHS specifications and FHIR disagree, as data.

One field per conflict that changes an answer; its number is the row of the table of conflicts in the requirements, its
default what the gateway does unless told otherwise. A named profile is a set of these values, and configuration may
change single ones. No other module asks which profile is in force, only for a value.

Rows without a field: 8, 14 and 15 are about who may ask and belong to authentication; 11 (securityContext is off) and
17 (OPTIONS is refused) have one answer in every profile.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

GP_CONNECT_OUTCOME = "https://fhir.nhs.uk/STU3/StructureDefinition/GPConnect-OperationOutcome-1"
SPINE_OUTCOME = "https://fhir.nhs.uk/STU3/StructureDefinition/Spine-OperationOutcome-1"

Form = Literal["native", "envelope"]
"""A document as it is stored, or wrapped in a FHIR Binary."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Profile:
    """One set of answers. Compared by identity: it is made once, at start, and is a key of caches on the hot path.

    Raises `ValueError` when the answers contradict each other.
    """

    no_accept: Form = "native"
    """Row 1. Neither Accept nor `_format` is given; an envelope is then JSON."""

    any_type: Form = "native"
    """Row 2. What a wildcard stands for: the document as stored, or the envelope (JSON unless XML is wanted more)."""

    forms: Literal["both", "native", "envelope"] = "both"
    """Row 3. The forms that exist at all: NRL has no envelope, GP Connect nothing else."""

    other_type: Literal["refuse", "native"] = "refuse"
    """Row 4. Accept names other types than the stored one: refuse (with `not_acceptable`), or send it all the same."""

    unknown_format: Literal[400, 406, 415] = 406
    """Row 5. Status for a `_format` that names no format of this service."""

    generic_type: Literal["match", "envelope"] = "match"
    """Row 6. `application/json`, `text/xml` and the like in Accept: types like any other, or names of the envelope."""

    fhir_stored: Form = "envelope"
    """Row 7. The stored document is itself of a FHIR type and Accept names that type."""

    metadata_accept: Literal["optional", "required"] = "optional"
    """Row 9. Whether a request for the metadata must have Accept; without it the answer is JSON."""

    accept_unknown: Literal["no", "extensions", "elements", "both"] = "no"
    """Row 10. CapabilityStatement.acceptUnknown (STU3 only)."""

    content_location: bool = True
    """Row 12. Whether a read carries Content-Location, the address of the version that was sent."""

    charset: bool = True
    """Row 13. Whether the Content-Type of FHIR resources states `charset=utf-8`. Never added to a stored document's."""

    deleted_status: Literal[410, 404] = 410
    """Row 16. Status for a document that was withdrawn."""

    error_profile: str | None = None
    """Row 18. Canonical address for `meta.profile` of an OperationOutcome; None for plain FHIR with a Spine coding."""

    stu3_fhir_version: Literal["3.0.1", "3.0.2"] = "3.0.1"
    """Row 19. CapabilityStatement.fhirVersion on STU3; 3.0.2 is an errata release."""

    max_document: int | None = None
    """Row 20. Largest document in bytes that is given out; None for no limit."""

    cache_control: str = "no-store"
    """Row 21. Cache-Control of every response, errors included. An ETag is sent beside it in any case."""

    not_acceptable: Literal[406, 415] = 406
    """Row 22. Status when Accept cannot be met."""

    def __post_init__(self) -> None:
        only = self.forms
        if only != "both" and not {self.no_accept, self.any_type} <= {only}:
            raise ValueError(f"forms is {only!r}, so no_accept and any_type must be {only!r} too")
        if only == "native" and self.generic_type == "envelope":
            raise ValueError("forms is 'native', so generic_type must be 'match'")


PROFILES: Mapping[str, Profile] = MappingProxyType(
    {
        "care-connect": Profile(),
        "gp-connect": Profile(
            no_accept="envelope",
            any_type="envelope",
            forms="envelope",
            unknown_format=415,
            generic_type="envelope",
            accept_unknown="both",
            error_profile=GP_CONNECT_OUTCOME,
            max_document=5_000_000,  # GP-08: 5 MB for a read; megabytes, not mebibytes, is the stricter reading
            not_acceptable=415,
        ),
        "nrl": Profile(
            forms="native",
            unknown_format=415,
            fhir_stored="native",
            error_profile=SPINE_OUTCOME,
            not_acceptable=415,
        ),
    }
)
"""The named profiles; "care-connect" is the default."""
