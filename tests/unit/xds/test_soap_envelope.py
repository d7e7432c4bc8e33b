"""The envelope reader: elements, faults, documents in the envelope, and everything that must not be in one."""

from __future__ import annotations

import base64
import tracemalloc
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.xds.mtom import LimitExceeded, Malformed
from adapters.xds.soap import (
    Closed,
    ContentClosed,
    ContentOpened,
    EnvelopeReader,
    Fault,
    Limits,
    NotSoap,
    Opened,
    Reference,
)
from tests.unit.xds.answers import SOAP_11, SOAP_12, cut, in_body, include

EVERY_STEP = [None, 1, 2, 5, 64]
CONTENT = frozenset({"{urn:s}Document"})


def events(
    body: bytes, step: int | Sequence[int] | None = None, *, limits: Limits | None = None, raw_text: bool = False
) -> tuple[list[object], EnvelopeReader]:
    """The events, with neighbouring pieces joined."""
    reader = EnvelopeReader(CONTENT, limits=limits, raw_text=raw_text)
    found: list[object] = []
    for chunk in cut(body, step):
        for event in reader.feed(chunk):
            if isinstance(event, bytes) and found and isinstance(found[-1], bytes):
                event = found.pop() + event  # type: ignore[operator]
            found.append(event)
    return found, reader


def document(content: str, attributes: str = "") -> bytes:
    return in_body(f'<r xmlns="urn:s"><Document{attributes}>{content}</Document></r>')


def data_of(found: list[object]) -> bytes:
    return b"".join(event for event in found if isinstance(event, bytes))


@pytest.mark.parametrize("step", EVERY_STEP)
@pytest.mark.parametrize("soap", [SOAP_11, SOAP_12])
def test_elements_come_in_their_order_whatever_their_prefixes(soap: str, step: int | None) -> None:
    body = f'''<?xml version="1.0"?><SOAP-ENV:Envelope xmlns:SOAP-ENV="{soap}"><SOAP-ENV:Body>
      <ns18:Answer xmlns:ns18="urn:s" code="5 &gt; 4"><homeCommunityId xmlns="urn:s">
        urn:oid:1.2&amp;<![CDATA[<3>]]><!-- no --> </homeCommunityId></ns18:Answer>
      </SOAP-ENV:Body></SOAP-ENV:Envelope>'''.encode()
    found, reader = events(body, step)
    assert Opened("{urn:s}answer", {"code": "5 > 4"}) in found
    assert Closed("{urn:s}homecommunityid", "urn:oid:1.2&<3>") in found
    assert Closed("{urn:s}answer", "") in found
    assert [type(event) for event in found].count(Opened) == 4
    assert reader.closed


@pytest.mark.parametrize("step", EVERY_STEP)
@pytest.mark.parametrize(
    "content",
    [
        "QUJDREVG",
        "QUJD\nREVG",
        "\r\n  QUJD\r\nREVG\r\n",
        "QUJD&#13;\nREVG&#xD;\n",
        "QUJD&#xd;&#10;REVG",
        "QUJD<!-- no -->REVG",
        "<![CDATA[QUJDREVG]]>",
        "QUJD<?no no?>REVG",
        "QUJD&#82;EVG",
    ],
)
def test_base64_in_the_envelope_comes_out_as_bytes(content: str, step: int | None) -> None:
    found, reader = events(document(content), step)
    begin = next(at for at, event in enumerate(found) if isinstance(event, ContentOpened))
    assert found[begin : begin + 3] == [ContentOpened(0, "{urn:s}document", {}), b"ABCDEF", ContentClosed(0)]
    assert reader.closed


@pytest.mark.parametrize("step", EVERY_STEP)
@pytest.mark.parametrize(
    "attributes", ["", ' kind="a>b"', ' xmlns:x="http://www.w3.org/2005/05/xmlmime" x:contentType="a/b"']
)
def test_the_tag_of_a_document_may_say_more(attributes: str, step: int | None) -> None:
    found, _ = events(document("QUJD", attributes), step)
    assert data_of(found) == b"ABC"


