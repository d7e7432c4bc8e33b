"""What the fake repository makes of requests: it refuses what is wrong, keeps what came, and lets itself be steered."""

from __future__ import annotations

import asyncio
import hashlib
import json
import ssl
import sys
import urllib.request
from pathlib import Path
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.demo.xds import (
    FAULTS,
    HEADER,
    HOME,
    PERSONALITIES,
    REPOSITORY,
    Document,
    Ending,
    Fault,
    Stored,
    letter,
    on_demand,
    unassembled,
)
from gateway.demo.xds.__main__ import main
from gateway.demo.xds.asking import parse, read
from gateway.demo.xds.documents import DEPRECATED, EMPTY_SHA1, ON_DEMAND, STABLE
from gateway.demo.xds.request import Request
from tests.meta.test_fake_repository_faults import E11, E12, WSA, WSSE, fault_code, reading
from tests.support.process import running
from tests.support.raw_http import Ending as Wire
from tests.support.raw_http import connect, request
from tests.support.xds import (
    APPROVED,
    CROSS_RETRIEVE,
    FIND_DOCUMENTS,
    GET_DOCUMENTS,
    MTOM,
    RETRIEVE,
    Authority,
    Written,
    addressing,
    ask,
    assertion,
    fake_repository,
    query,
    retrieve,
    security,
    written,
)

LETTER = letter(1)
SENDER = f"{{{E12}}}Sender"
NOT_UNDERSTOOD = f"{{{E12}}}MustUnderstand"

# --- what is refused -----------------------------------------------------------------------------------------------


def headers(more: str = "", *, leave_out: str = "", action: str = RETRIEVE) -> Written:
    return retrieve(LETTER, headers=addressing(action, leave_out=leave_out, more=more))


def secured(**about: str) -> Written:
    """A request with an assertion."""
    return headers(security(assertion(**about)))


def changed(old: str, new: str, said: Written | None = None) -> Written:
    """A request with something else in its body and fields."""
    said = said or retrieve(LETTER)
    fields = tuple((name, value.replace(old, new)) for name, value in said.fields)
    body = said.body.replace(old.encode(), new.encode())
    assert (fields, body) != (said.fields, said.body)
    return Written(fields, body)


NOT_KNOWN = '<n:Block xmlns:n="urn:n" xmlns:s="http://www.w3.org/2003/05/soap-envelope" s:mustUnderstand="{}"/>'
SECOND = f'<a:MessageID xmlns:a="{WSA}">urn:uuid:second</a:MessageID>'

IDS = (
    f"<x:RepositoryUniqueId>{REPOSITORY}</x:RepositoryUniqueId>",
    f"<x:DocumentUniqueId>{LETTER.unique_id}</x:DocumentUniqueId>",
)

REFUSED: dict[str, tuple[Written, str]] = {
    "no action": (headers(leave_out="Action"), f"{{{WSA}}}MessageAddressingHeaderRequired"),
    "no message id": (headers(leave_out="MessageID"), f"{{{WSA}}}MessageAddressingHeaderRequired"),
    "no to": (headers(leave_out="To"), f"{{{WSA}}}MessageAddressingHeaderRequired"),
    "two message ids": (headers(SECOND), f"{{{WSA}}}InvalidAddressingHeader"),
    "a message id that is no IRI": (changed("urn:uuid:0d3c1c9e", "0d3c1c9e"), f"{{{WSA}}}InvalidAddressingHeader"),
    "another action": (headers(action=CROSS_RETRIEVE), f"{{{WSA}}}ActionNotSupported"),
    "an action that HTTP says differently": (
        Written((("Content-Type", MTOM.format(action="urn:other")),), retrieve(LETTER).body),
        f"{{{WSA}}}InvalidAddressingHeader",
    ),
    "answers elsewhere": (changed("addressing/anonymous", "addressing/none"), f"{{{WSA}}}OnlyAnonymousAddressSupported"),
    "a header block that must be understood": (headers(NOT_KNOWN.format("1")), NOT_UNDERSTOOD),
    "the same in a word": (headers(NOT_KNOWN.format("true")), NOT_UNDERSTOOD),
    "mustUnderstand of nothing": (headers(NOT_KNOWN.format("yes")), SENDER),
    "a query": (query(GET_DOCUMENTS, UniqueId="('1')"), f"{{{WSA}}}ActionNotSupported"),
    "a query under the action of a retrieval": (
        written("<q xmlns='urn:q'/>", encoding="mtom", action=RETRIEVE), SENDER,
    ),
    "ids in the wrong order": (changed("".join(IDS), "".join(reversed(IDS))), SENDER),
    "no documents": (retrieve(), SENDER),
    "no start": (changed(' start="<root@test>";', ""), SENDER),
    "a start that names no part": (changed('start="<root@test>"', 'start="root@test"'), SENDER),
    "another type": (changed('; type="application/xop+xml"', '; type="text/xml"'), SENDER),
    "another start-info": (changed('start-info="application/soap+xml"', 'start-info="text/xml"'), SENDER),
    "a root of another type": (changed("Content-Type: application/xop+xml", "Content-Type: text/xml"), SENDER),
    "no closing boundary": (changed("\r\n--b-1--\r\n", ""), SENDER),
    "XML that is none": (changed("</s:Envelope>", ""), SENDER),
    "a document type": (changed("<s:Envelope ", "<!DOCTYPE a><s:Envelope "), SENDER),
    "two bodies": (changed("</s:Body>", "<more/></s:Body>"), SENDER),
    "no envelope": (changed("s:Envelope", "s:Envelop"), f"{{{E12}}}VersionMismatch"),
}  # fmt: skip


