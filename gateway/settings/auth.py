"""The settings of who may ask: the ways to prove it, the issuers of tokens, the keys of clients, and what is said about it.

Declarations and judgement on values alone. Reading key sets and key files belongs to the composition root and `check`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from gateway.quantities import DURATION, Duration, is_loopback, wrong
from gateway.settings.mtls import MtlsSettings

Mode = Literal["none", "bearer", "jwt", "mtls"]

Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519", "EdDSA"]
"""Signatures that only the holder of a private key can make. Neither `none` nor HMAC can be configured (RFC 8725 3.1)."""

LONGEST_LEEWAY = 30.0
"""Seconds that clocks may differ by."""

SHORTEST_KEEP = 86_400.0
"""Seconds that a good key set is used at least while its issuer is away."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _filled(value: tuple[Any, ...]) -> tuple[Any, ...]:
    # Not `min_length`, which would find a list too short whose entries are all wrong.
    if not value:
        raise wrong("value", "There is nothing here.", "Add at least one entry.")
    return value


def _url(value: str) -> str:
    try:
        parts = urlsplit(value)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.fragment or "@" in parts.netloc or not value.isprintable() or " " in value:
        raise wrong(
            "url", "This is not a web address.", "Write scheme, host and path, as in https://login.trust.nhs.uk/jwks."
        )
    return value


def _secure_url(value: str) -> str:
    parts = urlsplit(_url(value))
    if parts.scheme != "https" and not is_loopback(parts.hostname or ""):
        cause = "Whoever stands between could put their own key into an answer that is not protected by TLS."
        raise wrong("insecure", cause, "Write https://; http:// is for an address of this machine alone.")
    return value


def _one_line(value: str) -> str:
    if not value or not value.isprintable() or value != value.strip():
        raise wrong("text", "This cannot be a claim of a token.", "Write it exactly as the issuer does, in one line.")
    return value


def _no_secret(value: Any) -> Any:
    for name in value if isinstance(value, list | tuple) else ():
        if isinstance(name, str) and (name.lower() == "none" or name.upper().startswith("HS")):
            cause = "Anybody could make tokens of this algorithm that this service would take for the issuer's."
            raise wrong("algorithm", cause, "Write the one that the issuer signs with, as in [ES256] or [RS256].")
    return value


Url = Annotated[str, AfterValidator(_url)]
SecureUrl = Annotated[str, AfterValidator(_secure_url)]
Claim = Annotated[str, AfterValidator(_one_line)]


class IssuerSettings(_Part):
    """One issuer of tokens."""

    issuer: Claim = Field(
        description="The claim iss of its tokens, letter by letter.",
        examples=["https://login.trust.nhs.uk/realms/records"],
    )
    audience: Annotated[tuple[Claim, ...], BeforeValidator(_listed), AfterValidator(_filled)] = Field(
        description="What tokens for this service have in the claim aud; one name, or a list of which one is enough.",
        examples=["https://documents.trust.nhs.uk"],
    )
    jwks_file: Path | None = Field(
        default=None,
        description="A file with its public keys (a JWK Set, RFC 7517). A new file is noticed within seconds.",
    )
    jwks_url: SecureUrl | None = Field(
        default=None, description="Where its public keys are, instead of a file: `jwks_uri` in its own metadata."
    )
    ca: Path | None = Field(
        default=None,
        description="The certificates that the server of `jwks_url` is checked against; null is the system's.",
    )
    algorithms: Annotated[tuple[Algorithm, ...], BeforeValidator(_no_secret), AfterValidator(_filled)] = Field(
        description="The algorithms that it signs with; tokens of any other are refused.",
        examples=[["ES256"]],
    )
    types: tuple[Claim, ...] = Field(
        default=("JWT", "at+jwt"),
        description="What the header typ may say. A token without it is accepted; at+jwt alone in this list demands it.",
    )
    claims: Literal["smart", "nhs"] | None = Field(
        default=None,
        description="How its tokens say what is allowed. smart: `scope` and `patient`, as SMART on FHIR and OAuth 2.0 have "
        "it. nhs: `requested_scope` and `reason_for_request`, as GP Connect, NRL and NHS Identity have it. null follows "
        "`fhir.profile`: smart for care-connect, nhs for the others.",
    )
    patient_claim: Claim = Field(
        default="patient", description="The claim that names the patient of a scope such as patient/Binary.r (smart)."
    )
    leeway: Annotated[float, DURATION] = Field(
        default=5.0,
        ge=0,
        le=LONGEST_LEEWAY,
        description="How far the issuer's clock may be ahead, for the claims nbf and iat; at most 30s. exp has no leeway.",
    )
    refresh: Duration = Field(
        default=300.0, description="How old the key set may get before it is read again, in the background."
    )
    cooldown: Duration = Field(
        default=30.0,
        description="How long it is at least from one reading of the key set to the next, however many tokens name a key "
        "that is not in it.",
    )
    keep: Duration = Field(
        default=SHORTEST_KEEP,
        ge=SHORTEST_KEEP,
        description="How long the last good key set is used while no new one can be had; at least 24h. Afterwards tokens of "
        "this issuer are answered with 503.",
    )

    @model_validator(mode="after")
    def _one_key_set(self) -> Self:
        if (self.jwks_file is None) == (self.jwks_url is None):
            cause = "The keys of an issuer come from a file or from an address; " + (
                "neither is given." if self.jwks_file is None else "both are given."
            )
            raise _at("jwks_url", wrong("jwks", cause, "Write `jwks_file` or `jwks_url`, one of the two."))
        if self.ca is not None and not (self.jwks_url or "").startswith("https://"):
            raise _at(
                "ca", wrong("jwks", "There is no TLS here to check.", "Remove `ca`, or give an https:// `jwks_url`.")
            )
        return self


