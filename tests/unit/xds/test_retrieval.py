"""What an answer to a RetrieveDocumentSet comes to: what real stacks write, and what must never be taken for a document."""

from __future__ import annotations

import base64

import pytest

from adapters.errors import Corrupt
from adapters.xds.locator import DocumentKey
from adapters.xds.retrieval import (
    Whole,
    WrongDocument,
)
from adapters.xds.soap import ForbiddenReference, Malformed, Tolerance
from tests.unit.xds.answers import (
    ASKED,
    FAILURE,
    PARTIAL,
    PDF,
    PLAIN,
    SOAP_11,
    SOAP_12,
    SUCCESS,
    Mime,
    attachment,
    error,
    in_body,
    include,
    inline,
    mtom,
    multipart,
    read,
    related,
    response,
    retrieved,
    root,
)

EVERY_STEP = [None, 1, 3, 50]
OTHER = "9.9.9"


# --- personalities ---


@pytest.mark.parametrize("step", EVERY_STEP)
def test_mtom(step: int | None) -> None:
    reading = read(mtom(), related(), step=step)
    assert reading.outcome == Whole(len(PDF))
    assert reading.data == PDF
    assert not reading.held
    assert not reading.quirks
    assert reading.facts.media_type == "application/pdf"
    assert (reading.facts.repository, reading.facts.document) == (ASKED.repository, ASKED.document)


@pytest.mark.parametrize("step", EVERY_STEP)
@pytest.mark.parametrize("soap", [SOAP_11, SOAP_12])
@pytest.mark.parametrize(
    "content_type", [PLAIN, "text/xml", "text/xml; charset=utf-16", "", "application/octet-stream"]
)
def test_plain_soap(content_type: str, soap: str, step: int | None) -> None:
    reading = read(retrieved(response(inline(PDF)), soap=soap), content_type or " ", step=step)
    assert (reading.outcome, reading.data) == (Whole(len(PDF)), PDF)


