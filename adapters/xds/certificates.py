"""The TLS context of one service, made anew when the files behind it change.

Rules of this module: files are read on the source's threads. Whoever is connected stays connected; new connections use what the
files say now. Files that make no sense while running (half of a new pair is there) leave the old context in place.
"""

from __future__ import annotations

import os
import ssl
from pathlib import Path

from adapters.contract import Services
from adapters.errors import OptionError
from adapters.xds.service_options import Tls

LOOK_AGAIN = 2.0
"""Seconds between two looks at the files."""

LONGEST_PASSWORD = 4096
"""Bytes of the longest password file that is read."""

LONGEST_PEM = 1 << 20
"""Bytes of a file with a certificate or a key that are looked at before OpenSSL reads it."""

_IN_PEM = "Give it in PEM form; `openssl pkcs12 -in FILE -nodes` makes that of a .pfx or .p12 file"


class Certificates:
    """What a service is connected to with. `place` is where the options stand, for errors ("endpoints.0.tls")."""

    def __init__(self, options: Tls, services: Services, *, place: str) -> None:
        self._options = options
        self._services = services
        self._place = place
        self._files = [
            file
            for file in (options.ca, options.certificate, options.key, options.key_password_file)
            if file is not None
        ]
        self._marks: tuple[object, ...] = ()
        self._context: ssl.SSLContext | None = None
        self._looked = 0.0

    async def load(self) -> None:
        """Read the files. Raises `OptionError` with the option and the cure."""
        self._marks, self._context = await self._services.call(self._read)
        self._looked = self._services.clock()

    async def current(self) -> ssl.SSLContext:
        """The context for a new connection."""
        assert self._context is not None
        now = self._services.clock()
        if self._files and now - self._looked >= LOOK_AGAIN:
            self._looked = now
            await self._look_again()
        return self._context

    async def _look_again(self) -> None:
        marks = await self._services.call(self._mark)
        if marks == self._marks:
            return
        try:
            self._marks, self._context = await self._services.call(self._read)
        except OptionError as error:
            # Remembered, so that it is said once and tried again when the files change.
            self._marks = marks
            self._services.log.warning("new TLS files not usable, the old ones stay in use", detail=error.detail)
        else:
            self._services.log.info("TLS files read anew")

    def _mark(self) -> tuple[object, ...]:
        """What changes when a file does. Blocks."""
        return tuple(map(_mark_of, self._files))

    def _read(self) -> tuple[tuple[object, ...], ssl.SSLContext]:
        """Blocks; raises `OptionError`."""
        # Before the files are read: a change in between is seen at the next look.
        return self._mark(), self._made()

    def _made(self) -> ssl.SSLContext:
        options = self._options
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        # Python 3.13 asks for extensions that many hospitals' own authorities leave out; chain, name and dates are
        # checked by every version.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if options.ca is None:
            context.load_default_certs()
        else:
            self._load(context, "ca", options.ca)
        if options.certificate is not None:
            self._load_own(context, options.certificate)
        return context

    def _load(self, context: ssl.SSLContext, option: str, file: Path) -> None:
        try:
            context.load_verify_locations(file)
        except ssl.SSLError as error:
            raise self._wrong(option, "holds no certificates", "Give a file of certificates in PEM form") from error
        except OSError as error:
            raise self._unreadable(option, error) from error

    def _load_own(self, context: ssl.SSLContext, certificate: Path) -> None:
        options = self._options
        with_key = options.key or certificate
        if b"CERTIFICATE-----" not in self._text("certificate", certificate):
            raise self._wrong("certificate", "holds no certificate in PEM form", _IN_PEM)
        text = self._text("key" if options.key else "certificate", with_key)
        if b"PRIVATE KEY-----" not in text:
            if options.key is None:
                raise self._wrong(
                    "certificate", "holds no private key", "Name the file of the key in `key`", option="key"
                )
            raise self._wrong("key", "holds no private key in PEM form", _IN_PEM)
        try:
            # Without any password OpenSSL would ask at the terminal for that of an encrypted key.
            context.load_cert_chain(certificate, options.key, password=self._password())
        except ssl.SSLError as error:
            if "MISMATCH" in (error.reason or ""):
                words = "certificate", "does not belong to the private key", "Give the key that it was issued for"
            elif b"ENCRYPTED" in text:
                # OpenSSL says no more than "PEM lib" for a wrong password.
                words = "key", "cannot be decrypted", "Give its password in `key_password_file`"
            else:
                words = "certificate", "or its key is damaged", "Export both anew, in PEM form"
            raise self._wrong(*words) from error
        except OSError as error:
            raise self._unreadable("certificate", error) from error

    def _text(self, option: str, file: Path) -> bytes:
        try:
            with file.open("rb") as opened:
                return opened.read(LONGEST_PEM)
        except OSError as error:
            raise self._unreadable(option, error) from error

    def _password(self) -> str:
        file = self._options.key_password_file
        if file is None:
            return ""
        try:
            with file.open("rb") as opened:
                text = opened.read(LONGEST_PASSWORD).decode("utf-8")
        except OSError as error:
            raise self._unreadable("key_password_file", error) from error
        except UnicodeDecodeError as error:
            raise self._wrong("key_password_file", "is not UTF-8", "Write the password alone into it") from error
        return text.removesuffix("\n").removesuffix("\r")

    def _unreadable(self, option: str, error: OSError) -> OptionError:
        if isinstance(error, FileNotFoundError):
            return self._wrong(
                option, "is not there", "Correct the path; relative ones begin where the configuration is"
            )
        reason = f"cannot be read ({type(error).__name__})"
        return self._wrong(option, reason, "Let the account that runs the gateway read the file")

    def _wrong(self, file: str, reason: str, cure: str, *, option: str | None = None) -> OptionError:
        return OptionError(f"the file of `{file}` {reason}", option=f"{self._place}.{option or file}", cure=f"{cure}.")


def _mark_of(file: Path) -> object:
    try:
        status = os.stat(file)
    except OSError as error:
        return error.errno
    return status.st_ino, status.st_mtime_ns, status.st_size
