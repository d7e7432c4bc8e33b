"""The engine under another service than XDS: a home-grown getLetter, whose answer is one document and its type."""

from __future__ import annotations

import pytest

from adapters.xds.soap import (
    Begun,
    Closed,
    ContentOpened,
    DocumentReader,
    Ending,
    Fault,
    Held,
    Malformed,
    MessageReader,
    Opened,
)
from tests.unit.xds.answers import PDF, SOAP_11, attachment, cut, in_body, include, inline, multipart, related, root

NIL = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:nil="true"'


class Letter:
    """Reads a `getLetterResult` and the `contentType` beside it."""

    content = frozenset({"{*}getLetterResult"})

    def __init__(self) -> None:
        self.media_type = ""
        self.nil = False
        self.fault: Fault | None = None

    def read(self, event: Opened | Closed | Fault | ContentOpened) -> None:
        match event:
            case ContentOpened(_, _, attributes):
                self.nil = attributes.get("{http://www.w3.org/2001/XMLSchema-instance}nil") == "true"
            case Closed("{urn:letters}contenttype", text):
                self.media_type = text
            case Fault():
                self.fault = event
            case _:
                pass

    def wanted(self, content: int) -> bool:
        return content == 0 and not self.nil


def letter(content: str, attributes: str = "") -> bytes:
    return in_body(
        '<getLetterResponse xmlns="urn:letters"><contentType>image/tiff</contentType>'
        f"<GetLetterResult {attributes}>{content}</GetLetterResult></getLetterResponse>",
        soap=SOAP_11,
    )


def read(body: bytes, content_type: str, step: int | None = None) -> tuple[list[object], Letter]:
    meaning = Letter()
    reader = DocumentReader(content_type, meaning)
    events: list[object] = [event for chunk in cut(body, step) for event in reader.feed(chunk)]
    events += reader.end(complete=True)
    return events, meaning


@pytest.mark.parametrize("step", [None, 1, 10])
def test_one_document_in_the_envelope_or_beside_it(step: int | None) -> None:
    packed = multipart(root(letter(include("cid:doc@x"))), attachment(PDF))
    for body, content_type in ((letter(inline(PDF)), "text/xml"), (packed, related())):
        events, meaning = read(body, content_type, step)
        assert isinstance(events[0], Begun)
        assert b"".join(event for event in events if isinstance(event, bytes)) == PDF
        assert events[-1] is Ending.WHOLE
        assert meaning.media_type == "image/tiff"


def test_the_part_of_a_document_is_told() -> None:
    events, _ = read(
        multipart(root(letter(include("cid:doc@x"))), attachment(PDF, "<doc@x>", "Content-Type: a/b")), related()
    )
    (begun,) = (event for event in events if isinstance(event, Begun))
    assert begun.part is not None
    assert begun.part.media_type.name == "a/b"
    assert begun.held is None


def test_an_envelope_that_comes_last() -> None:
    events, _ = read(multipart(attachment(PDF), root(letter(include("cid:doc@x")))), related())
    (held,) = (event for event in events if isinstance(event, Held))
    (begun,) = (event for event in events if isinstance(event, Begun))
    assert held.data == PDF
    assert begun.held == held.key


def test_a_service_that_has_no_such_letter() -> None:
    assert read(letter("", NIL), "text/xml")[0] == [Ending.ABSENT]
    assert read(in_body("<getLetterResponse/>"), "text/xml")[0] == [Ending.ABSENT]
    events, meaning = read(in_body("<env:Fault><faultcode>no</faultcode></env:Fault>", soap=SOAP_11), "text/xml")
    assert events == [Ending.ABSENT]
    assert meaning.fault is not None


def test_an_answer_that_breaks_off() -> None:
    body = letter(inline(PDF))
    for length in range(2, len(body)):
        reader = DocumentReader("text/xml", Letter())
        assert (reader.feed(body[:length]) + reader.end(complete=False))[-1] is Ending.CUT


@pytest.mark.parametrize("step", [None, 1])
def test_an_answer_without_documents_is_read_by_the_message_reader_alone(step: int | None) -> None:
    """As the answer to a query, in whatever it is packed."""
    envelope = in_body('<q:AdhocQueryResponse xmlns:q="urn:q" status="S"><q:Value>v</q:Value></q:AdhocQueryResponse>')
    for body, content_type in ((envelope, "text/xml"), (multipart(root(envelope)), related())):
        reader = MessageReader(content_type)
        events = [event for chunk in cut(body, step) for event in reader.feed(chunk)] + reader.end(complete=True)
        assert Opened("{urn:q}adhocqueryresponse", {"status": "S"}) in events
        assert Closed("{urn:q}value", "v") in events
        assert reader.envelope_closed
        broken = MessageReader(content_type)
        broken.feed(body[: len(body) // 2])
        broken.end(complete=False)
        assert not broken.envelope_closed


def test_a_root_part_that_is_not_whole_is_refused() -> None:
    reader = MessageReader(related())
    with pytest.raises(Malformed, match="ends before"):
        reader.feed(multipart(root(b"<Envelope"), attachment(PDF)))
