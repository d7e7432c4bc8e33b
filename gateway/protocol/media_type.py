"""One media type: reading, judging and writing it (RFC 9110 section 8.3.1).

Media types come from archives, where anything may stand in the column. What `parse` accepts is safe to write into a
header field; what it refuses is answered with None, and the caller goes on to look at the document itself. Media
ranges (`*/*`) and weights belong to `negotiation`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from gateway.protocol.fields import OWS, TOKEN

MAX_LENGTH = 255
"""Longest media type in characters; RFC 6838 4.2 allows 127 for each name, and what archives state is far shorter."""

_ESSENCE = re.compile(rf"({TOKEN})/({TOKEN})")
_PARAMETER = re.compile(rf'[ \t]*+;[ \t]*+(?:({TOKEN})=(?:({TOKEN})|"((?:[\t !#-\[\]-~]|\\[\t -~])*+)"))?+')
_TOKEN = re.compile(TOKEN)
_ESCAPED = re.compile(r"\\(.)")
_TO_ESCAPE = re.compile(r'(["\\])')


@dataclass(frozen=True, slots=True)
class MediaType:
    """A valid media type. Type, subtype and parameter names are in lower case, parameter values as given, unquoted."""

    type: str
    subtype: str
    parameters: tuple[tuple[str, str], ...] = ()

    @property
    def essence(self) -> str:
        """Type and subtype without parameters: what negotiation compares."""
        return f"{self.type}/{self.subtype}"

    def __str__(self) -> str:
        """The header field text; parameters without a space before them, the form RFC 9110 8.3.1 prefers."""
        return self.essence + "".join(f";{name}={_quoted(value)}" for name, value in self.parameters)


def parse(text: str) -> MediaType | None:
    """The media type in `text`; None when it is not one, is longer than `MAX_LENGTH`, or has a wildcard.

    White space around it is dropped. Control characters, CR and LF among them, and text beyond ASCII are refused.
    """
    return _parsed(text) if len(text) <= MAX_LENGTH else None


def essence(text: str) -> str:
    """Type and subtype, in lower case, of a media type that `parse` accepts."""
    return text.partition(";")[0].strip(OWS).lower()


@lru_cache(maxsize=256)
def _parsed(text: str) -> MediaType | None:
    text = text.strip(OWS)
    found = _ESSENCE.match(text)
    if found is None or "*" in found[0]:
        return None
    parameters = []
    position = found.end()
    while position < len(text):
        parameter = _PARAMETER.match(text, position)
        if parameter is None:
            return None
        name, token, quoted = parameter.groups()
        if name is not None:
            parameters.append((name.lower(), token if token is not None else _ESCAPED.sub(r"\1", quoted)))
        position = parameter.end()
    return MediaType(found[1].lower(), found[2].lower(), tuple(parameters))


def _quoted(value: str) -> str:
    return value if _TOKEN.fullmatch(value) else '"' + _TO_ESCAPE.sub(r"\\\1", value) + '"'
