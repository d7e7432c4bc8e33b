"""Conditional requests: send the document, say "not modified", or refuse (RFC 9110 section 13).

`parse` reads what a request states, `evaluate` weighs it against the document as it is now, in the order of 13.2.2, and
`range_applies` answers If-Range. Authorisation comes before any of this (FR-46).

The rule for what cannot be read: doubt always means the safe answer for a reader of clinical documents.

* If-None-Match: members that are no entity tags are skipped. A field without one readable tag matches nothing, so the
  document is sent; If-Modified-Since still yields to it, since the field is present (13.1.3).
* If-Match: the same reading, and nothing matched means 412. Who sends it continues something (a download, a page set)
  and must not be given another version because the tag was misspelt.
* If-Modified-Since, If-Unmodified-Since: a value that is no HTTP date is ignored, as 13.1.3 and 13.1.4 demand.
* An If-Modified-Since later than this server's clock is ignored. RFC 2616 14.25 called such a date invalid; RFC 9110
  13.1.3 no longer says so, but leaves 304 a SHOULD, and a client with a fast clock would miss a replaced document.

Entity tags are header text (`W/"abc"`), times are aware datetimes; both sides of every comparison of times are whole
seconds, since the field cannot say more. The mapping of header fields must ignore case in names and hold one value per
name: the caller joins repeated fields with ", ".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from functools import lru_cache

STRONG_AFTER = timedelta(seconds=60)
"""Age at which a Last-Modified counts as strong. RFC 9110 8.8.2.2 asks for one second between two readings of one
clock; RFC 7232 asked for 60, which also covers an archive whose clock differs from the gateway's."""

_TAG_MEMBER = re.compile(r'[ \t]*+(?:((?:W/)?+"[^"\x00-\x20\x7f]*+"))?+[ \t]*+(?:,|\Z)')


class Decision(Enum):
    """What the conditions of a request demand."""

    PROCEED = "proceed"
    NOT_MODIFIED = "not-modified"
    PRECONDITION_FAILED = "precondition-failed"


