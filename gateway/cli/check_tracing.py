"""Whether the receiver of traces takes any: an empty delivery is sent to it, as a gateway sends its spans. Values only.

An OTLP message without spans is no bytes at all (https://opentelemetry.io/docs/specs/otlp/#otlphttp-request).
"""

from __future__ import annotations

import asyncio
import os
import ssl
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import unquote, urlsplit

from gateway.cli.mistake import Mistake
from gateway.settings import Settings
from gateway.settings.tracing import TracingSettings

HEADERS = "OTEL_EXPORTER_OTLP_HEADERS"

ENDPOINT, AUTHORITIES = ("tracing", "endpoint"), ("tracing", "ca_file")

_DROPPED = "A gateway serves all the same; its spans are dropped and counted until the receiver is there."


async def examine_tracing(settings: Settings) -> tuple[Mistake, ...]:
    """Ask the receiver, if there is to be one."""
    if settings.tracing.endpoint is None:
        return ()
    found = await asyncio.to_thread(_tried, settings.tracing, settings.tracing.endpoint)
    return () if found is None else (found,)


def _tried(settings: TracingSettings, endpoint: str) -> Mistake | None:
    parts = urlsplit(endpoint)
    host, timeout = str(parts.hostname), settings.timeout
    try:
        if parts.scheme == "https":
            context = ssl.create_default_context(cafile=settings.ca_file)
            connection: HTTPConnection = HTTPSConnection(host, parts.port, timeout=timeout, context=context)
        else:
            connection = HTTPConnection(host, parts.port, timeout=timeout)
    except ssl.SSLError:
        cure = "Write the path of a file with the certificates of authorities, in PEM form."
        return Mistake(AUTHORITIES, "The file holds no certificates in PEM form.", cure)
    try:
        connection.request("POST", parts.path or "/", b"", {"Content-Type": "application/x-protobuf", **_headers()})
        status = connection.getresponse().status
    except ssl.SSLCertVerificationError as error:
        cause = f"The certificate of the receiver of traces is refused: {error.verify_message}."
        return Mistake(AUTHORITIES, cause, f"Name the authority that vouches for it. {_DROPPED}", "away")
    except (OSError, HTTPException) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        return Mistake(ENDPOINT, f"The receiver of traces does not answer: {reason}.", _DROPPED, "away")
    finally:
        connection.close()
    if 200 <= status < 300:
        return None
    cure = f"Look whether the path is the one for traces, /v1/traces with most receivers, and at {HEADERS}. {_DROPPED}"
    return Mistake(ENDPOINT, f"The receiver of traces answers with HTTP status {status}.", cure, "away")


def _headers() -> dict[str, str]:
    """What the environment adds to every delivery."""
    pairs = (pair.split("=", 1) for pair in os.environ.get(HEADERS, "").split(",") if "=" in pair)
    return {name.strip(): unquote(value.strip()) for name, value in pairs}
