"""From the settings to what the pipeline asks: key sets read, key files read, and what cannot be used told with its key.

A mistake on this machine (a file that holds no key set) keeps the gateway from starting, since waiting does not mend it. An
issuer that does not answer does not: its tokens are answered with 503 until it does.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Literal

from gateway.security.authentication import Authentication, Authenticator, BearerTokens, TokenVerifier
from gateway.security.client_keys import MAX_FILE, ClientKeys, UnusableKeys
from gateway.security.fetching import FileFetch
from gateway.security.unusable import UnusableCredentials
from gateway.settings.auth import AuthSettings

Dialect = Literal["smart", "nhs"]


@asynccontextmanager
async def open_authentication(
    settings: AuthSettings, dialect: Dialect, log: Any
) -> AsyncIterator[Authentication | None]:
    """What to ask before anything else; None for mode none. `dialect` is that of issuers which do not say theirs.

    Raises `UnusableCredentials`.
    """
    async with AsyncExitStack() as stack:
        if "none" in settings.chosen:
            yield None
            return
        verifiers: list[TokenVerifier] = []
        authenticators: list[Authenticator] = []
        for mode in settings.chosen:
            if mode in ("jwt", "bearer") and not verifiers:
                # One entry for all bearer tokens; a way to prove oneself by other means is an entry of its own.
                authenticators.append(BearerTokens(verifiers))
            if mode == "jwt":
                # Loads the library of signatures, which other modes do not need.
                from gateway.security.issuers import open_issuers

                verifiers.append(await open_issuers(stack, settings.issuers, dialect, log))
            elif mode == "bearer":
                verifiers.append(await _client_keys(stack, settings, log))
            elif mode == "mtls" and settings.mtls is not None:
                from gateway.security.mtls import MutualTls

                authenticators.append(MutualTls(settings.mtls))
        yield Authentication(
            tuple(authenticators), open_metadata=settings.metadata == "open", takes_tokens=bool(verifiers)
        )


async def _client_keys(stack: AsyncExitStack, settings: AuthSettings, log: Any) -> ClientKeys:
    assert settings.keys_file is not None
    fetch = await stack.enter_async_context(FileFetch(settings.keys_file, limit=MAX_FILE))
    try:
        return await stack.enter_async_context(ClientKeys(fetch, log.bind(component="auth")))
    except UnusableKeys as error:
        cure = "Correct the file; `fhir-gateway auth new-key` makes a key and its line."
        raise UnusableCredentials(("keys_file",), f"The keys of clients cannot be used: {error}.", cure) from None
