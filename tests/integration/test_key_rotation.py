"""An issuer that changes its keys, is away or answers nonsense, while requests run."""

from __future__ import annotations

import asyncio
import warnings
from pathlib import Path

import pytest
from joserfc.jwk import OKPKey

from tests.integration.archive import composed, outcome
from tests.integration.tokens import EXISTING
from tests.support.issuer import Fault, Issuer, ec_key, publishing, rsa_key
from tests.support.raw_http import connect, request
from tests.support.service import Service
from tests.support.xds import Authority

attack = pytest.mark.attack

pytestmark = pytest.mark.blocking_allowed


async def status(at: Service, token: str) -> int:
    return (await at.ask(EXISTING, Authorization=f"Bearer {token}")).status


async def until(at: Service, token: str, wanted: int) -> None:
    """Wait until the token is answered so. Fails after five seconds."""
    for _ in range(250):
        if await status(at, token) == wanted:
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"never {wanted}: {at.log.getvalue()}")


@pytest.mark.requirement("TK-06")
async def test_keys_rotate_while_requests_run(tmp_path: Path) -> None:
    """Four readers on kept-alive connections, an issuer that rotates six times: no good token is ever refused."""
    with publishing(Issuer()) as issuer:
        async with composed(tmp_path, auth=issuer.auth(cooldown="1ms", refresh="200ms")) as at:
            ended = asyncio.Event()

            async def read() -> int:
                count = 0
                async with connect(at.host, at.port) as connection:
                    while not ended.is_set():
                        field = ("Authorization", f"Bearer {issuer.token(jti=str(count))}")
                        await connection.send(request(EXISTING, fields=(field,)))
                        answer = await connection.answer()
                        assert (answer.status, answer.body) == (200, b"Dear colleague")
                        count += 1
                return count

            readers = [asyncio.create_task(read()) for _ in range(4)]
            for number in range(6):
                await asyncio.sleep(0.15)
                # As issuers do it: the new key is published beside the old one, which goes with the next.
                issuer.rotate(f"k-{number}", keep=True)
                issuer.published = issuer.published[-2:]
            ended.set()
            counts = await asyncio.gather(*readers)
            assert min(counts) > 6
            assert issuer.asked >= 6


@attack(
    "A token of a key that the issuer has withdrawn, accepted before and remembered",
    "401 once the key set was read again",
)
async def test_a_withdrawn_key_ends_the_tokens_that_it_signed(tmp_path: Path) -> None:
    with publishing(Issuer()) as issuer:
        async with composed(tmp_path, auth=issuer.auth(refresh="100ms", cooldown="10ms")) as at:
            old = issuer.token()
            assert await status(at, old) == 200
            issuer.rotate("k2")
            await until(at, old, 401)
            assert await status(at, issuer.token()) == 200


async def test_one_reading_serves_all_who_wait_for_it(tmp_path: Path) -> None:
    with publishing(Issuer()) as issuer:
        async with composed(tmp_path, auth=issuer.auth(cooldown="1ms")) as at:
            issuer.rotate("k2")
            issuer.fault = Fault(delay=0.3)
            tokens = [issuer.token(jti=str(number)) for number in range(20)]
            assert await asyncio.gather(*(status(at, token) for token in tokens)) == [200] * 20
            assert issuer.asked == 2


@attack("An issuer whose key set cannot be had any more", "known keys go on being used; unknown ones are 401")
@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=500),
        Fault(status=404),
        Fault(body=b"<html>sign in</html>"),
        Fault(body=b'{"keys": []}'),
        Fault(body=b"{" * 100_000),
        Fault(body=b'{"keys": [' + b" " * 600_000 + b"]}"),
    ],
    ids=["500", "404", "a page", "no keys", "nonsense", "600 KB"],
)
async def test_the_last_good_set_is_kept(tmp_path: Path, fault: Fault) -> None:
    with publishing(Issuer()) as issuer:
        async with composed(tmp_path, auth=issuer.auth(refresh="50ms", cooldown="20ms")) as at:
            good = issuer.token()
            issuer.fault = fault
            before = issuer.asked
            for _ in range(250):
                if issuer.asked >= before + 3:
                    break
                await asyncio.sleep(0.02)
            assert await status(at, good) == 200
            assert await status(at, issuer.token(key=ec_key("other"))) == 401
            # Said once, not at every reading.
            assert (await at.logged("key set could not be read")).count("key set could not be read") == 1
            issuer.fault = Fault()
            issuer.rotate("k2")
            await until(at, issuer.token(), 200)


@attack("A redirect in the place of a key set, to a server of the attacker's", "not followed; that server is not asked")
async def test_a_redirect_is_not_followed(tmp_path: Path) -> None:
    with publishing(Issuer()) as issuer, publishing(Issuer(key=ec_key("evil"))) as evil:
        issuer.fault = Fault(status=302, headers={"Location": evil.url})
        async with composed(tmp_path, auth=issuer.auth(cooldown="1ms")) as at:
            assert await status(at, issuer.token(key=evil.key)) == 503
        assert evil.asked == 0


