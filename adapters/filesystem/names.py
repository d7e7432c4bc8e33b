"""Finding a document by the beginning of its name, or by another spelling of it.

Rules of this module: listings are read on threads, one reading of a folder at a time however many ask, and used again
while the folder's stamp stands. No answer is older than its question: a listing serves a request only if the folder is
unchanged since, or if its reading began after the request came. Memory is bounded by `listing.LARGEST`.

Spellings: macOS writes file names in Unicode's decomposed form (NFD), everyone else mostly composed (NFC), and Linux
takes them for different names. Windows takes capitals and small letters for the same.
"""

from __future__ import annotations

import asyncio
import errno
import os
import unicodedata
from collections import OrderedDict
from collections.abc import Iterator
from itertools import count, islice

from adapters.errors import Ambiguous, NotFound
from adapters.filesystem import listing
from adapters.filesystem.confinement import ENTER, HERE, LIST, encode
from adapters.filesystem.failures import failure, status_of
from adapters.filesystem.listing import FILE, FOLDER, Fold, Listing, Stamp, read_listing, stamp_of
from adapters.filesystem.root import Root

LISTING = "list a folder"

LEFTOVERS = (
    "~", ".bak", ".crdownload", ".filepart", ".lock", ".part", ".partial", ".swp", ".temp", ".tmp",
)  # fmt: skip
"""Endings of what editors and copying tools leave beside a document: an older, a partial or no document at all."""

MOST_CANDIDATES = 1000
"""Entries looked at for one beginning; more of them are ambiguous without looking."""


def composed(name: str) -> str:
    """The name in NFC."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def caseless(name: str) -> str:
    """The name in NFC and small letters, letter by letter as Windows compares: "ß" stays different from "ss"."""
    return composed(composed(name).lower())


def spellings(locator: str) -> Iterator[str]:
    """The other normalisation forms of a locator: none for ASCII, else NFC and NFD where they differ from it."""
    if not locator.isascii():
        for form in ("NFC", "NFD"):
            other = unicodedata.normalize(form, locator)
            if other != locator:
                yield other


def is_leftover(name: str) -> bool:
    """Whether a name is that of a leftover (`LEFTOVERS`)."""
    return name.lower().endswith(LEFTOVERS)


class Names:
    """The listings of the folders below a root, kept while they are true."""

    def __init__(self, root: Root, *, case_insensitive: bool) -> None:
        self._root = root
        self._fold: Fold = caseless if case_insensitive else composed
        self._known: OrderedDict[bytes, Listing] = OrderedDict()
        self._size = 0
        self._readings: dict[bytes, asyncio.Task[tuple[int, Listing]]] = {}
        self._moments = count()

    async def beginning(self, folder: bytes, beginning: str) -> str:
        """The one regular file in `folder` whose name is this and one ending, leftovers aside; the exact spelling first.

        An ending has no dot: `1.2.pdf` must not answer for `1`. Raises `NotFound`, `Ambiguous`, and what opening the
        folder raises.
        """
        wanted = self._fold(beginning)
        found = (await self.listing(folder)).beginning(wanted, FILE)
        fitting = (name for name in found if self._fold(name.rpartition(".")[0] + ".") == wanted)
        names = [name for name in islice(fitting, MOST_CANDIDATES) if not is_leftover(name)]
        return _only([name for name in names if name.startswith(beginning)] or names)

    async def spelled(self, locator: str, kind: str) -> str:
        """The one path of `kind` in the archive that is equal to `locator` but for case and normalisation.

        Raises `NotFound`, `Ambiguous`, and what opening its folders raises.
        """
        *folders, name = locator.split("/")
        found = ""
        for part, part_kind in [*((folder, FOLDER) for folder in folders), (name, kind)]:
            known = await self.listing(encode(found) if found else HERE)
            names = list(known.equal(self._fold(part), part_kind))
            found += ("/" if found else "") + _only([part] if part in names else names)
        return found

    async def listing(self, folder: bytes) -> Listing:
        """The names in `folder` now. Raises what opening the folder raises, and `Unsupported` for too many names."""
        asked = next(self._moments)
        known = self._known.get(folder)
        if known is not None and known.settled:
            stamp = await self._root.ask(_stamp, self._root, folder)
            if stamp == known.stamp:
                if folder in self._known:
                    self._known.move_to_end(folder)
                return known
        while True:
            # The reading serves others too: it goes on when this request is cancelled.
            reading = self._readings.get(folder)
            # One that has ended is of no use to who asks now, and waiting for it would give nobody else a turn.
            if reading is None or reading.done():
                reading = self._begin(folder)
            began, current = await asyncio.shield(reading)
            if began > asked:
                return current

    def close(self) -> None:
        """Forget everything."""
        for reading in self._readings.values():
            reading.cancel()
        self._known.clear()
        self._size = 0

    def _begin(self, folder: bytes) -> asyncio.Task[tuple[int, Listing]]:
        reading = asyncio.create_task(self._root.call(_read, self._root, folder, self._fold, self._moments))
        self._readings[folder] = reading
        reading.add_done_callback(lambda done: self._keep(folder, done))
        return reading

    def _keep(self, folder: bytes, reading: asyncio.Task[tuple[int, Listing]]) -> None:
        if self._readings.get(folder) is reading:
            del self._readings[folder]
        self._size -= self._known.pop(folder).size if folder in self._known else 0
        if reading.cancelled() or reading.exception() is not None:
            return
        _, self._known[folder] = reading.result()
        self._size += self._known[folder].size
        while self._size > listing.LARGEST:
            self._size -= self._known.popitem(last=False)[1].size


def _only(names: list[str]) -> str:
    if not names:
        raise NotFound("no document has a name like this")
    if len(names) > 1:
        raise Ambiguous(f"{len(names)} names fit")
    return names[0]


def _stamp(descriptor: int, stay: bool, root: Root, folder: bytes) -> Stamp:
    if folder == HERE:
        return stamp_of(status_of(descriptor, LISTING))
    opened = root.reach(descriptor, stay, folder, ENTER, LISTING)
    try:
        return stamp_of(status_of(opened, LISTING))
    finally:
        os.close(opened)


def _read(descriptor: int, root: Root, folder: bytes, fold: Fold, moments: Iterator[int]) -> tuple[int, Listing]:
    """The names in a folder, and the moment at which their reading began."""
    began = next(moments)
    opened = root.reach(descriptor, False, folder, LIST, LISTING)
    try:
        return began, read_listing(opened, fold)
    except OSError as error:
        number = error.errno or errno.EIO
    finally:
        os.close(opened)
    raise failure(number, LISTING)
