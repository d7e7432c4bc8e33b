"""What all header fields share: tokens, and lists whose members may hold quoted strings (RFC 9110 section 5.6).

Every repeat in these patterns is possessive: what was read is never read again, so no text can make a match slow.
"""

from __future__ import annotations

import re

TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"  # noqa: S105 - a token of the HTTP grammar, not a secret
"""Pattern of a token (RFC 9110 5.6.2). Spelled out, because the classes of `re` reach beyond ASCII."""

OWS = " \t"
"""Optional white space (RFC 9110 5.6.3), for `str.strip`."""


def _outside_quotes(separator: str) -> re.Pattern[str]:
    # A quoted string that never ends runs to the end of the text: the match cannot fail, hence never starts over.
    return re.compile(rf'(?:[^"{separator}]++|"(?:[^"\\]++|\\.?+)*+"?+)++', re.DOTALL)


_PARTS = {separator: _outside_quotes(separator) for separator in ",;"}


def split(text: str, separator: str) -> list[str]:
    """The parts of `text` between commas or semicolons outside quoted strings; parts may be empty or padded."""
    return _PARTS[separator].findall(text) if '"' in text else text.split(separator)