@pytest.mark.parametrize("why", REFUSED)
async def test_requests_against_the_standards_get_a_fault(why: str):
    said, code = REFUSED[why]
    async with fake_repository(LETTER) as fake:
        answer = await ask(fake, said)
    found = reading(answer)
    assert fault_code(found) == code
    assert answer.status == (400 if code.startswith((SENDER, f"{{{WSA}}}", f"{{{WSSE}}}")) else 500)
    assert b"Document>" not in answer.body


async def test_a_fault_says_what_is_wrong():
    async with fake_repository(LETTER) as fake:
        answer = await ask(fake, REFUSED["no closing boundary"][0])
    assert reading(answer).text("//e12:Reason/e12:Text") == "the multipart has no closing boundary"


async def test_requests_that_are_no_soap_get_no_soap():
    get = Written((("Content-Type", "application/json"),), b"{}")
    soap11 = (("Content-Type", "text/xml"), ("SOAPAction", '""'))
    wrong_version = Written(soap11, retrieve(LETTER, encoding="soap12").body)
    async with fake_repository(LETTER) as fake:
        assert (await ask(fake, get)).status == 415
        assert (await ask(fake, wrong_version)).status == 415
        async with connect(fake.host, fake.port) as connection:
            await connection.send(request("/repository"))
            answer = await connection.answer()
        assert (answer.status, answer.field("Allow")) == (405, "POST")
        no_action = Written((("Content-Type", "text/xml"),), retrieve(LETTER, encoding="soap11").body)
        assert fault_code(reading(await ask(fake, no_action))) == f"{{{E11}}}Client"


@pytest.mark.parametrize(
    ("fault", "said", "code"),
    [
        ("refuses-addressing", retrieve(LETTER), None),
        ("refuses-addressing", changed("<a:Action ", '<a:Action s:mustUnderstand="1" '), NOT_UNDERSTOOD),
        ("requires-security", retrieve(LETTER), f"{{{WSSE}}}InvalidSecurity"),
        ("requires-security", headers(security("")), f"{{{WSSE}}}InvalidSecurity"),
        ("requires-security", secured(ends="2021-01-01T00:00:00Z"), f"{{{WSSE}}}InvalidSecurityToken"),
        ("requires-security", secured(ends="2021-01-01T00:00:00.000+01:00"), f"{{{WSSE}}}InvalidSecurityToken"),
        ("requires-security", secured(), None),
        ("refuses-security", retrieve(LETTER), None),
        ("refuses-security", changed("<o:Security ", '<o:Security s:mustUnderstand="1" ', secured()), NOT_UNDERSTOOD),
    ],
)  # fmt: skip
async def test_what_a_repository_wants_of_headers(fault: str, said: Written, code: str | None):
    async with fake_repository(LETTER) as fake:
        fake.next(fault)
        found = reading(await ask(fake, said))
    assert (fault_code(found) if found.all("//e12:Fault") else None) == code
    assert [one.data for one in found.documents] == ([] if code else [LETTER.data])


