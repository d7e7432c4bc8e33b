"""Content-Type as stacks write it, judged against the standard library's parser; Content-IDs against references."""

from __future__ import annotations

from email.message import Message

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.xds.mtom import ForbiddenReference, matches, media_type, names_part
from adapters.xds.mtom.headers import header_fields

# Axis2, CXF, Metro, WCF, NIST, gematik, and what else specs of real captures show.
SEEN = [
    'multipart/related; boundary="uuid:803a-1"; type="application/xop+xml"; start="<root.message@cxf.apache.org>"; '
    'start-info="application/soap+xml";charset=UTF-8',
    'multipart/related; boundary=MIMEBoundaryurn_uuid_0DE43E4B9A; type="application/xop+xml"; '
    'start="<0.urn:uuid:0DE43E4B9A@apache.org>"; start-info="text/xml; charset=utf-8"',
    'multipart/related;start="<rootpart*0a1b@example.jaxws.sun.com>";type="application/xop+xml";boundary="uuid:0a1b"',
    'multipart/related; boundary=MIMEBoundary112233445566778899;  type="application/xop+xml"; start="<doc0@ihexds.nist.gov>"',
    'Multipart/Related; BOUNDARY="a b=?:c"; Type="application/soap+xml;"',
    "multipart/related; boundary=a=b?c:d; start=root@x",
    'multipart/related; type="application/xop+xml"; boundary="q\\"uo\\\\te"',
    'multipart/related; boundary="uuid:1+id=1"; type="application/xop+xml"; start="<http://tempuri.org/0>"; '
    'start-info="application/soap+xml; action=\\"urn:ihe:iti:2007:RetrieveDocumentSetResponse\\""',
    "application/soap+xml; charset=UTF-8",
    "text/xml",
    "TEXT/XML;charset=utf-8",
]


@pytest.mark.parametrize("value", SEEN)
def test_a_content_type_reads_as_the_standard_library_reads_it(value: str) -> None:
    oracle = Message()
    oracle["Content-Type"] = value
    (_, _), *expected = oracle.get_params() or []
    read = media_type(value)
    assert read.name == oracle.get_content_type()
    assert read.parameters == {name.lower(): text for name, text in expected}


def test_what_the_standard_library_cannot_read_is_read_where_it_is_plain() -> None:
    unescaped = 'multipart/related; start-info="application/soap+xml;action="urn:x""; boundary="uuid:1"'
    assert media_type(unescaped).boundary == b"uuid:1"
    assert media_type('multipart/related boundary="b"').boundary == b"b"
    assert media_type('multipart/related; type="a/b"boundary=c').boundary == b"c"


@pytest.mark.parametrize("value", [None, "", "   ", "nonsense", "multipart", "/x", "text/", ";boundary=x"])
def test_what_is_no_content_type_is_none(value: str | None) -> None:
    assert media_type(value).name == ""
    assert not media_type(value).multipart
    assert media_type(value).boundary is None


@pytest.mark.parametrize(
    ("value", "boundary"),
    [
        ('multipart/related; boundary="trailing  "', b"trailing"),
        ('multipart/related; boundary=""', None),
        ("multipart/related; boundary=" + "x" * 257, None),
        ("multipart/related; boundary=" + "x" * 256, b"x" * 256),
        ('multipart/related; boundary="a\nb"', None),
        ("multipart/related; boundary=a; boundary=b", b"a"),
    ],
)
def test_only_what_can_separate_parts_is_a_boundary(value: str, boundary: bytes | None) -> None:
    assert media_type(value).boundary == boundary


@given(st.text(max_size=300))
def test_no_content_type_is_an_error(value: str) -> None:
    for text in (value, "multipart/related;" + value, "multipart/related; boundary=" + value):
        boundary = media_type(text).boundary
        assert boundary is None or 0 < len(boundary) <= 256


def test_a_hostile_content_type_costs_no_time() -> None:
    for filler in (" ", ";", "a", 'a="', "=", '"', "a=b;", "\\", '"\\'):
        media_type("multipart/related; " + filler * 20_000)


def test_header_fields_are_folded_and_named_in_lower_case() -> None:
    block = (
        b"content-ID: <a@b>\r\nContent-Type: text/xml;\r\n charset=utf-8\r\n"
        b"no field here\r\nX: 1\nX: 2\r\n: nameless\r\n"
    )
    assert header_fields(block) == {"content-id": "<a@b>", "content-type": "text/xml; charset=utf-8", "x": "1"}


@given(st.binary(max_size=300))
def test_no_header_block_is_an_error(block: bytes) -> None:
    header_fields(block)


@pytest.mark.parametrize(
    ("href", "content_id"),
    [
        ("cid:doc@x", "<doc@x>"),
        ("cid:doc@x", " <doc@x> "),
        ("CID:doc@x", "doc@x"),
        (" cid:doc%40x ", "<doc@x>"),
        ("cid:doc@x", "<doc%40x>"),
        ("cid:doc%40x", "<doc%40x>"),
        ("cid:uuid-1@urn%3Aihe%3Aiti%3Axds-b%3A2007", "<uuid-1@urn:ihe:iti:xds-b:2007>"),
        ("cid:http%3A%2F%2Ftempuri.org%2F1%2F634", "<http://tempuri.org/1/634>"),
        ("cid:<doc@x>", "<doc@x>"),
        ("cid:%3Cdoc@x%3E", "<doc@x>"),
        ("cid:Doc@X", "<dOC@x>"),
        ("doc@x", "<doc@x>"),
        ("1.urn:uuid:0DE4@apache.org", "<1.urn:uuid:0DE4@apache.org>"),
        ("urn:uuid:0DE4", "<urn:uuid:0DE4>"),
    ],
)
def test_a_reference_means_the_part_of_that_id(href: str, content_id: str) -> None:
    assert matches(names_part(href), content_id)


@pytest.mark.parametrize(
    ("href", "content_id"),
    [
        ("cid:doc@x", "<doc@y>"),
        ("cid:doc", "<doc@x>"),
        ("cid:", ""),
        ("cid:", "<>"),
        ("cid:doc@x", ""),
        ("cid:", "<a>"),
    ],
)
def test_a_reference_means_no_other_part(href: str, content_id: str) -> None:
    assert not matches(names_part(href), content_id)


@pytest.mark.parametrize(
    "href",
    [
        "http://10.0.0.1/x",
        "HTTPS://x",
        "http:x",
        "file:///etc/passwd",
        "file:etc",
        " file:///x",
        "ftp://x",
        "jar:file:/x",
        "data:text/plain,x",
        "gopher://x",
        "//host/share",
        "/etc/passwd",
        "\\\\host\\share",
    ],
)
def test_a_reference_that_leads_elsewhere_is_refused(href: str) -> None:
    with pytest.raises(ForbiddenReference, match="only cid:") as raised:
        names_part(href)
    assert href.strip() not in str(raised.value)
