"""What the claims of a verified token say: whether it is for this service and now, who asks, and what is allowed. Pure.

RFC 7519 section 4.1 for the registered claims, RFC 9068 for access tokens, SMART App Launch for scopes, and the tokens of GP
Connect, NRL and NHS Identity where an issuer is configured for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from gateway.security import Identity
from gateway.security.jose import Expired, Parts, Refused
from gateway.security.scopes import MAX_SCOPES

LONGEST_NAME = 512
"""Characters of a subject or client."""

NHS_NUMBER = "https://fhir.nhs.uk/Id/nhs-number"
"""The system of the patient in the claim requesting_patient (NRL)."""

NHS_REASONS = frozenset({"directcare", "secondaryuses", "patientaccess", "migration"})
"""TK-02 and GP-115."""

_NHS_READS = {
    "patient/*.read": "user/*.read",
    "patient/*.write": "user/*.read",
    "patient/*.*": "user/*.read",
    "patient/Binary.read": "user/Binary.read",
    "patient/Binary.write": "user/Binary.read",
}
"""GP-98: what allows to read documents there. It is about patients in general, unless it is the patient who asks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectations:
    """What is expected of the tokens of one issuer. `leeway` in seconds."""

    issuer: str
    audience: frozenset[str]
    algorithms: frozenset[str]
    types: frozenset[str]
    claims: Literal["smart", "nhs"] = "smart"
    patient_claim: str = "patient"
    leeway: float = 5.0
    typed: bool = False
    """Whether a token without typ is refused."""


def check_header(parts: Parts, expected: Expectations) -> None:
    """Raises `Refused` when the algorithm or the type is not the issuer's."""
    if parts.algorithm not in expected.algorithms:
        raise Refused("the algorithm is not one of this issuer")
    typ = str(parts.header.get("typ", "")).lower().removeprefix("application/")
    if typ not in expected.types and (typ or expected.typed):
        raise Refused("the header typ is of another kind of token")


def check_claims(claims: Mapping[str, Any], expected: Expectations, now: float) -> float:
    """The moment from which the token is no longer good. Raises `Refused`, `Expired`; `now` in seconds since 1970."""
    if claims.get("iss") != expected.issuer:
        raise Refused("iss is another issuer")
    audience = claims.get("aud")
    meant = [audience] if isinstance(audience, str) else audience
    if not isinstance(meant, list) or not all(isinstance(one, str) for one in meant):
        raise Refused("aud is missing")
    if expected.audience.isdisjoint(meant):
        raise Refused("aud is another service")
    exp = _moment(claims, "exp")
    if exp is None:
        raise Refused("exp is missing")
    for name in ("nbf", "iat"):
        moment = _moment(claims, name)
        if moment is not None and moment > now + expected.leeway:
            raise Refused(f"{name} is in the future")
    if "cnf" in claims:
        # RFC 7800: only who proves to have a key may use it, and that proof is not asked for here.
        raise Refused("cnf binds the token to a key, which is not supported")
    if now >= exp:
        raise Expired("exp has passed")
    return exp


def identity(claims: Mapping[str, Any], expected: Expectations) -> Identity:
    """Who asks. Raises `Refused` when the token does not say."""
    client = _name(claims, "client_id", "azp", "requesting_system", "cid", "appid")
    subject = _name(claims, "sub") or client
    if subject is None:
        raise Refused("sub is missing")
    scopes, patient = _nhs(claims) if expected.claims == "nhs" else _smart(claims, expected.patient_claim)
    return Identity(subject, client or subject, scopes, patient, "jwt")


def _smart(claims: Mapping[str, Any], patient_claim: str) -> tuple[frozenset[str], str | None]:
    """OAuth 2.0's `scope` is one text (RFC 8693); some issuers write a list, or call it scp."""
    patient = claims.get(patient_claim)
    if patient is not None:
        patient = patient.removeprefix("Patient/") if isinstance(patient, str) else ""
        if not 0 < len(patient) <= LONGEST_NAME:
            raise Refused("the claim that names the patient names none")
    return _scopes(claims.get("scope", claims.get("scp"))), patient


def _nhs(claims: Mapping[str, Any]) -> tuple[frozenset[str], str | None]:
    """`requested_scope` as scopes of SMART, and the patient when it is the patient who asks (TK-02, NR-18)."""
    reason = claims.get("reason_for_request")
    if not isinstance(reason, str) or reason not in NHS_REASONS:
        raise Refused("reason_for_request is not one of the NHS")
    given = _scopes(claims.get("requested_scope"))
    if reason == "patientaccess":
        system, _, number = str(claims.get("requesting_patient", "")).partition("|")
        if system != NHS_NUMBER or not number:
            raise Refused("requesting_patient is missing, and it is a patient who asks")
        return frozenset(scope for scope in given if not scope.endswith(".write")), number
    return frozenset(_NHS_READS.get(scope, scope) for scope in given), None


def _scopes(given: object) -> frozenset[str]:
    words = given.split() if isinstance(given, str) else given
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        return frozenset()
    return frozenset(words[: MAX_SCOPES + 1])


def _name(claims: Mapping[str, Any], *names: str) -> str | None:
    for name in names:
        value = claims.get(name)
        if isinstance(value, str) and 0 < len(value) <= LONGEST_NAME and value.isprintable():
            return value
    return None


def _moment(claims: Mapping[str, Any], name: str) -> float | None:
    """A NumericDate; None when it is absent. Raises `Refused` for what is no number of seconds."""
    value = claims.get(name)
    if value is None and name not in claims:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 2**53:
        raise Refused(f"{name} is no time")
    return float(value)