async def test_other_wishes_of_repositories():
    async with fake_repository(LETTER, letter(2)) as fake:
        fake.next("mtom-only", times=2)
        assert (await ask(fake, retrieve(LETTER, encoding="soap12"))).status == 415
        assert (await ask(fake, retrieve(LETTER))).status == 200
        fake.next("one-document")
        assert reading(await ask(fake, retrieve(LETTER, letter(2)))).codes == ["XDSRepositoryError"]
        fake.next("wants-oid-prefix", times=2)
        assert reading(await ask(fake, retrieve(LETTER))).codes == ["XDSUnknownRepositoryId"]
        assert reading(await ask(fake, retrieve(LETTER, prefix="urn:oid:"))).codes == []
        assert reading(await ask(fake, retrieve(LETTER, prefix="urn:oid:"))).codes == ["XDSUnknownRepositoryId"]
        fake.personality = PERSONALITIES["standard"].but(address="https://repository.test/")
        assert (await ask(fake, retrieve(LETTER))).status == 200
        fake.personality = fake.personality.but(address="https://elsewhere.test/")
        assert fault_code(reading(await ask(fake, retrieve(LETTER)))) == f"{{{WSA}}}DestinationUnreachable"


# --- what is kept --------------------------------------------------------------------------------------------------


async def test_requests_are_kept_byte_for_byte():
    said = headers(security(assertion(text="Ä & <o>")))
    async with fake_repository(LETTER) as fake:
        message = said.message("/repository?x=%20y", extra=(("X-Odd", "a  b"),))
        async with connect(fake.host, fake.port) as connection:
            await connection.send(message)
            await connection.answer("POST")
        exchange = await fake.arrived()
    assert exchange.request.head + exchange.request.body == message
    assert exchange.request.target == "/repository?x=%20y"
    assert exchange.request.field("x-odd") == "a  b"
    assert exchange.asked is not None
    assert exchange.asked.encoding == "mtom"
    assert exchange.asked.assertion == assertion(text="Ä & <o>").encode()
    assert exchange.asked.security == security(assertion(text="Ä & <o>")).encode()
    assert exchange.asked.message_id == "urn:uuid:0d3c1c9e-1111-4222-8333-9a8b7c6d5e4f"
    assert [(one.home, one.repository, one.document) for one in exchange.documents] == [
        (None, REPOSITORY, LETTER.unique_id)
    ]
    assert (exchange.status, exchange.payload, exchange.ending) == (200, len(LETTER.data), Ending.WHOLE)


