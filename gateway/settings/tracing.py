"""The settings of traces for OpenTelemetry. Declarations and judgement on values alone."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from gateway.quantities import Duration, Peer, wrong
from gateway.settings.section import Section


def _endpoint(value: str) -> str:
    try:
        parts = urlsplit(value)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and not parts.query
    except ValueError:
        good = False
    if not good or parts.username is not None or not value.isascii() or not value.isprintable():
        cure = "Write the address for traces over HTTP, as in http://127.0.0.1:4318/v1/traces."
        raise wrong("endpoint", "This is not the address of a receiver of traces.", cure)
    try:
        found = find_spec("opentelemetry.exporter.otlp.proto.http") and find_spec("opentelemetry.sdk")
    except ModuleNotFoundError:
        found = None
    if found is None:
        cure = "Install the extra `otel`: pip install 'fhir-document-gateway[otel]'."
        raise wrong("extra", "Traces need a library that is not installed.", cure)
    return value


class TracingSettings(Section):
    """Traces of requests for OpenTelemetry, over OTLP/HTTP; needs the extra `otel`."""

    endpoint: Annotated[str, AfterValidator(_endpoint)] | None = Field(
        default=None,
        description="The address that takes them, as in http://127.0.0.1:4318/v1/traces; null makes none. Headers for it are "
        "taken from the environment variable OTEL_EXPORTER_OTLP_HEADERS.",
    )
    sample: float = Field(
        default=1.0,
        ge=0.0,
        le=1.0,
        description="The part of requests that are traced, from 0 to 1, where no trusted caller says.",
    )
    trusted_peers: tuple[Peer, ...] = Field(
        default=(),
        description="Whose traces go on here: addresses, networks, or `unix` for the Unix socket. The header `traceparent` of "
        "anybody else is no more than a link.",
    )
    service_name: str = Field(
        default="fhir-gateway", min_length=1, max_length=100, description="What this gateway is called in them."
    )
    ca_file: Path | None = Field(
        default=None, description="The authorities, in PEM form, that may vouch for the receiver; null is the system's."
    )
    delay: Duration = Field(default=1.0, description="How long spans wait for others, to be handed over together.")
    timeout: Duration = Field(default=5.0, description="How long handing spans over may take, retries included.")
