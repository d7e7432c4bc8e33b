"""Signed tokens (JWT): from the text to an identity, and the tokens that were verified a moment ago.

The order matters: what is cheap and needs no key comes first, the signature before any claim is believed. A verified token
is remembered by its SHA-256, never past its exp, and not after its issuer's keys have changed, so that a client that asks
often costs a hash and a look-up.
"""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from gateway import errors
from gateway.errors import Problem
from gateway.security import Identity, claims
from gateway.security.claims import Expectations
from gateway.security.jose import Expired, Refused, taken_apart
from gateway.security.key_source import KeySource, KeysUnavailable
from gateway.security.tokens import check_form, refused

REMEMBERED_TOKENS = 4096
"""Verified tokens kept at hand, about 4 MiB when full."""


@dataclass(frozen=True, slots=True)
class Issuer:
    """One issuer whose tokens are accepted."""

    expected: Expectations
    source: KeySource


class _Verified(NamedTuple):
    identity: Identity
    until: float
    issuer: Issuer
    generation: int


class JwtVerifier:
    """The tokens of some issuers. `clock` gives seconds since 1970."""

    method = "jwt"

    def __init__(self, issuers: Iterable[Issuer], clock: Callable[[], float] = time.time) -> None:
        self._issuers = {one.expected.issuer: one for one in issuers}
        self._clock = clock
        self._verified: OrderedDict[bytes, _Verified] = OrderedDict()

    @property
    def key_sets(self) -> Iterator[tuple[str, KeySource]]:
        """The keys of every issuer, by its name."""
        return ((name, issuer.source) for name, issuer in self._issuers.items())

    async def verify(self, token: str) -> Identity:
        """Who asks. Raises `Problem` with its challenge for every token that is not accepted."""
        digest = hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
        known = self._verified.get(digest)
        if known is not None:
            source = known.issuer.source
            if self._clock() < known.until and known.generation == source.generation and not source.stale:
                self._verified.move_to_end(digest)
                return known.identity
            del self._verified[digest]
        check_form(token)
        try:
            verified = await self.examine(token)
        except Expired as expired:
            raise refused(errors.EXPIRED_TOKEN, str(expired)) from None
        except Refused as reason:
            raise refused(errors.INVALID_TOKEN, str(reason)) from None
        except KeysUnavailable:
            raise Problem(errors.KEYS_UNAVAILABLE) from None
        self._verified[digest] = verified
        while len(self._verified) > REMEMBERED_TOKENS:
            self._verified.popitem(last=False)
        return verified.identity

    async def examine(self, token: str) -> _Verified:
        """Every check, in order. Raises `Refused`, `Expired`, `KeysUnavailable`."""
        parts = taken_apart(token)
        said = parts.claims.get("iss")
        issuer = self._issuers.get(said) if isinstance(said, str) else None
        if issuer is None:
            raise Refused("iss is none of the issuers that are configured")
        claims.check_header(parts, issuer.expected)
        key = await issuer.source.find(parts)
        # Read before the check: keys that change meanwhile make this answer be asked for again.
        generation = issuer.source.generation
        if key is None:
            raise Refused("the key that signed is not in the issuer's key set")
        if not key.verifies(parts):
            raise Refused("the signature does not fit")
        exp = claims.check_claims(parts.claims, issuer.expected, self._clock())
        return _Verified(claims.identity(parts.claims, issuer.expected), exp, issuer, generation)
