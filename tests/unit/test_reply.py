"""What is answered to a read, given facts alone: status, representation, length, span and headers."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import hypothesis
import hypothesis.strategies as st
import pytest

from adapters.contract import Descriptor, Span
from gateway import errors
from gateway.document import Facts
from gateway.errors import Problem
from gateway.fhir import Version
from gateway.fhir.binary import Base64Stream
from gateway.protocol import conditional, negotiation, parameters, ranges
from gateway.protocol.conditional import http_date
from gateway.protocol.interactions import Bases
from gateway.protocol.profile import PROFILES, Profile
from gateway.reply import SANDBOX, Asked, Reply, plan
from gateway.routing import Location
from tests.support.service import BASES

CARE_CONNECT = PROFILES["care-connect"]
MODIFIED = datetime(2024, 3, 1, 12, 0, 0, tzinfo=UTC)
SIZE = 1000


def facts(
    size: int | None = SIZE,
    media_type: str = "application/pdf",
    version: str | None = "v1",
    modified: datetime | None = MODIFIED,
) -> Facts:
    title = "Letter about Mrs Example"
    location = Location("letters", "example-mrs/letter.pdf", title=title)
    return Facts(location, Descriptor(size, media_type, modified, None, title, version), media_type)


def asked(
    target: str = "/R4/Binary/abc", *, method: str = "GET", profile: Profile = CARE_CONNECT, **headers: str
) -> Asked:
    """A request as the handlers read it; header names are written with underscores."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    interaction = Bases(BASES).interaction(method, target)
    given = parameters.parse(interaction.query)
    version = interaction.version
    assert version is not None
    return Asked(
        interaction=interaction,
        version=version,
        wishes=negotiation.parse(named.get("Accept"), given.format, version=version, profile=profile),
        parameters=given,
        conditions=conditional.parse(named),
        byte_range=ranges.parse(named.get("Range")),
        if_range=named.get("If-Range"),
        head=method == "HEAD",
    )


def reply(target: str = "/R4/Binary/abc", about: Facts | None = None, **how: Any) -> Reply:
    return plan(asked(target, **how), about or facts(), how.get("profile", CARE_CONNECT))


def refused(target: str = "/R4/Binary/abc", about: Facts | None = None, **how: Any) -> Problem:
    with pytest.raises(Problem) as problem:
        reply(target, about, **how)
    return problem.value


# --- the whole, native -----------------------------------------------------------------------------------------------


@pytest.mark.requirement("CC-08", "CC-11", "FR-24", "FR-26", "FR-120")
def test_the_document_itself_with_headers_from_what_was_opened() -> None:
    found = reply()
    assert (found.status, found.representation, found.length, found.span, found.body) == (
        200,
        "native",
        SIZE,
        None,
        True,
    )
    assert found.headers == {
        "Server": "fhir-document-gateway",
        "Cache-Control": "no-store",
        "Vary": "Accept",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Resource-Policy": "same-site",
        "Content-Type": "application/pdf",
        "Content-Length": "1000",
        "Accept-Ranges": "bytes",
        "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
        "ETag": 'W/"v1"',
        "Content-Location": "/R4/Binary/abc/_history/v1",
        "Last-Modified": "Fri, 01 Mar 2024 12:00:00 GMT",
        "Content-Disposition": 'inline; filename="abc.pdf"',
    }


@pytest.mark.requirement("FR-10")
@pytest.mark.parametrize("query", ["", "?_format=json", "?_format=xml"])
def test_no_header_holds_a_title_or_a_locator(query: str) -> None:
    found = str(reply(f"/R4/Binary/abc{query}").headers).lower()
    assert "mrs" not in found
    assert "example" not in found


@pytest.mark.requirement("FR-34")
@pytest.mark.parametrize("query", ["", "?_format=json", "?_format=xml"])
def test_head_has_the_headers_of_get_and_no_body(query: str) -> None:
    get, head = (reply(f"/R4/Binary/abc{query}", method=method) for method in ("GET", "HEAD"))
    assert (head.headers, head.status, head.body) == (get.headers, get.status, False)


def test_what_is_not_known_is_not_claimed() -> None:
    found = reply(about=facts(size=None, version=None, modified=None))
    assert found.length is None
    assert not {"Content-Length", "ETag", "Content-Location", "Last-Modified"} & found.headers.keys()
    assert reply("/R4/Binary/abc?_format=json", facts(size=None)).length is None


@pytest.mark.requirement("FR-127")
@pytest.mark.parametrize(
    ("media_type", "shown"),
    [
        ("application/pdf", 'inline; filename="abc.pdf"'),
        ("image/png", 'inline; filename="abc.png"'),
        ("text/plain; charset=utf-8", 'inline; filename="abc.txt"'),
        ("text/html", 'attachment; filename="abc.html"'),
        ("image/svg+xml", 'attachment; filename="abc.svg"'),
        ("application/xml", 'attachment; filename="abc.xml"'),
        ("application/octet-stream", 'attachment; filename="abc"'),
        ("application/x-unheard-of", 'attachment; filename="abc"'),
    ],
)
def test_only_what_cannot_run_is_shown_in_a_browser(media_type: str, shown: str) -> None:
    headers = reply(about=facts(media_type=media_type)).headers
    assert (headers["Content-Type"], headers["Content-Disposition"]) == (media_type, shown)
    assert media_type == "application/pdf" or headers["Content-Security-Policy"] == SANDBOX


