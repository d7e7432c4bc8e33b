"""The rows of a manifest: what is wrong with one, and the location it means.

Rules of this module:
1. Text in, values out; no file is opened here.
2. A row is judged when it is read and kept as it was written; `Rows.location` gives it its meaning later by the same
   functions that judged it, so that what was accepted can be served.
3. A problem names the line, the column and the reason, never what stands there: rows are patient data.
4. What could point at another document than the one meant is refused, not repaired.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from gateway.ids import ManifestIds
from gateway.ids.manifest_header import Columns, Problems, encoding_problem, undecoded
from gateway.ids.manifest_paths import Paths, Refused
from gateway.protocol import media_type
from gateway.routing import MAX_ID, NO_ATTRIBUTES, Location

UNIT = "\x1f"
"""Between the fields of a row that is kept: ASCII's unit separator, which no field may hold."""

WITHDRAWN = "withdrawn"
STATUSES = ("", "current", WITHDRAWN)

REMEMBERED = 65_536
"""Dates, and media types, known to be good: a column of few distinct values is judged once for each of them."""

_is_date = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ][0-9:.,]+(?:Z|[+-][0-9:]+)?)?").fullmatch
_id_text = re.compile(r"[A-Za-z0-9\-.]+").fullmatch


def parse_date(written: str) -> datetime:
    """An ISO 8601 date or date-time in UTC; without a time midnight, without a zone UTC. Raises `Refused`."""
    try:
        if not _is_date(written):
            raise ValueError
        parsed = datetime.fromisoformat(written)
        return parsed.astimezone(UTC) if parsed.tzinfo else parsed.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise Refused("is not an ISO 8601 date or date-time, such as 2011-05-17 or 2011-05-17T09:30:00Z") from None


_CSV_REASONS = {
    "field larger": "a quoted field begins that does not end within 131072 characters; is a quote missing?",
    "unexpected end": "a quoted field begins that never ends; is a quote missing?",
    "expected after": 'a quoted field goes on after its closing quote; a quote inside one is written ""',
}


def csv_reason(error: csv.Error) -> str:
    """What to say about text that is not CSV."""
    return next((reason for sign, reason in _CSV_REASONS.items() if sign in str(error)), "the row is not CSV")


