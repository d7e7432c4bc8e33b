"""Ways to send tokens that are not allowed, good ones included.

Authentication comes before everything else, so what is asked for makes no difference to the answer.
"""

from __future__ import annotations

import base64

import pytest

from tests.integration.archive import outcome
from tests.integration.tokens import EXISTING, UNKNOWN, at, flipped, issuer
from tests.support.issuer import Issuer
from tests.support.raw_http import connect, request
from tests.support.service import Service

attack = pytest.mark.attack

__all__ = ["at", "issuer"]


@pytest.mark.blocking_allowed
@attack("No token", "401 with a challenge that names no error")
@pytest.mark.requirement("CC-05", "CC-20", "FR-155", "TK-13", "CC-25", "GP-97")
async def test_without_a_token_nothing_is_answered(at: Service) -> None:
    basic = base64.b64encode(b"user:password").decode()
    for headers in ({}, {"Authorisation": "Bearer x.y.z"}, {"Authorization": f"Basic {basic}"}, {"Authorization": ""}):
        for target in (
            EXISTING,
            UNKNOWN,
            "/R4/metadata",
            "/R4/Patient/1",
            "/",
            "/R4/Binary/..%2fetc",
            "/R4/Binary?x=1",
        ):
            for method in ("GET", "HEAD", "POST", "DELETE"):
                answer = await at.ask(target, method=method, **headers)
                assert (answer.status, answer.field("WWW-Authenticate")) == (401, 'Bearer realm="fhir"')
                if method != "HEAD":
                    issue = outcome(answer)
                    codings = [coding["code"] for coding in issue["details"]["coding"]]
                    assert (issue["code"], codings) == ("login", ["GW-SEC-001", "ACCESS DENIED"])


@pytest.mark.blocking_allowed
@attack("An empty token", "401")
async def test_an_empty_token_is_refused(at: Service) -> None:
    for value in ("Bearer", "Bearer ", "bearer\t"):
        answer = await at.ask(EXISTING, Authorization=value)
        assert answer.status == 401
        assert 'error="invalid_token"' in (answer.field("WWW-Authenticate") or "")


@pytest.mark.blocking_allowed
@attack("Two Authorization headers, one of them good", "400")
async def test_two_authorization_headers_are_refused(at: Service, issuer: Issuer) -> None:
    good = ("Authorization", f"Bearer {issuer.token()}")
    for fields in ((good, good), (good, ("authorization", "Bearer x")), (("Authorization", "Basic eA=="), good)):
        async with connect(at.host, at.port) as connection:
            await connection.send(request(EXISTING, fields=fields))
            answer = await connection.answer()
        assert answer.status == 400
        assert 'error="invalid_request"' in (answer.field("WWW-Authenticate") or "")
        assert outcome(answer)["details"]["coding"][0]["code"] == "GW-SEC-004"


@pytest.mark.blocking_allowed
@attack("Two tokens in one Authorization header", "401")
async def test_two_tokens_in_one_header_are_refused(at: Service, issuer: Issuer) -> None:
    good = issuer.token()
    for value in (f"Bearer {good}, Bearer {good}", f"Bearer {good} {good}", f"Bearer, {good}"):
        assert (await at.ask(EXISTING, Authorization=value)).status == 401


@pytest.mark.blocking_allowed
@attack("A good token in the query (access_token), alone or beside one in the header", "400")
@pytest.mark.parametrize(
    "name", ["access_token", "ACCESS_TOKEN", "access%5Ftoken", "%61ccess_token", "x=1&access_token"]
)
async def test_a_token_in_the_query_is_refused(at: Service, issuer: Issuer, name: str) -> None:
    token = issuer.token()
    for headers in ({}, {"Authorization": f"Bearer {token}"}):
        answer = await at.ask(f"{EXISTING}?{name}={token}", **headers)
        assert answer.status == 400
        assert outcome(answer)["details"]["coding"][0]["code"] == "GW-SEC-005"
    assert token not in at.log.getvalue()


@pytest.mark.blocking_allowed
@attack("A token with letters outside ASCII", "401")
async def test_a_token_of_other_letters_is_refused(at: Service, issuer: Issuer) -> None:
    good = issuer.token()
    for changed in (good[:-1] + "\u00e9", "\u00ef\u00bb\u00bf" + good, good.replace(".", "\u00b7")):
        assert (await at.ask(EXISTING, Authorization=f"Bearer {changed}")).status == 401


@pytest.mark.blocking_allowed
@attack("A line end in the Authorization header", "no second header, no second log line")
async def test_a_line_end_in_the_header_injects_nothing(at: Service, issuer: Issuer) -> None:
    async with connect(at.host, at.port) as connection:
        bad = b"GET /R4/Binary/letter HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer a\n X-Injected: yes\r\n\r\n"
        await connection.send(bad)
        answer = await connection.answer()
    assert answer.status in (400, 401)
    assert "njected" not in repr(answer.fields) + at.log.getvalue()


@pytest.mark.blocking_allowed
@attack(
    "Conditional requests, ranges and HEAD without a good token", "401, the same for every document; no ETag, no 304"
)
@pytest.mark.requirement("FR-46")
async def test_conditions_tell_nothing_to_those_who_may_not_ask(at: Service, issuer: Issuer) -> None:
    good = {"Authorization": f"Bearer {issuer.token()}"}
    etag = (await at.ask(EXISTING, **good)).field("ETag") or ""
    assert (await at.ask(EXISTING, If_None_Match=etag, **good)).status == 304
    for headers in ({"If_None_Match": etag}, {"If_Match": '"x"'}, {"Range": "bytes=99999-"}, {"If_None_Match": "*"}):
        for method in ("GET", "HEAD"):
            answer = await at.ask(EXISTING, method=method, Authorization=f"Bearer {flipped(issuer.token())}", **headers)
            assert answer.status == 401
            assert answer.field("ETag") is answer.field("Content-Range") is None


@pytest.mark.blocking_allowed
@attack("A request with a body and without a token", "401; the body is not taken for a next request")
async def test_the_body_of_a_refused_request_is_not_a_request(at: Service) -> None:
    hidden = request(EXISTING)
    async with connect(at.host, at.port) as connection:
        fields = (("Content-Length", str(len(hidden))),)
        await connection.send(request(EXISTING, fields=fields, body=hidden))
        assert (await connection.answer()).status == 401
        assert await connection.rest() == b""
