"""What a repository states about a document's type, as far as it can be believed.

Rules of this module: pure. A statement that is no media type is none at all: written into a header field as it stands, it
could end the field and begin another.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_CHARACTER = r"[\w!#$%&'*+.^`|~-]"
# RFC 9110 8.3.1, with blanks around the semicolon as products write them; bounded, since it comes from outside.
_media_type = re.compile(
    rf"{_CHARACTER}{{1,127}}/{_CHARACTER}{{1,127}}"
    rf"(?:[ \t]*;[ \t]*{_CHARACTER}{{1,64}}=(?:{_CHARACTER}{{1,127}}|\"[ !#-\[\]-~]{{0,127}}\")){{0,8}}",
    re.ASCII,
).fullmatch

_SAYS_NOTHING = frozenset({"application/octet-stream", "binary/octet-stream", "application/unknown", "*/*"})
"""What is stated when nobody knew."""


def is_media_type(text: str) -> bool:
    """Whether `text` may stand in a Content-Type header field."""
    return _media_type(text) is not None


def believed(corrections: Mapping[str, str | None], *statements: str | None) -> str | None:
    """The first of `statements` that says something, corrected; None when the bytes must decide.

    `corrections` maps a statement, in small letters, to what it stands for, None for nothing.
    """
    for statement in statements:
        stated = (statement or "").strip()
        key = stated.lower()
        essence = key.partition(";")[0].rstrip()
        for name in (key, essence):
            if name in corrections:
                served = corrections[name]
                break
        else:
            known = is_media_type(stated) and essence not in _SAYS_NOTHING
            served = essence + stated[len(essence) :] if known else None
        if served is not None:
            return served
    return None