# Content-Type, body: as each stack writes them.
STACKS = {
    "axis2": (
        'multipart/related; boundary=MIMEBoundaryurn_uuid_0DE43; type="application/xop+xml"; '
        'start="<0.urn:uuid:0DE43@apache.org>"; start-info="text/xml; charset=utf-8"',
        multipart(
            root(
                retrieved(response(include("cid:1.urn:uuid:0DE43@apache.org"))),
                'content-type: application/xop+xml; charset=UTF-8; type="application/soap+xml;"',
                "content-transfer-encoding: binary",
                id="<0.urn:uuid:0DE43@apache.org>",
            ),
            attachment(PDF, "<1.urn:uuid:0DE43@apache.org>"),
            boundary="MIMEBoundaryurn_uuid_0DE43",
        ),
    ),
    "axis2-old": (
        'multipart/related; boundary=b; type="application/xop+xml"; start="root@x"',
        multipart(root(retrieved(response(include("cid:doc@x")))), attachment(PDF), boundary="b"),
    ),
    "cxf": (
        'multipart/related; type="application/xop+xml"; boundary="uuid:803a"; start="<root.message@cxf.apache.org>"; '
        'start-info="application/soap+xml";charset=UTF-8',
        multipart(
            root(
                retrieved(response(include("cid:803a-1@urn%3Aihe%3Aiti%3Axds-b%3A2007"))),
                id="<root.message@cxf.apache.org>",
            ),
            attachment(PDF, "<803a-1@urn:ihe:iti:xds-b:2007>"),
            boundary="uuid:803a",
            preamble=b"\r\n",
        ),
    ),
    "metro": (
        'multipart/related;start="<rootpart*0a1b@example.jaxws.sun.com>";type="application/xop+xml";boundary="uuid:0a1b";'
        'start-info="application/soap+xml; action=\\"urn:x\\""',
        multipart(
            root(
                retrieved(response(include("cid:0a1b-2@example.jaxws.sun.com"))),
                id="<rootpart*0a1b@example.jaxws.sun.com>",
            ),
            attachment(PDF, "<0a1b-2@example.jaxws.sun.com>"),
            boundary="uuid:0a1b",
            epilogue=b"",
        ),
    ),
    "wcf": (
        'multipart/related; type="application/xop+xml";start="<http://tempuri.org/0>";boundary="uuid:1+id=1";'
        'start-info="application/soap+xml; action=urn:x"',
        multipart(
            root(retrieved(response(include("cid:http%3A%2F%2Ftempuri.org%2F1%2F63"))), id="<http://tempuri.org/0>"),
            attachment(PDF, "<http://tempuri.org/1/63>"),
            boundary="uuid:1+id=1",
            preamble=b"\r\n",
        ),
    ),
    "nist": (
        "multipart/related; boundary=MIMEBoundary112233445566778899;  "
        'type="application/xop+xml"; start="<doc0@ihexds.nist.gov>"',
        multipart(
            root(retrieved(response(include("cid:doc1@ihexds.nist.gov"))), id="<doc0@ihexds.nist.gov>"),
            attachment(PDF, "<doc1@ihexds.nist.gov>"),
            boundary="MIMEBoundary112233445566778899",
        ),
    ),
    "un-optimised": (related(), multipart(root(retrieved(response(inline(PDF)))))),
    "lf-only": (
        related(),
        multipart(root(retrieved(response(include("cid:doc@x")))), attachment(PDF), eol=b"\n"),
    ),
    "base64-attachment": (
        related(),
        multipart(
            root(retrieved(response(include("cid:doc@x")))),
            attachment(base64.encodebytes(PDF), "<doc@x>", "Content-Transfer-Encoding: base64"),
        ),
    ),
    "swa": (
        'multipart/related; boundary="uuid:1b2c-3d"; type="text/xml"; start="<root@x>"',
        multipart(
            root(retrieved(response("cid:doc@x"), soap=SOAP_11), "Content-Type: text/xml; charset=utf-8"),
            attachment(PDF),
        ),
    ),
    "swa-href": (
        'multipart/related; boundary="uuid:1b2c-3d"; type="text/xml"',
        multipart(
            root(
                retrieved(response("")).replace(b"<x:Document>", b'<x:Document href="cid:doc@x">'),
                "Content-Type: text/xml",
            ),
            attachment(PDF),
        ),
    ),
    "no-start": (
        'multipart/related; boundary="uuid:1b2c-3d"',
        multipart(Mime(retrieved(response(include("cid:doc@x")))), attachment(PDF)),
    ),
}


@pytest.mark.parametrize("step", EVERY_STEP)
@pytest.mark.parametrize("stack", STACKS)
def test_stacks(stack: str, step: int | None) -> None:
    content_type, body = STACKS[stack]
    reading = read(body, content_type, step=step)
    assert reading.data == PDF
    assert reading.outcome == Whole(len(PDF))
    assert not reading.held, "nothing has to be kept where the envelope comes first"
    assert reading.quirks <= {"lf-line-ends"}


@pytest.mark.parametrize("step", EVERY_STEP)
@pytest.mark.parametrize(
    ("content_type", "body", "quirk"),
    [
        ("text/xml", mtom(), "multipart-undeclared"),
        ("application/soap+xml", b"\r\n" + mtom(), "multipart-undeclared"),
        (related("another"), mtom(), "boundary"),
        (related(), retrieved(response(inline(PDF))), "no-multipart"),
        (related(), b"\xef\xbb\xbf" + retrieved(response(inline(PDF))), "no-multipart"),
        (related(start="<nobody@x>"), mtom(), "start"),
        (related(start="<nobody@x>", type="text/plain"), mtom(), "start"),
        (
            related(start="<nobody@x>", type="text/xml"),
            mtom().replace(b"application/xop+xml; charset", b"text/xml; c"),
            "start",
        ),
        (related(), mtom(id="<other@x>"), "lone-part"),
        (related(), mtom(href="cid:"), "lone-part"),
        (related(), mtom().replace(b"Content-ID: <doc@x>\r\n", b""), "lone-part"),
        (related(), mtom().replace(b"</x:Document>", b"stray</x:Document>"), "text-beside-reference"),
        (related(), mtom().replace(b"1.2.3.4.5<", b"1.2.3.4.99<"), "repository-differs"),
    ],
)
def test_what_is_wrong_and_harmless_is_forgiven_and_told(
    content_type: str, body: bytes, quirk: str, step: int | None
) -> None:
    reading = read(body, content_type, step=step)
    assert reading.data == PDF
    assert reading.outcome in (Whole(len(PDF)), Whole(0))
    assert reading.quirks == {quirk}


