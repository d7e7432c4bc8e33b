"""Which web pages may read documents with their user's token (Fetch, "HTTP-CORS protocol").

A preflight carries no credentials, so it is answered before anybody is asked who they are; it says which origins are allowed
and nothing about any document. What is no preflight of an allowed origin is answered as if this module were not there.
Cookies are never allowed: there are none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

METHODS = "GET, HEAD"

REQUEST_FIELDS = (
    "Authorization, Accept, If-Match, If-None-Match, If-Modified-Since, If-Unmodified-Since, If-Range, Prefer, Range, "
    "X-Correlation-Id, X-Request-Id"
)
"""What a page may send."""

RESPONSE_FIELDS = (
    "Accept-Ranges, Cache-Status, Content-Disposition, Content-Length, Content-Location, Content-Range, Date, ETag, "
    "Last-Modified, Retry-After, WWW-Authenticate, X-Correlation-Id, X-Request-Id"
)
"""What a page may see of an answer."""


class Cors:
    """The origins that are allowed."""

    def __init__(self, origins: Iterable[str] = (), *, max_age: float = 600.0) -> None:
        """`max_age` in seconds is how long a browser may remember a preflight."""
        self._origins = frozenset(origins)
        self._max_age = str(int(max_age))

    def headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        """What an answer to a request with these headers says; caches must know that it depends on the origin."""
        if not self._origins:
            return {}
        said = {"Vary": "Accept, Origin"}
        origin = headers.get("Origin")
        if origin in self._origins:
            said |= {"Access-Control-Allow-Origin": origin, "Access-Control-Expose-Headers": RESPONSE_FIELDS}
        return said

    def preflight(self, method: str, headers: Mapping[str, str]) -> dict[str, str] | None:
        """The headers of the answer to a preflight of an allowed origin; None for every other request."""
        asked = method == "OPTIONS" and "Access-Control-Request-Method" in headers
        if not asked or headers.get("Origin") not in self._origins:
            return None
        return {
            "Access-Control-Allow-Methods": METHODS,
            "Access-Control-Allow-Headers": REQUEST_FIELDS,
            "Access-Control-Max-Age": self._max_age,
        }
