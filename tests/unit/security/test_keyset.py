"""Which keys of a set are trusted, and what is said of the others."""

from __future__ import annotations

import json
import warnings
from typing import Any

import pytest
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from gateway.security.jose import Refused
from gateway.security.keyset import UnusableKeySet, read_key_set
from tests.support.issuer import ec_key, rsa_key

GOOD = ec_key("good").as_dict(private=False)


def read(*keys: Any, algorithms: tuple[str, ...] = ("ES256",)) -> Any:
    return read_key_set(json.dumps({"keys": list(keys)}).encode(), algorithms)


def weak() -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return dict(RSAKey.generate_key(1024, {"kid": "weak"}).as_dict(private=False))


IGNORED: dict[str, tuple[Any, str]] = {
    "private": (ec_key("p").as_dict(private=True), "private key"),
    "symmetric": (OctKey.generate_key(256, {"kid": "s"}).as_dict(private=True), "none of RSA, EC, OKP"),
    "encryption": (ec_key("e").as_dict(private=False) | {"use": "enc"}, "for encryption"),
    "operations": (ec_key("o").as_dict(private=False) | {"key_ops": ["sign"]}, "do not have verify"),
    "curve": (ec_key("c", "P-384").as_dict(private=False), "for none of ES256"),
    "other curve": (ECKey.generate_key("secp256k1", {"kid": "k"}).as_dict(private=False), "for none of ES256"),
    "algorithm": (ec_key("a").as_dict(private=False) | {"alg": "ES384"}, "for none of ES256"),
    "type": (rsa_key("r").as_dict(private=False), "for none of ES256"),
    "not on the curve": (GOOD | {"kid": "n", "x": GOOD["y"]}, "not those of a key"),
    "no values": ({"kty": "EC", "crv": "P-256", "kid": "v"}, "not those of a key"),
    "values of numbers": (GOOD | {"x": 5}, "not those of a key"),
    "kid": (GOOD | {"kid": 5}, "its kid"),
    "kind": ({"kty": "XYZ"}, "none of RSA, EC, OKP"),
    "text": ("key", "not a JSON object"),
}


@pytest.mark.parametrize("name", IGNORED)
def test_a_key_that_cannot_be_trusted_is_left_out_and_said(name: str) -> None:
    key, why = IGNORED[name]
    found = read(GOOD, key)
    assert found.ids == {"good"}
    (reason,) = found.ignored
    assert reason.startswith("key 2 is not used: ")
    assert why in reason
    with pytest.raises(UnusableKeySet, match="no key for ES256"):
        read(key)


def test_a_short_rsa_key_is_left_out() -> None:
    with pytest.raises(UnusableKeySet, match="1024 bits, and RSA needs 2048"):
        read(weak(), algorithms=("RS256",))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"", "not JSON"),
        (b"<html>", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "no list `keys`"),
        (b'{"keys": {}}', "no list `keys`"),
        (b'{"keys": []}', "it lists none"),
        (b'{"jwks_uri": "https://x.test"}', "whose jwks_uri names the key set"),
        (json.dumps(GOOD).encode(), "this is one key"),
        (b" " * (512 * 1024 + 1), "larger than 512 KiB"),
    ],
)
def test_what_is_no_key_set_is_refused_with_a_hint(text: bytes, why: str) -> None:
    with pytest.raises(UnusableKeySet) as refused:
        read_key_set(text, ("ES256",))
    assert why in str(refused.value)


def test_two_keys_of_one_kid_are_refused_unless_their_algorithms_differ() -> None:
    with pytest.raises(UnusableKeySet, match="same kid"):
        read(GOOD, ec_key("good").as_dict(private=False))
    rsa = rsa_key("good").as_dict(private=False)
    both = read(GOOD, rsa, algorithms=("ES256", "RS256"))
    assert both.find("good", "ES256").kind == "EC"
    assert both.find("good", "RS256").kind == "RSA"


def test_a_key_is_found_by_its_kid_for_its_algorithms_alone() -> None:
    okp = OKPKey.generate_key("Ed25519", {"kid": "ed"}).as_dict(private=False)
    found = read(GOOD, okp, algorithms=("ES256", "EdDSA"))
    assert found.find("good", "ES256").id == "good"
    assert found.find("other", "ES256") is None
    with pytest.raises(Refused, match="not for this algorithm"):
        found.find("good", "EdDSA")
    # Without a kid the one key that fits is meant; of several, none.
    assert found.find(None, "EdDSA").id == "ed"
    with pytest.raises(Refused, match="names no key"):
        read(GOOD, ec_key("two").as_dict(private=False)).find(None, "ES256")