async def test_a_chunked_request_is_one_too():
    said = retrieve(LETTER)
    pieces = [said.body[start : start + 100] for start in range(0, len(said.body), 100)]
    body = b"".join(b"%x;a=b\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\nTrailer: 1\r\n\r\n"
    fields = (*said.fields, ("Transfer-Encoding", "chunked"))
    async with fake_repository(LETTER) as fake:
        async with connect(fake.host, fake.port) as connection:
            await connection.send(request("/repository", method="POST", fields=fields, body=body) * 2)
            for _ in range(2):
                assert LETTER.data in (await connection.answer("POST")).body
        assert [one.request.body for one in fake.exchanges] == [said.body] * 2
        assert [one.connection for one in fake.exchanges] == [1, 1]


@given(
    st.text(st.characters(exclude_categories=("Cc", "Cs"))),
    st.sampled_from(["<{0}/>", "<{0}></{0}>", "<{0} a='>'/>", '<{0} a="/>"> </{0} >', "<{0}><b/><{0}/></{0}>"]),
)
def test_an_element_is_cut_out_exactly(text: str, shape: str):
    block = shape.format("Security").replace("<Security", f'<Security xmlns="{WSSE}"', 1)
    around = f"<x>{escape(text)}</x>"
    body = f"<s:Envelope xmlns:s='{E12}'><s:Header>{around}{block}{around}</s:Header><s:Body><a/></s:Body></s:Envelope>"
    asked = read(Request("POST", "/", (("Content-Type", "application/soap+xml"),), b"", body.encode()))
    assert asked.security == block.encode()
    assert parse(body.encode()).stop == len(body.encode())


# --- the registry --------------------------------------------------------------------------------------------------

PATIENT = LETTER.patient
WITHDRAWN = Document(unique_id="1.2.3", content=Stored(b"old"), status=DEPRECATED, patient=PATIENT)
QUOTED = Document(unique_id="1.2.4^O'Brien", content=Stored(b"quoted"), title="A & B <c>", home=HOME)
DEMANDED, LATE = on_demand(4), unassembled(5)
SHELF = (LETTER, letter(2), WITHDRAWN, QUOTED, DEMANDED, LATE)


async def entries(said: Written, *faults: str | Fault) -> tuple[list[str], list[dict[str, str | None]]]:
    """The codes and the document entries that the registry answers with."""
    async with fake_repository(*SHELF) as fake:
        if faults:
            fake.next(*faults, at="registry")
        answer = await ask(fake, said, "/registry")
    found = reading(answer)
    assert answer.status == 200
    assert found.envelope.xpath("local-name(//*[local-name()='Body']/*)") == "AdhocQueryResponse"
    result = []
    for one in found.all("//rim:ExtrinsicObject"):
        slots = {slot.get("name"): slot.findtext(".//{*}Value") for slot in one.findall("{*}Slot")}
        external = one.findall("{*}ExternalIdentifier")
        ids = {node.find(".//{*}LocalizedString").get("value"): node.get("value") for node in external}
        title = one.find("{*}Name/{*}LocalizedString").get("value")
        result.append({**one.attrib, **slots, **ids, "title": title})
    return found.codes, result


async def test_an_entry_says_what_the_document_is():
    codes, (entry,) = await entries(query(GET_DOCUMENTS, UniqueId=f"('{LETTER.unique_id}')"))
    assert codes == []
    assert entry == {
        "id": LETTER.entry_uuid, "lid": LETTER.entry_uuid, "mimeType": "application/pdf", "status": APPROVED,
        "objectType": STABLE, "repositoryUniqueId": REPOSITORY, "size": str(len(LETTER.data)),
        "hash": hashlib.sha1(LETTER.data).hexdigest(), "creationTime": "20210309", "languageCode": "en-GB",
        "XDSDocumentEntry.patientId": PATIENT, "XDSDocumentEntry.uniqueId": LETTER.unique_id, "title": "Letter",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("slots", "found"),
    [
        ({"UniqueId": f"('{LETTER.unique_id}','1.2.3')"}, [LETTER, WITHDRAWN]),
        ({"UniqueId": "'1.2.4^O''Brien'"}, [QUOTED]),
        ({"UniqueId": "('nobody')"}, []),
        ({"EntryUUID": f"('{WITHDRAWN.entry_uuid}')"}, [WITHDRAWN]),
    ],
)
async def test_get_documents(slots: dict[str, str], found: list[Document]):
    codes, listed = await entries(query(GET_DOCUMENTS, **slots))
    assert codes == []
    assert [one["XDSDocumentEntry.uniqueId"] for one in listed] == [one.unique_id for one in found]
    assert [one["title"] for one in listed] == [one.title for one in found]


@pytest.mark.parametrize(
    ("slots", "found"),
    [
        ({"Status": f"('{APPROVED}')"}, [LETTER]),
        ({"Status": f"('{APPROVED}', '{DEPRECATED}')"}, [LETTER, WITHDRAWN]),
        ({"Status": f"('{APPROVED}')", "PatientId": f"'{DEMANDED.patient}'"}, []),
        ({"Status": f"('{APPROVED}')", "PatientId": f"'{DEMANDED.patient}'", "Type": f"('{ON_DEMAND}')"}, [DEMANDED]),
    ],
)
async def test_find_documents_both_ways(slots: dict[str, str], found: list[Document]):
    slots = {"PatientId": f"'{PATIENT}'", **slots}
    codes, listed = await entries(query(FIND_DOCUMENTS, **slots))
    assert (codes, [one["id"] for one in listed]) == ([], [one.entry_uuid for one in found])
    async with fake_repository(*SHELF) as fake:
        answer = await ask(fake, query(FIND_DOCUMENTS, returns="ObjectRef", **slots), "/registry")
    refs = reading(answer).all("//rim:ObjectRef/@id")
    assert refs == [one.entry_uuid for one in found]
    assert reading(answer).all("//rim:ExtrinsicObject") == []


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (query(FIND_DOCUMENTS, Status=f"('{APPROVED}')"), "XDSStoredQueryMissingParam"),
        (query(FIND_DOCUMENTS, PatientId=f"'{PATIENT}'"), "XDSStoredQueryMissingParam"),
        (query(FIND_DOCUMENTS, PatientId="('a','b')", Status=f"('{APPROVED}')"), "XDSStoredQueryParamNumber"),
        (query(GET_DOCUMENTS), "XDSStoredQueryMissingParam"),
        (query(GET_DOCUMENTS, UniqueId="1.2.3"), "XDSRegistryError"),
        (query(GET_DOCUMENTS, UniqueId="'O'Brien'"), "XDSRegistryError"),
        (query("urn:uuid:10b545ea-725c-446d-9b95-8aeb444eddf3"), "XDSUnknownStoredQuery"),
        (query(GET_DOCUMENTS, returns="Everything", UniqueId="'1.2.3'"), "XDSRegistryError"),
        (query(GET_DOCUMENTS, home="urn:oid:9", UniqueId="'1.2.3'"), "XDSUnknownCommunity"),
    ],
)
async def test_queries_against_the_profile(said: Written, code: str):
    assert await entries(said) == ([code], [])


