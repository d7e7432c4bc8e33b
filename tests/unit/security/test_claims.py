"""What claims say about who asks: SMART's words, and those of the NHS."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gateway.security.claims import Expectations, check_claims, check_header, identity
from gateway.security.jose import Expired, Parts, Refused

EXPECTED = Expectations(
    issuer="https://i.test", audience=frozenset({"a", "b"}), algorithms=frozenset({"ES256"}), types=frozenset({"jwt"})
)
NHS = Expectations(
    issuer="https://i.test",
    audience=frozenset({"a"}),
    algorithms=frozenset({"RS256"}),
    types=frozenset({"jwt"}),
    claims="nhs",
)
NOW = 1_800_000_000.0
GOOD = {"iss": "https://i.test", "aud": "a", "exp": NOW + 60, "sub": "s"}
NHS_GOOD = {
    **GOOD,
    "reason_for_request": "directcare",
    "requested_scope": "patient/*.read",
    "requesting_system": "https://fhir.nhs.uk/Id/accredited-system|200000000205",
    "requesting_organization": "https://fhir.nhs.uk/Id/ods-organization-code|RXA",
    "requesting_user": "https://fhir.nhs.uk/Id/sds-role-profile-id|4387293874928",
}


@pytest.mark.parametrize("audience", ["a", ["a"], ["x", "b"]])
@pytest.mark.requirement("TK-10")
def test_one_audience_is_enough(audience: Any) -> None:
    assert check_claims({**GOOD, "aud": audience}, EXPECTED, NOW) == NOW + 60


@pytest.mark.parametrize("missing", ["iss", "aud", "exp"])
@pytest.mark.requirement("TK-01", "TK-10")
def test_what_must_be_there_must_be_there(missing: str) -> None:
    with pytest.raises(Refused):
        check_claims({name: value for name, value in GOOD.items() if name != missing}, EXPECTED, NOW)


@pytest.mark.parametrize(
    ("typ", "typed", "good"),
    [("at+jwt", True, True), ("AT+JWT", True, True), ("application/at+jwt", True, True), (None, True, False),
     ("JWT", True, False), (None, False, True), ("dpop+jwt", False, False)],
)  # fmt: skip
def test_a_type_can_be_demanded(typ: str | None, typed: bool, good: bool) -> None:
    header = {"alg": "ES256"} | ({} if typ is None else {"typ": typ})
    expected = replace(EXPECTED, types=frozenset({"at+jwt"}), typed=typed)
    parts = Parts(header, {}, b"", b"")
    if good:
        check_header(parts, expected)
    else:
        with pytest.raises(Refused, match="typ"):
            check_header(parts, expected)


def test_a_clock_that_is_a_little_ahead_is_forgiven_and_an_expiry_never() -> None:
    check_claims({**GOOD, "nbf": NOW + 5, "iat": NOW + 5}, EXPECTED, NOW)
    for name in ("nbf", "iat"):
        with pytest.raises(Refused):
            check_claims({**GOOD, name: NOW + 6}, EXPECTED, NOW)
    with pytest.raises(Expired):
        check_claims({**GOOD, "exp": NOW}, EXPECTED, NOW)


@pytest.mark.parametrize("scope", [{"scope": "system/Binary.r openid"}, {"scope": ["system/Binary.r", "openid"]},
                                   {"scp": ["system/Binary.r", "openid"]}])  # fmt: skip
@pytest.mark.requirement("CC-59")
def test_scopes_are_one_text_or_a_list(scope: dict[str, Any]) -> None:
    assert identity({**GOOD, **scope}, EXPECTED).scopes == {"system/Binary.r", "openid"}


@pytest.mark.parametrize("scope", [5, {"a": 1}, [1, 2], None, ""])
def test_scopes_of_another_kind_are_none(scope: Any) -> None:
    assert identity({**GOOD, "scope": scope}, EXPECTED).scopes == frozenset()


@pytest.mark.parametrize(("given", "meant"), [("123", "123"), ("Patient/123", "123")])
def test_the_patient_is_named_with_or_without_the_type(given: str, meant: str) -> None:
    assert identity({**GOOD, "patient": given}, EXPECTED).patient == meant
    assert identity(GOOD, EXPECTED).patient is None
    with pytest.raises(Refused):
        identity({**GOOD, "patient": ["123"]}, EXPECTED)


def test_the_client_is_whoever_the_token_was_given_to() -> None:
    assert identity({**GOOD, "azp": "pas"}, EXPECTED).client == "pas"
    assert identity({**GOOD, "client_id": "one", "azp": "two"}, EXPECTED).client == "one"
    assert identity(GOOD, EXPECTED).client == "s"
    # An application's own token may have no subject but the application.
    assert identity({"client_id": "pas"}, EXPECTED).subject == "pas"


@pytest.mark.requirement("FR-234", "GP-98", "TK-01", "TK-02", "TK-03", "NR-18", "CC-58", "CC-60")
def test_the_nhs_names_its_scope_otherwise_and_means_patients_in_general() -> None:
    found = identity({**NHS_GOOD, "scope": "system/*.*"}, NHS)
    assert found.scopes == {"user/*.read"}
    assert found.patient is None
    assert found.client == "https://fhir.nhs.uk/Id/accredited-system|200000000205"
    assert identity({**NHS_GOOD, "requested_scope": "organization/*.read"}, NHS).scopes == {"organization/*.read"}
    assert (
        identity({name: value for name, value in NHS_GOOD.items() if name != "requested_scope"}, NHS).scopes
        == frozenset()
    )


@pytest.mark.parametrize("reason", [None, "", "curiosity", ["directcare"], {"a": 1}])
@pytest.mark.requirement("TK-02")
def test_the_nhs_wants_a_reason(reason: Any) -> None:
    with pytest.raises(Refused, match="reason_for_request"):
        identity({**NHS_GOOD, "reason_for_request": reason}, NHS)


@pytest.mark.requirement("NR-18")
def test_a_patient_who_asks_reaches_their_own_documents_alone() -> None:
    claims = {**NHS_GOOD, "reason_for_request": "patientaccess"}
    with pytest.raises(Refused, match="requesting_patient"):
        identity(claims, NHS)
    found = identity({**claims, "requesting_patient": "https://fhir.nhs.uk/Id/nhs-number|9990123456"}, NHS)
    assert (found.patient, found.scopes) == ("9990123456", {"patient/*.read"})