async def test_an_issuer_that_is_away_at_the_start_is_found_later(tmp_path: Path) -> None:
    with publishing(Issuer()) as issuer:
        issuer.fault = Fault(status=503)
        async with composed(tmp_path, auth=issuer.auth(cooldown="50ms")) as at:
            answer = await at.ask(EXISTING, Authorization=f"Bearer {issuer.token()}")
            assert (answer.status, answer.field("Retry-After")) == (503, "30")
            assert outcome(answer)["details"]["coding"][0]["code"] == "GW-SEC-007"
            # Whoever brings a token of nobody is told so, and not that something is away.
            assert await status(at, "x.y.z") == 401
            issuer.fault = Fault()
            await until(at, issuer.token(), 200)
            await at.logged("key set is readable again")


async def test_a_slow_issuer_holds_up_nobody_whose_key_is_known(tmp_path: Path) -> None:
    with publishing(Issuer()) as issuer:
        async with composed(tmp_path, auth=issuer.auth(cooldown="1ms")) as at:
            issuer.fault = Fault(delay=1.0)
            waiting = asyncio.create_task(status(at, issuer.token(key=ec_key("other"))))
            await asyncio.sleep(0.1)
            began = asyncio.get_running_loop().time()
            assert await status(at, issuer.token()) == 200
            assert asyncio.get_running_loop().time() - began < 0.8
            assert await waiting == 401


async def test_a_key_set_in_a_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    issuer = Issuer()
    path = issuer.saved(tmp_path)
    async with composed(tmp_path, auth=issuer.auth(jwks_url=None, jwks_file=str(path), cooldown="20ms")) as at:
        assert await status(at, issuer.token()) == 200
        issuer.rotate("k2")
        assert await status(at, issuer.token(jti="1")) == 401
        issuer.saved(tmp_path)
        await until(at, issuer.token(key=issuer.key), 200)


async def test_over_tls_the_server_must_be_the_one_that_is_trusted(tmp_path: Path) -> None:
    authority, other = Authority(tmp_path, "Trust CA"), Authority(tmp_path, "Other CA")
    with publishing(Issuer(), tls=authority.server()) as issuer:
        async with composed(tmp_path, auth=issuer.auth(ca=str(authority.file))) as at:
            assert await status(at, issuer.token()) == 200
        async with composed(tmp_path, auth=issuer.auth(ca=str(other.file))) as at:
            assert await status(at, issuer.token()) == 503
            await at.logged("its certificate is not trusted")


async def test_each_issuer_has_its_own_keys_and_algorithms(tmp_path: Path) -> None:
    with (
        publishing(Issuer()) as one,
        publishing(Issuer("https://other.test", key=rsa_key("k1"), algorithm="RS256")) as two,
    ):
        auth = {"mode": "jwt", "issuers": [one.settings(), two.settings()]}
        async with composed(tmp_path, auth=auth) as at:
            assert [await status(at, one.token()), await status(at, two.token())] == [200, 200]
            # The same kid, signed by the other's key, in the name of the first.
            assert await status(at, one.token(key=two.key, header={"alg": "RS256"})) == 401


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        ("RSA", "RS256"),
        ("RSA", "PS256"),
        ("P-256", "ES256"),
        ("P-384", "ES384"),
        ("P-521", "ES512"),
        ("OKP", "Ed25519"),
        ("OKP", "EdDSA"),
    ],
)
@pytest.mark.requirement("FR-235")
async def test_every_algorithm_that_can_be_configured_works(tmp_path: Path, key: str, algorithm: str) -> None:
    made = (
        rsa_key("k")
        if key == "RSA"
        else OKPKey.generate_key("Ed25519", {"kid": "k"})
        if key == "OKP"
        else ec_key("k", key)
    )
    with publishing(Issuer(key=made, algorithm=algorithm)) as issuer:
        async with composed(tmp_path, auth=issuer.auth()) as at:
            good = issuer.token()
            assert await status(at, good) == 200
            assert await status(at, good[:-8] + ("A" * 8 if not good.endswith("A" * 8) else "B" * 8)) == 401


async def test_a_weak_key_in_the_set_is_not_used(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        weak = rsa_key("weak", 1024)
    with publishing(Issuer(key=rsa_key("strong"), algorithm="RS256")) as issuer:
        issuer.published.append(weak)
        async with composed(tmp_path, auth=issuer.auth()) as at:
            assert await status(at, issuer.token()) == 200
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                assert await status(at, issuer.token(key=weak)) == 401
            await at.logged("key 2 is not used: it has 1024 bits, and RSA needs 2048")