@dataclass(frozen=True, slots=True)
class Tags:
    """A list of entity tags as sent, or `any` for "*"."""

    listed: tuple[str, ...] = ()
    any: bool = False

    def match_strongly(self, etag: str | None) -> bool:
        """RFC 9110 8.8.3.2: equal and neither is weak; "*" matches every document that exists."""
        return self.any or (etag is not None and not etag.startswith("W/") and etag in self.listed)

    def match_weakly(self, etag: str | None) -> bool:
        """RFC 9110 8.8.3.2: equal when the weakness marks are left out; "*" matches every document that exists."""
        if self.any or etag is None:
            return self.any
        opaque = etag.removeprefix("W/")
        return any(tag.removeprefix("W/") == opaque for tag in self.listed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """The conditions of one request; None where a field is absent or, for dates, unreadable."""

    if_match: Tags | None = None
    if_unmodified_since: datetime | None = None
    if_none_match: Tags | None = None
    if_modified_since: datetime | None = None


def parse(headers: Mapping[str, str]) -> Conditions | None:
    """The conditions in the header fields of a request; None when no conditional field is there, the usual case."""
    match = headers.get("If-Match")
    unmodified_since = headers.get("If-Unmodified-Since")
    none_match = headers.get("If-None-Match")
    modified_since = headers.get("If-Modified-Since")
    if match is None and unmodified_since is None and none_match is None and modified_since is None:
        return None
    return Conditions(
        if_match=None if match is None else _tags(match),
        if_unmodified_since=None if unmodified_since is None else parse_http_date(unmodified_since),
        if_none_match=None if none_match is None else _tags(none_match),
        if_modified_since=None if modified_since is None else parse_http_date(modified_since),
    )


def evaluate(
    conditions: Conditions, *, etag: str | None, modified: datetime | None, now: datetime | None = None
) -> Decision:
    """What to do with a GET or HEAD of a document that exists and has this entity tag and this time of change.

    `now` is the server's time, read from its clock when None and needed.
    """
    seconds = None if modified is None else modified.replace(microsecond=0)
    unmodified_since, modified_since = conditions.if_unmodified_since, conditions.if_modified_since
    if conditions.if_match is not None:
        if not conditions.if_match.match_strongly(etag):
            return Decision.PRECONDITION_FAILED
    elif seconds is not None and unmodified_since is not None and seconds > unmodified_since:
        return Decision.PRECONDITION_FAILED
    if conditions.if_none_match is not None:
        return Decision.NOT_MODIFIED if conditions.if_none_match.match_weakly(etag) else Decision.PROCEED
    if seconds is None or modified_since is None or seconds > modified_since:
        return Decision.PROCEED
    return Decision.NOT_MODIFIED if modified_since <= (now or datetime.now(UTC)) else Decision.PROCEED


def range_applies(if_range: str | None, *, etag: str | None, modified: datetime | None, now: datetime) -> bool:
    """Whether a Range field may be honoured under this If-Range field (RFC 9110 13.1.5).

    A weak entity tag never matches. A date matches when it is exactly the document's time of change and that time is
    strong (`STRONG_AFTER`). What cannot be read does not match: the whole document is then sent.
    """
    if if_range is None:
        return True
    value = if_range.strip(" \t")
    if value.startswith(('"', "W/")):
        return etag is not None and value == etag and not etag.startswith("W/")
    if modified is None or now - modified < STRONG_AFTER:
        return False
    return parse_http_date(value) == modified.replace(microsecond=0)


def _tags(field: str) -> Tags:
    if field.strip(" \t") == "*":
        return Tags(any=True)
    listed = []
    position = 0
    while position < len(field):
        member = _TAG_MEMBER.match(field, position)
        if member is not None:
            if member[1] is not None:
                listed.append(member[1])
            position = member.end()
        else:
            # An unreadable member ends at the next comma; one inside a stray quote cannot be told apart.
            comma = field.find(",", position)
            position = len(field) if comma < 0 else comma + 1
    return Tags(tuple(listed))


# HTTP dates (RFC 9110 5.6.7). Own code, since `email.utils` accepts far more than the three formats.

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH_NUMBERS = {name: number for number, name in enumerate(_MONTHS, 1)}
_LONGEST_DATE = 40
_TIME = r"(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"
_FORMATS = (
    re.compile(rf"[A-Z][a-z]{{2}}, (?P<day>[0-9]{{2}}) (?P<month>[A-Z][a-z]{{2}}) (?P<year>[0-9]{{4}}) {_TIME} GMT"),
    re.compile(rf"[A-Z][a-z]{{5,8}}, (?P<day>[0-9]{{2}})-(?P<month>[A-Z][a-z]{{2}})-(?P<year>[0-9]{{2}}) {_TIME} GMT"),
    re.compile(rf"[A-Z][a-z]{{2}} (?P<month>[A-Z][a-z]{{2}}) (?P<day>[0-9 ][0-9]) {_TIME} (?P<year>[0-9]{{4}})"),
)


@lru_cache(maxsize=1024)
def http_date(moment: datetime) -> str:
    """An aware datetime as an HTTP date, e.g. "Sun, 06 Nov 1994 08:49:37 GMT"; parts of a second are dropped."""
    utc = moment.astimezone(UTC)
    day, month = _DAYS[utc.weekday()], _MONTHS[utc.month - 1]
    return f"{day}, {utc.day:02d} {month} {utc.year:04d} {utc.hour:02d}:{utc.minute:02d}:{utc.second:02d} GMT"


def parse_http_date(text: str) -> datetime | None:
    """The moment an HTTP date names, in any of the three formats of RFC 9110 5.6.7; None when it is none of them.

    The day of the week is not checked. A two-digit year that would lie more than 50 years ahead is of the last century.
    """
    return _date(text.strip(" \t")) if len(text) <= _LONGEST_DATE else None


@lru_cache(maxsize=256)
def _date(text: str) -> datetime | None:
    for pattern in _FORMATS:
        found = pattern.fullmatch(text)
        if found is not None:
            break
    else:
        return None
    month = _MONTH_NUMBERS.get(found["month"])
    year = int(found["year"])
    if len(found["year"]) == 2:
        this_year = datetime.now(UTC).year
        year += this_year - this_year % 100
        if year > this_year + 50:
            year -= 100
    if month is None:
        return None
    # A leap second is a valid HTTP date, but not a valid datetime.
    second = 59 if found["second"] == "60" else int(found["second"])
    try:
        return datetime(year, month, int(found["day"]), int(found["hour"]), int(found["minute"]), second, tzinfo=UTC)
    except ValueError:
        return None
