"""Every fault of the fake repository does on the wire what its name says: looked at as bytes, then as a reader sees it."""

from __future__ import annotations

import asyncio
import re
import time
import zlib
from collections.abc import Callable
from typing import Any, Literal

import pytest

from gateway.demo.xds import FAULTS, PERSONALITIES, Break, Document, Ending, Stored, large, letter, named
from gateway.demo.xds.faults import RETRIEVE_CODES, UNKNOWN_CODES
from gateway.demo.xds.sending import Sender
from tests.meta.xds_oracle import NAMES, Reading, read
from tests.support.raw_http import Answer, connect
from tests.support.raw_http import Ending as Wire
from tests.support.xds import ask, fake_repository, retrieve

LETTER, STRANGER = letter(1), letter(2)
RAW = Document(unique_id="1.2.3", content=Stored(b"<a>\n<b/>&amp;</a>"), media_type="text/xml")
HALF = len(LETTER.data) // 2


async def answered(fault: str, *, personality: str = "standard", encoding: str = "mtom", **changes: Any) -> Answer:
    """The answer to a request for the letter that meets this fault."""
    async with fake_repository(LETTER, STRANGER, personality=PERSONALITIES[personality]) as fake:
        fake.next(FAULTS[fault].but(**changes))
        return await ask(fake, retrieve(LETTER, encoding=encoding))


async def raw(fault: str, **changes: Any) -> tuple[bytes, Wire, Ending]:
    """Every byte that comes, how the connection ended, and what the repository says of it."""
    async with fake_repository(LETTER, STRANGER) as fake:
        fake.next(FAULTS[fault].but(**changes))
        async with connect(fake.host, fake.port) as connection:
            await connection.send(retrieve(LETTER).message("/repository"))
            data = await connection.rest()
        return data, connection.ending, await (await fake.arrived()).ended()


def reading(answer: Answer) -> Reading:
    return read(answer.field("Content-Type") or "", answer.body)


# --- HTTP ----------------------------------------------------------------------------------------------------------

HTTP = {
    "http-401": (401, "WWW-Authenticate", "Negotiate", b"<h1>Unauthorized"),
    "http-403": (403, "Content-Type", "text/html; charset=utf-8", b"<h1>Forbidden"),
    "html-404": (404, "Content-Type", "text/html; charset=utf-8", b"<h1>HTTP Status 404"),
    "redirect-login": (302, "Location", "/login?from=repository", b""),
    "html-login": (200, "Content-Type", "text/html; charset=utf-8", b"<form>"),
    "html-500": (500, "Content-Type", "text/html; charset=utf-8", b"<h1>Proxy Error"),
    "empty-200": (200, "Content-Type", None, b""),
    "empty-202": (202, "Content-Type", None, b""),
    "http-503": (503, "Retry-After", "7", b""),
    "http-429": (429, "Retry-After", "3", b""),
    "json-200": (200, "Content-Type", "application/json", b'{"status":"UP"}'),
}


@pytest.mark.parametrize("fault", HTTP)
async def test_answers_that_are_no_soap(fault: str):
    status, field, value, text = HTTP[fault]
    answer = await answered(fault)
    assert (answer.status, answer.field(field)) == (status, value)
    assert text in answer.body
    assert bool(text) == bool(answer.body)


async def test_another_protocol_answers():
    data, _, _ = await raw("not-http")
    assert data == b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"


async def test_a_huge_header():
    answer = await answered("huge-header")
    assert len(answer.field("X-Trace") or "") == 65_536


# --- SOAP faults ---------------------------------------------------------------------------------------------------

WSSE = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"
WSA = "http://www.w3.org/2005/08/addressing"
E12 = "http://www.w3.org/2003/05/soap-envelope"
E11 = "http://schemas.xmlsoap.org/soap/envelope/"

