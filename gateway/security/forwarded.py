"""Client certificates that a proxy hands on, as the names and dates that are read from its header.

Pure: text in, `Certified` out; whether the proxy is to be believed was decided before. A header that cannot be read is an
error, never "no certificate". Sources: nginx, `$ssl_client_escaped_cert`; Envoy, "x-forwarded-client-cert".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import unquote_to_bytes

from cryptography import x509

LONGEST = 16_384
"""Characters of the longest header that is read: that of the longest field that the server takes."""

_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----\s[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----\s*", re.ASCII)


class Unreadable(Exception):
    """The header does not hold what it should; the text says why and repeats nothing of it."""


@dataclass(frozen=True, slots=True)
class Certified:
    """What a certificate says of its holder: names as `DNS:host` and `URI:...`, and when it is valid; None is not told."""

    names: frozenset[str]
    begins: datetime | None = None
    ends: datetime | None = None

    def valid_at(self, now: datetime) -> bool:
        """Whether `now`, in UTC, lies between its dates."""
        return (self.begins is None or self.begins <= now) and (self.ends is None or now <= self.ends)


def read_pem(value: str) -> Certified | None:
    """A percent-encoded certificate in PEM form; None for an empty value, by which nginx says that none was shown."""
    if not value:
        return None
    data = unquote_to_bytes(value)
    # nginx's older $ssl_client_cert has the lines indented by tabs, which is white space to PEM as well.
    if len(value) > LONGEST or not _PEM.fullmatch(data):
        raise Unreadable("it is not one certificate in PEM form, percent-encoded")
    try:
        certificate = x509.load_pem_x509_certificate(data)
        return Certified(names_of(certificate), certificate.not_valid_before_utc, certificate.not_valid_after_utc)
    except ValueError as error:
        raise Unreadable("the certificate is damaged") from error


def names_of(certificate: x509.Certificate) -> frozenset[str]:
    """The subject alternative names that can stand for a client. Raises `ValueError` when the extension is damaged."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return frozenset()
    found = {f"DNS:{name.lower()}" for name in names.get_values_for_type(x509.DNSName)}
    return frozenset(found | {f"URI:{name}" for name in names.get_values_for_type(x509.UniformResourceIdentifier)})


def read_xfcc(value: str) -> Certified | None:
    """Envoy's header. Only the last element counts: it is the one that the proxy at the other end wrote itself.

    None when that element names nobody.
    """
    if not value:
        return None
    if len(value) > LONGEST:
        raise Unreadable("it is too long")
    names = set()
    for key, text in _last_element(value):
        match key.lower():
            case "dns":
                names.add(f"DNS:{text.lower()}")
            case "uri":
                names.add(f"URI:{text}")
    return Certified(frozenset(names)) if names else None


_PAIR = re.compile(r'\s*([A-Za-z]+)=(?:"((?:[^"\\]|\\.)*)"|([^",;]*))\s*([,;]|$)')


def _last_element(value: str) -> list[tuple[str, str]]:
    """The pairs of the last element. A quote that does not end where one must end makes the whole unreadable."""
    pairs: list[tuple[str, str]] = []
    at, ended = 0, False
    while at < len(value) or ended:
        found = _PAIR.match(value, at)
        if found is None:
            raise Unreadable("it is not a list of key=value pairs")
        pairs.append((found[1], re.sub(r"\\(.)", r"\1", found[2]) if found[2] is not None else found[3]))
        at, ended = found.end(), found[4] in (",", ";") and found.end() == len(value)
        if found[4] == "," and at < len(value):
            pairs.clear()
    return pairs
