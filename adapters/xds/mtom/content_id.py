"""Does this reference mean that part? Content-ID and `cid:` as stacks really write them (RFC 2392; RFC 2387 section 3.4).

Rules of this module: names only, no parts and no bytes. Stacks differ in who percent-encodes (CXF-8698, SWS-806), in angle
brackets, and WCF uses whole URLs as ids.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

from adapters.xds.mtom.failures import ForbiddenReference

_BLANKS = " \t\r\n"

# What could be fetched, were this a browser. Other words before a colon belong to ids ("uuid:…", "0.urn:uuid:…").
_ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:/|[/\\]|(?:https?|ftp|file|data|jar):", re.IGNORECASE)


def names_part(href: str) -> str:
    """The id in a reference's `href`; some stacks forget the "cid:". Raises `ForbiddenReference` for what leads elsewhere."""
    href = href.strip(_BLANKS)
    scheme, _, rest = href.partition(":")
    if scheme.lower() == "cid":
        return rest
    if _ELSEWHERE.match(href):
        raise ForbiddenReference
    return href


def matches(reference: str, content_id: str) -> bool:
    """Whether an id from a reference or a `start` parameter is that of a Content-ID header.

    Either side may be percent-encoded, once; letter case decides nothing that the rest does not.
    """
    return not _forms(reference).isdisjoint(_forms(content_id))


def _forms(name: str) -> set[str]:
    name = _bare(name)
    return {form.casefold() for form in (name, _bare(unquote(name, errors="replace"))) if form}


def _bare(name: str) -> str:
    name = name.strip(_BLANKS)
    if name[:1] == "<":
        name = name[1:]
    return name.removesuffix(">").strip(_BLANKS)