SOAP = {
    "fault-500-soap11": (500, E11, f"{{{E11}}}Server"),
    "fault-500-soap12": (500, E12, f"{{{E12}}}Receiver"),
    "fault-other-version": (500, E11, f"{{{E11}}}Server"),
    "fault-sender": (400, E12, f"{{{E12}}}Sender"),
    "fault-200": (200, E12, f"{{{E12}}}Receiver"),
    "fault-multipart": (200, E12, f"{{{E12}}}Receiver"),
    "fault-not-understood": (500, E12, f"{{{E12}}}MustUnderstand"),
    "fault-invalid-token": (400, E12, f"{{{WSSE}}}InvalidSecurityToken"),
    "fault-failed-authentication": (400, E12, f"{{{WSSE}}}FailedAuthentication"),
    "fault-failed-check": (400, E12, f"{{{WSSE}}}FailedCheck"),
    "fault-expired": (400, E12, f"{{{WSSE}}}MessageExpired"),
    "fault-action": (400, E12, f"{{{WSA}}}ActionNotSupported"),
}


def fault_code(found: Reading) -> str:
    """The most special code of a fault, as {namespace}local."""
    (element,) = found.all("//faultcode") or found.all("//e12:Subcode/e12:Value") or found.all("//e12:Code/e12:Value")
    prefix, _, local = element.text.rpartition(":")
    return f"{{{element.nsmap[prefix or None]}}}{local}"


@pytest.mark.parametrize("personality", ["standard", "cxf", "metro", "wcf"])
@pytest.mark.parametrize("fault", SOAP)
async def test_soap_faults(fault: str, personality: str):
    status, namespace, code = SOAP[fault]
    answer = await answered(fault, personality=personality)
    found = reading(answer)
    assert answer.status == status
    assert found.envelope.tag == f"{{{namespace}}}Envelope"
    assert fault_code(found) == code
    assert found.text("//faultstring") or found.text("//e12:Reason/e12:Text")
    assert found.documents == []
    in_parts = (answer.field("Content-Type") or "").startswith("multipart/")
    assert in_parts == (fault == "fault-multipart")
    if not in_parts:
        assert (answer.field("Content-Type") or "").startswith(
            "text/xml" if namespace == E11 else "application/soap+xml"
        )


async def test_a_soap11_request_gets_the_other_version():
    found = reading(await answered("fault-other-version", encoding="soap11"))
    assert found.envelope.tag == f"{{{E12}}}Envelope"


async def test_what_was_not_understood_is_named():
    found = reading(await answered("fault-not-understood"))
    (block,) = found.all("//e12:Header/e12:NotUnderstood")
    prefix, _, local = block.get("qname").partition(":")
    assert (block.nsmap[prefix], local) == (WSA, "Action")


# --- registry responses --------------------------------------------------------------------------------------------

OURS, THEIRS = (LETTER.unique_id, LETTER.data), (STRANGER.unique_id, STRANGER.data)

RESPONSES: dict[str, tuple[str, list[str], list[tuple[str | None, bytes]]]] = {
    **{code: ("Failure", [code], []) for code in (*RETRIEVE_CODES, *UNKNOWN_CODES)},
    "code-as-urn": ("Failure", ["urn:ihe:iti:2007:XDSDocumentUniqueIdError"], []),
    "failure-without-list": ("Failure", [], []),
    "failure-empty-list": ("Failure", [], []),
    "success-without-documents": ("Success", [], []),
    "success-with-errors": ("Success", ["XDSDocumentUniqueIdError"], []),
    "success-two-documents": ("Success", [], [THEIRS, OURS]),
    "wrong-id": ("Success", [], [THEIRS]),
    "missing-id": ("Success", [], [(None, LETTER.data)]),
    "wrong-repository": ("Success", [], [OURS]),
    "wrong-home": ("Success", [], [OURS]),
    "success-warning": ("Success", ["XDSExtraMetadataNotSaved"], [OURS]),
    "partial": ("PartialSuccess", ["XDSDocumentUniqueIdError"], [OURS]),
    "partial-oasis": ("PartialSuccess", ["XDSDocumentUniqueIdError"], [OURS]),
    "unknown-status": ("Warning", [], [OURS]),
    "deferred": ("PartialSuccess", [], []),
    "empty-document": ("Success", [], [(LETTER.unique_id, b"")]),
}


