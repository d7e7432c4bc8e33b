"""The TLS context of the public listener, made from its files, and what an operator should know about them.

Everything here blocks and runs on a thread. A pair is used whole or not at all: each reading makes a new context, and nothing
is changed in one that is in use. Ciphers are those of Mozilla's intermediate profile: forward secrecy and AEAD alone.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

from cryptography import x509

from gateway.security.unusable_tls import TlsProblem
from gateway.settings.server import TlsSettings

CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""For TLS 1.2; those of 1.3 are all good (RFC 9325 4.2)."""

LONGEST_PEM = 1 << 20
"""Bytes of a file that are looked at."""

SOON = timedelta(days=30)
"""How long before its end a certificate is spoken of."""

_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}

_READABLE = "Let the account that runs the gateway read it."
_IN_PEM = (
    "Give it in PEM form: `openssl pkcs12 -in FILE -nodes` makes that of a .pfx or .p12 file, "
    "`openssl x509 -inform DER -in FILE` of a .der or .cer file."
)


@dataclass(frozen=True, slots=True)
class Remark:
    """Something about files that can be used. `serious` means that clients will refuse the certificate."""

    option: str
    text: str
    cure: str
    serious: bool = False


@dataclass(frozen=True, slots=True)
class Loaded:
    """A context that is ready, and what is to be said about its files."""

    context: ssl.SSLContext
    ends: datetime
    remarks: tuple[Remark, ...]


def load(settings: TlsSettings, *, demand: bool) -> Loaded:
    """Read the files. `demand` says that every client must show a certificate, where `client_ca` is set.

    Raises `TlsProblem`.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[settings.minimum_version]
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.set_alpn_protocols(["http/1.1"])
    chain = _certificates("certificate", settings.certificate)
    _load_pair(context, settings)
    if settings.client_ca is not None:
        # A certificate is checked in every handshake, not only in the one that a ticket was given in.
        context.options |= ssl.OP_NO_TICKET
        context.num_tickets = 0
        _load_authorities(context, settings.client_ca)
        context.verify_mode = ssl.CERT_REQUIRED if demand else ssl.CERT_OPTIONAL
    return Loaded(context, chain[0].not_valid_after_utc, tuple(_remarks(chain, datetime.now(UTC))))


def marks(settings: TlsSettings) -> tuple[object, ...]:
    """What changes when one of the files does. A file that is not there has a mark, too."""
    files = (settings.certificate, settings.key, settings.key_password_file, settings.client_ca)
    return tuple(_mark(file) for file in files if file is not None)


def _mark(file: Path) -> object:
    try:
        status = os.stat(file)
    except OSError as error:
        return error.errno
    return status.st_ino, status.st_mtime_ns, status.st_size


def _remarks(chain: Sequence[x509.Certificate], now: datetime) -> Iterator[Remark]:
    """What clients will mind, or soon will. The chain's own order is that of RFC 8446 4.4.2: each certifies the one before."""
    own = chain[0]
    renew = "Have it renewed; the gateway uses a new file within seconds."
    if own.not_valid_after_utc <= now:
        yield Remark("certificate", f"it expired on {_day(own.not_valid_after_utc)}", renew, serious=True)
    elif own.not_valid_before_utc > now:
        cure = "Wait, or set this machine's clock."
        yield Remark("certificate", f"it is not valid before {_day(own.not_valid_before_utc)}", cure, serious=True)
    elif own.not_valid_after_utc - now < SOON:
        yield Remark("certificate", f"it expires on {_day(own.not_valid_after_utc)}", renew)
    for one, issuer in pairwise(chain):
        if one.issuer != issuer.subject:
            cure = "Put the intermediate certificates behind it, each followed by the one that issued it."
            yield Remark(
                "certificate", "its chain is broken: a certificate is not followed by its issuer's", cure, serious=True
            )
            return
    last = chain[-1]
    if last.issuer != last.subject and not _is_known_root(last.issuer):
        cure = "Unless clients know the issuer itself, put the intermediate certificates behind it, in the same file."
        yield Remark("certificate", "its chain is missing: the file ends before a root that this machine knows", cure)