async def test_entries_of_other_kinds():
    _, (demanded,) = await entries(query(GET_DOCUMENTS, UniqueId=f"'{DEMANDED.unique_id}'"))
    assert demanded["objectType"] == ON_DEMAND
    assert not {"size", "hash"} & set(demanded)
    _, (late,) = await entries(query(GET_DOCUMENTS, UniqueId=f"'{LATE.unique_id}'"))
    assert (late["size"], late["hash"]) == ("0", hashlib.sha1(b"").hexdigest())
    _, (quoted,) = await entries(query(GET_DOCUMENTS, UniqueId="'1.2.4^O''Brien'"))
    assert quoted["home"] == HOME
    _, (old,) = await entries(query(GET_DOCUMENTS, UniqueId="'1.2.3'"))
    assert old["status"] == DEPRECATED
    _, (of_home,) = await entries(query(GET_DOCUMENTS, home=HOME, UniqueId=f"'{LETTER.unique_id}'"))
    assert of_home["home"] == HOME


REGISTRY = {
    "delayed-assembly": {"size": "0", "hash": EMPTY_SHA1},
    "wrong-size": {"size": "1"},
    "wrong-hash": {"hash": "00" * 20},
    "no-hash": {"size": None, "hash": None},
    "bad-size": {"size": "about 3 MB"},
    "unknown-availability": {"status": "urn:oasis:names:tc:ebxml-regrep:StatusType:Frozen"},
    "deprecated": {"status": DEPRECATED},
    "offline": {"documentAvailability": "Offline"},
}


@pytest.mark.parametrize("fault", REGISTRY)
async def test_entries_that_are_not_true(fault: str):
    said = query(GET_DOCUMENTS, UniqueId=f"'{LETTER.unique_id}'")
    _, (true,) = await entries(said)
    _, (told,) = await entries(said, fault)
    assert {name: told.get(name) for name in REGISTRY[fault]} == REGISTRY[fault]
    others = {name: value for name, value in true.items() if name not in REGISTRY[fault]}
    assert others.items() <= told.items()


async def test_registries_that_refuse():
    known = query(GET_DOCUMENTS, UniqueId=f"'{LETTER.unique_id}'")
    assert await entries(known, "too-many") == (["XDSTooManyResults"], [])
    assert await entries(query(GET_DOCUMENTS, UniqueId="'9'"), "unknown-is-error") == (["XDSRegistryError"], [])
    assert (await entries(known, "unknown-is-error"))[0] == []
    assert await entries(known, "XDSRegistryBusy") == (["XDSRegistryBusy"], [])
    listed = {fault.name for fault in FAULTS.values() if fault.where == "registry"}
    assert listed == {*REGISTRY, "too-many", "unknown-is-error"}