@pytest.mark.parametrize("step", EVERY_STEP)
@pytest.mark.parametrize("start", ["<root@x>", "root@x", "<ROOT%40x>"])
def test_the_envelope_may_come_last(start: str, step: int | None) -> None:
    """What comes before it is held, and told to be the document only when the envelope says so."""
    body = multipart(
        attachment(b"other", "<other@x>"), attachment(PDF), root(retrieved(response(include("cid:doc@x"))))
    )
    reading = read(body, related(start=start), step=step)
    assert sorted(reading.held.values()) == sorted([b"other", PDF])
    assert reading.data == PDF
    assert reading.outcome == Whole(0)


@pytest.mark.parametrize("step", EVERY_STEP)
def test_identifiers_that_come_after_the_document_are_waited_for(step: int | None) -> None:
    swapped = response(inline(PDF), document=None, more="").replace(
        "</x:DocumentResponse>", f"<x:DocumentUniqueId>{ASKED.document}</x:DocumentUniqueId></x:DocumentResponse>"
    )
    reading = read(retrieved(swapped), PLAIN, step=step)
    assert list(reading.held.values()) == [PDF]
    assert (reading.data, reading.outcome) == (PDF, Whole(0))
    reading = read(
        multipart(root(retrieved(swapped.replace(inline(PDF), include("cid:doc@x")))), attachment(PDF)), step=step
    )
    assert (reading.data, reading.outcome, reading.held) == (PDF, Whole(len(PDF)), {})


def test_nothing_is_held_once_the_document_is_known() -> None:
    """What has no id yet may at worst have the same one, and then the answer is refused."""
    nameless = response(inline(b"x" * 99), document=None)
    named = nameless.replace(
        "</x:DocumentResponse>", f"<x:DocumentUniqueId>{OTHER}</x:DocumentUniqueId></x:DocumentResponse>"
    )
    reading = read(retrieved(response(inline(PDF)), named), PLAIN, step=10)
    assert (reading.data, reading.held) == (PDF, {})
    with pytest.raises(Malformed, match="two documents"):
        read(retrieved(response(inline(PDF)), named.replace(OTHER, ASKED.document)), PLAIN)


@pytest.mark.parametrize("step", EVERY_STEP)
def test_a_document_may_be_empty(step: int | None) -> None:
    for body in (
        retrieved(response("")),
        mtom(b""),
        retrieved(response(" \n ")),
        retrieved(response("")).replace(b"<x:Document></x:Document>", b"<x:Document/>"),
    ):
        reading = read(body, PLAIN if body.startswith(b"<") else related(), step=step)
        assert (reading.outcome, reading.data) == (Whole(0), b"")
        assert reading.facts.media_type == "application/pdf"


