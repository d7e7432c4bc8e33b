"""Who asks, and what they may read.

Rules of this package: nothing below the pipeline runs before `authentication` has said who asks (DESIGN: one request, step
2). Every way to prove an identity is an `Authenticator` of its own, and none knows another. What is decided here is decided on
facts that were verified; what a token merely says about itself is used to choose a key, and for nothing else. No token, key or
claim reaches a log line, an error or an exception's text.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Identity:
    """Who asks. `subject` and `client` are opaque strings (never patient data), `scopes` are those of SMART on FHIR.

    `patient` is the patient in whose context the client acts, None for none; it is compared and never shown. `method` is one
    of none, bearer, jwt, mtls.
    """

    subject: str
    client: str
    scopes: frozenset[str]
    patient: str | None = None
    method: str = "none"


ANONYMOUS = Identity("anonymous", "anonymous", frozenset({"system/*.read"}), method="none")
"""Everybody, where nobody is asked who they are."""