async def test_a_retrieval_sent_to_the_registry_is_an_unexpected_element():
    said = changed(RETRIEVE, "urn:ihe:iti:2007:RegistryStoredQuery", retrieve(LETTER, encoding="soap12"))
    async with fake_repository(LETTER) as fake:
        found = reading(await ask(fake, said, "/registry"))
        assert "Unexpected element" in (found.text("//e12:Reason/e12:Text") or "")
        found = reading(await ask(fake, retrieve(LETTER), "/registry"))
        assert fault_code(found) == f"{{{WSA}}}ActionNotSupported"


# --- how it is steered ---------------------------------------------------------------------------------------------


async def test_faults_are_used_up_one_request_after_the_other():
    async with fake_repository(LETTER) as fake:
        fake.next("http-403", at="registry")
        fake.next("http-503", times=2)
        fake.next("html-404")
        paths = ["/repository", "/repository", "/registry", "/repository", "/repository"]
        said = [(await ask(fake, retrieve(LETTER), path)).status for path in paths]
        assert said == [503, 503, 403, 404, 200]
        assert [one.personality for one in fake.exchanges][3:] == ["standard+html-404", "standard"]
        fake.next("http-503")
        fake.forget()
        assert (await ask(fake, retrieve(LETTER))).status == 200
        with pytest.raises(KeyError):
            fake.next("no-such-fault")


async def test_a_request_chooses_by_path_or_header():
    async with fake_repository(LETTER) as fake:
        for path, name in (("/personality/axis2/repository", ""), ("/repository", "axis2")):
            async with connect(fake.host, fake.port) as connection:
                await connection.send(retrieve(LETTER).message(path, extra=((HEADER, name),) if name else ()))
                answer = await connection.answer("POST")
            assert "MIMEBoundaryurn_uuid" in (answer.field("Content-Type") or "")
        assert (await ask(fake, retrieve(LETTER), "/personality/cxf+http-403/repository")).status == 403
        url = fake.endpoint("registry", personality="cxf")
        assert url == f"http://127.0.0.1:{fake.port}/personality/cxf/registry"
        for path in ("/personality/nobody/repository", "/personality/cxf", "/", "/elsewhere", "/personality/cxf/x/y"):
            assert (await ask(fake, retrieve(LETTER), path)).status == (200 if path == "/" else 404)


async def test_pages_for_people_and_programs():
    async with fake_repository(LETTER) as fake:
        await ask(fake, retrieve(LETTER))
        async with connect(fake.host, fake.port) as connection:
            await connection.send(request("/") + request("/requests"))
            overview, record = await connection.answer(), await connection.answer()
    text = overview.body.decode()
    for name in (*PERSONALITIES, *FAULTS, LETTER.unique_id, "/gateway"):
        assert name in text
    first = json.loads(record.body)[0]
    assert (first["encoding"], first["status"], first["ending"]) == ("mtom", 200, "whole")
    assert first["documents"] == [[None, REPOSITORY, LETTER.unique_id]]
    assert first["payload"] == len(LETTER.data)


async def test_a_client_that_leaves_is_noticed():
    async with fake_repository(LETTER) as fake:
        for fault in ("stall", "stall-start", "drip"):
            fake.next(fault)
            async with connect(fake.host, fake.port) as connection:
                await connection.send(retrieve(LETTER).message("/repository"))
                exchange = await fake.arrived(len(fake.exchanges) + 1)
            assert await exchange.ended() is Ending.LEFT
        await fake.idle()


async def test_connections_are_kept_until_somebody_ends_them():
    said = retrieve(LETTER)
    fields = (*said.fields, ("Content-Length", str(len(said.body))))
    message = request("/repository", method="POST", fields=fields, body=said.body)
    async with fake_repository(LETTER) as fake:
        async with connect(fake.host, fake.port) as connection:
            for _ in range(3):
                await connection.send(message)
                assert (await connection.answer("POST")).complete
            fake.personality = PERSONALITIES["standard"].but(keep_alive=False)
            await connection.send(message)
            answer = await connection.answer("POST")
            assert answer.field("Connection") == "close"
            assert await connection.receive() == b""
            assert connection.ending is Wire.CLOSED
        assert [one.connection for one in fake.exchanges] == [1] * 4


