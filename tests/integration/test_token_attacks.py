"""Tokens that are not good.

Each is sent over a socket to a gateway that was put together from a configuration, whose issuer is a real one. Whatever is
wrong, the answer is the same for a document that exists and for one that does not, and no piece of the token is in it or in
the log.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import OctKey

from tests.integration.archive import composed, outcome
from tests.integration.tokens import EXISTING, UNKNOWN, at, b64, flipped, issuer
from tests.support.issuer import AUDIENCE, Issuer, ec_key, publishing, rsa_key, signed
from tests.support.raw_http import Answer, connect, request
from tests.support.service import Service

attack = pytest.mark.attack

__all__ = ["at", "issuer"]


async def refused(at: Service, token: str, *, status: int = 401, error: str = "invalid_token") -> Answer:
    """The refusal of this token, after everything that must be true of every refusal."""
    answers = [await at.ask(target, Authorization=f"Bearer {token}") for target in (EXISTING, UNKNOWN)]
    for answer in answers:
        assert answer.status == status
        challenge = answer.field("WWW-Authenticate") or ""
        assert re.fullmatch(rf'Bearer realm="fhir", error="{error}", error_description="[^"]+"', challenge)
        assert outcome(answer)["code"] in ("login", "expired", "invalid")
        assert answer.field("ETag") is answer.field("Last-Modified") is None
    assert answers[0].body == answers[1].body
    pieces = [piece for piece in re.split(r"[^\w-]+", token) if len(piece) > 12]
    said = at.log.getvalue() + repr([(answer.fields, answer.body) for answer in answers])
    assert not [piece for piece in pieces if piece in said]
    return answers[0]


async def reason(at: Service) -> str:
    """What the log says of the refusals that followed one good read."""
    _, *refusals = await at.lines(3)
    (said,) = {line["detail"] for line in refusals}
    return str(said)


def resigned(issuer: Issuer, token: str, **header: Any) -> str:
    """The claims of a token under another header, with its signature."""
    _, claims, signature = token.split(".")
    return f"{b64({'alg': 'ES256', 'kid': issuer.key.kid, **header})}.{claims}.{signature}"


def confused(issuer: Issuer) -> str:
    """HS256 with the public key as the secret: what a verifier that lets the token choose would accept."""
    secret = OctKey.import_key(json.dumps(issuer.key.as_dict(private=False)))
    return signed({"alg": "HS256", "kid": issuer.key.kid}, issuer.claims(), secret)


def twice(issuer: Issuer, claims: str) -> str:
    return signed({"alg": "ES256", "kid": issuer.key.kid}, claims, issuer.key)


def duplicate_audience(issuer: Issuer) -> str:
    whole = json.dumps(issuer.claims(aud="https://elsewhere.test"))
    return twice(issuer, whole[:-1] + f', "aud": "{AUDIENCE}"}}')


def exchanged(token: str, claims: dict[str, Any]) -> str:
    head, _, signature = token.split(".")
    return f"{head}.{b64(claims)}.{signature}"


TWO_ALGORITHMS = b'{"alg":"ES256","alg":"none","kid":"k1"}'

ATTACKS: list[Any] = [
    pytest.param(
        lambda issuer: f"{b64({'alg': 'none'})}.{b64(issuer.claims())}.",
        "the signature is not base64url",
        id="none",
        marks=attack("A token of algorithm none, without a signature", "401; unsigned tokens cannot be configured"),
    ),
    pytest.param(
        lambda issuer: resigned(issuer, issuer.token(), alg="none"),
        "the algorithm is not one of this issuer",
        id="none with a signature",
        marks=attack("A token of algorithm none that carries the signature of a good one", "401"),
    ),
    pytest.param(
        lambda issuer: resigned(issuer, issuer.token(), alg="nOnE"),
        "the algorithm is not one of this issuer",
        id="none in other letters",
        marks=attack("Algorithm none in capital and small letters", "401"),
    ),
    pytest.param(
        confused,
        "the algorithm is not one of this issuer",
        id="confusion",
        marks=attack(
            "HS256 with the issuer's public key as the secret", "401; the algorithms are pinned, HMAC is not one"
        ),
    ),
    pytest.param(
        lambda issuer: signed({"alg": "RS256", "kid": issuer.key.kid}, issuer.claims(), rsa_key("k1")),
        "the algorithm is not one of this issuer",
        id="other algorithm",
        marks=attack("An asymmetric algorithm that the issuer is not pinned to", "401"),
    ),
    pytest.param(
        lambda issuer: issuer.token(key=ec_key("k1")),
        "the signature does not fit",
        id="other key",
        marks=attack("A token signed by another key under the kid of the issuer's", "401"),
    ),
    pytest.param(
        lambda issuer: flipped(issuer.token()),
        "the signature does not fit",
        id="changed signature",
        marks=attack("One bit of the signature changed", "401"),
    ),
    pytest.param(
        lambda issuer: exchanged(issuer.token(), issuer.claims(sub="other")),
        "the signature does not fit",
        id="changed claims",
        marks=attack("Claims exchanged under a signature", "401"),
    ),
    pytest.param(
        lambda issuer: issuer.token(header={"crit": ["exp"], "exp": 1}),
        "the header has crit, and no extension is understood",
        id="crit",
        marks=attack("A crit header with an extension that is not understood", "401"),
    ),
    pytest.param(
        lambda issuer: issuer.token(header={"typ": "logout+jwt"}),
        "the header typ is of another kind of token",
        id="typ",
        marks=attack("A signed token of the same issuer that is no access token (typ)", "401"),
    ),
    pytest.param(
        lambda issuer: issuer.token(header={"kid": None}, key=ec_key("k9")),
        "the signature does not fit",
        id="no kid",
        marks=attack("A token without kid, signed by another key", "401"),
    ),
    pytest.param(
        lambda issuer: issuer.token(header={"kid": "k" * 257}),
        "kid is not 1 to 256 printable ASCII characters",
        id="long kid",
        marks=attack("A kid of 257 characters", "401"),
    ),
    pytest.param(
        lambda issuer: resigned(issuer, issuer.token(), kid="../../etc/passwd\n"),
        "kid is not 1 to 256 printable ASCII characters",
        id="kid of a path",
        marks=attack("A kid with a path and a line end", "401; a kid is compared, never used as a name"),
    ),
    pytest.param(
        lambda issuer: resigned(issuer, issuer.token(), kid=["k1"]),
        "kid is not 1 to 256 printable ASCII characters",
        id="kid of a list",
        marks=attack("A kid that is a list", "401"),
    ),
    pytest.param(
        lambda issuer: issuer.token(aud="https://elsewhere.test"),
        "aud is another service",
        id="aud",
        marks=attack("A token for another service (aud)", "401"),
    ),
    pytest.param(
        lambda issuer: issuer.token(aud=AUDIENCE + "/"),
        "aud is another service",
        id="aud with a slash",
        marks=attack("An audience that differs by a slash", "401"),
    ),
    pytest.param(
        lambda issuer: issuer.token(aud=None), "aud is missing", id="no aud", marks=attack("A token without aud", "401")
    ),
    pytest.param(
        lambda issuer: issuer.token(aud=[["https://documents.trust.test"]]),
        "aud is missing",
        id="nested aud",
        marks=attack("An aud that is a list of lists", "401"),
    ),
    pytest.param(
        lambda issuer: issuer.token(iss="https://login.elsewhere.test"),
        "iss is none of the issuers that are configured",
        id="iss",
        marks=attack("A token of another issuer (iss)", "401"),
    ),
    pytest.param(
        lambda issuer: issuer.token(iss="https://login.trust.test".replace("o", "\u043e")),
        "iss is none of the issuers that are configured",
        id="iss in another script",
        marks=attack("An iss with Cyrillic letters that look like Latin ones", "401; compared letter by letter"),
    ),
    pytest.param(
        lambda issuer: issuer.token(aud=AUDIENCE.upper().replace("HTTPS", "https").replace("S", "\u017f")),
        "aud is another service",
        id="aud that folds",
        marks=attack("An aud that is the same only when Unicode case is folded", "401"),
    ),
    pytest.param(
        lambda issuer: issuer.token(iss=["https://login.trust.test"]),
        "iss is none of the issuers that are configured",
        id="iss of a list",
        marks=attack("An iss that is a list", "401"),
    ),
    pytest.param(
        lambda issuer: issuer.token(exp=None), "exp is missing", id="no exp", marks=attack("A token without exp", "401")
    ),
    pytest.param(
        lambda issuer: issuer.token(exp="9999999999"),
        "exp is no time",
        id="exp of text",
        marks=attack("An exp that is text", "401"),
    ),
    pytest.param(
        lambda issuer: twice(issuer, json.dumps(issuer.claims(exp=1)).replace('"exp": 1', '"exp": 1e999')),
        "exp is no time",
        id="endless exp",
        marks=attack("An exp of 1e999, which is infinite to some readers", "401"),
    ),
    pytest.param(
        lambda issuer: twice(issuer, json.dumps(issuer.claims(exp=1)).replace('"exp": 1', f'"exp": {"9" * 400}')),
        "exp is no time",
        id="huge exp",
        marks=attack("An exp of 400 digits", "401"),
    ),
    pytest.param(
        lambda issuer: twice(issuer, json.dumps(issuer.claims(exp=1)).replace('"exp": 1', '"exp": NaN')),
        "the claims is not JSON in UTF-8",
        id="exp that is not a number",
        marks=attack("An exp of NaN, which is later than nothing", "401"),
    ),
    pytest.param(
        lambda issuer: issuer.token(nbf=int(time.time()) + 60),
        "nbf is in the future",
        id="nbf",
        marks=attack("A token that is not valid yet (nbf)", "401"),
    ),
    pytest.param(
        lambda issuer: issuer.token(iat=int(time.time()) + 60),
        "iat is in the future",
        id="iat",
        marks=attack("A token from the future (iat)", "401"),
    ),
    pytest.param(
        lambda issuer: issuer.token(cnf={"jkt": "x"}),
        "cnf binds the token to a key, which is not supported",
        id="cnf",
        marks=attack("A token that is bound to a key (cnf), sent without the proof of having it", "401"),
    ),
    pytest.param(
        lambda issuer: issuer.token(sub=None, client_id=None),
        "sub is missing",
        id="nobody",
        marks=attack("A token that does not say whose it is", "401"),
    ),
    pytest.param(
        duplicate_audience,
        "a name stands twice in the token",
        id="duplicate claims",
        marks=attack("A claim that stands twice: one for this service, one for another", "401"),
    ),
    pytest.param(
        lambda issuer: f"{b64(TWO_ALGORITHMS)}.{issuer.token().partition('.')[2]}",
        "a name stands twice in the token",
        id="duplicate header",
        marks=attack("A header parameter that stands twice", "401"),
    ),
    pytest.param(
        lambda issuer: twice(issuer, "no JSON at all, " * 4),
        "the claims is not JSON in UTF-8",
        id="no JSON",
        marks=attack("Claims that are not JSON", "401"),
    ),
    pytest.param(
        lambda issuer: twice(issuer, b"[" * 5000),
        "the claims is not JSON in UTF-8",
        id="deep JSON",
        marks=attack("Claims of five thousand nested lists", "401"),
    ),
    pytest.param(
        lambda issuer: twice(issuer, json.dumps(issuer.claims()).encode("utf-16")),
        "the claims is not JSON in UTF-8",
        id="UTF-16",
        marks=attack("Claims in UTF-16", "401"),
    ),
    pytest.param(
        lambda issuer: twice(issuer, json.dumps([issuer.claims()])),
        "the claims is not a JSON object",
        id="a list",
        marks=attack("Claims that are a list", "401"),
    ),
    pytest.param(
        lambda issuer: issuer.token().replace(".", "=.", 1),
        "the token has characters that no token has",
        id="padding",
        marks=attack("base64 with padding inside a token", "401"),
    ),
    pytest.param(
        lambda issuer: f"{issuer.token()}.{b64(b'x' * 20)}.{b64(b'y' * 20)}",
        "the token is no signed JWT: it does not have three parts",
        id="five parts",
        marks=attack("An encrypted token's five parts", "401"),
    ),
    pytest.param(
        lambda issuer: issuer.token(padding="p" * 9000)[:9216],
        "the token is longer than 8 KiB",
        id="9 KiB",
        marks=attack("A token of 9 KiB", "401, without looking at it"),
    ),
    pytest.param(
        lambda issuer: issuer.token(padding="p" * 9000),
        "the token is longer than 8 KiB",
        id="12 KiB",
        marks=attack("A well signed token of 12 KiB", "401, without looking at it"),
    ),
    pytest.param(
        lambda issuer: "letmein",
        "the token is no signed JWT: it does not have three parts",
        id="a word",
        marks=attack("A word in the place of a token", "401"),
    ),
    pytest.param(
        lambda issuer: "..",
        "the header is not base64url",
        id="dots",
        marks=attack("Two dots in the place of a token", "401"),
    ),
]


@pytest.mark.blocking_allowed
@pytest.mark.requirement("TK-05", "TK-10", "ROW-14", "FR-155", "CC-20")
@pytest.mark.parametrize(("make", "because"), ATTACKS)
async def test_a_token_that_is_not_good_is_refused(
    at: Service, issuer: Issuer, make: Callable[[Issuer], str], because: str
) -> None:
    assert (await at.ask(EXISTING, Authorization=f"Bearer {issuer.token()}")).status == 200
    answer = await refused(at, make(issuer))
    assert outcome(answer)["details"]["coding"][0]["code"] == "GW-SEC-002"
    assert await reason(at) == because


@pytest.mark.blocking_allowed
@attack("A token that expired one second ago", "401 that says so; no leeway is given")
@pytest.mark.requirement("TK-10")
async def test_an_expired_token_is_refused_from_the_second_on(at: Service, issuer: Issuer) -> None:
    answer = await refused(at, issuer.token(exp=int(time.time()) - 1))
    assert outcome(answer)["details"]["coding"][0]["code"] == "GW-SEC-003"
    assert outcome(answer)["code"] == "expired"


@pytest.mark.blocking_allowed
@attack(
    "A token that was accepted, sent again after it expired", "401; what was verified is remembered until exp at most"
)
async def test_a_remembered_token_ends_with_its_time(at: Service, issuer: Issuer) -> None:
    token = issuer.token(exp=time.time() + 0.7)
    assert (await at.ask(EXISTING, Authorization=f"Bearer {token}")).status == 200
    await asyncio.sleep(0.8)
    await refused(at, token)


@pytest.mark.blocking_allowed
@attack("jku, x5u and jwk in the header that name a key of the attacker's", "401, and the address is not asked")
async def test_a_key_that_the_token_brings_is_not_used(at: Service, issuer: Issuer) -> None:
    with publishing(Issuer(key=ec_key("evil"))) as evil:
        header = {"jku": evil.url, "x5u": evil.url, "jwk": evil.key.as_dict(private=False), "x5c": ["MIIB"]}
        for kid in ("evil", issuer.key.kid):
            await refused(at, issuer.token(header={**header, "kid": kid}, key=evil.key))
        assert evil.asked == 0
        # They are ignored, and do no harm to a token that is good.
        good = issuer.token(header={"jku": evil.url, "x5u": evil.url})
        assert (await at.ask(EXISTING, Authorization=f"Bearer {good}")).status == 200
        assert evil.asked == 0


@pytest.mark.blocking_allowed
@attack("A thousand tokens with a thousand unknown key ids", "401 each; the key set is read once per cooldown")
@pytest.mark.requirement("TK-06")
async def test_a_storm_of_unknown_keys_reads_the_key_set_once(tmp_path: Path) -> None:
    with publishing(Issuer()) as issuer:
        async with composed(tmp_path, auth=issuer.auth(cooldown="300ms")) as at:
            assert issuer.asked == 1
            await asyncio.sleep(0.4)
            stranger = ec_key("stranger")
            tokens = [issuer.token(header={"kid": f"kid-{number}"}, key=stranger) for number in range(1000)]
            began = time.monotonic()
            async with connect(at.host, at.port) as connection:
                for token in tokens:
                    field = ("Authorization", f"Bearer {token}")
                    await connection.send(request(EXISTING, fields=(field,)))
                    assert (await connection.answer()).status == 401
            # The first reading at the start, one for the first of them, and one more for each cooldown that passed.
            assert issuer.asked <= 2 + (time.monotonic() - began) / 0.3
            assert (await at.ask(EXISTING, Authorization=f"Bearer {issuer.token()}")).status == 200
