"""What can go wrong between this machine and a SOAP service, and what it means to a reader.

Rules of this module: connections, HTTP and SOAP faults; nothing of XDS, whose own error codes are in `adapters.xds.outcome`.
Texts name the cure and never repeat what a service wrote. "There is no such document" is nothing that a connection, an HTTP
status or a fault can say: it means that the archive could not be asked.
"""

from __future__ import annotations

import errno
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import aiohttp

from adapters.errors import (
    AccessDenied,
    AdapterError,
    Busy,
    Corrupt,
    CredentialsRejected,
    TimedOut,
    Unavailable,
)
from adapters.xds.soap import Fault

RETRY_SOON = 5.0
"""Seconds a reader is asked to wait when a service is busy and does not say for how long."""

_SECURITY_FAULTS = frozenset(
    {
        "InvalidSecurity",
        "InvalidSecurityToken",
        "UnsupportedSecurityToken",
        "FailedAuthentication",
        "FailedCheck",
        "SecurityTokenUnavailable",
        "MessageExpired",
    }
)
"""WS-Security 1.1, section 12; MessageExpired is from 1.1.1."""

_WRONG_SERVICE = frozenset({"ActionNotSupported", "ActionMismatch", "DestinationUnreachable"})
"""WS-Addressing 1.0 SOAP binding, section 6.4."""

_ADDRESSING_FAULTS = frozenset(
    {
        "MessageAddressingHeaderRequired",
        "InvalidAddressingHeader",
        "InvalidAddress",
        "InvalidEPR",
        "OnlyAnonymousAddressSupported",
        "OnlyNonAnonymousAddressSupported",
    }
)
"""The same, sections 6.4.1 and 6.4.2."""

# CXF, Axis2, Metro, WCF and Spring-WS for a request whose operation or body the service does not have.
_unknown_operation = re.compile(
    r"unexpected (?:wrapper )?element|was not recognized.{1,4}\(?does it exist in service wsdl|operation not found"
    r"|cannot find dispatch method|contractfilter mismatch|no endpoint mapping found|no such operation",
    re.IGNORECASE,
).search

_X509_REASONS = {
    9: "the server's certificate is not valid yet: set the clocks right",
    10: "the server's certificate has expired: it must be renewed",
    62: "the server's certificate is made out to another name: correct `url`, or set `tls.server_hostname`",
    64: "the server's certificate is made out to another address: use the name in `url`, or set `tls.server_hostname`",
}
"""By X509_V_ERR_* of OpenSSL's x509_vfy.h."""

_UNTRUSTED = (
    "the server's certificate is not vouched for by an authority that is trusted here: give the authority's certificate in "
    "`tls.ca`"
)
_WANTS_CERTIFICATE = "the server wants a client certificate: set `tls.certificate` and `tls.key`"
_REFUSES_CERTIFICATE = (
    "the server does not accept the client certificate in `tls.certificate`: have it issued for clients by an authority that "
    "the server trusts, and renew it when it has expired"
)


# The first option that a sentence names is the one that its cure is about. `limits` are the source's, not an option.
_option = re.compile(r"`(?!limits\b)([a-z_]+(?:\.[a-z_]+)?)\b").search


@contextmanager
def attributed(place: str, *, at: str | None = None) -> Iterator[None]:
    """Say in each error of the enclosed statements which service it came from ("endpoint a"), and which option of it to
    look at: `at` is where the service's options stand ("endpoints.0").

    Put it around the adapter's own awaits only (C9).
    """
    try:
        yield
    except AdapterError as error:
        if at is not None and error.option is None:
            named = _option(error.detail)
            error.option = at if named is None else f"{at}.{named[1]}"
        error.detail = f"{place}: {error.detail}"
        error.args = (error.detail,)
        raise