@pytest.mark.parametrize("step", EVERY_STEP)
def test_several_documents_are_counted(step: int | None) -> None:
    one, two = "<p:Document>QUI=</p:Document>", "<p:document>QUJD</p:document><p:Document/>"
    found, _ = events(in_body(f'<p:r xmlns:p="urn:s">{one}<p:between>x</p:between>{two}</p:r>'), step)
    assert [event for event in found if not isinstance(event, Opened | Closed)][:-1] == [
        ContentOpened(0, "{urn:s}document", {}), b"AB", ContentClosed(0),
        ContentOpened(1, "{urn:s}document", {}), b"ABC", ContentClosed(1),
        ContentOpened(2, "{urn:s}document", {}), ContentClosed(2),
    ]  # fmt: skip


@pytest.mark.parametrize("step", EVERY_STEP)
def test_an_element_that_only_has_the_name_of_a_document_is_none(step: int | None) -> None:
    found, _ = events(
        in_body('<Document xmlns="urn:other">a &amp; b</Document><Documents xmlns="urn:s">c</Documents>'), step
    )
    assert Closed("{urn:other}document", "a & b") in found
    assert Closed("{urn:s}documents", "c") in found
    assert not any(isinstance(event, ContentOpened) for event in found)


def test_any_namespace_may_be_asked_for() -> None:
    reader = EnvelopeReader(frozenset({"{*}stream"}))
    assert b"ABC" in reader.feed(in_body('<r><Stream xmlns="urn:x">QUJD</Stream></r>'))


def test_a_document_in_the_header_is_none() -> None:
    found, _ = events(in_body("", header='<Document xmlns="urn:s">QUJD</Document>'))
    assert data_of(found) == b""


@pytest.mark.parametrize("step", EVERY_STEP)
@pytest.mark.parametrize(
    "content",
    [
        include("cid:a%40b"),
        "\r\n  " + include("cid:a%40b") + "\r\n",
        '<Include xmlns="http://www.w3.org/2004/08/xop/include" href="cid:a%40b"></Include>',
        '<i:include xmlns:i="urn:draft" href="cid:a%40b">  </i:include>',
        include("cid:a%40b") + " stray",
    ],
)
def test_a_reference_in_place_of_the_text(content: str, step: int | None) -> None:
    found, reader = events(document(content), step)
    assert Reference(0, "cid:a%40b") in found
    assert data_of(found) == b""
    assert reader.quirks == ({"text-beside-reference"} if "stray" in content else set())


@pytest.mark.parametrize("step", EVERY_STEP)
def test_references_of_soap_with_attachments(step: int | None) -> None:
    assert Reference(0, "cid:a") in events(document("", ' href="cid:a"'), step)[0]
    assert Reference(0, "CID:a&b") in events(document(" \n CID:a&amp;b "), step)[0]
    assert Reference(0, "cid:") in events(document("cid:"), step)[0]


@pytest.mark.parametrize("step", EVERY_STEP)
@pytest.mark.parametrize(
    "content",
    [
        include("cid:a") + include("cid:b"),
        "QUJD" + include("cid:a"),
        "Q" + include("cid:a"),
        "<ClinicalDocument/>",
        "QUJD<b>REVG</b>",
        '<Include xmlns="http://www.w3.org/2004/08/xop/include"/>',
        f"<b>{include('cid:a')}</b>",
        "not base64!",
        "&lt;ClinicalDocument/>",
        "QUJD\xa0QUJD",
        "Q",
        "cid:" + "x" * 5000,
    ],
)
def test_a_document_that_is_neither_text_nor_reference_is_refused(content: str, step: int | None) -> None:
    with pytest.raises((Malformed, LimitExceeded)):
        events(document(content), step)


@pytest.mark.parametrize("step", EVERY_STEP)
def test_text_that_is_the_document_itself_is_read_where_it_is_allowed(step: int | None) -> None:
    cda = "<?xml version='1.0'?><ClinicalDocument>é & ü</ClinicalDocument>"
    escaped = cda.replace("&", "&amp;").replace("<", "&lt;")
    for content in (escaped, f"<![CDATA[{cda}]]>", f"\n {escaped}"):
        with pytest.raises(Malformed):
            events(document(content), step)
        assert data_of(events(document(content), step, raw_text=True)[0]) == cda.encode()
    assert data_of(events(document("QUJD"), step, raw_text=True)[0]) == b"ABC"


# --- encodings ---

ENVELOPE = (
    '<Envelope xmlns="http://www.w3.org/2003/05/soap-envelope"><Body>'
    '<n xmlns="urn:s">é<Document>QUJD</Document></n></Body></Envelope>'
)