@pytest.mark.parametrize(
    ("asked", "stated"),
    [
        ("1.2.3", " 1.2.3\n"),
        ("1.2.3", "urn:oid:1.2.3"),
        ("1.2.3", "urn:oid:urn:oid:1.2.3"),
        ("1.2.3^A b", "1.2.3^A b"),
        ("urn:uuid:0b1c2d3e-0000-4000-8000-00000000000a", "0B1C2D3E-0000-4000-8000-00000000000A"),
        ("0B1C2D3E-0000-4000-8000-00000000000A", "urn:uuid:0b1c2d3e-0000-4000-8000-00000000000a"),
        ("a<b>&", "a&lt;b&gt;&amp;"),
    ],
)
def test_a_document_is_known_by_its_id_however_it_is_written(asked: str, stated: str) -> None:
    reading = read(
        retrieved(response(inline(PDF), document=stated)), PLAIN, asked=DocumentKey(None, "1.2.3.4.5", asked)
    )
    assert reading.data == PDF


def test_facts_of_the_document() -> None:
    more = "<x:NewRepositoryUniqueId>urn:oid:1.9</x:NewRepositoryUniqueId><x:NewDocumentUniqueId>1.8</x:NewDocumentUniqueId>"
    body = retrieved(response(inline(PDF), home="urn:oid:urn:oid:2.16", more=more, mime=" text/plain; charset=utf-8\n"))
    reading = read(body, PLAIN, asked=DocumentKey("2.16", ASKED.repository, ASKED.document))
    facts = reading.facts
    assert (facts.home, facts.new_repository, facts.new_document) == ("2.16", "1.9", "1.8")
    assert facts.media_type == "text/plain; charset=utf-8"
    assert not reading.quirks
    assert ASKED.document not in repr(facts), "an id may hold a patient's"
    assert read(retrieved(response(inline(PDF), mime=None)), PLAIN).facts.media_type is None
    assert "home-differs" in read(body, PLAIN).quirks


def test_element_names_of_another_letter_case_are_read() -> None:
    body = (
        retrieved(response(inline(PDF)))
        .replace(b"x:RepositoryUniqueId", b"x:repositoryUniqueID")
        .replace(b":mimeType", b":MimeType")
    )
    assert read(body, PLAIN).facts.media_type == "application/pdf"
    assert read(body, PLAIN).facts.repository == ASKED.repository


# --- the document asked for, and no other ---


@pytest.mark.parametrize("step", EVERY_STEP)
@pytest.mark.parametrize(
    "document", [OTHER, "", None, ASKED.document + "0", "1.2.3.4.5.6", ASKED.document.upper() + " x"]
)
def test_another_document_is_refused_before_a_byte(document: str | None, step: int | None) -> None:
    bodies = {
        PLAIN: retrieved(response(inline(PDF), document=document)),
        related(): multipart(root(retrieved(response(include("cid:doc@x"), document=document))), attachment(PDF)),
    }
    for content_type, body in bodies.items():
        with pytest.raises(WrongDocument, match="another document") as raised:
            read(body, content_type, step=step)
        assert isinstance(raised.value, Corrupt)
        assert OTHER not in str(raised.value)


def test_another_document_is_an_alarm_whatever_the_status_says() -> None:
    for status in (SUCCESS, FAILURE, PARTIAL):
        with pytest.raises(WrongDocument):
            read(
                retrieved(
                    response(inline(PDF), document=OTHER), status=status, errors=[error("XDSDocumentUniqueIdError")]
                ),
                PLAIN,
            )


@pytest.mark.parametrize("step", EVERY_STEP)
def test_among_several_documents_the_one_asked_for_is_taken(step: int | None) -> None:
    responses = [
        response(inline(b"other"), document=OTHER),
        response(inline(PDF)),
        response(inline(b"third"), document="7"),
    ]
    reading = read(retrieved(*responses), PLAIN, step=step)
    assert (reading.data, reading.outcome) == (PDF, Whole(len(PDF)))
    referring = [response(include(f"cid:{n}"), document=id) for n, id in enumerate((OTHER, ASKED.document, "7"))]
    parts = [attachment(data, f"<{n}>") for n, data in ((2, b"third"), (1, PDF), (0, b"other"))]
    reading = read(multipart(root(retrieved(*referring)), *parts), step=step)
    assert (reading.data, reading.outcome, reading.held) == (PDF, Whole(len(PDF)), {})


