"""Binary around a document that is never held as one object: what comes before its base64 text, the text, what follows.

Pure: no I/O, no HTTP. An `Envelope` is made from facts alone, so the exact Content-Length is known before the first
byte is read; a `Base64Stream` turns chunks of any size into the text between its two ends. The order of elements is
that of the XML form: id, meta, contentType, content (STU3) or data (R4) (https://hl7.org/fhir/R4/binary.html, FR-200 to
FR-206).
"""

from __future__ import annotations

import binascii
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from typing import Any

from gateway.fhir import Version
from gateway.protocol.negotiation import Format
from gateway.protocol.parameters import Summary

try:
    from pybase64 import b64encode
except ImportError:

    def b64encode(data: bytes | memoryview) -> bytes:  # type: ignore[misc]
        """The standard library's encoder: a tenth of the speed, the same text."""
        return binascii.b2a_base64(data, newline=False)


_SUBSETTED = {
    version: {"system": system, "code": "SUBSETTED"}
    for version, system in {
        Version.STU3: "http://hl7.org/fhir/v3/ObservationValue",
        Version.R4: "http://terminology.hl7.org/CodeSystem/v3-ObservationValue",
    }.items()
}
"""The tag of a resource from which elements were left out (https://hl7.org/fhir/R4/search.html#summary)."""

_COMPACT = json.JSONEncoder(separators=(",", ":"))
_PRETTY = json.JSONEncoder(indent=2)


@dataclass(frozen=True, slots=True)
class Envelope:
    """The two ends of a Binary in UTF-8.

    With `carries_content` the document's base64 text belongs between them; without it they are the whole resource.
    `without_content` is the whole resource of a document that turns out to have no bytes, None where the FHIR version
    cannot express one (STU3 demands `content`, and FHIR allows no empty value; FR-207).
    """

    prefix: bytes
    suffix: bytes
    carries_content: bool
    without_content: bytes | None

    def length(self, size: int) -> int:
        """The exact length in bytes of the resource around a document of `size` bytes."""
        ends = len(self.prefix) + len(self.suffix)
        return ends + (size + 2) // 3 * 4 if self.carries_content else ends


def envelope(
    version: Version,
    format: Format,
    *,
    id: str,
    content_type: str,
    version_id: str | None = None,
    last_updated: datetime | None = None,
    pretty: bool = False,
    summary: Summary | None = None,
    elements: tuple[str, ...] | None = None,
    empty: bool = False,
) -> Envelope:
    """The envelope of one document. `last_updated` is aware and goes out in UTC, to the second.

    `empty` says that the document has no bytes: on R4 `data` is then left out. `summary` and `elements` (at most one of
    them) leave out what was not asked for and mark the resource as SUBSETTED; id, meta and contentType always stay.
    """
    subset = elements is not None or summary in (Summary.TRUE, Summary.TEXT)
    meta: dict[str, Any] = {}
    if version_id is not None:
        meta["versionId"] = version_id
    if last_updated is not None:
        meta["lastUpdated"] = _instant(last_updated)
    if subset:
        meta["tag"] = [_SUBSETTED[version]]
    whole = _content_stays(version, summary, elements) and not (empty and version is Version.R4)
    parts = _json if format is Format.JSON else _xml
    head, start, end, bare_end = parts(version, id, meta, content_type, pretty)
    without = None if version is Version.STU3 and whole else (head + bare_end).encode()
    if not whole:
        return Envelope(head.encode(), bare_end.encode(), False, without)
    return Envelope((head + start).encode(), end.encode(), True, without)


def text(data: bytes | memoryview) -> bytes:
    """The base64 text of `data`, padded (FR-204)."""
    return b64encode(data)


def _content_stays(version: Version, summary: Summary | None, elements: tuple[str, ...] | None) -> bool:
    """Whether the bytes belong to what was asked for.

    `_summary=true` is the elements marked as summary, which the content is not (FR-103). `_summary=text` and
    `_elements` keep mandatory elements (FR-106): `content` is one in STU3 (1..1), `data` is none in R4 (0..1).
    """
    if summary is Summary.TRUE:
        return False
    if summary is Summary.TEXT:
        return version is Version.STU3
    return elements is None or version is Version.STU3 or version.content_element in elements


def _instant(moment: datetime) -> str:
    if moment.tzinfo is None:
        raise ValueError("a time without a zone is not an instant")
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"


def _json(
    version: Version, id: str, meta: dict[str, Any], content_type: str, pretty: bool
) -> tuple[str, str, str, str]:
    body: dict[str, Any] = {"resourceType": "Binary", "id": id}
    if meta:
        body["meta"] = meta
    body["contentType"] = content_type
    encoder, end, indent, colon = (_PRETTY, "\n}", "\n  ", ": ") if pretty else (_COMPACT, "}", "", ":")
    head = encoder.encode(body).removesuffix(end)
    return head, f',{indent}"{version.content_element}"{colon}"', f'"{end}', end


def _xml(version: Version, id: str, meta: dict[str, Any], content_type: str, pretty: bool) -> tuple[str, str, str, str]:
    outer, inner, innermost = ("\n  ", "\n    ", "\n      ") if pretty else ("", "", "")
    head = f'<?xml version="1.0" encoding="UTF-8"?>\n<Binary xmlns="http://hl7.org/fhir">{outer}{_element("id", id)}'
    if meta:
        head += f"{outer}<meta>"
        head += "".join(inner + _element(name, meta[name]) for name in ("versionId", "lastUpdated") if name in meta)
        for tag in meta.get("tag", ()):
            head += f"{inner}<tag>" + "".join(innermost + _element(*pair) for pair in tag.items()) + f"{inner}</tag>"
        head += f"{outer}</meta>"
    head += outer + _element("contentType", content_type)
    bare_end = "\n</Binary>" if pretty else "</Binary>"
    return head, f'{outer}<{version.content_element} value="', f'"/>{bare_end}', bare_end


def _element(name: str, value: str) -> str:
    return f'<{name} value="{escape(value)}"/>'


class Base64Stream:
    """Base64 of a document that arrives in pieces: standard alphabet, padded, no line breaks (FR-204).

    At most two bytes are held between calls. A chunk whose length is a multiple of three is encoded as it stands,
    without a copy, as long as all chunks before it were such too.
    """

    __slots__ = ("_carry",)

    def __init__(self) -> None:
        self._carry = b""

    def feed(self, chunk: bytes | memoryview) -> bytes:
        """The text that `chunk` completes; empty when fewer than three bytes are at hand."""
        # The carry is joined to the input, not its text to the output: two outputs at a time make the allocator give
        # memory back and fault it in again with every chunk, which costs far more than the copy.
        data = self._carry + chunk if self._carry else chunk
        spare = len(data) % 3
        if not spare:
            self._carry = b""
            return b64encode(data)
        view = memoryview(data)
        self._carry = bytes(view[-spare:])
        return b64encode(view[:-spare])

    def finish(self) -> bytes:
        """The text of the bytes still held, padded."""
        text, self._carry = b64encode(self._carry), b""
        return text