def unreached(error: BaseException, *, secure: bool, presenting: bool) -> AdapterError:
    """The error to raise for `error` of aiohttp, when no answer had begun.

    `secure`: the address is https; `presenting`: the gateway has a client certificate.
    """
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return Unavailable("the server's name is not known here: correct `url`, or the name service")
    if isinstance(error, TimeoutError):
        tls = " and TLS on that port" if secure else ""
        return TimedOut(
            f"no connection in time: correct `url`, see to the firewall{tls}, or raise `timeouts.connect` and "
            "`limits.open_timeout`"
        )
    causes = list(_causes(error))
    for cause in causes:
        # aiohttp's own class for it has the type and not the reason.
        if isinstance(cause, ssl.SSLCertVerificationError) and hasattr(cause, "verify_code"):
            return Unavailable(_X509_REASONS.get(cause.verify_code, _UNTRUSTED))
    for cause in causes:
        if isinstance(cause, ssl.SSLError) or "[SSL:" in str(cause):
            return _refused_by_tls(str(cause), presenting)
        if isinstance(cause, ConnectionRefusedError):
            return Unavailable("nothing answers at this address: correct `url`, or start the service")
        if isinstance(cause, OSError) and cause.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH):
            return Unavailable("there is no way to this address: correct `url`, or the network's routes")
    if isinstance(error, aiohttp.ClientResponseError):
        return Unavailable(
            "what answers at this address sends no HTTP that can be read: correct `url`"
            + ("" if secure else ", which may need https")
        )
    return Unavailable(_ended_unanswered(secure, presenting))


def broken_off(error: BaseException) -> AdapterError:
    """The error to raise for `error` of aiohttp in an answer that had begun."""
    if isinstance(error, TimeoutError):
        return TimedOut("the answer paused for longer than `timeouts.between_bytes`")
    return Unavailable("the connection ended before the answer did")


def refused_by_status(
    status: int, beginning: bytes, *, retry_after: float | None, presenting: bool
) -> AdapterError | None:
    """What an HTTP status says where the body says nothing in SOAP; None when it claims success.

    `beginning` is of the body: nginx tells only there that it misses a certificate.
    """
    if 200 <= status < 300:
        return None
    code = f"(HTTP {status})"
    if status == 400 and b"SSL certificate" in beginning:
        return CredentialsRejected(f"{_REFUSES_CERTIFICATE if presenting else _WANTS_CERTIFICATE} {code}")
    if 300 <= status < 400:
        return Unavailable(f"the server sends requests elsewhere, perhaps to log on: correct `url` {code}")
    if status in (429, 503):
        wait = RETRY_SOON if retry_after is None else retry_after
        return Busy(f"the service asks to come back later {code}", retry_after=wait)
    kind, words = _STATUSES.get(status, (Corrupt, "the service failed, and says so outside SOAP"))
    return kind(f"{words} {code}")


_STATUSES: dict[int, tuple[type[AdapterError], str]] = {
    401: (
        CredentialsRejected,
        "the service wants other credentials: set or renew `saml.assertion_file` or `tls.certificate`",
    ),
    403: (AccessDenied, "the service refuses the request: have the gateway's account or certificate allowed there"),
    404: (Unavailable, "there is no service at this path of the server: correct `url`"),
    405: (Unavailable, "what is at this path takes no SOAP requests: correct `url`"),
    407: (Unavailable, "a proxy on the way wants to be logged on to: reach the service without it"),
    408: (TimedOut, "the service waited too long for the request"),
    410: (Unavailable, "the service was taken away from this path: correct `url`"),
    415: (Unavailable, "the service does not take requests packed like this: set `request_encoding` to another value"),
    502: (Unavailable, "a proxy on the way cannot reach the service"),
    504: (TimedOut, "a proxy on the way waited too long for the service"),
}