@pytest.mark.parametrize("step", EVERY_STEP)
@pytest.mark.parametrize(
    ("body", "quirks"),
    [
        (ENVELOPE.encode(), set()),
        (b"\xef\xbb\xbf" + ENVELOPE.encode(), set()),
        (b"\xef\xbb\xbf\r\n " + b"<?xml version='1.0'?>" + ENVELOPE.encode(), set()),
        (b" \r\n<?xml version='1.0'?>" + ENVELOPE.encode(), set()),
        (ENVELOPE.encode("utf-16"), set()),
        (('<?xml version="1.0" encoding="utf-16"?>' + ENVELOPE).encode("utf-16-be"), set()),
        (('<?xml version="1.0" encoding="ISO-8859-1"?>' + ENVELOPE).encode("latin-1"), set()),
        (('<?xml version="1.0" encoding="utf-8"?>' + ENVELOPE).encode(), set()),
        (('<?xml version="1.0" encoding="utf-16"?>' + ENVELOPE).encode(), {"encoding"}),
        (b"\xef\xbb\xbf" + ('<?xml version="1.0" encoding="ISO-8859-1"?>' + ENVELOPE).encode(), {"encoding"}),
        (('<?xml version="1.0" encoding="windows-1252"?>' + ENVELOPE).encode("cp1252"), set()),
    ],
)
def test_encodings_and_what_claims_to_be_one(body: bytes, quirks: set[str], step: int | None) -> None:
    found, reader = events(body, step)
    assert data_of(found) == b"ABC"
    assert reader.closed
    assert reader.quirks == quirks


@pytest.mark.parametrize("step", EVERY_STEP)
@pytest.mark.parametrize("encoding", ["UTF-7", "IBM037", "ISO-2022-JP", "x-none", "GB18030"])
def test_other_encodings_are_refused(encoding: str, step: int | None) -> None:
    with pytest.raises(Malformed, match="encoding"):
        events(f'<?xml version="1.0" encoding="{encoding}"?>{ENVELOPE}'.encode(), step)


def test_a_namesake_of_the_text_is_read() -> None:
    found, _ = events(ENVELOPE.replace("<Document>QUJD</Document>", "").encode())
    assert Closed("{urn:s}n", "é") in found


# --- faults ---

WSSE = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"


@pytest.mark.parametrize("step", EVERY_STEP)
def test_a_fault_of_soap_11(step: int | None) -> None:
    fault = "<env:Fault><faultcode>env:Client.Authentication</faultcode><faultstring>Mary Smith</faultstring>"
    found, _ = events(
        in_body(fault + "<faultactor>urn:x</faultactor><detail><e>x</e></detail></env:Fault>", soap=SOAP_11), step
    )
    assert Fault("1.1", ("Client.Authentication",), "Mary Smith") in found
    assert Closed("e", "x") in found


@pytest.mark.parametrize("step", EVERY_STEP)
def test_a_fault_of_soap_12(step: int | None) -> None:
    body = in_body(
        f"""<env:Fault><env:Code><env:Value>env:Sender</env:Value><env:Subcode>
        <env:Value xmlns:w="{WSSE}">w:FailedAuthentication
        </env:Value><env:Subcode><env:Value>x:Expired</env:Value></env:Subcode></env:Subcode></env:Code>
        <env:Reason><env:Text xml:lang="en">one</env:Text><env:Text xml:lang="de">eins</env:Text></env:Reason>
        <env:Detail><env:Code><env:Value>not:a-code</env:Value></env:Code></env:Detail></env:Fault>""",
        header='<env:NotUnderstood qname="w:Security"/>',
    )
    found, _ = events(body, step)
    assert Fault("1.2", ("Sender", "FailedAuthentication", "Expired"), "one", ("Security",)) in found


def test_a_fault_is_one_only_as_the_body_itself() -> None:
    found, _ = events(in_body("<a><env:Fault><faultcode>x</faultcode></env:Fault></a>"))
    assert not any(isinstance(event, Fault) for event in found)


def test_words_of_a_fault_that_are_no_codes_are_kept_from_logs() -> None:
    found, _ = events(
        in_body("<env:Fault><faultcode>Mary Smith 1970</faultcode><faultstring>Mary</faultstring></env:Fault>")
    )
    (fault,) = (event for event in found if isinstance(event, Fault))
    assert fault.codes == ("unreadable",)
    assert "Mary" not in repr(fault)