async def test_a_deaf_repository_refuses_connections_and_hears_again():
    async with fake_repository(LETTER) as fake:
        port = fake.port
        async with fake.deaf():
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection(fake.host, port)
        assert fake.port == port
        assert (await ask(fake, retrieve(LETTER))).status == 200


async def test_requests_that_are_no_http_end_the_connection():
    async with fake_repository(LETTER) as fake:
        for lines in (b"nonsense", b"POST / HTTP/1.1\r\nno field", b"POST / HTTP/1.1\r\nContent-Length: x"):
            async with connect(fake.host, fake.port) as connection:
                await connection.send(lines + b"\r\n\r\n")
                assert await connection.rest() == b""
        assert fake.exchanges == []


async def test_a_defect_of_the_fake_is_not_hidden():
    class Broken(Stored):
        def chunks(self):
            raise RuntimeError("a defect")

    with pytest.raises(ExceptionGroup, match="defects"):
        async with fake_repository(Document(unique_id="1.2", content=Broken(b"x"))) as fake:
            async with connect(fake.host, fake.port) as connection:
                await connection.send(retrieve(Document(unique_id="1.2", content=Stored(b"x"))).message("/repository"))
                await connection.rest()


# --- TLS -----------------------------------------------------------------------------------------------------------


async def over_tls(fake, client: ssl.SSLContext) -> bytes:
    reader, writer = await asyncio.open_connection(fake.host, fake.port, ssl=client)
    try:
        writer.write(retrieve(LETTER).message("/repository"))
        return await reader.read()
    finally:
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)


async def test_mutual_tls(tmp_path: Path):
    ours, theirs = Authority(tmp_path), Authority(tmp_path, "Another authority")
    async with fake_repository(LETTER, tls=ours.server(clients=True)) as fake:
        assert fake.url.startswith("https://")
        assert LETTER.data in await over_tls(fake, ours.client(ours.issue("gateway", client=True)))
        assert fake.exchanges[0].client is not None
        assert (("commonName", "gateway"),) in fake.exchanges[0].client["subject"]
        with pytest.raises(ssl.SSLError, match="alert certificate required"):
            await over_tls(fake, ours.client())
        with pytest.raises(ssl.SSLError, match="alert unknown ca"):
            await over_tls(fake, ours.client(theirs.issue("intruder", client=True)))
        with pytest.raises(ssl.SSLCertVerificationError, match=r"self-signed|local issuer"):
            await over_tls(fake, theirs.client())
        assert len(fake.exchanges) == 1


async def test_a_certificate_of_another_name(tmp_path: Path):
    authority = Authority(tmp_path)
    async with fake_repository(LETTER, tls=authority.server("repository.test")) as fake:
        with pytest.raises(ssl.SSLCertVerificationError, match="IP address mismatch"):
            await over_tls(fake, authority.client())


async def test_a_reset_under_tls_is_one(tmp_path: Path):
    authority = Authority(tmp_path)
    async with fake_repository(LETTER, tls=authority.server()) as fake:
        fake.next("reset")
        with pytest.raises(ConnectionResetError):
            await over_tls(fake, authority.client())


# --- out of process ------------------------------------------------------------------------------------------------


def test_a_process_of_its_own(tmp_path: Path):
    command = [sys.executable, "-m", "gateway.demo.xds", "--large", "100000", "--personality", "cxf+cookies"]
    with running(
        "the fake repository", command, log=tmp_path / "log", ready=lambda one: "ready" in one.out.read_text()
    ) as server:
        url = server.out.read_text().split()[1]
        with urllib.request.urlopen(url, timeout=20) as answer:
            overview = answer.read().decode()
        large = next(line.split() for line in overview.splitlines() if "Case notes" in line)
        said = retrieve(Document(unique_id=large[1], content=Stored(b"")))
        asking = urllib.request.Request(f"{url}/repository", said.body, dict(said.fields))
        with urllib.request.urlopen(asking, timeout=20) as answer:
            assert answer.headers["Set-Cookie"]
            assert len(answer.read()) > 100_000
        assert server.stop() == 0


def test_a_personality_that_nobody_has_is_named(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as ended:
        main(["--personality", "nobody"])
    assert ended.value.code == 2
    assert "nobody" in capsys.readouterr().err
