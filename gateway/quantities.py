"""Quantities as people write them: sizes in bytes, durations in seconds, and the other small types of the settings.

Only values that stand for themselves live here: text in, number or text out, no file and no model. Every refusal is a
`PydanticCustomError` that carries its cure.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

_SIZES = {"b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40}
_SIZE_NAMES = ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))
_DURATIONS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_QUANTITY = re.compile(r"\s*([0-9]{1,18}(?:\.[0-9]{1,9})?)\s*([A-Za-z]*)\s*", re.ASCII)


def wrong(kind: str, cause: str, cure: str) -> PydanticCustomError:
    """A refusal of a value: `kind` is a stable word for programs, `cause` and `cure` are sentences for people."""
    # Braces in the text would be read as a template, so the sentences travel as values.
    return PydanticCustomError(kind, "{cause}", {"cause": cause, "cure": cure})


def parse_size(value: Any) -> int:
    """Bytes: 32MiB, 10KB, 1.5GiB, or a whole number of bytes."""
    cure = "Write a number with one of B, KB, MB, GB (thousands) or KiB, MiB, GiB, TiB (1024s), as in 32MiB."
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    match = _QUANTITY.fullmatch(value) if isinstance(value, str) else None
    unit = _SIZES.get((match[2] or "b").lower()) if match else None
    if match is None or unit is None:
        raise wrong("size", "This is not a size.", cure)
    number = float(match[1]) * unit if "." in match[1] else int(match[1]) * unit
    if number != int(number):
        raise wrong("size", "This size is not a whole number of bytes.", cure)
    return int(number)


def parse_duration(value: Any) -> float:
    """Seconds: 5s, 250ms, 2m, 1h, 7d. A bare number is refused: nobody could say what it counts."""
    match = _QUANTITY.fullmatch(value) if isinstance(value, str) else None
    unit = _DURATIONS.get(match[2]) if match else None
    if match is None or unit is None:
        bare = isinstance(value, int | float) or (match is not None and not match[2])
        cause = "This duration has no unit." if bare and not isinstance(value, bool) else "This is not a duration."
        raise wrong("duration", cause, "Write a number with one of ms, s, m, h or d, as in 5s, 250ms or 2m.")
    return float(match[1]) * unit


def size_text(number: int) -> str:
    """`number` bytes in the largest unit that divides it: 1048576 is 1MiB."""
    for unit, name in _SIZE_NAMES:
        if number and number % unit == 0:
            return f"{number // unit}{name}"
    return str(number)


def duration_text(seconds: float) -> str:
    """`seconds` in the largest unit that divides them: 120 is 2m, 0.25 is 250ms."""
    milliseconds = round(seconds * 1000)
    if not milliseconds:
        return "0s"
    for name, unit in (("h", 3_600_000), ("m", 60_000), ("s", 1000)):
        if milliseconds % unit == 0:
            return f"{milliseconds // unit}{name}"
    return f"{milliseconds}ms"


def _no_truth(value: Any) -> Any:
    # pydantic reads true as 1.
    if isinstance(value, bool):
        raise wrong("number", "A number is expected, not true or false.", "Write a whole number.")
    return value


def _source_name(value: str) -> str:
    if not re.fullmatch(r"[a-z0-9-]{1,40}", value, re.ASCII):
        cure = "Use small letters, digits and hyphens, at most 40, as in `scanned-letters`."
        raise wrong("source-name", "A source cannot have this name.", cure)
    return value


def _header_value(value: str) -> str:
    if not value.isascii() or not value.isprintable() or value != value.strip() or not value:
        raise wrong("header", "This cannot be the value of an HTTP header.", "Write one line of plain ASCII text.")
    return value


def _peer(value: str) -> str:
    if value != "unix":
        try:
            ipaddress.ip_network(value)
        except ValueError:
            cure = "Write an address as in 10.0.0.7, a network as in 10.0.0.0/24, or `unix` for the Unix socket."
            raise wrong("peer", "This is not an address or a network.", cure) from None
    return value


def _host(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9.:_-]{1,253}", value, re.ASCII):
        raise wrong(
            "host",
            "This is not an address to listen on.",
            "Write an address or a host name alone, as in 127.0.0.1, 0.0.0.0 or ::1; the port has its own key.",
        )
    if value.count(":") == 1:
        raise wrong("host", "An address and a port were given together.", "Give the port in the key `port`.")
    return value


def _base_path(value: str) -> str:
    if not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+", value, re.ASCII) or "/." in value:
        raise wrong(
            "base",
            "This is not the path of a FHIR base.",
            "Begin with / and do not end with it; letters, digits, - . _ ~ between, as in /R4 or /fhir/STU3.",
        )
    return value


def _public_url(value: str) -> str:
    try:
        parts = urlsplit(value)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.query or parts.fragment or "@" in parts.netloc or not value.isprintable() or " " in value:
        raise wrong(
            "url",
            "This is not the address of this service.",
            "Write scheme, host and where needed port and path, as in https://documents.trust.nhs.uk.",
        )
    if value.endswith("/"):
        raise wrong("url", "The address ends with a slash.", f"Write {value.rstrip('/')} instead.")
    return value


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`. A name other than localhost is not trusted to be."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


SIZE = BeforeValidator(parse_size)
DURATION = BeforeValidator(parse_duration)

Size = Annotated[int, SIZE, Field(ge=0)]
"""Bytes."""

Duration = Annotated[float, DURATION, Field(gt=0)]
"""Seconds, more than none."""

Pause = Annotated[float, DURATION, Field(ge=0)]
"""Seconds, or none."""

Count = Annotated[int, BeforeValidator(_no_truth), Field(ge=1)]
"""How many of something, at least one."""

Port = Annotated[int, BeforeValidator(_no_truth), Field(ge=0, le=65535)]
"""A TCP port; 0 lets the system pick a free one."""

Host = Annotated[str, AfterValidator(_host)]
"""An address or host name to listen on."""

BasePath = Annotated[str, AfterValidator(_base_path)]
"""The path of a FHIR base: begins with a slash, does not end with one."""

PublicUrl = Annotated[str, AfterValidator(_public_url)]
"""Where clients reach this service, without a slash at the end."""

HeaderValue = Annotated[str, AfterValidator(_header_value)]
"""The value of an HTTP header."""

SourceName = Annotated[str, AfterValidator(_source_name)]
"""The name of a configured archive."""
Peer = Annotated[str, AfterValidator(_peer)]
"""Somebody at the other end of a connection: an address, a network, or `unix`."""
