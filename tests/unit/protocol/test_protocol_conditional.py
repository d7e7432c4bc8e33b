"""Conditional requests in the order of RFC 9110 section 13.2.2, and If-Range."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.protocol import conditional
from gateway.protocol.conditional import Decision

MODIFIED = datetime(2024, 3, 15, 10, 30, 45, 999999, tzinfo=UTC)
SAME = "Fri, 15 Mar 2024 10:30:45 GMT"
BEFORE = "Fri, 15 Mar 2024 10:30:44 GMT"
AFTER = "Fri, 15 Mar 2024 10:30:46 GMT"
NOW = datetime(2025, 1, 1, tzinfo=UTC)
WEAK, STRONG = 'W/"7-abc"', '"7-abc"'


def decide(
    headers: dict[str, str], *, etag: str | None = WEAK, modified: datetime | None = MODIFIED, now: datetime = NOW
) -> Decision:
    conditions = conditional.parse(headers)
    assert conditions is not None
    return conditional.evaluate(conditions, etag=etag, modified=modified, now=now)


def test_a_request_without_conditions_has_none() -> None:
    assert conditional.parse({}) is None
    assert conditional.parse({"If-Range": STRONG, "Range": "bytes=0-1", "Accept": "*/*"}) is None


@pytest.mark.requirement("FR-42")
@pytest.mark.parametrize(
    ("field", "decision"),
    [
        (WEAK, Decision.NOT_MODIFIED),
        (STRONG, Decision.NOT_MODIFIED),
        ('"other", W/"7-abc"', Decision.NOT_MODIFIED),
        ('"other",,  "7-abc" ,', Decision.NOT_MODIFIED),
        ('"a,b", "7-abc"', Decision.NOT_MODIFIED),
        ('"a\\", "7-abc"', Decision.NOT_MODIFIED),
        ('"other"', Decision.PROCEED),
        ('"7-abc ", "7-ab"', Decision.PROCEED),
        ('W/"7-ABC"', Decision.PROCEED),
        ('""', Decision.PROCEED),
    ],
)
@pytest.mark.parametrize("etag", [WEAK, STRONG])
def test_if_none_match_compares_weakly(field: str, decision: Decision, etag: str) -> None:
    assert decide({"If-None-Match": field}, etag=etag) is decision


@pytest.mark.requirement("FR-44")
@pytest.mark.parametrize("etag", [WEAK, None])
def test_if_none_match_star_finds_every_existing_document_unmodified(etag: str | None) -> None:
    assert decide({"If-None-Match": "*"}, etag=etag) is Decision.NOT_MODIFIED
    assert decide({"If-None-Match": " * "}, etag=etag) is Decision.NOT_MODIFIED


@pytest.mark.parametrize(
    "garbage",
    ["", "7-abc", '"7-abc', '7-abc"', 'w/"7-abc"', "W/7-abc", '"7 abc"', "*, *", '*"7-abc"', ',"\x00"', '""7-abc""'],
)
def test_unreadable_if_none_match_gets_the_document(garbage: str) -> None:
    assert decide({"If-None-Match": garbage}) is Decision.PROCEED
    assert decide({"If-None-Match": garbage, "If-Modified-Since": SAME}) is Decision.PROCEED


@pytest.mark.parametrize("garbage", ["7-abc", "x y", 'a"b', '"', "W/", "\x7f"])
def test_unreadable_members_do_not_hide_readable_ones(garbage: str) -> None:
    assert decide({"If-None-Match": f'{garbage}, "7-abc"'}) is Decision.NOT_MODIFIED
    assert decide({"If-None-Match": f'"7-abc", {garbage}'}) is Decision.NOT_MODIFIED


@pytest.mark.requirement("FR-43")
def test_if_none_match_takes_precedence_over_if_modified_since() -> None:
    assert decide({"If-None-Match": '"other"', "If-Modified-Since": SAME}) is Decision.PROCEED
    assert decide({"If-None-Match": WEAK, "If-Modified-Since": BEFORE}) is Decision.NOT_MODIFIED


@pytest.mark.parametrize(
    ("field", "decision"),
    [(SAME, Decision.NOT_MODIFIED), (AFTER, Decision.NOT_MODIFIED), (BEFORE, Decision.PROCEED)],
)
def test_if_modified_since_compares_whole_seconds(field: str, decision: Decision) -> None:
    assert decide({"If-Modified-Since": field}) is decision
    assert decide({"If-Modified-Since": field}, modified=None) is Decision.PROCEED


@pytest.mark.requirement("FR-45")
@pytest.mark.parametrize(
    "garbage",
    [
        "",
        "yesterday",
        "2024-03-15T10:30:45Z",
        "Fri, 32 Mar 2024 10:30:45 GMT",
        "Fri, 15 Foo 2024 10:30:45 GMT",
        "Fri, 15 Mar 2024 25:30:45 GMT",
        "Fri, 15 Mar 2024 10:30:45 +0100",
        "Fri, 15 Mar 2024 10:30:45",
        f"{SAME}, {SAME}",
        "Fri, ١٥ Mar 2024 10:30:45 GMT",
        SAME + "\n",
        "1710498645",
    ],
)
def test_an_invalid_date_is_ignored(garbage: str) -> None:
    assert decide({"If-Modified-Since": garbage}) is Decision.PROCEED
    assert decide({"If-Unmodified-Since": garbage}) is Decision.PROCEED


def test_a_date_ahead_of_the_servers_clock_is_ignored() -> None:
    ahead = {"If-Modified-Since": conditional.http_date(NOW + timedelta(seconds=1))}
    assert decide(ahead) is Decision.PROCEED
    assert decide(ahead, now=NOW + timedelta(seconds=2)) is Decision.NOT_MODIFIED


def test_the_clock_is_the_systems_unless_given() -> None:
    conditions = conditional.parse({"If-Modified-Since": SAME})
    assert conditions is not None
    assert conditional.evaluate(conditions, etag=None, modified=MODIFIED) is Decision.NOT_MODIFIED


@pytest.mark.parametrize(
    ("field", "etag", "decision"),
    [
        (STRONG, STRONG, Decision.PROCEED),
        ('"x", "7-abc"', STRONG, Decision.PROCEED),
        ("*", WEAK, Decision.PROCEED),
        ("*", None, Decision.PROCEED),
        (WEAK, WEAK, Decision.PRECONDITION_FAILED),
        (STRONG, WEAK, Decision.PRECONDITION_FAILED),
        (WEAK, STRONG, Decision.PRECONDITION_FAILED),
        ('"other"', STRONG, Decision.PRECONDITION_FAILED),
        (STRONG, None, Decision.PRECONDITION_FAILED),
        ("7-abc", STRONG, Decision.PRECONDITION_FAILED),
        ("", STRONG, Decision.PRECONDITION_FAILED),
    ],
)
def test_if_match_compares_strongly(field: str, etag: str | None, decision: Decision) -> None:
    assert decide({"If-Match": field}, etag=etag) is decision


def test_if_unmodified_since_refuses_what_changed_later() -> None:
    assert decide({"If-Unmodified-Since": BEFORE}) is Decision.PRECONDITION_FAILED
    assert decide({"If-Unmodified-Since": SAME}) is Decision.PROCEED
    assert decide({"If-Unmodified-Since": BEFORE}, modified=None) is Decision.PROCEED


def test_conditions_are_weighed_in_the_order_of_the_rfc() -> None:
    refused = {"If-Match": '"other"', "If-None-Match": STRONG}
    assert decide(refused, etag=STRONG) is Decision.PRECONDITION_FAILED
    match_wins = {"If-Match": STRONG, "If-Unmodified-Since": BEFORE}
    assert decide(match_wins, etag=STRONG) is Decision.PROCEED
    both = {"If-Match": STRONG, "If-None-Match": STRONG}
    assert decide(both, etag=STRONG) is Decision.NOT_MODIFIED
    dates = {"If-Unmodified-Since": SAME, "If-Modified-Since": SAME}
    assert decide(dates) is Decision.NOT_MODIFIED
    assert decide({"If-Unmodified-Since": BEFORE, "If-None-Match": WEAK}) is Decision.PRECONDITION_FAILED


@pytest.mark.requirement("FR-130")
@pytest.mark.parametrize(
    ("if_range", "etag", "applies"),
    [
        (None, WEAK, True),
        (STRONG, STRONG, True),
        (f" {STRONG} ", STRONG, True),
        (WEAK, WEAK, False),
        (STRONG, WEAK, False),
        (WEAK, STRONG, False),
        ('"other"', STRONG, False),
        (STRONG, None, False),
        (SAME, WEAK, True),
        (AFTER, WEAK, False),
        (BEFORE, WEAK, False),
        ("garbage", WEAK, False),
        ("", WEAK, False),
        ("*", STRONG, False),
        ('"7-abc", "x"', STRONG, False),
    ],
)
def test_if_range_applies_only_to_exactly_this_version(if_range: str | None, etag: str, applies: bool) -> None:
    assert conditional.range_applies(if_range, etag=etag, modified=MODIFIED, now=NOW) is applies


@pytest.mark.parametrize(("age", "applies"), [(59.9, False), (60, True), (-5, False)])
def test_if_range_needs_a_time_that_is_old_enough_to_be_strong(age: float, applies: bool) -> None:
    now = MODIFIED + timedelta(seconds=age)
    assert conditional.range_applies(SAME, etag=None, modified=MODIFIED, now=now) is applies


def test_if_range_by_date_needs_a_time_of_change() -> None:
    assert conditional.range_applies(SAME, etag=WEAK, modified=None, now=NOW) is False


@pytest.mark.parametrize(
    "text",
    [
        "Sun, 06 Nov 1994 08:49:37 GMT",
        " Sun, 06 Nov 1994 08:49:37 GMT ",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
        "Mon, 06 Nov 1994 08:49:37 GMT",
    ],
)
def test_the_three_date_formats_are_read(text: str) -> None:
    assert conditional.parse_http_date(text) == datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC)


def test_a_two_digit_year_is_at_most_fifty_years_ahead() -> None:
    this_year = datetime.now(UTC).year
    for year in range(this_year - 49, this_year + 51):
        read = conditional.parse_http_date(f"Sunday, 06-Nov-{year % 100:02d} 08:49:37 GMT")
        assert read is not None
        assert read.year == year


def test_a_leap_second_is_a_date() -> None:
    assert conditional.parse_http_date("Sat, 31 Dec 2016 23:59:60 GMT") == datetime(
        2016, 12, 31, 23, 59, 59, tzinfo=UTC
    )


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (datetime(1994, 11, 6, 8, 49, 37, 999999, tzinfo=UTC), "Sun, 06 Nov 1994 08:49:37 GMT"),
        (datetime(2024, 2, 29, 0, 30, tzinfo=timezone(timedelta(hours=1))), "Wed, 28 Feb 2024 23:30:00 GMT"),
        (datetime(800, 1, 1, tzinfo=UTC), "Sat, 01 Jan 0800 00:00:00 GMT"),
    ],
)
def test_a_date_is_written_in_gmt(moment: datetime, text: str) -> None:
    assert conditional.http_date(moment) == text


@given(st.datetimes(timezones=st.timezones(), min_value=datetime(2, 1, 1), max_value=datetime(9998, 1, 1)))
def test_a_written_date_is_read_back(moment: datetime) -> None:
    read = conditional.parse_http_date(conditional.http_date(moment))
    assert read == moment.astimezone(UTC).replace(microsecond=0)


@given(st.lists(st.from_regex(r'(W/)?"[!#-~\x80-\xff]{0,8}"', fullmatch=True), min_size=1), st.data())
def test_a_tag_that_was_sent_out_is_recognised_in_any_list(tags: list[str], data: st.DataObject) -> None:
    etag = data.draw(st.sampled_from(tags))
    assert decide({"If-None-Match": ", ".join(tags)}, etag=etag) is Decision.NOT_MODIFIED
    expected = Decision.PRECONDITION_FAILED if etag.startswith("W/") else Decision.PROCEED
    assert decide({"If-Match": ",".join(tags)}, etag=etag) is expected


fields = st.text() | st.text(alphabet='W/"*, \t\n\\a\x00é')


@given(fields, fields, fields, fields, st.none() | st.sampled_from([WEAK, STRONG]), st.none() | st.just(MODIFIED))
def test_no_text_raises(one: str, two: str, three: str, four: str, etag: str | None, modified: datetime | None) -> None:
    names = ("If-Match", "If-Unmodified-Since", "If-None-Match", "If-Modified-Since")
    assert decide(dict(zip(names, (one, two, three, four), strict=True)), etag=etag, modified=modified) in Decision
    assert conditional.range_applies(one, etag=etag, modified=modified, now=NOW) in (True, False)
