"""The settings of the public listener: address, TLS, deadlines and numbers, pages of other sites.

Declarations and judgement on values alone. Reading certificates belongs to `gateway.security.certificates`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from gateway.quantities import Count, Duration, Host, Pause, Port, wrong
from gateway.settings.section import Section


class ServerLimits(Section):
    """Deadlines and numbers of the public listener."""

    keep_alive: Duration = Field(
        default=30.0, description="How long a connection may stay open without a request on it."
    )
    header_timeout: Duration = Field(
        default=10.0,
        description="How long the headers of a request may take from their first byte on, and a TLS handshake from its "
        "beginning.",
    )
    request_timeout: Duration = Field(
        default=60.0,
        description="How long a request may take from its headers to the first byte of its answer, whatever it waits for. A "
        "client that waits for less says so with `Prefer: wait=10` (seconds).",
    )
    reader_timeout: Duration = Field(
        default=20.0,
        description="How long a reader may take next to nothing before its connection is reset; while others wait for its "
        "place in the archive, one that stalls makes room sooner.",
    )
    max_connections: Count = Field(
        default=2000, description="How many connections may be open at once; the next one is answered 503."
    )
    max_connections_per_peer: Count | None = Field(
        default=None,
        description="How many of them one address may have (of IPv6 one /64 network); null is no limit of its own. Leave it "
        "out behind a proxy, which is one address for all its readers.",
    )
    drain_delay: Pause = Field(
        default=5.0,
        description="How long after SIGTERM connections are still taken, while `/readyz` says 503 already and every answer is "
        "the last one of its connection: load balancers need as long to send clients elsewhere. SIGINT does not wait.",
    )
    drain: Duration = Field(
        default=10.0, description="How long running answers may take to end after that before they are cut off."
    )


class TlsSettings(Section):
    """The certificate of the public listener. Files that change are read anew; a pair that does not fit is not used."""

    certificate: Path = Field(
        description="The certificate in PEM form, the intermediate certificates behind it.",
        examples=["/etc/fhir-gateway/tls/fullchain.pem"],
    )
    key: Path | None = Field(
        default=None, description="Its private key in PEM form; null when it stands in the same file.", repr=False
    )
    key_password_file: Path | None = Field(
        default=None, description="A file that holds the password of an encrypted key, and nothing else."
    )
    client_ca: Path | None = Field(
        default=None,
        description="The certificates, in PEM form, of the authorities whose clients may connect. Each client must show a "
        "certificate of theirs; where `auth` lets clients in by other proofs too, only those that show one are checked.",
    )
    minimum_version: Literal["1.2", "1.3"] = Field(
        default="1.2", description="The oldest version of TLS that is spoken."
    )
    hsts: Duration | None = Field(
        default=365 * 86400.0,
        description="For how long browsers are told to come by TLS only (Strict-Transport-Security); null says nothing.",
    )


def _origin(value: str) -> str:
    if not re.fullmatch(r"https?://[a-z0-9.-]+(:[0-9]{1,5})?|https?://\[[0-9a-f:]+\](:[0-9]{1,5})?", value, re.ASCII):
        if value == "*":
            cause = "* would be every page that a reader of documents visits, and each of them could read documents."
            raise wrong("origin", cause, "List the pages that may, as in https://viewer.trust.nhs.uk.")
        cause = "This is not the origin of a web page: that has no path, and no slash at the end."
        cure = "Write scheme, host and where needed port in small letters, as in https://viewer.trust.nhs.uk."
        raise wrong("origin", cause, cure)
    return value


class CorsSettings(Section):
    """Web pages of other origins that may read documents with their user's token."""

    origins: tuple[Annotated[str, AfterValidator(_origin)], ...] = Field(
        default=(),
        description="Their origins, as in https://viewer.trust.nhs.uk; without any, browsers let no page read.",
    )
    max_age: Duration = Field(
        default=600.0, description="For how long a browser may remember that it was allowed to ask."
    )


class ServerSettings(Section):
    """The public listener, which answers FHIR."""

    host: Host = Field(default="127.0.0.1", description="The address to listen on; 0.0.0.0 is every IPv4 address.")
    port: Port = Field(default=8080, description="The TCP port; 0 lets the system pick a free one.")
    unix_socket: Path | None = Field(
        default=None,
        description="Listen on a Unix socket of this name instead of an address, for a proxy on the same machine.",
    )
    workers: Annotated[int, Field(ge=1, le=64)] = Field(
        default=1,
        description="How many processes serve on this address. More than one use several processors; places in archives, "
        "connections, spool and a cache in memory are divided between them. Replicas are the better way to scale.",
    )
    tls: TlsSettings | None = Field(default=None, description="TLS; null is plain HTTP.")
    cors: CorsSettings = Field(default=CorsSettings(), description="Web pages of other origins.")
    limits: ServerLimits = Field(default=ServerLimits(), description="Deadlines and numbers.")

    @model_validator(mode="after")
    def _one_way(self) -> ServerSettings:
        if self.unix_socket is not None and self.tls is not None:
            cause = "A Unix socket is not spoken to by TLS: nobody between could listen."
            raise wrong("unix-tls", cause, "Leave out `tls`, or `unix_socket`.")
        return self
