"""Scopes of SMART on FHIR, version 1 and 2, and what they allow on Binary. Pure.

Sources: https://hl7.org/fhir/smart-app-launch/scopes-and-launch-context.html (version 2, and version 1 in its appendix). A
scope that is not understood grants nothing, and none takes away what another grants. A scope with a search restriction
(`system/Binary.rs?category=...`) grants nothing here: Binary has no search parameters to judge it by.
"""

from __future__ import annotations

import re
from enum import Enum
from functools import lru_cache

READ_SCOPE = "system/Binary.r"
"""What a client needs at least; named in the challenge of a 403 (RFC 6750 section 3)."""

MAX_SCOPES = 200
"""Scopes of one caller that are looked at; an issuer that grants more of them is not understood."""

_scope = re.compile(r"(patient|user|system)/([A-Z][A-Za-z]{1,63}|\*)\.(read|write|\*|(?=.)c?r?u?d?s?)").fullmatch


class Reach(Enum):
    """Which documents scopes reach."""

    NOTHING = "nothing"
    PATIENT = "the patient's own"
    EVERYTHING = "every document"


@lru_cache(maxsize=1024)
def reach(scopes: frozenset[str], resource: str = "Binary") -> Reach:
    """How far these scopes let a read (and vread) of `resource` reach."""
    found = Reach.NOTHING
    if len(scopes) > MAX_SCOPES:
        return found
    for scope in scopes:
        context = _reads(scope, resource)
        if context in ("system", "user"):
            return Reach.EVERYTHING
        if context == "patient":
            found = Reach.PATIENT
    return found


def _reads(scope: str, resource: str) -> str | None:
    """The context in which `scope` allows to read `resource`; None when it does not."""
    match = _scope(scope)
    if match is None or match[2] not in (resource, "*"):
        return None
    allowed = match[3]
    # Version 1 says read, write or *; version 2 the letters of create, read, update, delete and search in this order.
    reads = allowed in ("read", "*") or (allowed != "write" and "r" in allowed)
    return match[1] if reads else None
