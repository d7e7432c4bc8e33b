"""The public keys of one issuer: a JWK Set (RFC 7517) read into keys that can be trusted with a signature.

No I/O. A key that is too weak, private, symmetric, meant for encryption or for an algorithm that the issuer is not pinned to
is left out, and `ignored` says why; the set as a whole is refused when nothing is left. Reasons name keys by their place.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from joserfc import jwk
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from gateway.security.jose import MAX_KID, MAX_SET, Parts, Refused
from gateway.settings.auth import Algorithm

MAX_KEYS = 256
"""Keys of one set that are looked at."""

MIN_RSA_BITS = 2048
"""NIST SP 800-131A; RFC 7518 3.3 demands as many."""

MAX_RSA_BITS = 8192
"""A longer modulus makes each check so slow that it becomes a way to keep the service busy."""

_FAMILIES: Mapping[str, tuple[str, str | None]] = {
    "RS": ("RSA", None),
    "PS": ("RSA", None),
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
    "Ed25519": ("OKP", "Ed25519"),
    "EdDSA": ("OKP", "Ed25519"),
}
"""Key type and curve of each algorithm, or of those that begin with two letters."""

_SECRET_MEMBERS = ("d", "p", "q", "dp", "dq", "qi", "k")


def _models() -> Mapping[str, Any]:
    """What checks a signature, by algorithm."""
    registry = JWSRegistry(algorithms=get_args(Algorithm))
    with warnings.catch_warnings():
        # EdDSA is the older name of Ed25519 that issuers still write (RFC 9864).
        warnings.simplefilter("ignore")
        return {name: registry.get_alg(name) for name in get_args(Algorithm)}


_VERIFIERS = _models()


class UnusableKeySet(Exception):
    """A key set that holds nothing to check a token with; the text says why."""


@dataclass(frozen=True, slots=True)
class TrustedKey:
    """One key of the set, and the algorithms that it may check."""

    id: str | None
    kind: str
    algorithms: frozenset[str]
    key: RSAKey | ECKey | OKPKey

    def verifies(self, parts: Parts) -> bool:
        """Whether this key made the signature."""
        model = _VERIFIERS[parts.algorithm]
        try:
            model.check_key(self.key)
            return bool(model.verify(parts.signed, parts.signature, self.key))
        except (JoseError, ValueError):
            return False


@dataclass(frozen=True, slots=True)
class KeySet:
    """The usable keys, and one sentence for each key that is not used."""

    keys: tuple[TrustedKey, ...]
    ignored: tuple[str, ...] = ()

    def find(self, key_id: str | None, algorithm: str) -> TrustedKey | None:
        """The key with this id; without an id the only one for this algorithm. None when there is no such key.

        Raises `Refused` when the id is of a key for other algorithms, or when several keys could be meant.
        """
        if key_id is None:
            fitting = [one for one in self.keys if algorithm in one.algorithms]
            if len(fitting) > 1:
                raise Refused("the header names no key, and the issuer has several")
            return fitting[0] if fitting else None
        named = [one for one in self.keys if one.id == key_id]
        if named and not any(algorithm in one.algorithms for one in named):
            raise Refused("the key that is named is not for this algorithm")
        return next((one for one in named if algorithm in one.algorithms), None)

    @property
    def ids(self) -> frozenset[str | None]:
        return frozenset(one.id for one in self.keys)


def read_key_set(text: bytes, algorithms: Sequence[str]) -> KeySet:
    """The keys in `text` for these algorithms. Raises `UnusableKeySet`."""
    if len(text) > MAX_SET:
        raise UnusableKeySet(f"the key set is larger than {MAX_SET // 1024} KiB")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise UnusableKeySet("the key set is not JSON") from None
    listed = value.get("keys") if isinstance(value, dict) else None
    if not isinstance(listed, list):
        raise UnusableKeySet("the key set has no list `keys`" + _hint(text, value))
    keys, ignored = [], []
    for number, one in enumerate(listed[:MAX_KEYS], 1):
        found = _trusted(one, algorithms)
        if isinstance(found, str):
            ignored.append(f"key {number} is not used: {found}")
        else:
            keys.append(found)
    named = [one.id for one in keys if one.id is not None]
    twice = {id for id in named if named.count(id) > 1}
    if any(a.algorithms & b.algorithms for id in twice for a, b in _pairs([one for one in keys if one.id == id])):
        raise UnusableKeySet("two keys have the same kid, so that it is not known which one is meant")
    if not keys:
        reasons = "; ".join(ignored[:5]) or "it lists none"
        raise UnusableKeySet(f"the key set has no key for {', '.join(algorithms)}: {reasons}")
    return KeySet(tuple(keys), tuple(ignored))


def _pairs(keys: list[TrustedKey]) -> list[tuple[TrustedKey, TrustedKey]]:
    return [(one, other) for at, one in enumerate(keys) for other in keys[at + 1 :]]


def _hint(text: bytes, value: object) -> str:
    if isinstance(value, dict) and "jwks_uri" in value:
        return "; this is the issuer's metadata, whose jwks_uri names the key set"
    if isinstance(value, dict) and "kty" in value:
        return '; this is one key, which belongs into {"keys": [...]}'
    return ""


def _trusted(one: Any, algorithms: Sequence[str]) -> TrustedKey | str:
    """The key, or why it is not used."""
    if not isinstance(one, dict):
        return "it is not a JSON object"
    refusal = _stated_refusal(one)
    if refusal is not None:
        return refusal
    stated = one.get("alg")
    fitting = frozenset(
        name
        for name in algorithms
        if stated in (None, name) and _family(name) in ((one["kty"], one.get("crv")), (one["kty"], None))
    )
    if not fitting:
        return f"it is for none of {', '.join(algorithms)}"
    public = {name: one[name] for name in ("kty", "n", "e", "crv", "x", "y") if name in one}
    try:
        with warnings.catch_warnings():
            # Of weak keys, which are refused below.
            warnings.simplefilter("ignore")
            key = jwk.import_key(public)
    except (JoseError, ValueError, TypeError, KeyError):
        return "its values are not those of a key"
    if not isinstance(key, RSAKey | ECKey | OKPKey):
        return "it is not a public key"
    if isinstance(key, RSAKey):
        refusal = _rsa_refusal(key.public_key)
        if refusal is not None:
            return refusal
    return TrustedKey(one.get("kid"), str(one["kty"]), fitting, key)


def _stated_refusal(one: dict[str, Any]) -> str | None:
    if one.get("kty") not in ("RSA", "EC", "OKP"):
        return "its type is none of RSA, EC, OKP"
    if any(name in one for name in _SECRET_MEMBERS):
        return "it is a private key, which must not be published and has to be replaced"
    if one.get("use", "sig") != "sig":
        return "it is for encryption"
    operations = one.get("key_ops")
    if operations is not None and (not isinstance(operations, list) or "verify" not in operations):
        return "its key_ops do not have verify"
    kid = one.get("kid")
    if kid is not None and not (isinstance(kid, str) and 0 < len(kid) <= MAX_KID):
        return f"its kid is not 1 to {MAX_KID} characters"
    return None


def _rsa_refusal(key: RSAPublicKey) -> str | None:
    if key.key_size < MIN_RSA_BITS:
        return f"it has {key.key_size} bits, and RSA needs {MIN_RSA_BITS}"
    if key.key_size > MAX_RSA_BITS:
        return f"it has {key.key_size} bits, more than {MAX_RSA_BITS}"
    if key.public_numbers().e < 3 or key.public_numbers().e % 2 == 0:
        return "its exponent is not one of RSA"
    return None


def _family(algorithm: str) -> tuple[str, str | None]:
    return _FAMILIES.get(algorithm) or _FAMILIES[algorithm[:2]]