# --- what is no envelope ---


@pytest.mark.parametrize("step", EVERY_STEP)
@pytest.mark.parametrize(
    ("body", "instead"),
    [
        (b"<!DOCTYPE html><html><body>Log in</body></html>", "HTML"),
        (b"<!doctype HTML PUBLIC '-//W3C//DTD HTML 4.01//EN' 'x'><HTML>", "HTML"),
        (b"<html><head><title>502</title></head></html>", "HTML"),
        (b'<html xmlns="http://www.w3.org/1999/xhtml"></html>', "HTML"),
        (b"<error>x</error>", "XML that is no SOAP envelope"),
        (b'<Envelope xmlns="urn:other"/>', "XML that is no SOAP envelope"),
        (b"<!doctype html>\n<title>x</title>", "HTML"),
        (b"<html lang=en><body>", "HTML"),
        (b"<<<<", "something else than XML"),
        (b'{"error": 1}', "something else than XML"),
    ],
)
def test_what_is_no_envelope_says_so(body: bytes, instead: str, step: int | None) -> None:
    with pytest.raises(NotSoap) as raised:
        events(body, step)[1].end()
    assert raised.value.instead == instead


@pytest.mark.parametrize("step", EVERY_STEP)
@pytest.mark.parametrize(
    "prolog",
    [
        b"<!DOCTYPE Envelope>",
        b'<!DOCTYPE Envelope SYSTEM "http://127.0.0.1:1/x.dtd">',
        b'<!DOCTYPE Envelope [<!ENTITY a "xxxxxxxxxx"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>',
        b'<!DOCTYPE Envelope [<!ENTITY e SYSTEM "file:///etc/passwd">]>',
        b'<!DOCTYPE Envelope [<!ENTITY % e SYSTEM "http://127.0.0.1:1/x">%e;]>',
    ],
)
def test_a_document_type_is_refused_before_it_is_read(prolog: bytes, step: int | None) -> None:
    with pytest.raises(Malformed, match="document type"):
        events(prolog + document("&e;").partition(b"\n")[2], step)


@pytest.mark.parametrize("step", EVERY_STEP)
@pytest.mark.parametrize("content", ["&e;", "&nbsp;", "</wrong>", "<a", "a ]]> b", "\x01", "<a b='1' b='2'/>"])
def test_xml_that_is_none_is_refused(content: str, step: int | None) -> None:
    with pytest.raises(Malformed) as raised:
        events(in_body(f"<a>{content}</a>"), step)
    assert "libxml2 error" in str(raised.value)


def test_an_entity_in_a_document_is_refused() -> None:
    with pytest.raises(Malformed):
        events(document("QUJD&e;"))


@pytest.mark.parametrize("step", EVERY_STEP)
@pytest.mark.parametrize("after", [b"\n", b"\0\0", b"junk", b"<more/>", b"<!-- x -->", b"]]>&", b"\xff\xfe\0"])
def test_what_follows_the_envelope_is_no_matter(after: bytes, step: int | None) -> None:
    found, reader = events(document("QUJD") + after, step)
    assert reader.closed
    assert data_of(found) == b"ABC"


def test_an_envelope_that_breaks_off_is_not_closed() -> None:
    whole = document("QUJDREVG")
    for length in range(len(whole)):
        assert not events(whole[:length])[1].closed


# --- limits ---


@pytest.mark.parametrize("step", [None, 1000])
@pytest.mark.parametrize(
    ("content", "limit"),
    [
        ("<a>" * 10_000 + "</a>" * 10_000, "levels"),
        ("<a/>" * 10_001, "elements"),
        ("<a " + " ".join(f'x{n}=""' for n in range(65)) + "/>", "attributes"),
        ("<a>" + "x" * (4 << 20) + "</a>", "characters in the envelope"),
        ("<!--" + "x" * (4 << 20) + "-->", "one tag, comment or section"),
        ("<?x " + "x" * (4 << 20) + "?>", "one tag, comment or section"),
        ('<a b="' + "x" * (4 << 20) + '"/>', "one tag, comment or section"),
        ("<a " + " ".join(f'xmlns:x{n}=""' for n in range(100_000)) + "/>", "one tag, comment or section"),
        ("<a>&#65;</a>" * 500_000, "elements"),
        ("<a>" + "&#65;" * 1_000_000 + "</a>", "characters in the envelope"),
        ((f'<a xmlns:{"p" * 2000}="{"u" * 2000}"/>') * 1100, "characters in the envelope"),
        ("<a" + "x" * 4100 + "/>" + ("<b" + "x" * 4100 + "/>") * 1100, "characters in the envelope"),
    ],
)
def test_an_envelope_that_is_too_much_is_refused(content: str, limit: str, step: int | None) -> None:
    with pytest.raises(LimitExceeded, match=limit):
        events(in_body(content), step)


