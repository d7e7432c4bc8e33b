"""Every personality of the fake repository writes its answers in the way that its name promises: looked at as bytes."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from gateway.demo.xds import PERSONALITIES, Document, Stored, letter
from tests.support.raw_http import connect
from tests.support.xds import fake_repository, retrieve

LETTER = letter(1)
XML = Document(unique_id="1.2.3", content=Stored(b"<a/>"), media_type="text/xml")


@dataclass(frozen=True, slots=True)
class Seen:
    """An answer as it came: the head in lines, the body with its framing taken off."""

    head: str
    body: bytes

    @property
    def label(self) -> str:
        """The Content-Type; empty where there is none."""
        found = re.search(r"^Content-Type: (.*)$", self.head, re.MULTILINE)
        return found[1] if found else ""

    def has(self, *texts: str) -> bool:
        return all(text.encode() in self.body for text in texts)


LOOKS: dict[str, Callable[[Seen], bool]] = {
    "standard": lambda seen: (
        seen.head.startswith("HTTP/1.1 200 OK\n") and seen.has("Content-ID: <root@repository.example>")
    ),
    "axis2": lambda seen: (
        "Transfer-Encoding: chunked" in seen.head
        and "boundary=MIMEBoundaryurn_uuid_566EAD10FEBB55C5A61257193478450;" in seen.label
        and 'start-info="text/xml; charset=utf-8"' in seen.label
        and seen.has("<soapenv:Envelope ", "Content-ID: <1.urn:uuid:", "?xml version='1.0'", 'href="cid:1.urn:uuid:')
    ),
    "axis2-old": lambda seen: 'start="0.urn:uuid:' in seen.label and seen.has("Content-ID: <0.urn:uuid:"),
    "cxf": lambda seen: (
        seen.body.startswith(b"\r\n--uuid:803a")
        and seen.label.endswith('start-info="application/soap+xml";charset=UTF-8')
        and seen.has("xmlns:ns4=", 'href="cid:c187f5ae-2f0a-4d3b-8a41-1%40urn%3Aihe')
        and seen.has("Content-ID: <c187f5ae-2f0a-4d3b-8a41-1%40urn%3A")
        and b"<?xml" not in seen.body
        and seen.has('mustUnderstand="1">\n   urn:ihe:iti:xds-b:2007:DocumentRepository_PortType:')
    ),
    "metro": lambda seen: (
        seen.label.startswith('multipart/related;start="<rootpart*')
        and seen.has("<S:Envelope ", '<RetrieveDocumentSetResponse xmlns="urn:ihe:iti:xds-b:2007">')
        and "X-Powered-By: Servlet/3.1" in seen.head
    ),
    "wcf": lambda seen: (
        'start="<http://tempuri.org/0>"' in seen.label
        and 'start-info="application/soap+xml; action=\\"urn:ihe:iti:2007:RetrieveDocumentSetResponse\\""' in seen.label
        and seen.has('href="cid:http%3A%2F%2Ftempuri.org%2F1%2F6', "Content-ID: <http://tempuri.org/1/6")
        and seen.has("Transfer-Encoding: 8bit")
        and "Content-Length: " in seen.head
    ),
    "nist": lambda seen: (
        'boundary="MIMEBoundary112233445566778899";  type=' in seen.label
        and seen.has("\n    <xdsb:RetrieveDocumentSetResponse")
    ),
    "gematik": lambda seen: 'boundary="_MIME_MTOM_Boundary_"' in seen.label and 'start-info="text/xml"' in seen.label,
    "spring-ws": lambda seen: (
        seen.has('href="cid:1-8c1a%40spring.example"', "Content-ID: <1-8c1a@spring.example>", "<S:Envelope xmlns:")
        and 'boundary="----=_Part_42_' in seen.label
    ),
    "lower-case": lambda seen: (
        seen.has("\ncontent-id: <1.", '; type="application/soap+xml;"') and b"Content-ID" not in seen.body
    ),
    "inline": lambda seen: (
        seen.label.startswith("multipart/related")
        and seen.body.count(b"--MIME") == 2
        and re.search(rb"<xdsb:Document>\n[A-Za-z0-9+/]{76}\n", seen.body) is not None
    ),
    "plain-soap12": lambda seen: (
        seen.label.startswith("application/soap+xml") and seen.has("<ns4:Document>JVBERi0xLjcK")
    ),
    "soap11": lambda seen: (
        seen.label.startswith("text/xml") and seen.has('"http://schemas.xmlsoap.org/soap/envelope/"')
    ),
    "swa": lambda seen: (
        'type="text/xml"' in seen.label
        and seen.has(
            ">cid:1%40repository.example</", "Content-Type: application/pdf", "Encoding: base64", "JVBERi0xLjcK"
        )
    ),
    "lf-only": lambda seen: b"\r\n" not in seen.body.replace(LETTER.data, b""),
    "gzip": lambda seen: "Content-Encoding: gzip" in seen.head and seen.body.startswith(b"\x1f\x8b"),
    "encoded-cid": lambda seen: seen.has('8a41-1%40urn%3Aihe%3Aiti%3Axds-b%3A2007"', "8a41-1@urn:ihe:iti:xds-b:2007>"),
    "bare-cid": lambda seen: seen.has("Content-ID: root@", "Content-ID:  1@repository.example \r\n"),
    "root-last": lambda seen: seen.body.index(b"Envelope") > seen.body.index(LETTER.data) and "start=" in seen.label,
    "base64-cte": lambda seen: seen.has("Encoding: base64\r\n", "JVBERi0xLjcK") and LETTER.data not in seen.body,
    "quoted-printable": lambda seen: seen.has("Encoding: quoted-printable\r\n", "%PDF-1.7=0A%"),
    "unsaid-encoding": lambda seen: b"Content-Transfer-Encoding" not in seen.body,
    "strange-boundary": lambda seen: 'boundary="=_(next) part\'+_,-./:=? 0"' in seen.label,
    "epilogue": lambda seen: seen.body.startswith(b"This is a message") and seen.body.endswith(b"This is no part.\r\n"),
    "utf-16": lambda seen: (
        b"\r\n\r\n\xff\xfe<\0?\0x\0m\0l\0" in seen.body and seen.has("application/xop+xml; charset=UTF-16")
    ),
    "bom": lambda seen: b"\r\n\r\n\xef\xbb\xbf<?xml" in seen.body,
    "leading-blank": lambda seen: b"\r\n\r\n\r\n \r\n<?xml" in seen.body,
    "closing": lambda seen: "Content-Length" not in seen.head and "Transfer-Encoding" not in seen.head,
    "home-grown": lambda seen: (
        seen.label == "text/xml; charset=utf-8"
        and seen.body.startswith(b"--")
        and seen.has("<xdsb:homeCommunityId>urn:oid:", "<xdsb:Document>\n      <xop:Include ")
    ),
    "raw-xml-document": lambda seen: seen.has("<xdsb:Document><![CDATA[<a/>]]></xdsb:Document>"),
}


async def seen(name: str) -> Seen:
    """The answer of this personality to an ordinary request."""
    personality = PERSONALITIES[name]
    document = XML if personality.text != "base64" else LETTER
    encoding = "mtom" if "mtom" in personality.accepts else "soap11"
    async with fake_repository(document, personality=personality) as fake:
        async with connect(fake.host, fake.port) as connection:
            await connection.send(retrieve(document, encoding=encoding, home=HOME).message("/repository"))
            data = await connection.rest()
    head, _, body = data.partition(b"\r\n\r\n")
    text = head.decode("latin-1").replace("\r\n", "\n")
    return Seen(text, dechunked(body) if "Transfer-Encoding: chunked" in text else body)


HOME = "urn:oid:2.25.329800735698586629295641978511506172918.3"


def dechunked(body: bytes) -> bytes:
    whole = b""
    while (size := int(body.partition(b"\r\n")[0], 16)) > 0:
        start = body.index(b"\r\n") + 2
        whole += body[start : start + size]
        body = body[start + size + 2 :]
    return whole


def test_every_personality_is_looked_at():
    assert LOOKS.keys() == PERSONALITIES.keys()


@pytest.mark.parametrize("name", PERSONALITIES)
async def test_a_personality_looks_as_it_is_said(name: str):
    assert LOOKS[name](await seen(name))


@pytest.mark.parametrize("name", [name for name in PERSONALITIES if name != "standard"])
async def test_no_look_is_that_of_the_standard(name: str):
    assert not LOOKS[name](await seen("standard"))