@pytest.mark.parametrize("encoding", ["mtom", "soap12"])
@pytest.mark.parametrize("fault", RESPONSES)
async def test_registry_responses(fault: str, encoding: str):
    status, codes, documents = RESPONSES[fault]
    answer = await answered(fault, encoding=encoding)
    found = reading(answer)
    assert answer.status == 200
    assert (found.status, found.codes) == (status, codes)
    assert [(one.document, one.data) for one in found.documents] == documents


@pytest.mark.parametrize(
    ("fault", "path", "values"),
    [
        ("partial", "//@status", ["urn:ihe:iti:2007:ResponseStatusType:PartialSuccess"]),
        ("partial-oasis", "//@status", ["urn:oasis:names:tc:ebxml-regrep:ResponseStatusType:PartialSuccess"]),
        ("code-as-urn", "//rs:RegistryError/@severity", ["error"]),
        ("success-warning", "//@highestSeverity", ["urn:oasis:names:tc:ebxml-regrep:ErrorSeverityType:Warning"]),
        ("failure-without-list", "count(//rs:RegistryErrorList)", 0.0),
        ("failure-empty-list", "count(//rs:RegistryErrorList)", 1.0),
        ("wrong-repository", "//x:RepositoryUniqueId/text()", ["1.2.3.4.5.6"]),
        ("wrong-home", "//x:HomeCommunityId/text()", ["urn:oid:1.2.3.4.5.7"]),
        ("missing-id", "count(//x:DocumentUniqueId)", 0.0),
        ("media-type-missing", "count(//x:mimeType)", 0.0),
        ("media-type-empty", "count(//x:mimeType[not(text())])", 1.0),
        ("media-type-injection", "//x:mimeType/text()", ["application/pdf\r\nX-Injected: yes"]),
        ("media-type-undefined", "//x:mimeType/text()", ["undefined"]),
        ("media-type-odd", "//x:mimeType/text()", [" APPLICATION/PDF "]),
        ("deferred", "//rim:Slot/@name", ["DeferredProcessingRequired", "DeferredProcessingEstimatedCompletion"]),
    ],
)
async def test_what_stands_in_the_response(fault: str, path: str, values: Any):
    envelope = reading(await answered(fault)).envelope
    assert envelope.xpath(path, namespaces=NAMES) == values


async def test_a_true_failure_can_come_without_its_list():
    async with fake_repository(LETTER) as fake:
        fake.next("failure-without-list")
        found = reading(await ask(fake, retrieve(STRANGER)))
    assert (found.status, found.all("//rs:RegistryErrorList")) == ("Failure", [])


# --- MIME ----------------------------------------------------------------------------------------------------------

BOUNDARY = b"MIMEBoundary_3f1a7d5c"
CLOSE = b"--" + BOUNDARY + b"--"

MIME: dict[str, Callable[[Answer], bool]] = {
    "dangling-cid": lambda answer: b'href="cid:nobody@' in answer.body and b"Content-ID: <nobody" not in answer.body,
    "http-include": lambda answer: b'href="http://127.0.0.1:9/document"' in answer.body,
    "file-include": lambda answer: b'href="file:///etc/hostname"' in answer.body,
    "dup-cid": lambda answer: answer.body.count(b"Content-ID: <1@repository.example>") == 2,
    "start-missing": lambda answer: "start=" not in label(answer),
    "start-unbracketed": lambda answer: 'start="root@repository.example"' in label(answer),
    "start-wrong": lambda answer: 'start="<nobody@repository.example>"' in label(answer),
    "type-wrong": lambda answer: 'type="text/plain"' in label(answer) and 'start-info="image/png"' in label(answer),
    "boundary-missing": lambda answer: "boundary" not in label(answer) and BOUNDARY in answer.body,
    "boundary-wrong": lambda answer: 'boundary="another"' in label(answer) and BOUNDARY in answer.body,
    "labelled-xml": lambda answer: label(answer).startswith("application/soap+xml;") and answer.body[:2] == b"--",
    "labelled-multipart": lambda answer: label(answer).startswith("multipart/") and answer.body[:5] == b"<?xml",
    "no-preamble-crlf": lambda answer: answer.body.startswith(b"--" + BOUNDARY),
    "no-close": lambda answer: CLOSE not in answer.body and answer.body.endswith(LETTER.data),
    "close-without-eol": lambda answer: answer.body.endswith(LETTER.data + b"\r\n" + CLOSE),
    "close-glued": lambda answer: answer.body.endswith(LETTER.data + CLOSE + b"\r\n"),
    "wrong-part-length": lambda answer: f"Content-Length: {len(LETTER.data) - 7}".encode() in answer.body,
    "part-length-long": lambda answer: f"Content-Length: {len(LETTER.data) + 1_000_000}".encode() in answer.body,
    "many-parts": lambda answer: answer.body.count(b"--" + BOUNDARY) == 10_003,
    "huge-part-header": lambda answer: answer.body.count(b"X-Filler: " + b"x" * (1 << 20) + b"\r\n") == 2,
}  # fmt: skip


