"""The `sealed` scheme: the ids of one source are opened with keys, and what fits into no id is listed in a file.

Rules of this module:
1. A sealed id costs some HMACs on the event loop and nothing else: no file, no archive, whether it opens or not.
2. A listed id costs a look at the file's state, on a thread of the scheme's own. It is looked at each time, so that an
   id is known, or gone, from the moment on that its line is.
3. An id that does not open, for whatever reason, is `NotFound` in the words of every other id that is unknown.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

from adapters.contract import Log
from adapters.errors import NotFound, TimedOut, Unavailable
from gateway.ids import ManifestError, RowProblem, SealedIds
from gateway.ids.sealed import Place, Seal, looks_listed
from gateway.ids.sealed_lookup import Lookup
from gateway.keyfile import read_key
from gateway.routing import Location

PATIENCE = 5.0
"""Seconds that a look-up file on a stalled disk is waited for."""


def read_seal(settings: SealedIds, prefix: str) -> Seal:
    """The codec of a source. Blocks; raises `OSError`, and `ValueError` when a file holds no key."""
    keys = [read_key(path) for path in (settings.key_file, *settings.former_key_files)]
    aliases = {
        name: [Place(alias.home, repository) for repository in alias.repositories or (None,)]
        for name, alias in (settings.aliases or {}).items()
    }
    return Seal(prefix, keys, aliases)


class SealedScheme:
    """Locations of one source by sealed ids. An asynchronous context: entering reads the keys and the look-up file."""

    def __init__(self, source: str, settings: SealedIds, log: Log, *, prefix: str = "") -> None:
        """`log` carries the source's name."""
        self._source = source
        self._settings = settings
        self._log = log
        self._prefix = prefix
        self._seal: Seal | None = None
        self._lookup: Lookup | None = None
        self._thread: ThreadPoolExecutor | None = None
        self._warned: ManifestError | None = None

    async def __aenter__(self) -> Self:
        """Raises `ManifestError` when a key or the look-up file cannot be used."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sealed-ids")
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._read)
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Idempotent, and works after a failed enter."""
        self._seal = None
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.shutdown(wait=False)

    async def locate(self, rest: str) -> Location:
        """Raises `NotFound`; for a listed id also `Unavailable` and `TimedOut`, when the file cannot be asked."""
        if self._seal is None:
            raise Unavailable("the keys of the ids are not read")
        if self._lookup is not None and looks_listed(rest):
            locator = await self._listed(self._lookup, rest)
        else:
            address = self._seal.decode(rest)
            locator = None if address is None else address.locator
        if locator is None:
            raise NotFound("this source has no such id")
        return Location(self._source, locator)

    async def _listed(self, lookup: Lookup, rest: str) -> str | None:
        try:
            async with asyncio.timeout(PATIENCE):
                return await asyncio.get_running_loop().run_in_executor(self._thread, lookup.find, rest)
        except TimeoutError:
            raise TimedOut("the look-up file of sealed ids did not answer") from None
        finally:
            failure = lookup.failure
            if failure is not None and str(failure) != str(self._warned):
                first = failure.problems[0]
                self._log.warning(
                    "look-up file refused, the old one stays",
                    problems=failure.count,
                    line=first.line,
                    detail=first.text,
                )
            self._warned = failure

    def _read(self) -> None:
        try:
            self._seal = read_seal(self._settings, self._prefix)
        except (OSError, ValueError) as error:
            raise ManifestError([RowProblem(None, f"a key of the ids cannot be read: {error}")]) from None
        if self._settings.lookup is not None:
            lookup = Lookup(self._settings.lookup, self._seal.listed)
            lookup.refresh()
            if lookup.failure is not None:
                raise lookup.failure
            self._lookup = lookup
