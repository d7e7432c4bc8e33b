"""When the certificates that the configuration names expire, looked up from time to time.

Every key named `certificate`, `ca`, `ca_file` or `client_ca` names a file of certificates, wherever it stands: of the listener,
of an archive's adapter, of a receiver of the audit trail. A file that cannot be read is told as such and mended by nobody here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel

from gateway.workers import Workers

NAMES = frozenset({"certificate", "ca", "ca_file", "client_ca"})

LOOK = 600.0
"""Seconds between two looks."""

LONGEST = 4 << 20
"""Bytes of the longest file that is read: a system's bundle of authorities has a tenth of it."""


class Expiries:
    """The expiries of the certificates below `settings`; None where a file cannot be read."""

    def __init__(self, settings: BaseModel) -> None:
        self._files = dict(named(settings))
        self._changed = asyncio.Event()
        self._workers = Workers("certificates", 1)
        self.ends: Mapping[str, datetime | None] = {}

    def use(self, settings: BaseModel) -> None:
        """Look at the certificates of these settings from now on: the configuration was read anew."""
        self._files = dict(named(settings))
        self._changed.set()

    async def look(self) -> None:
        """Read the files now, on a thread."""
        files = self._files
        if files:
            loop = asyncio.get_running_loop()
            self.ends = await loop.run_in_executor(self._workers, lambda: {key: first_end(files[key]) for key in files})
        else:
            self.ends = {}

    async def watch(self) -> None:
        """For as long as the gateway runs."""
        while True:
            self._changed.clear()
            await self.look()
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK):
                    await self._changed.wait()

    def close(self) -> None:
        """Give the thread back; one that hangs in a disk is not waited for."""
        self._workers.shutdown(wait=False)


def named(model: object, path: str = "") -> Iterator[tuple[str, Path]]:
    """The files of certificates below `model`, by the dotted path of their key."""
    if isinstance(model, BaseModel):
        pairs: Iterator[tuple[str, object]] = ((name, getattr(model, name)) for name in type(model).model_fields)
    elif isinstance(model, Mapping):
        pairs = ((str(name), value) for name, value in model.items())
    elif isinstance(model, Sequence) and not isinstance(model, str | bytes):
        pairs = ((str(at), value) for at, value in enumerate(model))
    else:
        return
    for name, value in pairs:
        key = f"{path}.{name}" if path else name
        if name in NAMES and isinstance(value, Path):
            yield key, value
        else:
            yield from named(value, key)


def first_end(path: Path) -> datetime | None:
    """When the first of the certificates in this file expires, in UTC; None when it cannot be read. Blocking."""
    # Not before there is a certificate: a gateway without any need not load it.
    from cryptography import x509

    try:
        with path.open("rb") as file:
            found = x509.load_pem_x509_certificates(file.read(LONGEST))
    except (OSError, ValueError):
        return None
    return min(one.not_valid_after_utc for one in found)
