"""The look-up index of a manifest: an SQLite file made from the CSV file, then only read.

Rules of this module:
1. Everything here blocks: it runs on the threads of `ManifestScheme`, never on the event loop.
2. An index is written under a name that nobody uses and becomes visible whole or not at all. It never changes after.
3. It holds patient data: its file has mode 0600. Without a place to keep it the file is unlinked before the first row
   is written, so that no crash can leave it behind.
4. A kept index is trusted only with its seal: a digest over every byte of it, keyed with what it was made from.
"""

from __future__ import annotations

import hashlib
import hmac
import io
import json
import os
import sqlite3
import stat
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from adapters.errors import NotFound, Unavailable
from gateway.ids import ManifestError, ManifestIds, RowProblem
from gateway.ids.manifest_header import Columns
from gateway.ids.manifest_import import FileVersion, Import, Report
from gateway.ids.manifest_rows import Rows
from gateway.routing import Location, Withdrawn

FORMAT = 1
"""Part of the seal: a kept index of another format is made anew."""

SEAL_BYTES = 32

BUFFER = 1 << 18
"""Bytes of an index hashed at once."""

_PLACE = "the index needs about twice the space of the file, in the folder of `index` or else of TMPDIR"


class Index:
    """A finished index, open for reading. One thread at a time."""

    def __init__(
        self, connection: sqlite3.Connection, source: str, settings: ManifestIds, version: FileVersion
    ) -> None:
        self._connection = connection
        self._source = source
        self.rows: int
        names, self.rows = connection.execute("SELECT names, rows FROM header").fetchone()
        columns = Columns(json.loads(names))
        self._rows = Rows(columns, settings)
        self.knows_patients = columns.at["patient"] >= 0
        self.version = version
        self.recent: dict[str, Location] = {}
        """Kept with the index it came from, so that a swap of indexes forgets it. Belongs to the event loop."""

    def find(self, id: str) -> Location:
        """Raises `NotFound`, `Withdrawn`, and `Unavailable` when the index itself cannot be read."""
        with _reading():
            row = self._connection.execute("SELECT fields FROM documents WHERE id = ?", (id,)).fetchone()
        if row is None:
            raise NotFound("the manifest has no such id")
        location, withdrawn = self._rows.location(self._source, row[0])
        if withdrawn:
            raise Withdrawn(location)
        return location

    def sample(self, count: int) -> list[tuple[str, int, Location]]:
        """Up to `count` (id without prefix, line, location) of current documents, evenly spread over the file."""
        found: list[tuple[str, int, Location]] = []
        with _reading():
            first, last = self._connection.execute("SELECT min(line), max(line) FROM documents").fetchone()
            spread = 0 if count >= self.rows else last - first
            line = first - 1
            for number in range(min(count, self.rows)):
                document = self._first_current(max(line, first + spread * number // (count - 1 or 1) - 1))
                if document is None:
                    break
                found.append(document)
                line = document[1]
        return found

    def _first_current(self, after: int) -> tuple[str, int, Location] | None:
        query = "SELECT id, line, fields FROM documents WHERE line > ? ORDER BY line"
        with closing(self._connection.execute(query, (after,))) as rows:
            for id, line, fields in rows:
                location, withdrawn = self._rows.location(self._source, fields)
                if not withdrawn:
                    return id, line, location
        return None

    def close(self) -> None:
        self._connection.close()


@contextmanager
def _reading() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise Unavailable(f"the index of the manifest cannot be read: {type(error).__name__}") from error


def current_version(file: Path) -> FileVersion | None:
    """The state that the CSV file is in; None when that cannot be seen."""
    try:
        return FileVersion.of(os.stat(file))
    except OSError:
        return None


def load(
    source: str,
    settings: ManifestIds,
    prefix: str,
    *,
    stop: threading.Event,
    report: Report | None = None,
    previous: FileVersion | None = None,
) -> Index:
    """The index of the CSV file as it is now; `previous` is the state of the file that is known to be outdated.

    Raises `ManifestError`, or `Stopped` soon after `stop` was set.
    """
    with _opened(settings.file) as (raw, version), _writing():
        job = Import(raw, version, settings, prefix, stop, report)
        if settings.index is None:
            return Index(_temporary(job), source, settings, version)
        seal_key = _seal_key(settings, prefix, version)
        # Another file of the same size and time has the same seal.
        twin = previous is not None and (version.size, version.modified_ns) == (previous.size, previous.modified_ns)
        if twin or not _sealed(settings.index, seal_key):
            _replace(settings.index, job, seal_key)
        return Index(_connect(settings.index, "mode=ro&immutable=1"), source, settings, version)


@contextmanager
def _opened(file: Path) -> Iterator[tuple[io.FileIO, FileVersion]]:
    try:
        # A pipe with no writer would be waited for.
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise _failure(f"the file cannot be opened: {error.strerror}", passing=True) from None
    facts = os.fstat(descriptor)
    if not stat.S_ISREG(facts.st_mode):
        os.close(descriptor)
        raise _failure("this is not a regular file")
    with io.FileIO(descriptor) as raw:
        yield raw, FileVersion.of(facts)


@contextmanager
def _writing() -> Iterator[None]:
    """Failures of disks, explained."""
    try:
        yield
    except sqlite3.Error as error:
        raise _failure(f"the index cannot be written: {error}; {_PLACE}", passing=True) from error
    except OSError as error:
        raise _failure(
            f"reading the file or writing its index failed: {error.strerror}; {_PLACE}", passing=True
        ) from error


def _failure(text: str, *, passing: bool = False) -> ManifestError:
    return ManifestError([RowProblem(None, text)], passing=passing)


def _connect(path: Path, options: str) -> sqlite3.Connection:
    uri = f"file:{quote(os.fsencode(path))}?{options}"
    # Made on one thread and used on another, one after the other.
    return sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)


def _temporary(job: Import) -> sqlite3.Connection:
    """The finished index in a file that has no name any more."""
    directory = Path(tempfile.mkdtemp(prefix="fhir-gateway-"))
    path = directory / "manifest"
    with ExitStack() as stack:
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
            writer = stack.enter_context(closing(_connect(path, "mode=rw")))
            reader = stack.enter_context(closing(_connect(path, "mode=ro")))
        finally:
            path.unlink(missing_ok=True)
            directory.rmdir()
        job.fill(writer)
        writer.close()
        # Nobody else can open the file: one lock for its whole life, not one for every look-up.
        reader.execute("PRAGMA locking_mode = EXCLUSIVE")
        stack.pop_all()
    return reader


def _replace(path: Path, job: Import, seal_key: bytes) -> None:
    """Put a finished and sealed index at `path`, whole or not at all."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".new", dir=path.parent)
    try:
        with open(descriptor, "r+b", buffering=0) as file:
            with closing(_connect(Path(name), "mode=rw")) as writer:
                job.fill(writer)
            seal = _digest(file, os.fstat(descriptor).st_size, seal_key)
            file.seek(0, os.SEEK_END)
            file.write(seal)
            os.fsync(descriptor)
        os.replace(name, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise


def _seal_key(settings: ManifestIds, prefix: str, version: FileVersion) -> bytes:
    made_from = settings.model_dump(mode="json", exclude={"file", "index", "refresh"})
    text = json.dumps([FORMAT, prefix, version.size, version.modified_ns, made_from], sort_keys=True)
    return hashlib.sha256(text.encode()).digest()


def _sealed(path: Path, seal_key: bytes) -> bool:
    """Whether the file at `path` is ours alone, whole, and made from what `seal_key` says."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    with open(descriptor, "rb", buffering=0) as file:
        facts = os.fstat(descriptor)
        ours = facts.st_uid == os.geteuid() and not facts.st_mode & 0o077
        size = facts.st_size - SEAL_BYTES
        if not stat.S_ISREG(facts.st_mode) or not ours or size <= 0:
            return False
        expected = _digest(file, size, seal_key)
        return hmac.compare_digest(expected, os.pread(descriptor, SEAL_BYTES, size))


def _digest(file: io.FileIO, size: int, seal_key: bytes) -> bytes:
    digest = hashlib.blake2b(key=seal_key, digest_size=SEAL_BYTES)
    file.seek(0)
    while size > 0 and (piece := file.read(min(size, BUFFER))):
        digest.update(piece)
        size -= len(piece)
    return digest.digest()
