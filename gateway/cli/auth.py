"""Commands about who may ask: `auth new-key` makes the key of a client, `auth explain` says what becomes of a token."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gateway.cli import console

if TYPE_CHECKING:
    from gateway.security import Identity
    from gateway.settings import Settings

LONGEST_INPUT = 64 * 1024
"""Characters of standard input that are read for a token."""


@click.group(short_help="Make keys of clients, and see what becomes of a token.")
def auth() -> None:
    """Make keys of clients, and see what becomes of a token."""


@auth.command("new-key", short_help="Make a key, and its line for the key file.")
@click.argument("name")
@click.option(
    "--scope", "scopes", multiple=True, default=("system/Binary.r",), show_default=True, help="What it allows."
)
def new_key(name: str, scopes: tuple[str, ...]) -> None:
    """Make the key of the client NAME.

    The line for `auth.keys_file` goes to standard output. The key goes to standard error, is kept nowhere and cannot be
    shown again.
    """
    from gateway.security import client_keys

    key = client_keys.new_key()
    try:
        line = client_keys.line_for(name, key, scopes)
    except ValueError as error:
        console.fail(str(error), code=console.WRONG)
    click.echo(line)
    click.echo(f"Give the client this key, which is kept nowhere: {key}", err=True)


@auth.command("explain", short_help="Say what becomes of a token.")
@console.config_option
def explain_token(config: Path | None) -> None:
    """Say whether the token on standard input is accepted, what it allows, or which check fails.

    Exit code 0: accepted. 1: refused, or the issuer's keys cannot be had. 2: the configuration is wrong.
    """
    settings = console.load_settings(config)
    if "none" in settings.auth.chosen:
        console.fail("Nobody is asked for a token: `auth.mode` is none.", code=console.WRONG)
    token = sys.stdin.read(LONGEST_INPUT).strip().removeprefix("Bearer ").strip()
    if not token:
        raise click.UsageError("There is no token on standard input.")
    import asyncio

    with console.start_failures(config):
        accepted = asyncio.run(_explained(settings, token))
    raise SystemExit(console.FINE if accepted else console.FAILED)


async def _explained(settings: Settings, token: str) -> bool:
    import asyncio

    from multidict import CIMultiDict, CIMultiDictProxy

    from gateway.errors import Problem
    from gateway.security.authentication import BearerTokens
    from gateway.security.opening import open_authentication
    from gateway.security.tokens import bearer_token
    from gateway.telemetry import Telemetry

    telemetry = Telemetry(level="error")
    try:
        async with open_authentication(settings.auth, settings.dialect, telemetry.log) as authentication:
            assert authentication is not None
            ways = [one for one in authentication.authenticators if isinstance(one, BearerTokens)]
            if not ways:
                console.fail(
                    "No mode that is chosen takes tokens.", "Add jwt or bearer to `auth.modes`.", code=console.WRONG
                )
            headers = CIMultiDictProxy(CIMultiDict({"Authorization": f"Bearer {token}"}))
            try:
                identity = await ways[0].verify(str(bearer_token(headers, "")))
            except Problem as problem:
                _print(
                    {
                        "refused": f"{problem.entry.status} {problem.entry.code} {problem.entry.title}",
                        "because": problem.detail,
                    }
                )
                _print(dict(_stated(token)))
                return False
    finally:
        await asyncio.to_thread(telemetry.close)
    _print({"accepted": f"mode {identity.method}, client {identity.client}"} | dict(_allowed(identity)))
    _print(dict(_stated(token)))
    return True


def _allowed(identity: Identity) -> Iterator[tuple[str, str]]:
    from gateway.security.scopes import Reach, reach

    yield "scopes", " ".join(sorted(identity.scopes)) or "none"
    found = reach(identity.scopes)
    if found is Reach.PATIENT and identity.patient is None:
        yield "reads", "nothing: the scopes are for one patient, and the token names none"
    else:
        yield "reads", found.value if found is not Reach.NOTHING else "nothing: no scope covers a read of Binary"


def _stated(token: str) -> Iterator[tuple[str, str]]:
    """What a token says of itself, as far as it helps to compare it with the settings; nothing about a person."""
    from gateway.security.jose import Refused, taken_apart

    try:
        parts = taken_apart(token)
    except Refused:
        return
    stated = {name: parts.header for name in ("alg", "kid", "typ")} | {name: parts.claims for name in ("iss", "aud")}
    for name, facts in stated.items():
        if name in facts:
            yield name, _shown(facts[name])
    for name in ("iat", "nbf", "exp"):
        moment = parts.claims.get(name)
        if isinstance(moment, int | float) and abs(moment) < 2**40:
            ahead = moment - time.time()
            yield name, f"{_shown(moment)}, {abs(ahead):.0f} seconds {'from now' if ahead > 0 else 'ago'}"


def _shown(value: Any) -> str:
    return ascii(value)[:200] if not isinstance(value, str) else ascii(value)[1:-1][:200]


def _print(lines: Mapping[str, str]) -> None:
    for name, text in lines.items():
        click.echo(f"{click.style(f'{name:<10}', dim=True)} {text}")
