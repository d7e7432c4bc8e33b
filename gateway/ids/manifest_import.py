"""Filling the look-up index of a manifest from its CSV file.

Rules of this module:
1. It blocks and it streams: memory does not grow with the file. It runs on a thread of `ManifestScheme`.
2. Every problem of the file is looked for before it is refused; the first ones and the number of all are reported.
3. Nothing is half done: `Import.fill` ends with a complete, committed index or raises.

Rows go into one table by line number, and the index over the ids is made at the end: sorting a million ids takes a
second or two, while keeping them sorted row by row takes ten.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from gateway.ids import SHOWN_PROBLEMS, ManifestError, ManifestIds, RowProblem
from gateway.ids.manifest_header import Problems, encoding_problem, read_header, unreadable
from gateway.ids.manifest_rows import Rows, csv_reason

ROWS_AT_ONCE = 100
"""Rows in one INSERT: twice as fast as one by one, and SQLite works for about 0.1 ms without the interpreter's lock."""

ROWS_PER_REPORT = 100 * ROWS_AT_ONCE

CACHE_KIB = 16_384
"""SQLite's page cache and sort buffer while writing; a larger one was not faster."""

BUFFER = 1 << 18
"""Bytes read from the CSV file at once."""

LONGEST_HEADER = 1 << 16
"""Characters of the first line: what is longer is a scan that somebody named by mistake."""

_PREPARE = (
    # A file that a crash leaves unfinished is never looked at again, so there is nothing to roll back to.
    "PRAGMA journal_mode = OFF",
    "PRAGMA synchronous = OFF",
    "PRAGMA locking_mode = EXCLUSIVE",
    f"PRAGMA cache_size = -{CACHE_KIB}",
    "CREATE TABLE header (names TEXT NOT NULL, rows INTEGER NOT NULL)",
    "CREATE TABLE documents (line INTEGER PRIMARY KEY, id TEXT NOT NULL, fields TEXT NOT NULL)",
    "BEGIN",
)
_INSERT = "INSERT INTO documents VALUES "
_CLASHES = """
    SELECT line, (SELECT min(line) FROM documents AS same WHERE same.id = documents.id) AS first
    FROM documents WHERE line <> first ORDER BY line LIMIT ?
"""

Report = Callable[[int, int, int], None]
"""Called with rows read, bytes read and bytes in all."""


class Stopped(Exception):
    """The import was told to stop."""


@dataclass(frozen=True, slots=True)
class FileVersion:
    """What tells one state of the CSV file from another."""

    inode: int
    size: int
    modified_ns: int

    @classmethod
    def of(cls, facts: os.stat_result) -> FileVersion:
        return cls(facts.st_ino, facts.st_size, facts.st_mtime_ns)


@dataclass(frozen=True, slots=True)
class Import:
    """One reading of an open CSV file. `version` is the state in which it was opened; `prefix` that of the source."""

    raw: io.FileIO
    version: FileVersion
    settings: ManifestIds
    prefix: str
    stop: threading.Event
    report: Report | None = None

    def fill(self, connection: sqlite3.Connection) -> None:
        """Write the whole index to the empty database `connection`.

        Raises `ManifestError`, `Stopped` soon after `stop` was set, and what the disks raise.
        """
        for statement in _PREPARE:
            connection.execute(statement)
        with self._text() as text:
            problems = Problems()
            first = self._first_line(text)
            reader = csv.reader(itertools.chain([first], text), delimiter=self.settings.delimiter, strict=True)
            names = self._names(reader, first)
            rows = Rows(read_header(names, self.settings), self.settings, self.prefix)
            count = self._insert(connection, rows.read(reader, problems))
            if not count and not problems.count:
                problems.add(None, "the file has a header and no rows")
            problems.stop(_index_ids(connection))
            connection.execute("INSERT INTO header VALUES (?, ?)", (json.dumps(names), count))
            connection.execute("COMMIT")
            self._report(count)
            if FileVersion.of(os.fstat(self.raw.fileno())) != self.version:
                raise ManifestError([RowProblem(None, "the file changed while it was read")], passing=True)

    def _text(self) -> io.TextIOWrapper:
        encoding = self.settings.encoding
        if encoding == "utf-8":
            if self.raw.read(2) in (b"\xff\xfe", b"\xfe\xff"):
                raise ManifestError([RowProblem(None, "the file is UTF-16; set encoding: utf-16")])
            self.raw.seek(0)
        # What is not in the encoding becomes a surrogate, so that the row is reported and reading goes on.
        buffered = io.BufferedReader(self.raw, BUFFER)
        return io.TextIOWrapper(buffered, encoding, errors="surrogateescape", newline="")

    def _first_line(self, text: io.TextIOWrapper) -> str:
        try:
            # A byte order mark is no part of a name.
            first = text.readline(LONGEST_HEADER).removeprefix("\ufeff")
        except UnicodeError:
            raise ManifestError([RowProblem(1, f"the header {encoding_problem(self.settings.encoding)}")]) from None
        if not first:
            raise ManifestError([RowProblem(None, "the file is empty")])
        if len(first) >= LONGEST_HEADER - 1:
            raise ManifestError([RowProblem(1, "the first line does not end; this is not a CSV file")])
        return first

    def _names(self, reader: Any, first: str) -> list[str]:
        try:
            names: list[str] = next(reader)
        except csv.Error as error:
            raise ManifestError([RowProblem(1, unreadable(first, self.settings) or csv_reason(error))]) from None
        except UnicodeError:
            raise ManifestError([RowProblem(1, f"the header {encoding_problem(self.settings.encoding)}")]) from None
        return names

    def _insert(self, connection: sqlite3.Connection, rows: Iterator[tuple[int, str, str]]) -> int:
        count = 0
        while batch := list(itertools.islice(rows, ROWS_AT_ONCE)):
            statement = _INSERT + ",".join(["(?,?,?)"] * len(batch))
            connection.execute(statement, list(itertools.chain.from_iterable(batch)))
            count += len(batch)
            if count % ROWS_PER_REPORT == 0:
                self._report(count)
            if self.stop.is_set():
                raise Stopped
        return count

    def _report(self, rows: int) -> None:
        if self.report is not None:
            self.report(rows, min(self.raw.tell(), self.version.size), self.version.size)


def _index_ids(connection: sqlite3.Connection) -> Problems:
    """Make the index over the ids; the answer is the ids that occur twice."""
    connection.execute("CREATE INDEX ids ON documents (id)")
    clashes = Problems()
    (count,) = connection.execute("SELECT count(*) - count(DISTINCT id) FROM documents").fetchone()
    if count:
        for line, first in connection.execute(_CLASHES, (SHOWN_PROBLEMS,)):
            clashes.add(line, f"column id repeats the id of line {first}")
        clashes.count = count
    return clashes
