"""The settings of clients that prove who they are by a certificate.

Declarations and judgement on values alone. What they mean is `gateway.security.mtls`.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from gateway.quantities import Peer, wrong
from gateway.settings.section import Section


def _name(value: str) -> str:
    kind, _, rest = value.partition(":")
    if kind.lower() == "dns" and re.fullmatch(r"[A-Za-z0-9_.-]{1,253}", rest, re.ASCII):
        return f"DNS:{rest.lower()}"
    if kind.lower() == "uri" and re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*:[!-~]{1,2000}", rest, re.ASCII):
        return f"URI:{rest}"
    cause = "This is not a subject alternative name that a client can be known by."
    raise wrong("san", cause, "Write DNS:host.name or URI:scheme:rest in full; there are no wildcards.")


class CertifiedClient(Section):
    """One client and the certificates that prove it."""

    client: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$",
        description="What this client is called in rules, logs and the audit trail.",
        examples=["pacs"],
    )
    names: tuple[Annotated[str, AfterValidator(_name)], ...] = Field(
        min_length=1,
        description="Subject alternative names, as DNS:host.name or URI:spiffe://trust/pacs; a certificate that has one of "
        "them is this client's. The common name never counts.",
        examples=[["DNS:pacs.trust.local"]],
    )
    scopes: tuple[str, ...] = Field(
        default=("system/*.read",), min_length=1, description="What it may do, as scopes of SMART on FHIR."
    )


class ForwardedCertificates(Section):
    """Client certificates that a proxy in front checked and hands on in a header."""

    peers: tuple[Peer, ...] = Field(
        min_length=1,
        description="The proxies that are believed: addresses, networks, or `unix` for the Unix socket. From anybody else the "
        "header means nothing.",
        examples=[["127.0.0.1"]],
    )
    format: Literal["pem", "xfcc"] = Field(
        default="pem",
        description="How they are handed on. pem: percent-encoded, as nginx's $ssl_client_escaped_cert. xfcc: Envoy's "
        "X-Forwarded-Client-Cert; its last element counts.",
    )
    header: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9-]{1,64}$",
        description="The name of the header; null is X-SSL-Client-Cert for pem and X-Forwarded-Client-Cert for xfcc.",
    )

    @property
    def field_name(self) -> str:
        """The header field."""
        return self.header or ("X-SSL-Client-Cert" if self.format == "pem" else "X-Forwarded-Client-Cert")


class MtlsSettings(Section):
    """Clients that prove who they are by a certificate; `server.tls.client_ca` says whose certificates are believed."""

    clients: tuple[CertifiedClient, ...] = Field(
        min_length=1,
        description="The clients that are let in.",
        examples=[[{"client": "pacs", "names": ["DNS:pacs.trust.local"]}]],
    )
    forwarded: ForwardedCertificates | None = Field(
        default=None, description="Certificates that a proxy in front hands on; null believes no header."
    )

    @model_validator(mode="after")
    def _apart(self) -> MtlsSettings:
        owners: dict[str, str] = {}
        for client in self.clients:
            for name in client.names:
                if owners.setdefault(name, client.client) != client.client:
                    cause = f"The clients `{owners[name]}` and `{client.client}` have a name in common."
                    raise wrong("san", cause, "Give each name to one client.")
        return self
