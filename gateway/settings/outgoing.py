"""What connections that the gateway itself makes are configured with: where to, and with which certificates."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from gateway.quantities import wrong
from gateway.settings.section import Section


def _address(value: str) -> str:
    host, colon, port = value.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise wrong("address", "This is not an address.", "Write host and port, as in siem.trust.nhs.uk:6514.")
    return value


Address = Annotated[str, AfterValidator(_address)]
"""Host and port."""


class OutgoingTls(Section):
    """Certificates for a connection that the gateway makes."""

    ca: Path | None = Field(
        default=None, description="The certificates that the server is checked against; null is the system's."
    )
    certificate: Path | None = Field(
        default=None, description="The gateway's own certificate, where the server demands one."
    )
    key: Path | None = Field(
        default=None,
        description="The private key of that certificate; null when it stands in the same file.",
        repr=False,
    )

    @model_validator(mode="after")
    def _whole(self) -> OutgoingTls:
        if self.certificate is None and self.key is not None:
            raise wrong("tls", "There is a private key and no certificate.", "Add `certificate`, or remove `key`.")
        return self
