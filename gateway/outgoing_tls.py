"""The TLS side of a connection that the gateway makes: what the server is checked against, and what it is shown. Blocking."""

from __future__ import annotations

import ssl
from pathlib import Path

from gateway.settings.outgoing import OutgoingTls
from gateway.unusable import UnusableFile


def client_context(tls: OutgoingTls) -> ssl.SSLContext:
    """A context of TLS 1.2 or newer. Raises `UnusableFile`."""
    for option, file in (("ca", tls.ca), ("certificate", tls.certificate), ("key", tls.key)):
        if file is not None:
            _readable(option, file)
    try:
        context = ssl.create_default_context(cafile=tls.ca)
    except ssl.SSLError:
        cause, cure = f"{tls.ca} holds no certificates in PEM form.", "Give the authority's certificates in PEM form."
        raise UnusableFile("tls.ca", cause, cure) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if tls.certificate is not None:
        try:
            context.load_cert_chain(tls.certificate, tls.key, password=_no_password)
        except ssl.SSLError:
            cause = f"The certificate {tls.certificate} and its key do not belong together, or are not in PEM form."
            cure = "Give the key that the certificate was issued for, both in PEM form."
            raise UnusableFile("tls.certificate", cause, cure) from None
    return context


def _readable(option: str, file: Path) -> None:
    """What OpenSSL says of a file that cannot be read does not name it."""
    try:
        file.open("rb").close()
    except FileNotFoundError:
        cure = "Correct the path; relative ones begin where the configuration file is."
        raise UnusableFile(f"tls.{option}", f"There is no file {file}.", cure) from None
    except OSError as error:
        cause = f"The file {file} cannot be read: {error.strerror}."
        raise UnusableFile(f"tls.{option}", cause, "Let the account that runs the gateway read it.") from None


def _no_password() -> str:
    """Without this OpenSSL would ask at the terminal, and wait."""
    cause = "The private key is protected by a password, and nobody could enter it."
    raise UnusableFile("tls.key", cause, "Give it without one: `openssl pkey -in FILE -out FILE` decrypts it.")