def test_an_id_that_ends_like_a_file_gets_no_second_ending() -> None:
    assert reply("/R4/Binary/abc.PDF").headers["Content-Disposition"] == 'inline; filename="abc.PDF"'


def test_a_document_from_the_future_is_not_announced_as_such() -> None:
    found = reply(about=facts(modified=datetime.now(UTC) + timedelta(days=400)))
    assert conditional.parse_http_date(found.headers["Last-Modified"]) <= datetime.now(UTC)  # type: ignore[operator]


# --- envelopes -------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("CC-12", "CC-15", "FR-83")
@pytest.mark.parametrize("base", ["STU3", "R4"])
@pytest.mark.parametrize("form", ["json", "xml"])
def test_an_envelope_has_its_own_type_and_the_documents_version(base: str, form: str) -> None:
    found = reply(f"/{base}/Binary/abc?_format={form}")
    assert (found.status, found.representation) == (200, "envelope")
    assert found.headers["Content-Type"] == f"application/fhir+{form};charset=utf-8"
    assert found.headers["ETag"] == reply(f"/{base}/Binary/abc").headers["ETag"]
    assert not {"Accept-Ranges", "Content-Disposition"} & found.headers.keys()


@pytest.mark.requirement("FR-208")
@hypothesis.given(
    size=st.integers(1, 4000),
    version=st.sampled_from(list(Version)),
    query=st.sampled_from(["_format=json", "_format=xml", "_format=json&_pretty=true", "_format=xml&_pretty=true"]),
)
def test_the_announced_length_is_that_of_the_body(size: int, version: Version, query: str) -> None:
    found = reply(f"/{version.name}/Binary/abc?{query}", facts(size=size))
    assert found.envelope is not None
    stream = Base64Stream()
    body = found.envelope.prefix + stream.feed(bytes(size)) + stream.finish() + found.envelope.suffix
    assert found.length == int(found.headers["Content-Length"]) == len(body)


@pytest.mark.requirement("FR-207")
def test_an_empty_document() -> None:
    empty = facts(size=0)
    assert reply("/STU3/Binary/abc", empty).headers["Content-Length"] == "0"
    assert refused("/STU3/Binary/abc?_format=json", empty).entry is errors.EMPTY_DOCUMENT
    r4 = reply("/R4/Binary/abc?_format=json", empty)
    assert r4.envelope is not None
    assert not r4.envelope.carries_content
    assert reply("/STU3/Binary/abc?_format=json&_summary=true", empty).status == 200, "nothing of it was asked for"


# --- conditions ------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("FR-40", "FR-41", "FR-42")
@pytest.mark.parametrize("query", ["", "?_format=json"])
@pytest.mark.parametrize(
    "headers",
    [
        {"If_None_Match": 'W/"v1"'},
        {"If_None_Match": '"x", "v1"'},
        {"If_None_Match": "*"},
        {"If_Modified_Since": http_date(MODIFIED)},
    ],
)
def test_a_document_that_the_reader_has_is_not_sent(query: str, headers: dict[str, str]) -> None:
    found = reply(f"/R4/Binary/abc{query}", **headers)
    assert (found.status, found.body, found.length) == (304, False, None)
    assert found.headers["ETag"] == 'W/"v1"'
    assert "Last-Modified" in found.headers
    assert not {"Content-Type", "Content-Length", "Content-Disposition", "Content-Range"} & found.headers.keys()


@pytest.mark.requirement("FR-43")
def test_a_document_that_changed_is_sent() -> None:
    assert reply(If_None_Match='W/"v0"', If_Modified_Since=http_date(MODIFIED)).status == 200
    assert reply(If_Modified_Since=http_date(MODIFIED - timedelta(seconds=1))).status == 200


@pytest.mark.parametrize("headers", [{"If_Match": '"v0"'}, {"If_Unmodified_Since": http_date(MODIFIED - timedelta(1))}])
def test_a_reader_that_demands_another_version_is_refused(headers: dict[str, str]) -> None:
    assert refused(**headers).entry is errors.PRECONDITION_FAILED


@pytest.mark.requirement("FR-131")
def test_a_condition_goes_before_a_range() -> None:
    assert reply(If_None_Match="*", Range="bytes=0-1").status == 304
    assert refused(If_Match='"v0"', Range="bytes=5000-").entry is errors.PRECONDITION_FAILED


# --- versions --------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("FR-29", "FR-31", "FR-32")
def test_the_current_version_can_be_asked_for_and_no_other() -> None:
    assert reply("/R4/Binary/abc/_history/v1").status == 200
    assert refused("/R4/Binary/abc/_history/v2").entry is errors.VERSION_NOT_KEPT
    assert refused("/R4/Binary/abc/_history/v1", facts(version=None)).entry is errors.VERSION_NOT_KEPT


