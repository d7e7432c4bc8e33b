"""Which form of a document to send: as it is stored, or as a FHIR Binary in JSON or XML (RFC 9110 section 12).

`parse` reads `_format` and Accept once per request into `Wishes`; `choose` holds them against the type of the document.
The rules, in order:

1. `_format` names a FHIR format, in any of its spellings, and beats Accept (FR-63 to FR-69). One that names none is
   refused, whatever Accept says (FR-71).
2. No Accept, an empty one, or one without a readable member: no wish was stated, and the profile decides (CC-08).
3. The envelope is for those who ask for it by a FHIR type. A wildcard stands for the document as stored, and a generic
   type (`application/json`) for a document stored under exactly that type (FR-75, FR-76, FR-79).
4. The more specific member decides about a type, the highest weight wins, zero excludes (FR-73). At equal weight a name
   beats a wildcard, the stored document beats the envelope (CC-10 is a MUST, CC-13 a SHOULD), and JSON beats XML. Only
   where the document is itself of the FHIR type named does the envelope win (FR-77).
5. Parameters of a type do not count in matching (FR-86), but for `fhirVersion` of a FHIR type: a member with another
   version than that of the base matches nothing (FR-89), and two different ones in a request are an error (FR-88).
6. What cannot be met is refused (FR-80). Nothing is ever converted.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from functools import lru_cache
from typing import ClassVar, Final

from gateway.fhir import Version
from gateway.protocol import accept as accept_field
from gateway.protocol.accept import UNWANTED, Accepted, Rank
from gateway.protocol.media_type import essence
from gateway.protocol.profile import Profile

CACHED_LENGTH = 256
"""Headers up to this many characters are remembered (a browser's has about 150); longer ones would only fill memory."""

MAX_KINDS = 32
"""Members of Accept up to which `parse` looks for a choice that holds for every document."""


class Format(Enum):
    """A FHIR format. `names` are its FHIR types, the legacy one last; `generic` the types it shares with others."""

    JSON = ("application/fhir+json", "application/json+fhir", "application/json", "text/json")
    XML = ("application/fhir+xml", "application/xml+fhir", "application/xml", "text/xml")

    def __init__(self, formal: str, legacy: str, *generic: str) -> None:
        self.media_type = formal
        self.names = (formal, legacy)
        self.generic = generic
        self._with_charset = f"{formal};charset=utf-8"

    def content_type(self, charset: bool) -> str:
        """The Content-Type of a resource in this format.

        No space before the parameter: GP Connect writes it so, RFC 9110 8.3.1 prefers it, and no reader minds (FR-84).
        """
        return self._with_charset if charset else self.media_type


class Reason(Enum):
    """Why a request's wishes cannot be met."""

    ACCEPT = "no form of the document fits Accept"
    FORMAT = "_format names no format of this service"
    FHIR_VERSION = "fhirVersion names another version than that of the base"
    FHIR_VERSIONS_DIFFER = "two different values of fhirVersion"


@dataclass(frozen=True, slots=True)
class Native:
    """Send the document as it is stored."""

    format: ClassVar[None] = None


@dataclass(frozen=True, slots=True)
class Envelope:
    """Send the document as a FHIR Binary in this format."""

    format: Format


@dataclass(frozen=True, slots=True)
class NotAcceptable:
    """Refuse, with the status that the profile wants: 406 or 415, for parameters also 400."""

    status: int
    reason: Reason


Choice = Native | Envelope | NotAcceptable


class Unsupported(Enum):
    """What `format_of` says to a value that names a format, but none of this service."""

    UNSUPPORTED = "unsupported"


UNSUPPORTED: Final = Unsupported.UNSUPPORTED
NATIVE: Final = Native()
_ENVELOPES = {format: Envelope(format) for format in Format}
_FHIR_NAMES = {name: format for format in Format for name in format.names}
_FORMAT_VALUES = {name: format for format in Format for name in (*format.value, format.name.lower())}


@dataclass(frozen=True, slots=True, eq=False)
class Wishes:
    """What a request wants, as far as it can be said without the document.

    `asked` is false when neither `_format` nor Accept stated anything. `format` is that of `_format`; `refusal` the
    answer to a request that no document could satisfy. `errors` is the format for an OperationOutcome. `decided` is the
    choice when it is the same for every document.
    """

    profile: Profile
    asked: bool
    errors: Format
    accepted: Accepted | None = None
    other_version: bool = False
    format: Format | None = None
    refusal: NotAcceptable | None = None
    decided: Choice | None = None


def parse(
    accept: str | None, format: str | None, *, version: Version, profile: Profile, content_type: str | None = None
) -> Wishes:
    """The wishes in an Accept field (repeated ones joined with ", ") and in the decoded value of `_format`.

    `content_type` is that of the request, if any: its `fhirVersion` must not contradict the others (FR-88), and where
    the envelope is what nobody has to ask for, it picks the format when Accept and `_format` do not (GP-42).
    """
    if len(accept or "") + len(format or "") + len(content_type or "") <= CACHED_LENGTH:
        return _remembered(accept, format, version, profile, content_type)
    return _parse(accept, format, version, profile, content_type)


def format_of(value: str) -> Format | Unsupported | None:
    """The format that a value of `_format` names; None for an empty value. Parameters are left out of account."""
    name = essence(value)
    return _FORMAT_VALUES.get(name, UNSUPPORTED) if name else None


def choose(wishes: Wishes, stored_type: str) -> Choice:
    """What to send of a document of this media type; its parameters do not count (SV-57)."""
    return wishes.decided or _choose(wishes, essence(stored_type))


def certain(wishes: Wishes) -> Choice | None:
    """What `choose` will say whatever the document is; None when that depends on its type, or takes long to tell."""
    return wishes.decided


def choose_fhir(wishes: Wishes) -> Format | NotAcceptable:
    """The format of a resource that only exists as FHIR (metadata); JSON when nothing is asked.

    Generic types and wildcards name FHIR formats here (FR-76).
    """
    if wishes.refusal is not None:
        return wishes.refusal
    if wishes.format is not None or wishes.accepted is None:
        return wishes.format or Format.JSON
    json, xml = (wishes.accepted.best(format.value, wildcards=True) for format in Format)
    if not json.weight and not xml.weight:
        return _not_acceptable(wishes)
    return Format.XML if xml > json else Format.JSON


def error_format(wishes: Wishes) -> Format:
    """The format of an OperationOutcome: `_format`, else the FHIR type that Accept prefers, else JSON (FR-150, FR-151).

    XML is also taken when Accept allows it and no JSON (`application/xml` alone); a wildcard allows JSON.
    """
    return wishes.errors


def _parse(
    accept: str | None, format: str | None, version: Version, profile: Profile, content_type: str | None
) -> Wishes:
    members = accept_field.parse(accept) if accept else []
    named = format_of(format) if format else None
    format_version = accept_field.fhir_version(format) if format else None
    versions = {member.fhir_version for member in members if member.name in _FHIR_NAMES} | {format_version}
    if content_type and essence(content_type) in _FHIR_NAMES:
        versions.add(accept_field.fhir_version(content_type))
    fitting = [
        member for member in members if member.name not in _FHIR_NAMES or member.fhir_version in (None, version.mime)
    ]

    refusal = None
    if len(versions - {None}) > 1:
        refusal = NotAcceptable(400, Reason.FHIR_VERSIONS_DIFFER)
    elif named is UNSUPPORTED:
        refusal = NotAcceptable(profile.unknown_format, Reason.FORMAT)
    elif format_version not in (None, version.mime):
        refusal = NotAcceptable(profile.not_acceptable, Reason.FHIR_VERSION)

    wishes = Wishes(
        profile=profile,
        asked=bool(members) or named is not None,
        errors=named if isinstance(named, Format) else _error_format(accept_field.accepted(members)),
        accepted=accept_field.accepted(fitting) if members else None,
        other_version=len(fitting) < len(members),
        format=named if isinstance(named, Format) else None,
        refusal=refusal,
    )
    return replace(wishes, decided=_decided(wishes, content_type))


_remembered = lru_cache(maxsize=256)(_parse)


def _decided(wishes: Wishes, content_type: str | None) -> Choice | None:
    """The choice, if it is the same for every document."""
    profile, accepted = wishes.profile, wishes.accepted
    if wishes.refusal is not None:
        return wishes.refusal
    if wishes.format is not None:
        if profile.forms == "native":
            return NotAcceptable(profile.unknown_format, Reason.FORMAT)
        return _ENVELOPES[wishes.format]
    if accepted is None:
        if profile.no_accept == "native":
            return NATIVE
        return _ENVELOPES[_FORMAT_VALUES.get(essence(content_type or ""), Format.JSON)]
    # Documents differ for `_choose` only in which member covers their type, so one type of each kind stands for all.
    kinds = [*accepted.names, *(f"{family}/" for family in accepted.families), "/"]
    if len(kinds) > MAX_KINDS:
        return None
    first = _choose(wishes, kinds[0])
    return first if all(_choose(wishes, kind) == first for kind in kinds[1:]) else None


def _choose(wishes: Wishes, stored: str) -> Choice:
    profile, accepted = wishes.profile, wishes.accepted
    assert accepted is not None
    native = UNWANTED if profile.forms == "envelope" else accepted.rank(stored)
    if native.precision == 1 and profile.any_type == "envelope":
        native = UNWANTED
    named_as_fhir = stored in _FHIR_NAMES and native.precision == 3
    after_envelopes = named_as_fhir and profile.fhir_stored == "envelope"
    candidates: list[tuple[Rank, int, Choice]] = [(native, -1 if after_envelopes else 2, NATIVE)]
    if profile.forms != "native":
        wildcards = profile.any_type == "envelope"
        for preference, format in enumerate((Format.XML, Format.JSON)):
            names = format.value if profile.generic_type == "envelope" else format.names
            candidates.append((accepted.best(names, wildcards=wildcards), preference, _ENVELOPES[format]))
    rank, _, choice = max(candidates, key=lambda candidate: candidate[:2])
    if rank.weight:
        return choice
    if profile.other_type == "native" and profile.forms != "envelope" and native is UNWANTED:
        wanted = [name for name, weight in (*accepted.names.items(), *accepted.families.items()) if weight]
        if any(name not in _FHIR_NAMES for name in wanted):
            return NATIVE
    return _not_acceptable(wishes)


def _not_acceptable(wishes: Wishes) -> NotAcceptable:
    reason = Reason.FHIR_VERSION if wishes.other_version else Reason.ACCEPT
    return NotAcceptable(wishes.profile.not_acceptable, reason)


def _error_format(accepted: Accepted) -> Format:
    json, xml = (accepted.best(format.names, wildcards=True) for format in Format)
    if not json.weight and not xml.weight:
        json, xml = (accepted.best(format.generic, wildcards=False) for format in Format)
    return Format.XML if xml.weight and xml > json else Format.JSON