class Rows:
    """The rows below one header: judged by `read`, understood by `location`."""

    def __init__(self, columns: Columns, settings: ManifestIds, prefix: str = "") -> None:
        """`prefix` is what the source puts in front of the ids of the file; the whole id has at most 64 characters."""
        self.columns = columns
        self.paths = Paths(settings)
        self._encoding = settings.encoding
        self._longest = MAX_ID - len(prefix)
        self._is_id = re.compile(rf"(?!\.\.?\Z)[A-Za-z0-9\-.]{{1,{self._longest}}}").fullmatch
        self._good_dates = {""}
        self._good_types = {""}
        self._checks = (
            ("id", self._check_id),
            ("path", self._check_path),
            ("content_type", self._check_type),
            ("date", self._check_date),
            ("status", self._check_status),
        )

    def location(self, source: str, fields: str) -> tuple[Location, bool]:
        """What a kept row says, and whether its document was withdrawn. The locator of such a row may be empty."""
        row = [*fields.split(UNIT), ""]
        at = self.columns.at
        written, media, date = row[at["path"]], row[at["content_type"]], row[at["date"]]
        attributes = {name: row[place] for name, place in self.columns.attributes if row[place]}
        location = Location(
            source,
            self.paths.locator(written) if written else "",
            media_type=media or None,
            title=row[at["title"]] or None,
            modified=parse_date(date) if date else None,
            patient=row[at["patient"]] or None,
            attributes=MappingProxyType(attributes) if attributes else NO_ATTRIBUTES,
        )
        return location, _status(row[at["status"]]) == WITHDRAWN

    def read(self, reader: Any, problems: Problems) -> Iterator[tuple[int, str, str]]:
        """(line, id, fields) of every good row of `reader`, a strict `csv.reader` past its header.

        What is wrong with the others goes to `problems`; blank rows are passed over.
        """
        good, id_at = self._plainly_good(), self.columns.at["id"]
        line = reader.line_num + 1
        while True:
            try:
                for row in reader:
                    start, line = line, reader.line_num + 1
                    fields = UNIT.join(row)
                    row.append("")
                    if good(row, fields) or self._judge(start, row, problems):
                        yield start, row[id_at], fields
                return
            except csv.Error as error:
                problems.add(line, csv_reason(error))
                line = reader.line_num + 1
            except UnicodeError:
                problems.add(line, f"the text {encoding_problem(self._encoding)}")
                return

    def _plainly_good(self) -> Callable[[list[str], str], bool]:
        """A quick judge of (row with one field "" after its last, the joined fields); False means "look closely".

        It runs a million times: its names are local, and of a path only what is plainly harmless passes here.
        """
        at = self.columns.at
        id_at, path_at, type_at, date_at, status_at = (
            at[name] for name in ("id", "path", "content_type", "date", "status")
        )
        width, units = self.columns.width + 1, self.columns.width - 1
        types, dates, is_id = self._good_types, self._good_dates, self._is_id
        fits = self._fits

        def good(row: list[str], fields: str) -> bool:
            if len(row) != width or not is_id(row[id_at]) or (not fields.isascii() and undecoded(fields)):
                return False
            path = row[path_at]
            if not (
                path
                and path[0] not in "/."
                and path[-1] != "/"
                and "/." not in path
                and "//" not in path
                and ":" not in path
                and "\\" not in path
            ) and not fits(path):
                return False
            return (
                fields.count(UNIT) == units
                and "\0" not in fields
                and row[type_at] in types
                and row[date_at] in dates
                and row[status_at] in STATUSES
            )

        return good

    def _judge(self, line: int, row: list[str], problems: Problems) -> bool:
        """Whether the row (with its extra last field) is good; each thing wrong with it is added to `problems`."""
        fields = row[:-1]
        if not any(fields):
            return False
        if len(fields) != self.columns.width:
            problems.add(line, f"the row has {len(fields)} fields where the header has {self.columns.width}")
            return False
        before = problems.count
        for at, text in enumerate(fields):
            if undecoded(text):
                problems.add(line, f"{self.columns.label(at)} {encoding_problem(self._encoding)}")
            elif "\0" in text or UNIT in text:
                problems.add(line, f"{self.columns.label(at)} has a control character in it")
        if problems.count == before:
            for name, check in self._checks:
                try:
                    check(row)
                except Refused as error:
                    problems.add(line, f"column {name} {error}")
        return problems.count == before

    def _check_id(self, row: list[str]) -> None:
        id = row[self.columns.at["id"]]
        if not id:
            raise Refused("is empty")
        if not _id_text(id):
            raise Refused("has a character other than letters, digits, hyphen and dot")
        if len(id) > self._longest:
            prefixed = ", the prefix of the source among them" if self._longest < MAX_ID else ""
            raise Refused(
                f"makes an id of {len(id) + MAX_ID - self._longest} characters{prefixed}; the most is {MAX_ID}"
            )
        if not self._is_id(id):
            raise Refused("is nothing but a dot or two")

    def _check_path(self, row: list[str]) -> None:
        path = row[self.columns.at["path"]]
        # The file of a withdrawn document is often gone, and with it its name.
        if path or _status(row[self.columns.at["status"]]) != WITHDRAWN:
            self.paths.locator(path)

    def _check_type(self, row: list[str]) -> None:
        text = row[self.columns.at["content_type"]]
        if text and media_type.parse(text) is None:
            raise Refused("is not a media type such as application/pdf")
        _remember(self._good_types, text)

    def _check_date(self, row: list[str]) -> None:
        text = row[self.columns.at["date"]]
        if text:
            parse_date(text)
            _remember(self._good_dates, text)

    def _check_status(self, row: list[str]) -> None:
        if _status(row[self.columns.at["status"]]) not in STATUSES:
            raise Refused("is not known; write current, withdrawn or nothing")

    def _fits(self, path: str) -> bool:
        try:
            self.paths.locator(path)
        except Refused:
            return False
        return True


def _status(written: str) -> str:
    return written.strip().lower()


def _remember(good: set[str], text: str) -> None:
    if len(good) >= REMEMBERED:
        good.clear()
        good.add("")
    good.add(text)
