"""The parts of a signed token as bytes and JSON, read strictly (RFC 7515, RFC 7519, RFC 8725). Pure.

Nothing here is verified: what comes out chooses an issuer and a key. Where two readers could disagree about a token (a name
that stands twice, base64 with stray bits, a number that is none), it is refused, so that nobody can have one reading
checked and another one used. Texts of refusals name the check, never what stands there.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any, NoReturn

MAX_SET = 512 * 1024
"""Bytes of the largest key set that is read."""

MAX_KID = 256
"""Characters of the longest key id."""


class Refused(Exception):
    """A token that is not accepted; the text names the check for operators, and holds nothing of the token."""


class Expired(Refused):
    """A token that was good and whose time has passed."""


@dataclass(frozen=True, slots=True)
class Parts:
    """A token taken apart. `signed` is what the signature covers."""

    header: dict[str, Any]
    claims: dict[str, Any]
    signed: bytes
    signature: bytes

    @property
    def algorithm(self) -> str:
        return str(self.header["alg"])

    @property
    def key_id(self) -> str | None:
        """The id of the key that is said to have signed."""
        kid = self.header.get("kid")
        return None if kid is None else str(kid)


def taken_apart(token: str) -> Parts:
    """The parts of a token in the compact form. Raises `Refused`."""
    pieces = token.split(".")
    if len(pieces) != 3:
        raise Refused("the token is no signed JWT: it does not have three parts")
    header = _object(pieces[0], "header")
    claims = _object(pieces[1], "claims")
    _check_header(header)
    signature = _decoded(pieces[2], "signature")
    return Parts(header, claims, f"{pieces[0]}.{pieces[1]}".encode("ascii"), signature)


def _check_header(header: dict[str, Any]) -> None:
    if not isinstance(header.get("alg"), str):
        raise Refused("the header has no alg")
    if "crit" in header:
        # RFC 7515 4.1.11: what must be understood and is not makes the token invalid; there is no extension that is.
        raise Refused("the header has crit, and no extension is understood")
    if "b64" in header:
        raise Refused("the header has b64")
    kid = header.get("kid")
    if kid is not None and not (
        isinstance(kid, str) and 0 < len(kid) <= MAX_KID and kid.isascii() and kid.isprintable()
    ):
        raise Refused(f"kid is not 1 to {MAX_KID} printable ASCII characters")
    if not isinstance(header.get("typ", ""), str):
        raise Refused("typ is no text")


def _object(piece: str, what: str) -> dict[str, Any]:
    raw = _decoded(piece, what)
    try:
        value = json.loads(raw.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_number)
    except (UnicodeDecodeError, ValueError, RecursionError):
        raise Refused(f"the {what} is not JSON in UTF-8") from None
    if not isinstance(value, dict):
        raise Refused(f"the {what} is not a JSON object")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        # RFC 7519 4 lets a reader refuse duplicates, RFC 8725 2.4 asks it to.
        raise Refused("a name stands twice in the token")
    return found


def _no_number(name: str) -> NoReturn:
    raise ValueError(name)


def _decoded(piece: str, what: str) -> bytes:
    """base64url without padding (RFC 7515 2), in its one canonical form."""
    try:
        raw = base64.b64decode(piece + "=" * (-len(piece) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if not raw or base64.urlsafe_b64encode(raw).rstrip(b"=") != piece.encode("ascii"):
        raise Refused(f"the {what} is not base64url")
    return raw
