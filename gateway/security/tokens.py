"""A bearer token in a request, and what a refusal says about it (RFC 6750, RFC 9110 section 11). No I/O.

There is one way to send a token, the Authorization header, once. A token in the query is refused even where another one
stands in the header: it has been written to the logs of everything on the way. Nothing of what was sent is repeated.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote_plus

from gateway import errors
from gateway.errors import Entry, Problem
from gateway.security import Identity

if TYPE_CHECKING:
    from multidict import CIMultiDictProxy

MAX_TOKEN = 8192
"""Bytes of the longest token that is looked at."""

REALM = "fhir"

# b64token of RFC 6750 section 2.1.
_is_token = re.compile(r"[A-Za-z0-9\-._~+/]+=*", re.ASCII).fullmatch

_ERRORS = {400: "invalid_request", 401: "invalid_token", 403: "insufficient_scope"}


def bearer_token(headers: CIMultiDictProxy[str], query: str) -> str | None:
    """What is sent as the token of a request, None when nothing is. Raises `Problem` for a way that is refused."""
    if query:
        _refuse_in(query)
    given = headers.getall("Authorization", ())
    if len(given) != 1:
        if given:
            raise refused(errors.CREDENTIALS_TWICE)
        return None
    words = given[0].split(None, 1)
    if not words or words[0].lower() != "bearer":
        return None
    if len(words) == 1:
        raise refused(errors.INVALID_TOKEN, "an empty token")
    token = words[1]
    if len(token) > MAX_TOKEN:
        raise refused(errors.INVALID_TOKEN, "the token is longer than 8 KiB")
    return token


def check_form(token: str) -> None:
    """Raises `Problem` when this can be no token (RFC 6750 section 2.1): asked only of what is not known to be one."""
    if not _is_token(token):
        raise refused(errors.INVALID_TOKEN, "the token has characters that no token has")


def _refuse_in(query: str) -> None:
    if "access_token" in query.lower() or "%" in query:
        names = (unquote_plus(pair.partition("=")[0]) for pair in re.split("[&;]", query))
        if any(name.strip().lower() == "access_token" for name in names):
            raise refused(errors.TOKEN_IN_QUERY)


def refused(entry: Entry, detail: str = "", *, scope: str | None = None) -> Problem:
    """The refusal with its challenge. `detail` says for operators which check failed, and holds nothing of the token."""
    return Problem(entry, detail, headers={"WWW-Authenticate": challenge(entry, scope=scope)})


def insufficient(identity: Identity, detail: str, *, scope: str) -> Problem:
    """403 for want of a scope. Who sent no token is challenged for none: a better one would be no use to a certificate."""
    if identity.method in ("jwt", "bearer"):
        return refused(errors.INSUFFICIENT_SCOPE, detail, scope=scope)
    return Problem(errors.INSUFFICIENT_SCOPE, detail)


def challenge(entry: Entry, *, scope: str | None = None) -> str:
    """WWW-Authenticate for this row: no error code where no token was sent (RFC 6750 section 3.1)."""
    parts = [f'realm="{REALM}"']
    if entry is not errors.UNAUTHENTICATED:
        parts.append(f'error="{_ERRORS[entry.status]}"')
        parts.append(f'error_description="{entry.title}"')
    if scope is not None:
        parts.append(f'scope="{scope}"')
    return "Bearer " + ", ".join(parts)
