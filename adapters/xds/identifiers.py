"""The identifiers of XDS as people and products write them, and in the one form that this package compares.

Rules of this module: pure. `bare` is what is configured and compared; the other forms are what a partner wants to see on
the wire (a repositoryUniqueId with `urn:oid:`, a DocumentUniqueId that is a UUID with `urn:uuid:`).
"""

from __future__ import annotations

import re
from typing import Literal

_OID = "urn:oid:"
_uuid = re.compile(r"(?:urn:uuid:)?([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})", re.IGNORECASE).fullmatch


def bare(identifier: str) -> str:
    """`identifier` without blanks around it and without `urn:oid:`, which some products write twice."""
    identifier = identifier.strip()
    while identifier[: len(_OID)].lower() == _OID:
        identifier = identifier[len(_OID) :]
    return identifier


def same_document(one: str, other: str) -> bool:
    """Whether two DocumentUniqueIds are one: blanks, `urn:` and the letter case of a UUID say nothing."""
    return bool(one) and _plain(one) == _plain(other)


def _plain(identifier: str) -> str:
    identifier = bare(identifier)
    found = _uuid(identifier)
    return found[1].lower() if found else identifier


def home_on_the_wire(home: str) -> str:
    """A homeCommunityId as requests have it: `urn:oid:` and the OID (IHE ITI TF-3, 4.2.3.2.12)."""
    return _OID + home


def repository_on_the_wire(repository: str, style: Literal["bare", "urn"]) -> str:
    """A repositoryUniqueId as this partner wants it."""
    return _OID + repository if style == "urn" else repository


def document_on_the_wire(document: str, style: Literal["as_given", "urn_uuid"]) -> str:
    """A DocumentUniqueId as this partner wants it; what is no UUID stays as it is."""
    found = _uuid(document) if style == "urn_uuid" else None
    return f"urn:uuid:{found[1].lower()}" if found else document