def label(answer: Answer) -> str:
    return answer.field("Content-Type") or ""


@pytest.mark.parametrize("fault", MIME)
async def test_mime(fault: str):
    assert MIME[fault](await answered(fault))
    assert not MIME[fault](await plainly()) or fault == "no-preamble-crlf"


async def plainly() -> Answer:
    """The same without any fault, so that no check holds by accident."""
    async with fake_repository(LETTER, STRANGER) as fake:
        return await ask(fake, retrieve(LETTER))


@pytest.mark.parametrize("fault", ["dangling-cid", "http-include", "file-include"])
async def test_the_document_cannot_be_found(fault: str):
    answer = await answered(fault)
    assert [one.data for one in reading(answer).documents] == [None]
    assert LETTER.data in answer.body


@pytest.mark.parametrize(
    ("personality", "fault", "start"),
    [("cxf", "no-preamble-crlf", b"--uuid:"), ("cxf", "cookies", b"\r\n--uuid:"), ("standard", "cookies", b"--MIME")],
)
async def test_the_first_boundary(personality: str, fault: str, start: bytes):
    assert (await answered(fault, personality=personality)).body.startswith(start)


# --- transport -----------------------------------------------------------------------------------------------------

BROKEN = {
    "reset-start": (Wire.RESET, b"", b""),
    "close-start": (Wire.CLOSED, b"", b""),
    "reset-head": (Wire.RESET, b"HTTP/1.1 200 OK", b"\r\n\r\n"),
    "reset": (Wire.RESET, b"HTTP/1.1 200 OK", LETTER.data[:HALF]),
    "truncated": (Wire.CLOSED, b"HTTP/1.1 200 OK", LETTER.data[:HALF]),
}


@pytest.mark.parametrize("fault", BROKEN)
async def test_answers_that_break_off(fault: str):
    wire, start, end = BROKEN[fault]
    data, ending, said = await raw(fault)
    assert (ending, said) == (wire, Ending.BROKEN)
    assert data.startswith(start)
    assert data.endswith(end)
    assert bool(start) == bool(data)


@pytest.mark.parametrize("personality", ["metro", "plain-soap12", "gzip"])
@pytest.mark.parametrize("fault", ["truncated", "reset", "cut-at-the-end"])
async def test_chunked_answers_break_off_before_the_last_chunk(personality: str, fault: str):
    answer = await answered(fault, personality=personality)
    assert (answer.framing, answer.complete) == ("chunked", False)
    body = zlib.decompressobj(31).decompress(answer.body) if personality == "gzip" else answer.body
    assert (b"Envelope>" in body[-100:] or body.endswith(b"--\r\n")) == (fault == "cut-at-the-end")


async def test_a_break_may_stand_at_any_byte_of_the_document():
    for after in (0, 1, 9000):
        answer = await answered("truncated", breaks=Break("close", after=after))
        assert answer.body.endswith(b"\r\n\r\n" + LETTER.data[:after])
        assert not answer.complete


