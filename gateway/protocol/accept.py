"""The Accept field: which types a client takes, and how much it wants each (RFC 9110 sections 12.4.2 and 12.5.1).

Only reading and weighing; what follows for a document is for `negotiation` to say. The more specific member decides
about a type, and zero excludes it. Parameters do not count in matching (FR-86, SV-57); `fhirVersion` is handed on.

Reading is lenient where real clients are wrong and the meaning is plain: `*` and `q=.2` (the default Accept of Java's
HttpURLConnection before 19), spaces around "=", weights of more than three digits or above 1. A member whose type or
weight cannot be read at all is skipped: it says neither "wanted" nor "excluded".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from gateway.protocol.fields import OWS, TOKEN, split

MAX_WEIGHT_LENGTH = 16
"""Longest readable weight in characters; RFC 9110 12.4.2 has 5, and number libraries print up to 16 or so."""

_RANGE = re.compile(rf"{TOKEN}/{TOKEN}")
_WEIGHT = re.compile(r"[0-9]++(?:\.[0-9]*+)?+|\.[0-9]++")


class Member(NamedTuple):
    """One member of the field: a type, `type/*` or `*/*` in lower case, its weight from 0 to 1, its `fhirVersion`."""

    name: str
    weight: float
    fhir_version: str | None


class Rank(NamedTuple):
    """How much a type is wanted: weight first, then how precisely it was named (3 its name, 2 `type/*`, 1 `*/*`)."""

    weight: float
    precision: int


UNWANTED = Rank(0.0, 0)
"""The rank of a type that no member covers."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The members of an Accept field by precision: weights of `type/subtype`, of `type/*`, and of `*/*`."""

    names: Mapping[str, float]
    families: Mapping[str, float]
    any: float | None

    def rank(self, name: str) -> Rank:
        """What the most specific member that covers this type says of it."""
        weight = self.names.get(name)
        if weight is not None:
            return Rank(weight, 3)
        weight = self.families.get(name.partition("/")[0])
        if weight is not None:
            return Rank(weight, 2)
        return UNWANTED if self.any is None else Rank(self.any, 1)

    def best(self, names: Sequence[str], *, wildcards: bool) -> Rank:
        """The highest rank of those of `names` that are named; with `wildcards`, of the first also as they cover it."""
        ranks = [Rank(self.names[name], 3) for name in names if name in self.names]
        if wildcards:
            ranks.append(self.rank(names[0]))
        return max(ranks, default=UNWANTED)


def parse(field: str) -> list[Member]:
    """The readable members of an Accept field, in its order."""
    return [member for text in split(field, ",") if (member := _member(text)) is not None]


def accepted(members: Iterable[Member]) -> Accepted:
    """The members as a table. The same type twice can only differ in parameters, so the kinder weight holds."""
    names: dict[str, float] = {}
    families: dict[str, float] = {}
    any: float | None = None
    for name, weight, _ in members:
        if name == "*/*":
            any = weight if any is None else max(any, weight)
        elif name.endswith("/*"):
            family = name[:-2]
            families[family] = max(weight, families.get(family, weight))
        else:
            names[name] = max(weight, names.get(name, weight))
    return Accepted(names, families, any)


def fhir_version(media_type: str) -> str | None:
    """The value of the `fhirVersion` parameter of a media type (https://hl7.org/fhir/R4/http.html#version-parameter)."""
    for parameter in split(media_type, ";")[1:]:
        key, _, value = parameter.partition("=")
        if key.strip(OWS).lower() == "fhirversion":
            return value.strip(OWS + '"') or None
    return None


def _member(text: str) -> Member | None:
    name, semicolon, parameters = text.partition(";")
    name = name.strip(OWS)
    if name == "*":
        name = "*/*"
    elif not _RANGE.fullmatch(name) or (name.startswith("*/") and name != "*/*"):
        return None
    # Only now: lower-casing may turn a letter beyond ASCII into one within.
    name = name.lower()
    if not semicolon:
        return Member(name, 1.0, None)
    for parameter in split(parameters, ";"):
        key, _, value = parameter.partition("=")
        if key.strip(OWS) in ("q", "Q"):
            value = value.strip(OWS)
            if len(value) > MAX_WEIGHT_LENGTH or not _WEIGHT.fullmatch(value):
                return None
            return Member(name, min(float(value), 1.0), fhir_version(text))
    return Member(name, 1.0, fhir_version(text))