def test_a_long_stack_trace_is_cut_and_not_refused() -> None:
    found, reader = events(in_body(f"<a>{'x' * 1_000_000}</a>"), 4096)
    assert Closed("a", "x" * 8192) in found
    assert reader.closed


@pytest.mark.parametrize(
    "unending", [b"<a b='", b"<a ", b"<!--", b"<?x ", b"<![CDATA[", b"<Document><![CDATA[", b"<Document><!--"]
)
def test_what_never_ends_is_refused_before_it_is_large(unending: bytes) -> None:
    """The parser keeps all of it, where no measure of Python's own memory sees it."""
    reader = EnvelopeReader(CONTENT)
    reader.feed(document("QUJD").partition(b"<Document>")[0] + unending)
    with pytest.raises(LimitExceeded, match="one tag, comment or section"):
        for _ in range(200):
            reader.feed(b" " * 65536)


@pytest.mark.parametrize("unending", [b"<Document>" + b"QUJD" * 4, b"<Document>&#81;UJD" + b"QUJD" * 4, b"x"])
def test_text_that_never_ends_keeps_memory_bounded(unending: bytes) -> None:
    reader = EnvelopeReader(CONTENT)
    tracemalloc.start()
    try:
        reader.feed(document("QUJD").partition(b"<Document>")[0] + unending)
        for _ in range(320):
            reader.feed(b"QUJD" * 16384)
    except LimitExceeded:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 8 << 20


def test_what_follows_the_envelope_is_no_matter_however_long_it_is() -> None:
    _, reader = events(in_body("<a/>") + b" " * (6 << 20))
    assert reader.closed


@pytest.mark.parametrize("step", [None, 4096])
def test_a_long_section_of_a_document_is_read(step: int | None) -> None:
    data = bytes(range(256)) * 24_000
    found, reader = events(document(f"<![CDATA[{base64.b64encode(data).decode()}]]>"), step)
    assert data_of(found) == data
    assert reader.closed


@pytest.mark.parametrize("eol", ["", "\n", "\r\n", "&#13;\n", "&#xD;\n", "&#xd;\r\n"])
@pytest.mark.parametrize("shift", range(8))
def test_a_chunk_of_a_document_comes_out_in_one_piece(eol: str, shift: int) -> None:
    """It went past the parser, also where the tag before it or a line's end was cut: that is what makes it fast."""
    head, _, _ = document("HERE").partition(b"HERE")
    line = "QUJD" * 18 + eol
    body = head[: -shift or None], head[len(head) - shift :] + (line * 100).encode()[: -shift or None]
    reader = EnvelopeReader(CONTENT)
    reader.feed(body[0])
    assert [type(event) for event in reader.feed(body[1])].count(bytes) == 1
    assert [type(event) for event in reader.feed((line * 200).encode()[len(line) - shift :])].count(bytes) == 1


@given(
    st.binary(max_size=300),
    st.sampled_from(["", "\n", "\r\n", "&#13;\n", "&#xD;\r\n", " "]),
    st.sampled_from([4, 7, 76]),
    st.sampled_from(["", "&#65;QID", "<![CDATA[]]>", "<!---->"]),
    st.lists(st.integers(0), max_size=20),
)
def test_past_the_parser_or_through_it_the_bytes_are_the_same(
    data: bytes, eol: str, columns: int, through: str, places: list[int]
) -> None:
    """What stands in `through` sends the text behind it through the XML parser."""
    text = base64.b64encode(data).decode()
    lines = eol.join(text[at : at + columns] for at in range(0, len(text), columns))
    extra = "&#65;QID"
    found, reader = events(document(through + lines), places)
    assert data_of(found) == (base64.b64decode("AQID") if through == extra else b"") + data
    assert reader.closed
