"""Who asks, and whether they may.

Here stands only what every other room may know of a caller; what proves it, and what follows from it, is in the modules
beside this one.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Identity:
    """Who asks.

    `subject` and `client` are opaque strings, never patient data. `patient` is the one patient that the caller's grant is
    for, None when it is for no single one. `method` is one of none, bearer, jwt, mtls.
    """

    subject: str
    client: str
    scopes: frozenset[str]
    patient: str | None = None
    method: str = "none"


ANONYMOUS = Identity("anonymous", "anonymous", frozenset({"system/*.read"}), method="none")
"""The caller where nobody has to say who they are."""
