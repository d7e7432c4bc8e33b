"""What it costs to know who asks: 10 KiB documents for a signed token, beside the same gateway that asks nobody."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from benchmarks.clients import many, verify
from benchmarks.results import Goal, Result
from benchmarks.rig import KIB, Rig, binary
from benchmarks.scenarios import REQUESTS, Plan, Scenario, beside
from tests.support.issuer import Issuer

OPEN = "without authentication"

LIFETIME = 7200
"""Seconds that the token of a run is good for: more than the longest soak takes."""


def tokens(rig: Rig) -> tuple[dict[str, Any], str]:
    """The section `auth` of a gateway that takes ES256 tokens, and an Authorization field with one."""
    issuer = Issuer()
    key_set = issuer.saved(rig.directory)
    token = issuer.token(exp=issuer.claims()["iat"] + LIFETIME)
    return issuer.auth(jwks_url=None, jwks_file=str(key_set)), f"Bearer {token}"


def signed_token(rig: Rig, plan: Plan) -> Result:
    """Requests per second from 32 connections that all send one ES256 token, as a client does until it expires."""
    document = rig.document(10 * KIB)
    auth, token = tokens(rig)
    with rig.gateway("jwt", auth=auth) as ours, rig.gateway("open", label=OPEN) as theirs:
        asked = {ours: replace(binary(ours, document), authorization=token), theirs: binary(theirs, document)}
        for one in asked.values():
            verify(one)
        read = partial(many, connections=32, seconds=plan.rate_seconds, before=rig.client_words)
        figures, cost = beside(plan, {one: partial(read, asked[one]) for one in asked}, REQUESTS)
        ours.check()
        theirs.check()
    # At most 15 per cent more for each request is at least 0.87 of the requests in the same time.
    goal = Goal(0.87, at_least=True, peer=OPEN)
    return Result("jwt", "native, 10 KiB, 32 connections, ES256 token", "requests/s", 0, figures, [goal], cost)


SCENARIOS: dict[str, Scenario] = {"jwt": signed_token}
