"""The SMART configuration: where a client gets its tokens, for discovery at [base]/.well-known/smart-configuration.

https://hl7.org/fhir/smart-app-launch/conformance.html. Pure: settings in, bytes out. Every address in it is absolute, and none
is made from a request.
"""

from __future__ import annotations

import json
from typing import Any, Protocol

ADDRESSES = (
    "issuer",
    "jwks_uri",
    "authorization_endpoint",
    "token_endpoint",
    "introspection_endpoint",
    "revocation_endpoint",
    "management_endpoint",
    "registration_endpoint",
)


class SmartFacts(Protocol):
    """What is known of the authorization server: an attribute for each of `ADDRESSES`, and the lists."""

    @property
    def capabilities(self) -> tuple[str, ...]: ...
    @property
    def grant_types(self) -> tuple[str, ...]: ...
    @property
    def scopes(self) -> tuple[str, ...]: ...


def render(facts: SmartFacts) -> bytes:
    """The document."""
    body: dict[str, Any] = {name: getattr(facts, name) for name in ADDRESSES if getattr(facts, name) is not None}
    body |= {
        "grant_types_supported": facts.grant_types,
        "scopes_supported": facts.scopes,
        "capabilities": facts.capabilities,
        # S256 is required, and plain forbidden, whatever the grant types are.
        "code_challenge_methods_supported": ("S256",),
    }
    if "authorization_code" in facts.grant_types:
        body["response_types_supported"] = ("code",)
    if "client-confidential-asymmetric" in facts.capabilities:
        body["token_endpoint_auth_methods_supported"] = ("private_key_jwt",)
    return json.dumps(body, separators=(",", ":"), sort_keys=True).encode()
