"""Header fields of a message and of its parts.

Rules of this module: what cannot be read is left out, never an error: a vendor's odd header must not cost a document. Only what
is too large is refused, by the splitter.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

_TYPE = re.compile(r"\s*([!#$%&'*+.^_`|~0-9A-Za-z-]+/[!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*(?=;|$|\s|,)")

# One parameter: quoted with escapes, or anything up to the next semicolon or blank (unquoted boundaries hold "=", "?" and ":").
# Its name begins after a semicolon, a blank, or the quote that ended the value before (stacks forget the semicolon).
_PARAMETER = re.compile(
    r"""(?<=[;\s"])([!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;"\s][^;\s]*))""", re.DOTALL
)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)

_LINE = re.compile(rb"\r?\n")

LONGEST_BOUNDARY = 256
"""Bytes; RFC 2046 allows 70, stacks write more."""


@dataclass(frozen=True, slots=True)
class MediaType:
    """A Content-Type: `name` is type/subtype in lower case, empty when unreadable; parameter names are in lower case."""

    name: str = ""
    parameters: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def multipart(self) -> bool:
        """Whether it says that the body has parts."""
        return self.name.startswith("multipart/")

    @property
    def boundary(self) -> bytes | None:
        """What separates the parts; None when there is none that could."""
        text = self.parameters.get("boundary", "").rstrip()
        boundary = text.encode("latin-1", "replace")
        return boundary if 0 < len(boundary) <= LONGEST_BOUNDARY and not re.search(rb"[\0\r\n]", boundary) else None


def media_type(value: str | None) -> MediaType:
    """Read a Content-Type. The first of two parameters of one name counts."""
    kind = _TYPE.match(value or "")
    if value is None or kind is None:
        return MediaType()
    parameters: dict[str, str] = {}
    for found in _PARAMETER.finditer(value, kind.end()):
        name, quoted, plain = found.groups()
        parameters.setdefault(name.lower(), plain if quoted is None else _ESCAPE.sub(r"\1", quoted))
    return MediaType(kind[1].lower(), MappingProxyType(parameters))


def header_fields(block: bytes) -> Mapping[str, str]:
    """The fields of a header block by name in lower case, folded lines joined; lines that are no fields are left out.

    The first of two fields of one name counts. Text is Latin-1, which loses nothing.
    """
    fields: dict[str, str] = {}
    lines = _LINE.split(block)
    name = None
    for line in (line.decode("latin-1") for line in lines):
        if line[:1] in (" ", "\t"):
            if name is not None:
                fields[name] += " " + line.strip()
            continue
        key, colon, value = line.partition(":")
        key = key.strip().lower()
        name = key if colon and key and key not in fields else None
        if name is not None:
            fields[name] = value.strip()
    return MappingProxyType(fields)
