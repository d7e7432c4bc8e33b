"""The query parameters that FHIR defines for every interaction, and Prefer (https://hl7.org/fhir/R4/http.html#general).

`parse` works on the raw query string, because `+` has two readings there: by the rules of forms it is a space, and in
`_format=application/fhir+json`, as nearly every client writes it by hand, it is itself. A media type has no space
inside, so a space inside `_format` is read back as `+`; `+`, `%2B` and `%20` all work (FR-70).

A parameter that FHIR defines and whose value makes no sense is an error (400, CC-19, FR-112): a client that asked for
something special and got something else would not notice. Names are case-sensitive. A name not known here is collected,
and is the caller's to refuse where the client asked for that (`prefers_strict`, FR-110). What `_format` means is for
`negotiation` to say, and what `_summary` does to a document for the envelope.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import TypeVar
from urllib.parse import unquote_plus

from gateway.protocol.fields import OWS, split

CACHED_LENGTH = 128
"""Queries up to this many characters are remembered; longer ones are rare, and would only fill memory."""

Value = TypeVar("Value")

_ELEMENT = re.compile(r"[A-Za-z][A-Za-z0-9]{0,63}+")


class Summary(Enum):
    """Values of `_summary` for a single resource; `count` is for searches only (FR-102)."""

    TRUE = "true"
    TEXT = "text"
    DATA = "data"
    FALSE = "false"


class ParameterError(ValueError):
    """A parameter has a value that cannot be used. `name` is the parameter; the value is not kept, so never echoed."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


@dataclass(frozen=True, slots=True)
class Parameters:
    """What a query string asks for. `format` is the text of `_format`; FHIR does not define the names in `unknown`."""

    format: str | None = None
    pretty: bool = False
    summary: Summary | None = None
    elements: tuple[str, ...] | None = None
    unknown: tuple[str, ...] = ()


NONE = Parameters()

_SUMMARIES = {summary.value: summary for summary in Summary}
_BOOLEANS = {"true": True, "false": False}


def parse(query: str) -> Parameters:
    """The parameters in a raw query string (what follows "?", not decoded, "" when there is none).

    Raises `ParameterError` for `_pretty`, `_summary` or `_elements` with another value than FHIR defines, for a
    single-valued parameter given twice with different values, and for `_summary` together with `_elements` (FR-107).
    """
    if not query:
        return NONE
    return _remembered(query) if len(query) <= CACHED_LENGTH else _parse(query)


def prefers_strict(prefer: str | None) -> bool:
    """Whether a Prefer field asks for `handling=strict` (RFC 7240 4.4); of repeated preferences the first counts."""
    if prefer is None or "handling" not in prefer.lower():
        return False
    for preference in split(prefer, ","):
        name, _, value = split(preference, ";")[0].partition("=")
        if name.strip(OWS).lower() == "handling":
            return value.strip(OWS + '"').lower() == "strict"
    return False


def waits(prefer: str | None) -> int | None:
    """Seconds that a Prefer field says its sender waits for an answer (`wait`, RFC 7240 4.3), None where it does not say."""
    if prefer is None or "wait" not in prefer.lower():
        return None
    for preference in split(prefer, ","):
        name, _, value = split(preference, ";")[0].partition("=")
        value = value.strip(OWS + '"')
        if name.strip(OWS).lower() == "wait":
            return int(value) if value.isascii() and value.isdigit() and len(value) < 8 else None
    return None


def _parse(query: str) -> Parameters:
    single: dict[str, str] = {}
    elements: list[str] = []
    unknown: list[str] = []
    for pair in query.split("&"):
        if not pair:
            continue
        raw_name, _, raw_value = pair.partition("=")
        name, value = _decoded(raw_name), _decoded(raw_value)
        if name in ("_format", "_pretty", "_summary"):
            if single.setdefault(name, value) != value:
                raise ParameterError(name)
        elif name == "_elements":
            elements += _element_names(value)
        else:
            unknown.append(name)
    format = single.get("_format")
    pretty = _choice("_pretty", single.get("_pretty", "false"), _BOOLEANS)
    summary = _choice("_summary", single["_summary"], _SUMMARIES) if "_summary" in single else None
    if elements and summary is not None:
        raise ParameterError("_elements")
    return Parameters(
        format=None if format is None else _with_plus(format),
        pretty=pretty,
        summary=summary,
        elements=tuple(elements) if elements else None,
        unknown=tuple(unknown),
    )


_remembered = lru_cache(maxsize=256)(_parse)


def _decoded(text: str) -> str:
    # Escapes that are not UTF-8 become U+FFFD, escapes that are no escapes stay: neither can equal a name or a value.
    return unquote_plus(text) if "%" in text or "+" in text else text


def _choice(name: str, text: str, values: Mapping[str, Value]) -> Value:
    if text not in values:
        raise ParameterError(name)
    return values[text]


def _element_names(value: str) -> list[str]:
    names = [name.strip(" ") for name in value.split(",")]
    if not all(_ELEMENT.fullmatch(name) for name in names):
        raise ParameterError("_elements")
    return names


def _with_plus(value: str) -> str:
    essence, semicolon, parameters = value.partition(";")
    return essence.strip(" ").replace(" ", "+") + semicolon + parameters