@pytest.mark.parametrize("how", ["reset", "close"])
async def test_a_client_that_left_before_a_break_is_no_defect(how: Literal["reset", "close"]):
    """The connection may be gone by the time the answer comes to its break; the repository tells that by an `OSError`."""
    lost: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()

    async def connected(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()
        await asyncio.sleep(0.01)
        try:
            await Sender(writer, asyncio.Event()).stop(Break(how))
        except BaseException as error:
            lost.set_result(error)

    async with await asyncio.start_server(connected, "127.0.0.1", 0) as server:
        async with connect(*server.sockets[0].getsockname()):
            assert isinstance(await lost, OSError)


async def test_what_was_sent_before_a_reset_arrives():
    document, after = large(3_000_000), 1_500_000
    async with fake_repository(document) as fake:
        fake.next(FAULTS["reset"].but(breaks=Break("reset", after=after)))
        async with connect(fake.host, fake.port, receive_buffer=4096) as connection:
            await connection.send(retrieve(document).message("/repository"))
            # A small window leaves the end of it with the sender's kernel, where a reset would throw it away.
            received = await connection.rest()
            assert connection.ending is Wire.RESET
    assert received.endswith(document.data[:after])


@pytest.mark.parametrize("fault", ["length-long", "length-short"])
async def test_lengths_that_lie(fault: str):
    data, ending, _ = await raw(fault)
    head, _, body = data.partition(b"\r\n\r\n")
    said = int(re.findall(rb"Content-Length: (\d+)", head)[0])
    assert said - len(body) == FAULTS[fault].changes["length_lie"]
    assert body.endswith(CLOSE + b"\r\n")
    assert ending is Wire.CLOSED


@pytest.mark.parametrize(("fault", "seen"), [("stall-start", 0), ("stall-head", 1), ("stall", 2)])
async def test_answers_that_stall_go_on_when_they_are_let(fault: str, seen: int):
    async with fake_repository(LETTER) as fake:
        fake.next(fault)
        async with connect(fake.host, fake.port) as connection:
            await connection.send(retrieve(LETTER).message("/repository"))
            exchange = await fake.arrived()
            received = b""
            parts = [b"HTTP/1.1 200 OK", LETTER.data[:HALF]][:seen]
            while not all(part in received for part in parts):
                received += await connection.receive()
            assert exchange.payload == (HALF if seen == 2 else 0)
            assert exchange.ending is Ending.OPEN
            fake.release()
            received += await connection.rest()
            assert LETTER.data in received
            assert await exchange.ended() is Ending.WHOLE


async def test_a_drip_sends_byte_for_byte():
    async with fake_repository(LETTER, personality=PERSONALITIES["metro"]) as fake:
        fake.next(FAULTS["drip"].but(drip=(1, 0.001)))
        async with connect(fake.host, fake.port) as connection:
            await connection.send(retrieve(LETTER).message("/repository"))
            received = b""
            while received.count(b"\r\n1\r\n") < 30:
                received += await connection.receive()
            # Thousands of bytes are still to come after thirty.
            assert LETTER.data[:50] not in received
    assert FAULTS["drip"].changes == {"drip": (1, 1.0)}


async def test_crumbs_are_small_chunks():
    data, _, _ = await raw("crumbs", framing="chunked")
    sizes = {int(size, 16) for size in re.findall(rb"\r\n([0-9a-f]{1,2})\r\n", data)}
    assert max(sizes) == 97
    assert LETTER.data not in data


async def test_compression_without_a_label():
    answer = await answered("gzip-unlabelled")
    assert answer.field("Content-Encoding") is None
    assert LETTER.data in zlib.decompress(answer.body, wbits=31)


@pytest.mark.parametrize("fault", ["gzip-bomb", "huge-root"])
async def test_envelopes_of_many_blanks(fault: str):
    size = FAULTS[fault].changes["root_blanks"]
    answer = await answered(fault)
    assert answer.complete
    if fault == "huge-root":
        assert answer.body.count(b"\n") >= size
        return
    assert answer.field("Content-Encoding") == "gzip"
    assert len(answer.body) < size // 100
    blanks, unpacker, rest = 0, zlib.decompressobj(31), answer.body
    while not unpacker.eof:
        blanks += unpacker.decompress(rest, 1 << 24).count(b"\n")
        rest = unpacker.unconsumed_tail
    assert blanks >= size


async def test_an_interim_answer_that_nobody_asked_for():
    data, _, _ = await raw("interim")
    assert data.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize(("fault", "interim"), [("no-continue", False), ("cookies", True)])
async def test_expectations(fault: str, interim: bool):
    async with fake_repository(LETTER) as fake:
        fake.next(fault)
        said = retrieve(LETTER).message("/repository", extra=(("Expect", "100-continue"),))
        head, _, body = said.partition(b"\r\n\r\n")
        async with connect(fake.host, fake.port) as connection:
            await connection.send(head + b"\r\n\r\n")
            if interim:
                assert (await connection.answer("HEAD")).status == 100
            await connection.send(body)
            answer = await connection.answer("POST")
    assert answer.status == 200
    assert any(name == "Set-Cookie" for name, _ in answer.fields) == (fault == "cookies")


async def test_cookies():
    answer = await answered("cookies")
    cookies = [value for name, value in answer.fields if name == "Set-Cookie"]
    assert cookies == ["JSESSIONID=4711; Path=/", "ROUTE=b; Path=/"]


async def test_a_slow_start_waits():
    async with fake_repository(LETTER) as fake:
        fake.next(FAULTS["slow-start"].but(delay=0.2))
        async with connect(fake.host, fake.port) as connection:
            asked = time.monotonic()
            await connection.send(retrieve(LETTER).message("/repository"))
            assert await connection.receive()
            assert time.monotonic() - asked >= 0.2


# --- the envelope --------------------------------------------------------------------------------------------------


def inline(body: bytes) -> bytes:
    """What stands inside the element Document."""
    return re.findall(rb"<xdsb:Document>(.*)</xdsb:Document>", body, re.DOTALL)[0]


ENVELOPE: dict[str, Callable[[bytes], bool]] = {
    "inline-wrapped": lambda body: max(map(len, inline(body).split(b"\n"))) == 76,
    "inline-crlf": lambda body: max(map(len, inline(body).split(b"\r\n"))) == 64,
    "inline-blank": lambda body: inline(body)[:4] == inline(body)[-4:] == b" \n\t ",
    "inline-unpadded": lambda body: not inline(body).endswith(b"=") and len(inline(body)) % 4 != 0,
    "inline-url-safe": lambda body: b"-" in inline(body) and b"_" in inline(body) and b"+" not in inline(body),
    "inline-invalid": lambda body: inline(body)[1000:1001] == b"*" and inline(body).count(b"*") == 1,
    "charset-wrong": lambda body: body.startswith(b'<?xml version="1.0" encoding="UTF-16"?>'),
    "doctype": lambda body: b"?><!DOCTYPE Envelope><" in body,
    "entities": lambda body: body.count(b"<!ENTITY") == 10 and b"<xdsb:mimeType>&e9;</" in body,
    "external-entity": lambda body: b'SYSTEM "file:///etc/hostname">' in body and b"<xdsb:mimeType>&e9;</" in body,
    "nested": lambda body: body.count(b"<n>") == body.count(b"</n>") == 10_000,
}  # fmt: skip


@pytest.mark.parametrize("fault", ENVELOPE)
async def test_envelopes(fault: str):
    async with fake_repository(UNEVEN) as fake:
        fake.next(fault)
        body = (await ask(fake, retrieve(UNEVEN, encoding="soap12"))).body
        assert ENVELOPE[fault](body)
        assert not ENVELOPE[fault]((await ask(fake, retrieve(UNEVEN, encoding="soap12"))).body)


UNEVEN = letter(3, size=5002)
"""A letter whose base64 needs padding and holds both characters that the other alphabet writes differently."""


async def test_xml_as_text():
    async with fake_repository(RAW) as fake:
        fake.next("raw-text")
        body = (await ask(fake, retrieve(RAW, encoding="soap12"))).body
    assert b"<xdsb:Document>&lt;a&gt;\n&lt;b/&gt;&amp;amp;&lt;/a&gt;</xdsb:Document>" in body


# --- the reference's lists -----------------------------------------------------------------------------------------

SECTION_7 = """axis2 cxf metro wcf nist inline plain-soap12 soap11 swa lf-only no-close truncated wrong-part-length gzip
slow-drip reset empty-200 fault-200 fault-multipart html-login http-include dup-cid encoded-cid root-last base64-cte
raw-xml-document wrong-id success-with-errors deferred"""

APPENDIX_B = {
    "401; 403; 404 HTML; 302 login; 200 HTML; 200 empty": "http-401 http-403 html-404 redirect-login html-login empty-200",
    "500 fault 1.1; 500 fault 1.2; 400 Sender fault": "fault-500-soap11 fault-500-soap12 fault-sender",
    "200 fault; multipart fault; NotUnderstood header": "fault-200 fault-multipart fault-not-understood",
    "InvalidSecurityToken": "fault-invalid-token",
    "Failure with each of the codes in 1.6 and two unknown codes": " ".join((*RETRIEVE_CODES, *UNKNOWN_CODES)),
    "Failure without list; Success without documents": "failure-without-list success-without-documents",
    "Success with two documents; with wrong id; Warning": "success-two-documents wrong-id success-warning",
    "PartialSuccess both prefixes; deferred response": "partial partial-oasis deferred",
    "dangling cid; http Include; duplicate cid; root last": "dangling-cid http-include dup-cid root-last",
    "attachment base64 CTE; lower-case headers": "base64-cte lower-case",
    "start without <>; missing; wrong; type wrong": "start-unbracketed start-missing start-wrong type-wrong",
    "boundary with special characters; LF only": "strange-boundary lf-only",
    "no preamble CRLF; no close; close without CRLF": "no-preamble-crlf no-close close-without-eol close-glued",
    "epilogue; wrong part Content-Length; gzip; gzip bomb": "epilogue wrong-part-length gzip gzip-bomb",
    "drip feed; stall after headers; reset mid-payload": "drip stall-head stall reset",
    "Content-Length longer than body": "length-long",
    "inline wrapped/CRLF/blank": "inline-wrapped inline-crlf inline-blank",
    "padding missing/url-safe/invalid char": "inline-unpadded inline-url-safe inline-invalid",
    "BOM; UTF-16; 10k parts; 1 MB part header": "bom utf-16 many-parts huge-part-header",
    "DOCTYPE; entity expansion; 10k nested elements": "doctype entities external-entity nested",
    "mimeType with CRLF injection; missing": "media-type-injection media-type-missing",
    "empty document; delayed assembly metadata": "empty-document delayed-assembly",
}
"""Names by what the reference asks for. Not by name: a refused connection (`deaf`), TLS (`tests.support.xds.Authority`), a
boundary's beginning in the document (`boundary_prefixes`), 300 MB (`large`)."""


@pytest.mark.parametrize("name", [*SECTION_7.split(), *" ".join(APPENDIX_B.values()).split()])
def test_what_the_reference_asks_for_has_a_name(name: str):
    assert named(name).about


# --- all of them ---------------------------------------------------------------------------------------------------

ELSEWHERE = {
    "test_fake_repository": {"wants-oid-prefix", "requires-security", "refuses-addressing"},
    "test_fake_repository_requests": {"refuses-security", "mtom-only", "one-document"},
    "here, by name": {
        "not-http", "huge-header", "cut-at-the-end", "length-long", "length-short", "stall-start", "stall-head", "stall",
        "drip", "slow-drip", "crumbs", "slow-start", "gzip-unlabelled", "gzip-bomb", "huge-root", "interim",
        "no-continue", "cookies", "raw-text", "media-type-injection", "media-type-missing", "media-type-empty",
        "media-type-undefined", "media-type-odd",
    },
}  # fmt: skip


def test_every_fault_is_looked_at():
    tables = (HTTP, SOAP, RESPONSES, MIME, BROKEN, ENVELOPE, *ELSEWHERE.values())
    of_the_registry = {fault.name for fault in FAULTS.values() if fault.where == "registry"}
    assert set().union(*tables, of_the_registry) == set(FAULTS)
