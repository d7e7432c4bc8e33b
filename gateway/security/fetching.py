"""How the bytes of a key set are had: from a file, or over HTTPS from an address that the configuration names.

The address comes from the configuration alone, never from a token. No redirect is followed, no proxy is taken from the
environment, no cookie is kept, and an answer is read up to a limit (reliability: SSRF).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

import aiohttp

from gateway.security.jose import MAX_SET

FETCH_SECONDS = 5.0
"""How long an issuer may take to answer."""

FILE_SECONDS = 5.0
"""How often a file is looked at for a change; a look costs one call of the system."""

THREADS = "security-files"
"""What the threads that read files are called."""


Fetch = Callable[[], Awaitable[bytes]]
"""Reads a key set or a key file as it is now. Raises `Unreadable`."""


class Unreadable(Exception):
    """It cannot be had; the text says why, for operators."""


class FileFetch:
    """The bytes of a file, up to a limit and one more. A context: leaving ends its thread."""

    def __init__(self, path: Path, *, limit: int = MAX_SET) -> None:
        self._path = path
        self._limit = limit
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=THREADS)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.shutdown(wait=False)

    async def __call__(self) -> bytes:
        """Raises `Unreadable`."""
        call = asyncio.get_running_loop().run_in_executor(self._thread, self._read)
        try:
            async with asyncio.timeout(FETCH_SECONDS):
                return await call
        except TimeoutError:
            raise Unreadable("the file could not be read in time") from None
        except OSError as error:
            raise Unreadable(f"the file cannot be read: {error.strerror}") from None

    def _read(self) -> bytes:
        with self._path.open("rb") as file:
            return file.read(self._limit + 1)


class UrlFetch:
    """A key set over HTTP. A context: leaving closes its connections."""

    def __init__(self, url: str, ca: Path | None = None) -> None:
        """Raises `OSError` or `ssl.SSLError` when the certificates in `ca` cannot be used."""
        self._url = url
        self._tls = ssl.create_default_context(cafile=ca)
        self._tls.minimum_version = ssl.TLSVersion.TLSv1_2
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=FETCH_SECONDS),
            connector=aiohttp.TCPConnector(ssl=self._tls, limit=1, force_close=True),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            headers={"Accept": "application/jwk-set+json, application/json"},
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def __call__(self) -> bytes:
        """Raises `Unreadable`."""
        assert self._session is not None
        try:
            async with self._session.get(self._url, allow_redirects=False) as answer:
                if answer.status != 200:
                    raise Unreadable(_status_words(answer.status))
                text = bytearray()
                async for piece in answer.content.iter_any():
                    text += piece
                    if len(text) > MAX_SET:
                        raise Unreadable(f"the answer is larger than {MAX_SET // 1024} KiB")
                return bytes(text)
        except TimeoutError:
            raise Unreadable(f"there was no answer within {FETCH_SECONDS:.0f} seconds") from None
        except aiohttp.ClientConnectorCertificateError as error:
            raise Unreadable(f"its certificate is not trusted: {_reason(error)}") from None
        except aiohttp.ClientConnectorError as error:
            raise Unreadable(f"it cannot be reached: {_reason(error)}") from None
        except (aiohttp.ClientError, OSError) as error:
            raise Unreadable(f"the answer broke off or is not HTTP: {type(error).__name__}") from None


def _status_words(status: int) -> str:
    if 300 <= status < 400:
        return f"the answer is HTTP {status}, a redirect, which is not followed"
    return f"the answer is HTTP {status}"


def _reason(error: aiohttp.ClientConnectorError | aiohttp.ClientConnectorCertificateError) -> str:
    cause = getattr(error, "certificate_error", None) or getattr(error, "os_error", error)
    return str(getattr(cause, "verify_message", None) or getattr(cause, "strerror", None) or type(cause).__name__)
