"""Who asks: the ways to prove it, tried in order, and whether what they may do covers what they ask for.

An `Authenticator` looks at a request for credentials of its kind. None of them there: the next one is tried. Credentials that
are wrong end the request; no other way is tried then, so that a refused token cannot be followed by something weaker. All of
this happens before anything is looked up, so the answer to a caller who may not ask is the same whatever they ask for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from aiohttp import web

from gateway import errors
from gateway.errors import Problem
from gateway.protocol.interactions import Interaction, Kind
from gateway.security import ANONYMOUS, Identity
from gateway.security.client_keys import PREFIX
from gateway.security.scopes import READ_SCOPE, Reach, reach
from gateway.security.tokens import bearer_token, insufficient, refused

if TYPE_CHECKING:
    from gateway.security.key_source import KeySource


class Authenticator(Protocol):
    """One way to prove who asks."""

    async def identify(self, request: web.BaseRequest, interaction: Interaction) -> Identity | None:
        """Who asks; None when the request has no credentials of this kind. Raises `Problem` when they are wrong."""


class TokenVerifier(Protocol):
    """What a kind of bearer token says. `method` is one of `Identity.method`."""

    @property
    def method(self) -> str: ...

    async def verify(self, token: str) -> Identity:
        """Raises `Problem`."""


@dataclass(frozen=True, slots=True)
class BearerTokens:
    """Tokens in the Authorization header: keys of clients and signed tokens are told apart by their form.

    Without a verifier for its form a token goes to the one there is, which refuses it.
    """

    verifiers: Sequence[TokenVerifier]

    async def identify(self, request: web.BaseRequest, interaction: Interaction) -> Identity | None:
        """Raises `Problem`: 400 for tokens in two places, 401 for one that is not accepted, 503 when it cannot be checked."""
        token = bearer_token(request.headers, interaction.query)
        return None if token is None else await self.verify(token)

    async def verify(self, token: str) -> Identity:
        """Who has this token. Raises `Problem`: 401, or 503 when it cannot be checked."""
        wanted = "bearer" if token.startswith(PREFIX) else "jwt"
        for verifier in self.verifiers:
            if verifier.method == wanted:
                return await verifier.verify(token)
        return await self.verifiers[0].verify(token)


@dataclass(frozen=True, slots=True)
class Authentication:
    """What the pipeline asks before anything else. `open_metadata`: the CapabilityStatement is for everybody.

    Where no tokens are taken, a caller who proves nothing is told to show a certificate: HTTP has no challenge for it that
    a 401 could name (RFC 9110 11.6.1), so that answer is a 403.
    """

    authenticators: Sequence[Authenticator]
    open_metadata: bool = False
    takes_tokens: bool = True

    def key_sets(self) -> Iterator[tuple[str, KeySource]]:
        """The keys of every issuer of tokens, by its name."""
        for authenticator in self.authenticators:
            if isinstance(authenticator, BearerTokens):
                for verifier in authenticator.verifiers:
                    yield from getattr(verifier, "key_sets", ())

    async def identify(self, request: web.BaseRequest, interaction: Interaction) -> Identity:
        """Who asks. Raises `Problem`: 401 with a challenge when nobody says (403 without tokens), and what they raise."""
        if self._is_open(interaction):
            return ANONYMOUS
        identity: Identity | None = None
        for authenticator in self.authenticators:
            # Who is known by a certificate is asked for a token all the same: one that is wrong ends the request.
            if identity is None or isinstance(authenticator, BearerTokens):
                found = await authenticator.identify(request, interaction)
                identity = identity or found
        if identity is not None:
            return identity
        raise refused(errors.UNAUTHENTICATED) if self.takes_tokens else Problem(errors.CERTIFICATE_REQUIRED)

    def _is_open(self, interaction: Interaction) -> bool:
        kind = interaction.kind
        # SMART App Launch, Conformance: discovery needs no authorization.
        return kind is Kind.SMART_CONFIGURATION or (kind is Kind.CAPABILITIES and self.open_metadata)


def check_scopes(identity: Identity, interaction: Interaction) -> None:
    """Raises `Problem` (403) when the caller's scopes do not let them read documents at all.

    Asked before the id is looked at, so that the answer says nothing about it. What is not served has an answer of its own.
    """
    if interaction.kind not in (Kind.READ, Kind.VREAD):
        return
    allowed = reach(identity.scopes)
    if allowed is Reach.NOTHING:
        raise insufficient(identity, "no scope covers a read of Binary", scope=READ_SCOPE)
    if allowed is Reach.PATIENT and identity.patient is None:
        detail = "the scopes are for one patient, and the token names none"
        raise insufficient(identity, detail, scope=READ_SCOPE)