class SmartSettings(_Part):
    """What /.well-known/smart-configuration says about the authorization server (SMART App Launch 2, Conformance)."""

    token_endpoint: Url = Field(
        description="Where clients get tokens.",
        examples=["https://login.trust.nhs.uk/realms/records/protocol/openid-connect/token"],
        repr=True,
    )
    authorization_endpoint: Url | None = Field(
        default=None, description="Where users sign in; needed for apps that are launched."
    )
    introspection_endpoint: Url | None = Field(default=None, description="Where tokens can be looked at.")
    revocation_endpoint: Url | None = Field(default=None, description="Where tokens can be revoked.")
    management_endpoint: Url | None = Field(default=None, description="Where users see what they allowed.")
    registration_endpoint: Url | None = Field(default=None, description="Where clients can be registered.")
    issuer: Url | None = Field(
        default=None, description="The issuer of identity tokens, with sso-openid-connect among the capabilities."
    )
    jwks_uri: SecureUrl | None = Field(default=None, description="The public keys of that issuer.")
    capabilities: tuple[Claim, ...] = Field(
        default=("client-confidential-asymmetric", "permission-v1", "permission-v2"),
        description="What the authorization server and this service can do together, in SMART's own words.",
    )
    grant_types: tuple[Claim, ...] = Field(
        default=("client_credentials",), description="The OAuth 2.0 grant types of the token endpoint."
    )
    scopes: tuple[Claim, ...] = Field(
        default=("system/Binary.r", "system/Binary.rs", "system/Binary.read"), description="The scopes to ask for."
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        wanted = {
            "authorization_endpoint": any(one.startswith("launch") for one in self.capabilities)
            or "authorization_code" in self.grant_types,
            "issuer": "sso-openid-connect" in self.capabilities,
            "jwks_uri": "sso-openid-connect" in self.capabilities,
        }
        for name, needed in wanted.items():
            if needed and getattr(self, name) is None:
                cause = f"The capabilities and grant types that are listed need `{name}`."
                raise _at(name, wrong("missing-key", cause, f"Add `{name}`, or list only what there is."))
        return self


def _mode_list(value: Any) -> Any:
    if isinstance(value, list | tuple) and len(set(map(str, value))) < len(value):
        raise wrong("modes", "A mode is listed twice.", "Write each once.")
    return value


class AuthSettings(_Part):
    """Who may ask. `mode` is required, or `modes` in its place."""

    mode: Mode | None = Field(
        default=None,
        description="How readers prove who they are. jwt: by a signed token of one of `issuers`. bearer: by a key out of "
        "`keys_file`, for small sites. mtls: by a certificate, see `mtls`. none: everybody who reaches the public listener may "
        "read every document; that must be said on purpose.",
        examples=["none"],
    )
    modes: Annotated[tuple[Mode, ...], BeforeValidator(_mode_list), AfterValidator(_filled)] | None = Field(
        default=None,
        description="Several ways in place of `mode`, tried in this order; the first that a request has credentials for "
        "decides.",
    )
    allow_anonymous: bool = Field(
        default=False,
        description="Whether mode none is meant on an address that other machines can reach, because something in "
        "front of the gateway decides who may ask.",
    )
    metadata: Literal["closed", "open"] = Field(
        default="closed",
        description="Whether the CapabilityStatement is only for those who prove who they are, as Care Connect demands, or "
        "for everybody, as is usual elsewhere.",
    )
    issuers: tuple[IssuerSettings, ...] = Field(
        default=(),
        description="The issuers whose tokens are accepted, for mode jwt.",
        examples=[
            [
                {
                    "issuer": "https://login.trust.nhs.uk/realms/records",
                    "audience": "https://documents.trust.nhs.uk",
                    "jwks_url": "https://login.trust.nhs.uk/realms/records/protocol/openid-connect/certs",
                    "algorithms": ["ES256"],
                }
            ]
        ],
    )
    keys_file: Path | None = Field(
        default=None,
        description="The clients and the hashes of their keys, for mode bearer; `fhir-gateway auth new-key` makes a line of "
        "it. A changed file is noticed within seconds.",
        examples=["/etc/fhir-gateway/clients"],
    )
    mtls: MtlsSettings | None = Field(
        default=None, description="The clients that prove who they are by a certificate, for mode mtls."
    )
    smart: SmartSettings | None = Field(
        default=None,
        description="What /.well-known/smart-configuration answers; without it there is none. Needs `fhir.public_url`.",
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.mode is None and self.modes is None:
            raise _at(
                "mode",
                wrong(
                    "missing-key",
                    "The key `mode` is missing.",
                    "Write `mode: jwt`, `mode: bearer` or `mode: none`; `modes: [jwt, bearer]` allows several.",
                ),
            )
        if self.mode is not None and self.modes is not None:
            raise _at("modes", wrong("modes", "`mode` and `modes` say the same thing twice.", "Remove one of them."))
        if "none" in self.chosen and len(self.chosen) > 1:
            cause = "With none among them nobody would have to prove anything."
            raise _at("modes", wrong("modes", cause, "Remove none from the list."))
        for mode, name, given in (
            ("jwt", "issuers", bool(self.issuers)),
            ("bearer", "keys_file", self.keys_file is not None),
            ("mtls", "mtls", self.mtls is not None),
        ):
            if (mode in self.chosen) != given:
                raise _at(name, _missing(mode, name) if mode in self.chosen else _needless(mode, name))
        issuers = [one.issuer for one in self.issuers]
        if len(set(issuers)) < len(issuers):
            cause = "Two entries have the same issuer, so that a token could be judged by either."
            raise _at("issuers", wrong("issuer", cause, "Make one entry of them, with all algorithms and audiences."))
        return self

    @property
    def chosen(self) -> tuple[Mode, ...]:
        """The modes, in the order in which they are tried."""
        return self.modes or ((self.mode,) if self.mode else ())


def _missing(mode: str, name: str) -> PydanticCustomError:
    added = {
        "issuers": "Add `issuers: [{issuer: ..., audience: ..., jwks_url: ..., algorithms: [ES256]}]`.",
        "mtls": "Add `mtls: {clients: [{client: pacs, names: ['DNS:pacs.trust.local']}]}`.",
        "keys_file": "Add `keys_file: clients`; `fhir-gateway auth new-key` makes a line of that file.",
    }
    return wrong("missing-key", f"With mode {mode} the key `{name}` is needed.", added[name])


def _needless(mode: str, name: str) -> PydanticCustomError:
    cause = f"`{name}` is for mode {mode}, which is not chosen, so nothing of it would be used."
    return wrong("mode", cause, f"Write `mode: {mode}`, add {mode} to `modes`, or remove `{name}`.")


def _at(name: str, refusal: PydanticCustomError) -> ValidationError:
    return ValidationError.from_exception_data("auth", [InitErrorDetails(type=refusal, loc=(name,), input=None)])