def refused_by_fault(fault: Fault) -> AdapterError:
    """The error to raise for a SOAP fault. Its codes are told, its words are not: they may hold anything."""
    codes = ", ".join(fault.codes) or "without a code"
    if _SECURITY_FAULTS.intersection(fault.codes):
        return CredentialsRejected(
            "the service does not accept who the gateway says it is: set or renew the assertion of `saml.assertion_file`, and "
            f"set the clocks right (fault {codes})"
        )
    if _WRONG_SERVICE.intersection(fault.codes) or _unknown_operation(fault.reason):
        return Corrupt(
            "the service does not know this operation: `url` is that of another service, a registry's or a gateway's in place "
            f"of a repository's or the other way round (fault {codes})"
        )
    if _ADDRESSING_FAULTS.intersection(fault.codes):
        return Corrupt(
            f"the service wants other WS-Addressing headers: correct `ws_addressing` and `wsa_to` (fault {codes})"
        )
    if any(name.endswith("Security") for name in fault.not_understood):
        return Corrupt(
            "the service takes no SAML assertion: remove `saml`, or set `must_understand: false` where it may be ignored "
            f"(fault {codes})"
        )
    if fault.not_understood or "MustUnderstand" in fault.codes:
        return Corrupt(
            "the service does not understand a header that it must: set `must_understand: false`, or shorten "
            f"`ws_addressing` (fault {codes})"
        )
    return Corrupt(f"the service answered with a fault ({codes})")


def _refused_by_tls(reason: str, presenting: bool) -> AdapterError:
    if "WRONG_VERSION_NUMBER" in reason or "RECORD_LAYER_FAILURE" in reason or "HTTP_REQUEST" in reason:
        return Unavailable("the server does not speak TLS on this port: correct the port in `url`")
    if "CERTIFICATE_REQUIRED" in reason:
        return CredentialsRejected(_WANTS_CERTIFICATE)
    for alert, words in _ABOUT_OUR_CERTIFICATE.items():
        if alert in reason:
            return CredentialsRejected(words if presenting else _WANTS_CERTIFICATE)
    if "ALERT_PROTOCOL_VERSION" in reason or "UNSUPPORTED_PROTOCOL" in reason:
        return Unavailable("the server speaks no TLS from 1.2 on: it must be brought up to date")
    if "ALERT_HANDSHAKE_FAILURE" in reason:
        # What TLS 1.2 says for a missing certificate, and for having no cipher in common.
        wish = "" if presenting else f"; perhaps {_WANTS_CERTIFICATE}"
        kind = Unavailable if presenting else CredentialsRejected
        return kind(f"the server ended the TLS handshake{wish}")
    return Unavailable("the TLS connection failed: look at the server's own log")


_ABOUT_OUR_CERTIFICATE = {
    "ALERT_CERTIFICATE_EXPIRED": "the client certificate in `tls.certificate` has expired, the server says: renew it",
    "ALERT_CERTIFICATE_REVOKED": "the client certificate in `tls.certificate` was revoked, the server says: have a new one "
    "issued",
    "ALERT_UNKNOWN_CA": "the server does not know who issued the client certificate: have the issuer trusted there, and put "
    "the certificates between the two into the file of `tls.certificate`",
    "ALERT_UNSUPPORTED_CERTIFICATE": "the certificate in `tls.certificate` is none for clients: have one issued for client "
    "authentication",
    "ALERT_BAD_CERTIFICATE": _REFUSES_CERTIFICATE,
    "ALERT_CERTIFICATE_UNKNOWN": _REFUSES_CERTIFICATE,
    "ALERT_ACCESS_DENIED": _REFUSES_CERTIFICATE,
}
"""TLS alerts (RFC 8446 6.2), as OpenSSL names them."""


def _ended_unanswered(secure: bool, presenting: bool) -> str:
    words = "the server ended the connection without an answer"
    if not secure:
        return f"{words}: look at its log; it may expect https"
    if not presenting:
        return f"{words}; if {_WANTS_CERTIFICATE}"
    return f"{words}: look at its log; it may not accept the client certificate"


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__
