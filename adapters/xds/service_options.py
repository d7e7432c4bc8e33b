"""The options that every SOAP service has in common: its address, its certificates, who asks, and how long to wait.

Rules of this module: nothing here touches the network or a file, and nothing is about XDS. What cannot work is refused with the
cure, and no refusal repeats what was written.
"""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from adapters.declaring import Seconds, wrong
from adapters.xds.request import AddressingHeader, escaped

_url = re.compile(
    r"https?://(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?(?:/[!-\"$-~]*)?", re.ASCII
).fullmatch


def _has_port(url: str) -> bool:
    try:
        return urlsplit(url).port != 0
    except ValueError:
        return False


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


Patience = Annotated[Seconds, Field(gt=0)]
"""A duration that is more than none."""


class Section(BaseModel):
    """A part of the options: unknown keys are refused, and errors repeat no values."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Tls(Section):
    """How a server proves who it is, and how the gateway does. Files that change are read anew without a restart."""

    ca: Path | None = Field(
        default=None,
        description="A file with the certificates (PEM) of the authorities that may vouch for the server; null takes "
        "those of the operating system.",
    )
    certificate: Path | None = Field(
        default=None,
        description="A file with the gateway's own certificate and those between it and its authority (PEM).",
    )
    key: Path | None = Field(
        default=None, description="A file with the private key of `certificate` (PEM); null if it is in the same file."
    )
    key_password_file: Path | None = Field(
        default=None, description="A file that holds the password of an encrypted private key alone."
    )
    server_hostname: str | None = Field(
        default=None,
        description="The name that the server's certificate is made out to, where that is not the one in `url`.",
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Tls:
        if self.certificate is None and (self.key is not None or self.key_password_file is not None):
            raise wrong("There is a private key and no certificate.", "Add `certificate`, or remove the key.")
        return self


class Saml(Section):
    """Who the gateway is to a repository that wants a SAML assertion (IHE XUA, ITI-40)."""

    assertion_file: Path = Field(
        description="A file with a signed SAML 2.0 assertion and nothing else. It is passed on byte for byte, and read "
        "anew when it changes, so that something else can keep it fresh."
    )


class Timeouts(Section):
    """How long each step of a call may take. There is no limit on a transfer that makes progress. The source's own
    `limits.open_timeout` and `limits.idle_timeout` hold as well, so raise those with these."""

    connect: Patience = Field(default=5.0, description="Looking up the name, connecting and TLS together.")
    first_byte: Patience = Field(
        default=60.0,
        description="From the request to the answer's first bytes: a repository may have to make a document.",
    )
    between_bytes: Patience = Field(default=30.0, description="How long an answer that has begun may pause.")


class Service(Section):
    """What every SOAP service needs to be called."""

    url: str = Field(
        description="The address that requests are posted to, as in the service's WSDL.",
        examples=["https://xds.trust.local/repository"],
    )
    ws_addressing: tuple[AddressingHeader, ...] = Field(
        default=("action", "message_id", "to", "reply_to"),
        description="The WS-Addressing headers to send; [] for none.",
    )
    wsa_to: str | None = Field(
        default=None,
        description="What to say in the header To, where the service expects another address than `url`.",
    )
    must_understand: bool = Field(
        default=True,
        description="Whether the headers Action and Security are marked mustUnderstand; some services refuse them so.",
    )
    allow_http: bool = Field(
        default=False,
        description="Whether documents may travel unencrypted to another machine. Whoever sees the network then reads them.",
    )
    tls: Tls = Field(default=Tls(), description="Certificates.")
    saml: Saml | None = Field(default=None, description="The assertion to send with each request; null for none.")
    timeouts: Timeouts = Field(default=Timeouts(), description="How long to wait.")
    max_connections: int = Field(
        default=64, ge=1, le=1024, description="How many requests to this service may be under way at once."
    )

    @field_validator("url")
    @classmethod
    def _an_address(cls, value: str) -> str:
        if not _url(value) or not _has_port(value):
            raise wrong(
                "This is not the address of a service.",
                "Write it as in https://xds.trust.local:8443/repository, without user, password, blanks and #.",
            )
        return value

    @field_validator("wsa_to")
    @classmethod
    def _sayable(cls, value: str | None) -> str | None:
        try:
            escaped(value or "")
        except ValueError:
            raise wrong(
                "This holds a character that XML does not have.", "Write the address that the service expects."
            ) from None
        return value

    @field_validator("ws_addressing")
    @classmethod
    def _each_once(cls, values: tuple[AddressingHeader, ...]) -> tuple[AddressingHeader, ...]:
        return tuple(dict.fromkeys(values))

    @model_validator(mode="after")
    def _not_readable_by_all(self) -> Service:
        if self.url.startswith("http:") and not self.allow_http and not _is_loopback(self.url):
            raise wrong(
                "Documents and credentials would travel unencrypted.",
                "Use the service's https address, or set `allow_http: true` to accept that the network can read them.",
            )
        return self