def test_a_version_that_is_no_id_gets_one_that_names_it_alone() -> None:
    one, other = (facts(version=f'"etag/{text} with spaces"').version_id for text in "ab")
    assert one is not None
    assert one != other
    assert (
        reply(f"/R4/Binary/abc/_history/{one}", facts(version='"etag/a with spaces"')).headers["ETag"] == f'W/"{one}"'
    )


# --- ranges ----------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("FR-129")
@pytest.mark.parametrize(
    ("asked_for", "start", "stop"),
    [
        ("0-0", 0, 1),
        ("0-499", 0, 500),
        ("500-", 500, 1000),
        ("-1", 999, 1000),
        ("900-5000", 900, 1000),
        ("-5000", 0, 1000),
    ],
)
def test_a_part(asked_for: str, start: int, stop: int) -> None:
    found = reply(Range=f"bytes={asked_for}")
    assert (found.status, found.span, found.length) == (206, Span(start, stop), stop - start)
    assert found.headers["Content-Range"] == f"bytes {start}-{stop - 1}/1000"
    assert found.headers["Content-Length"] == str(stop - start)
    assert found.headers["Content-Type"] == "application/pdf"


@pytest.mark.parametrize(
    ("asked_for", "size"), [("1000-", 1000), ("5000-6000", 1000), ("-0", 1000), ("0-", 0), ("-5", 0)]
)
def test_a_part_past_the_end_is_refused_with_the_size(asked_for: str, size: int) -> None:
    problem = refused(about=facts(size=size), Range=f"bytes={asked_for}")
    assert problem.entry is errors.RANGE_NOT_SATISFIABLE
    assert problem.headers["Content-Range"] == f"bytes */{size}"


@pytest.mark.requirement("FR-131", "FR-132")
@pytest.mark.parametrize(
    ("target", "how"),
    [
        ("/R4/Binary/abc?_format=json", {"Range": "bytes=0-1"}),
        ("/R4/Binary/abc", {"Range": "bytes=0-1,5-6"}),
        ("/R4/Binary/abc", {"Range": "bytes=9-1"}),
        ("/R4/Binary/abc", {"Range": "lines=0-1"}),
        ("/R4/Binary/abc", {"Range": "bytes=0-1", "method": "HEAD"}),
        ("/R4/Binary/abc", {"Range": "bytes=0-1", "If_Range": 'W/"v1"'}),
        ("/R4/Binary/abc", {"Range": "bytes=0-1", "If_Range": http_date(MODIFIED - timedelta(1))}),
    ],
)
def test_a_range_that_does_not_apply_leaves_the_whole(target: str, how: dict[str, str]) -> None:
    found = reply(target, **how)
    assert (found.status, found.span) == (200, None)
    assert "Content-Range" not in found.headers


@pytest.mark.requirement("FR-130")
def test_if_range_works_by_date() -> None:
    assert reply(Range="bytes=0-1", If_Range=http_date(MODIFIED)).status == 206


def test_no_part_of_what_has_no_known_size() -> None:
    assert reply(about=facts(size=None), Range="bytes=0-1").status == 200


# --- what can be offered ---------------------------------------------------------------------------------------------


@pytest.mark.requirement("FR-80")
def test_a_type_that_cannot_be_given_is_refused_before_any_condition() -> None:
    assert refused(Accept="image/png", If_None_Match="*").entry is errors.NOT_ACCEPTABLE
    assert refused("/R4/Binary/abc?_format=banana").entry is errors.UNKNOWN_FORMAT
    assert reply(Accept="image/png", profile=replace(CARE_CONNECT, other_type="native")).status == 200


def test_a_document_that_is_larger_than_allowed_is_refused_whatever_is_asked_of_it() -> None:
    profile = replace(CARE_CONNECT, max_document=SIZE - 1)
    for how in ({}, {"method": "HEAD"}, {"Range": "bytes=0-1"}, {"If_None_Match": "*"}):
        assert refused(profile=profile, **how).entry is errors.TOO_LARGE
    assert reply(profile=replace(CARE_CONNECT, max_document=SIZE)).status == 200


def test_a_profile_decides_what_the_specifications_leave_open() -> None:
    silent = replace(CARE_CONNECT, content_location=False, charset=False, cache_control="private, no-cache")
    found = reply("/R4/Binary/abc?_format=json", profile=silent)
    assert "Content-Location" not in found.headers
    assert found.headers["Content-Type"] == "application/fhir+json"
    assert found.headers["Cache-Control"] == "private, no-cache"
    assert reply(profile=PROFILES["gp-connect"]).representation == "envelope"


def test_replies_share_no_headers() -> None:
    """Delivery and the call write into them."""
    first = reply()
    first.headers["X-Request-Id"] = "1"
    assert "X-Request-Id" not in reply().headers