CONTRADICTIONS = {
    "two with the id, in text": retrieved(response(inline(PDF)), response(inline(b"x"))),
    "two with the id, by reference": multipart(
        root(retrieved(response(include("cid:doc@x")), response(include("cid:b")))),
        attachment(PDF),
        attachment(b"x", "<b>"),
    ),
    "two ids in one": retrieved(
        response(inline(PDF), document=OTHER, more=f"<x:DocumentUniqueId>{ASKED.document}</x:DocumentUniqueId>")
    ),
    "two documents in one": retrieved(
        response(inline(PDF)).replace("</x:DocumentResponse>", "<x:Document>QUJD</x:Document></x:DocumentResponse>")
    ),
    "one within another": retrieved(
        response(inline(PDF)).replace("<x:mimeType>", response(inline(b"x"), document=OTHER) + "<x:mimeType>")
    ),
    "two documents, one part": multipart(
        root(retrieved(response(include("cid:doc@x")), response(include("cid:doc%40x"), document=OTHER))),
        attachment(PDF),
    ),
    "two parts of one id, later": multipart(
        root(retrieved(response(include("cid:doc@x")))), attachment(PDF), attachment(b"x", "<Doc@x>")
    ),
    "two parts of one id, before": multipart(
        attachment(PDF), attachment(b"x"), root(retrieved(response(include("cid:doc@x"))))
    ),
    "no such part": mtom(id="<other@x>").replace(
        b"\r\n--uuid:1b2c-3d--", b"\r\n--uuid:1b2c-3d\r\n\r\nx\r\n--uuid:1b2c-3d--"
    ),
    "no part at all": multipart(root(retrieved(response(include("cid:doc@x"))))),
    "a reference in plain SOAP": retrieved(response(include("cid:doc@x"))),
    "named and not there": retrieved(response(None)),
    "no envelope in any part": multipart(attachment(PDF), attachment(PDF, "<b>")),
    "no parts": multipart(),
    "an envelope that ends early": multipart(root(retrieved(response(include("cid:doc@x")))[:-3]), attachment(PDF)),
    "a document of elements": retrieved(response("<ClinicalDocument/>")),
    "a document of text": retrieved(response("&lt;ClinicalDocument/>")),
}


@pytest.mark.parametrize("step", EVERY_STEP)
@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_an_answer_that_contradicts_itself_is_refused(name: str, step: int | None) -> None:
    with pytest.raises(Malformed, match="two parts" if name.startswith("two parts") else "."):
        read(CONTRADICTIONS[name], PLAIN if CONTRADICTIONS[name].startswith(b"<") else related(), step=step)


@pytest.mark.parametrize("step", EVERY_STEP)
@pytest.mark.parametrize("href", ["http://127.0.0.1:1/x", "file:///etc/passwd", "/etc/passwd", "ftp://x"])
def test_a_document_somewhere_else_is_not_fetched(href: str, step: int | None) -> None:
    for document in (ASKED.document, OTHER):
        body = multipart(root(retrieved(response(include(href), document=document))), attachment(PDF))
        with pytest.raises(ForbiddenReference):
            read(body, related(), step=step)


def test_a_document_outside_a_response_is_nobodys() -> None:
    with pytest.raises(WrongDocument):
        read(in_body(f'<Document xmlns="urn:ihe:iti:xds-b:2007">{inline(PDF)}</Document>'), PLAIN)


def test_text_documents_are_read_where_they_are_allowed() -> None:
    body = retrieved(response("&lt;ClinicalDocument/>"))
    assert read(body, PLAIN, tolerance=Tolerance(raw_text=True)).data == b"<ClinicalDocument/>"


def test_without_tolerance_a_part_must_be_named() -> None:
    with pytest.raises(Malformed, match="said to be in a part"):
        read(mtom(id="<other@x>"), tolerance=Tolerance(lone_part=False))