def _is_known_root(issuer: x509.Name) -> bool:
    """Whether the system trusts an authority of this name."""
    wanted = sorted(str(attribute.value) for attribute in issuer)
    # In Python's own form: some roots that every system has are not well-formed enough for a strict reader.
    subjects: Iterator[Any] = (root["subject"] for root in ssl.create_default_context().get_ca_certs())
    return any(sorted(value for part in subject for _, value in part) == wanted for subject in subjects)


def _day(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d")


def _load_authorities(context: ssl.SSLContext, file: Path) -> None:
    found = _certificates("client_ca", file)
    now = datetime.now(UTC)
    if all(authority.not_valid_after_utc <= now for authority in found):
        raise TlsProblem("client_ca", "Every authority in it has expired.", "Give a file with current ones.")
    try:
        context.load_verify_locations(file)
    except OSError as error:
        raise TlsProblem("client_ca", "It holds a certificate that cannot be used.", "Export it anew.") from error


def _load_pair(context: ssl.SSLContext, settings: TlsSettings) -> None:
    with_key = settings.key or settings.certificate
    option = "key" if settings.key else "certificate"
    text = _text(option, with_key)
    if b"PRIVATE KEY-----" not in text:
        if settings.key is None:
            raise TlsProblem("certificate", "It holds no private key.", "Name the file of the key in `server.tls.key`.")
        raise TlsProblem("key", "It holds no private key in PEM form.", _IN_PEM)
    password = _password(settings.key_password_file)
    try:
        # Without any password OpenSSL would ask at the terminal for that of an encrypted key.
        context.load_cert_chain(settings.certificate, settings.key, password=password)
    except ssl.SSLError as error:
        if "MISMATCH" in (error.reason or ""):
            cure = "Give the key that the certificate was issued for, and the certificate of this server first in its file."
            raise TlsProblem(option, "The private key does not fit the certificate.", cure) from error
        if b"ENCRYPTED" in text and password:
            cause = "The private key cannot be decrypted with this password."
            raise TlsProblem(
                "key_password_file", cause, "Put the right one into the file, and nothing else."
            ) from error
        if b"ENCRYPTED" in text:
            cure = "Give its password in `server.tls.key_password_file`."
            raise TlsProblem(option, "The private key cannot be decrypted.", cure) from error
        if "KEY_TOO_SMALL" in (error.reason or ""):
            cure = "Have a certificate issued for RSA of 2048 bits or more, or for an elliptic curve."
            raise TlsProblem(option, "The key is too short to be safe.", cure) from error
        raise TlsProblem(option, "The certificate or its key is damaged.", "Export both anew, in PEM form.") from error
    except OSError as error:
        raise _unreadable(option, error) from error


def _password(file: Path | None) -> bytes:
    if file is None:
        return b""
    return _text("key_password_file", file).removesuffix(b"\n").removesuffix(b"\r")


def _certificates(option: str, file: Path) -> list[x509.Certificate]:
    text = _text(option, file)
    if b"-----BEGIN CERTIFICATE-----" not in text:
        if b"PRIVATE KEY-----" in text:
            cause = "It holds a private key and no certificate."
            raise TlsProblem(option, cause, f"Name the file of the certificate in `server.tls.{option}`.")
        raise TlsProblem(option, "It holds no certificate in PEM form.", _IN_PEM)
    try:
        return x509.load_pem_x509_certificates(text)
    except ValueError as error:
        raise TlsProblem(option, "A certificate in it is damaged.", "Export it anew, in PEM form.") from error


def _text(option: str, file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            return opened.read(LONGEST_PEM)
    except OSError as error:
        raise _unreadable(option, error) from error


def _unreadable(option: str, error: OSError) -> TlsProblem:
    if isinstance(error, FileNotFoundError):
        cure = "Correct the path; relative ones begin where the configuration file is."
        return TlsProblem(option, "The file is not there.", cure)
    if isinstance(error, IsADirectoryError):
        return TlsProblem(option, "It is a directory.", "Name the file that is in it.")
    return TlsProblem(option, f"The file cannot be read: {error.strerror}.", _READABLE)
