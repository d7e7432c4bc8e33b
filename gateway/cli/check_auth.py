"""Whether what `auth` names can be used: every key set is read once, as a serving gateway reads it, and the key file too.

Values only; the command prints them.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Literal

from gateway.problems import sentence
from gateway.security.client_keys import MAX_FILE, UnusableKeys, read_clients
from gateway.security.fetching import FileFetch, Unreadable
from gateway.security.issuers import FILE_CURE, fetching
from gateway.security.keyset import UnusableKeySet, read_key_set
from gateway.security.unusable import UnusableCredentials
from gateway.settings import Settings
from gateway.settings.auth import IssuerSettings

SET_CURE = "Compare the address with `jwks_uri` in the issuer's metadata, and `algorithms` with what it signs with."


@dataclass(frozen=True, slots=True)
class CredentialReport:
    """What was found out about one issuer, or about the keys of clients. `notes` are keys that are not used, and why."""

    name: str
    key: tuple[str | int, ...]
    state: Literal["ok", "away", "wrong"] = "ok"
    keys: int = 0
    problem: str = ""
    cure: str = ""
    notes: tuple[str, ...] = ()


async def examine_credentials(settings: Settings) -> tuple[CredentialReport, ...]:
    """Read everything at once."""
    work = [_issuer(one, at) for at, one in enumerate(settings.auth.issuers)]
    found = await asyncio.gather(*work)
    return (*found, *([await _clients(settings)] if settings.auth.keys_file else []))


async def _issuer(of: IssuerSettings, at: int) -> CredentialReport:
    name = f"issuer {of.issuer}"
    key = ("auth", "issuers", at, "jwks_file" if of.jwks_file else "jwks_url")
    try:
        async with AsyncExitStack() as stack:
            fetch = await fetching(stack, of, at)
            keys = read_key_set(await fetch(), of.algorithms)
    except UnusableCredentials as error:
        return CredentialReport(name, error.path, "wrong", problem=error.cause, cure=error.cure)
    except Unreadable as error:
        return CredentialReport(
            name, key, "away", problem=f"The key set cannot be read: {error}.", cure=_cure(of, str(error))
        )
    except UnusableKeySet as error:
        if of.jwks_file:
            cause = f"The keys of this issuer cannot be used: {error}."
            return CredentialReport(name, key, "wrong", problem=cause, cure=FILE_CURE)
        return CredentialReport(name, key, "wrong", problem=sentence(str(error)), cure=SET_CURE)
    return CredentialReport(name, key, keys=len(keys.keys), notes=keys.ignored)


def _cure(of: IssuerSettings, said: str) -> str:
    if of.jwks_file:
        return "Let the account that runs the gateway read the file."
    meanwhile = "A serving gateway starts, and answers tokens of this issuer with 503 until then."
    if "certificate" in said:
        return f"Give the certificates that it is checked against in `ca`. {meanwhile}"
    if "HTTP" in said:
        return f"Compare the address with `jwks_uri` in {of.issuer}/.well-known/openid-configuration. {meanwhile}"
    return f"Let the gateway's machine reach the address; it is asked directly, without a proxy. {meanwhile}"


async def _clients(settings: Settings) -> CredentialReport:
    name, key = "keys of clients", ("auth", "keys_file")
    assert settings.auth.keys_file is not None
    try:
        async with FileFetch(settings.auth.keys_file, limit=MAX_FILE) as fetch:
            return CredentialReport(name, key, keys=len(read_clients(await fetch())))
    except (Unreadable, UnusableKeys) as error:
        cure = "Correct the file; `fhir-gateway auth new-key` makes a key and its line."
        cause = f"The keys of clients cannot be used: {error}."
        return CredentialReport(name, key, "wrong", problem=cause, cure=cure)
