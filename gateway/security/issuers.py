"""The issuers of tokens out of the settings: how their keys are read, and what is expected of their tokens."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any, Literal

from gateway.security.claims import Expectations
from gateway.security.fetching import FILE_SECONDS, Fetch, FileFetch, UrlFetch
from gateway.security.jwt import Issuer, JwtVerifier
from gateway.security.key_source import Freshness, KeySource
from gateway.security.unusable import UnusableCredentials
from gateway.settings.auth import IssuerSettings

Dialect = Literal["smart", "nhs"]

FILE_COOLDOWN = 1.0
"""Seconds between two readings of a file that a token with an unknown key can cause: reading one is cheap."""


FILE_CURE = "Save the issuer's JWK Set there; `jwks_uri` in its metadata is the address of it."
"""What to do about a file that holds no usable key set."""


async def open_issuers(
    stack: AsyncExitStack, issuers: Sequence[IssuerSettings], dialect: Dialect, log: Any
) -> JwtVerifier:
    """The verifier of their tokens, every key set read once. Raises `UnusableCredentials` for a file that holds none."""
    return JwtVerifier([await _opened(stack, one, at, dialect, log) for at, one in enumerate(issuers)])


async def _opened(stack: AsyncExitStack, of: IssuerSettings, at: int, dialect: Dialect, log: Any) -> Issuer:
    source = await stack.enter_async_context(key_source(await fetching(stack, of, at), of, log))
    if of.jwks_file is not None and source.keys is None:
        cause = f"The keys of this issuer cannot be used: {source.failure}."
        raise UnusableCredentials(("issuers", at, "jwks_file"), cause, FILE_CURE)
    return Issuer(expectations(of, dialect), source)


async def fetching(stack: AsyncExitStack, of: IssuerSettings, at: int) -> Fetch:
    """What reads the keys of this issuer. Raises `UnusableCredentials`."""
    if of.jwks_file is not None:
        return await stack.enter_async_context(FileFetch(of.jwks_file))
    assert of.jwks_url is not None
    try:
        return await stack.enter_async_context(UrlFetch(of.jwks_url, of.ca))
    except OSError as error:
        cause = f"The certificates in {str(of.ca)!r} cannot be used: {error.strerror or 'they are not in PEM'}."
        raise UnusableCredentials(
            ("issuers", at, "ca"), cause, "Write the path of a file with certificates in PEM."
        ) from None


def key_source(fetch: Fetch, of: IssuerSettings, log: Any) -> KeySource:
    """The keys of this issuer, not yet read."""
    local = of.jwks_file is not None
    freshness = Freshness(
        refresh=min(of.refresh, FILE_SECONDS) if local else of.refresh,
        cooldown=min(of.cooldown, FILE_COOLDOWN) if local else of.cooldown,
        keep=of.keep,
    )
    return KeySource(of.algorithms, fetch, log.bind(component="auth"), freshness)


def expectations(of: IssuerSettings, dialect: Dialect) -> Expectations:
    """What is expected of the tokens of this issuer."""
    return Expectations(
        issuer=of.issuer,
        audience=frozenset(of.audience),
        algorithms=frozenset(of.algorithms),
        types=frozenset(name.lower().removeprefix("application/") for name in of.types),
        typed=[name.lower() for name in of.types] == ["at+jwt"],
        claims=of.claims or dialect,
        patient_claim=of.patient_claim,
        leeway=of.leeway,
    )
