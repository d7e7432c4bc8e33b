"""The fake repository's answers hold the right document, whatever their dress.

Every personality and every fault that spares the document, each read with the mail parser and lxml. What faults do on
the wire is in `test_fake_repository_faults`, what requests must look like in `test_fake_repository_requests`.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.demo.xds import (
    FAULTS,
    HOME,
    PERSONALITIES,
    STANDARD,
    Document,
    Generated,
    Stored,
    large,
    letter,
    named,
    on_demand,
)
from gateway.demo.xds.contents import BLOCK, Inline, inline_base64, total
from gateway.demo.xds.documents import REPOSITORY
from gateway.demo.xds.vendors import boundary_prefixes
from tests.meta.xds_oracle import read
from tests.support.raw_http import connect
from tests.support.xds import CROSS_RETRIEVE, addressing, ask, assertion, fake_repository, retrieve, security

XML = Document(
    unique_id="1.2.3^cda", content=Stored("<ClinicalDocument>Ärzte & <b>Söhne</b>\n</ClinicalDocument>".encode()),
    media_type="text/xml",
)  # fmt: skip
"""A document that can stand in an envelope as it is; its id needs no escaping in XML, but everything else does."""

NEAR_MISSES = Document(unique_id="2.25.1", content=Stored(boundary_prefixes()))

LETTER = letter(1)
OTHERS = (Document(unique_id="2.25.2", content=Stored(b"\r\n")), Document(unique_id="2.25.3", content=Stored(b"--")))

SPARING = [fault.name for fault in FAULTS.values() if fault.whole and fault.where == "repository"]
"""Faults whose answers still hold the document."""

ASKED_OTHERWISE = {
    "refuses-addressing": {"headers": ""},
    "requires-security": {"headers": addressing("urn:ihe:iti:2007:RetrieveDocumentSet", more=security(assertion()))},
    "wants-oid-prefix": {"prefix": "urn:oid:"},
}
"""What a request must do for those faults that are about requests."""


def documents(personality: str) -> list[Document]:
    """What this personality is tried with."""
    if PERSONALITIES.get(personality, STANDARD).text != "base64":
        return [XML]
    return [LETTER, XML, NEAR_MISSES, *OTHERS]


@pytest.mark.parametrize("name", PERSONALITIES)
@pytest.mark.parametrize("encoding", ["mtom", "soap12", "soap11"])
async def test_every_personality_sends_the_document(name: str, encoding: str):
    personality = PERSONALITIES[name]
    encoding = encoding if encoding in personality.accepts else "soap11"
    async with fake_repository(*documents(name), personality=personality) as fake:
        for document in documents(name):
            answer = await ask(fake, retrieve(document, encoding=encoding))
            assert (answer.status, answer.complete) == (200, True)
            body = answer.body
            if name == "gzip":
                assert answer.field("Content-Encoding") == "gzip"
                body = gzip.decompress(body)
            (found,) = read(answer.field("Content-Type") or "", body).documents
            assert (found.repository, found.document) == (REPOSITORY, document.unique_id)
            assert found.media_type == document.media_type
            assert found.data == document.data


@pytest.mark.parametrize("fault", SPARING)
async def test_a_fault_that_spares_the_document_does(fault: str):
    document = XML if fault == "raw-text" else LETTER
    async with fake_repository(document) as fake:
        slow = FAULTS[fault].changes.get("drip", (0, 0))[1]
        fake.next(FAULTS[fault].but(drip=(1000, 0.001)) if slow else fault)
        said = retrieve(document, **ASKED_OTHERWISE.get(fault, {}))
        answer = await interim_ignored(fake, said) if fault == "interim" else await ask(fake, said)
        assert answer.complete
        found = read(answer.field("Content-Type") or "", answer.body).documents
        assert document.data in [one.data for one in found]


async def interim_ignored(fake, said):
    async with connect(fake.host, fake.port) as connection:
        await connection.send(said.message("/repository"))
        interim = await connection.answer("HEAD")
        assert (interim.status, interim.fields) == (100, ())
        return await connection.answer("POST")


@pytest.mark.parametrize(
    "name", ["cxf+slow-start", "swa+reset", "no-close", "truncated", "reset+cookies", "wcf+interim+drip+reset", "axis2"]
)
def test_names_say_a_personality_and_its_faults(name: str):
    personality = named(name)
    parts = name.split("+")
    assert all(part in personality.name for part in parts)
    assert personality.whole == all(FAULTS[part].whole for part in parts if part in FAULTS)


def test_a_name_that_nobody_has_is_no_personality():
    for name in ("", "cxf+", "cxf+nothing", "+reset"):
        with pytest.raises(KeyError):
            named(name)


async def test_home_communities_are_echoed_and_required_between_communities():
    async with fake_repository(LETTER) as fake:
        for path, action, home, codes in (
            ("/gateway", CROSS_RETRIEVE, HOME, []),
            ("/gateway", CROSS_RETRIEVE, None, ["XDSMissingHomeCommunityId"]),
            ("/gateway", CROSS_RETRIEVE, "urn:oid:1.2.3", ["XDSUnknownCommunity"]),
            ("/repository", "urn:ihe:iti:2007:RetrieveDocumentSet", HOME, []),
            ("/repository", "urn:ihe:iti:2007:RetrieveDocumentSet", "urn:oid:1.2.3", ["XDSUnknownCommunity"]),
        ):
            answer = await ask(fake, retrieve(LETTER, home=home, action=action), path)
            reading = read(answer.field("Content-Type") or "", answer.body)
            assert reading.codes == codes
            assert [one.home for one in reading.documents] == ([] if codes else [HOME])
            assert reading.text("//a:Action") == f"{action}Response"
            where = reading.all("//rs:RegistryError/@location")
            assert where == ([HOME] if codes and path == "/gateway" else [])


async def test_what_is_not_there_is_told_apart():
    missing = letter(99)
    elsewhere = Document(unique_id=LETTER.unique_id, content=LETTER.content, repository="1.2.3")
    async with fake_repository(LETTER) as fake:
        answer = await ask(fake, retrieve(missing))
        reading = read(answer.field("Content-Type") or "", answer.body)
        assert (reading.status, reading.codes) == ("Failure", ["XDSDocumentUniqueIdError"])
        answer = await ask(fake, retrieve(elsewhere))
        reading = read(answer.field("Content-Type") or "", answer.body)
        assert (reading.status, reading.codes) == ("Failure", ["XDSUnknownRepositoryId"])
        fake.shelf.put(replace(letter(2), repository="1.2.3"))
        answer = await ask(fake, retrieve(letter(2)))
        reading = read(answer.field("Content-Type") or "", answer.body)
        assert (reading.status, reading.codes) == ("Failure", ["XDSDocumentUniqueIdError"])
        answer = await ask(fake, retrieve(LETTER, missing))
        reading = read(answer.field("Content-Type") or "", answer.body)
        assert (reading.status, reading.codes) == ("PartialSuccess", ["XDSDocumentUniqueIdError"])
        assert [one.data for one in reading.documents] == [LETTER.data]


async def test_several_documents_keep_their_parts():
    async with fake_repository(LETTER, XML, letter(2), personality=PERSONALITIES["cxf"]) as fake:
        answer = await ask(fake, retrieve(letter(2), XML, LETTER))
    found = read(answer.field("Content-Type") or "", answer.body).documents
    assert [one.document for one in found] == [letter(2).unique_id, XML.unique_id, LETTER.unique_id]
    assert [one.data for one in found] == [letter(2).data, XML.data, LETTER.data]


async def test_a_document_made_on_demand_has_a_new_id():
    document = on_demand(3)
    async with fake_repository(document) as fake:
        answer = await ask(fake, retrieve(document))
        (found,) = read(answer.field("Content-Type") or "", answer.body).documents
        assert (found.document, found.new_document, found.data) == (
            document.unique_id, document.new_id, document.data,
        )  # fmt: skip
        kept = Document(unique_id=document.new_id or "", content=document.content)
        answer = await ask(fake, retrieve(kept))
        (found,) = read(answer.field("Content-Type") or "", answer.body).documents
        assert (found.document, found.new_document, found.data) == (kept.unique_id, None, document.data)


async def test_answers_are_the_same_on_every_run():
    async def once() -> bytes:
        async with fake_repository(letter(1), personality=PERSONALITIES["metro"]) as fake:
            async with connect(fake.host, fake.port) as connection:
                await connection.send(retrieve(letter(1)).message("/repository"))
                return await connection.rest()

    assert await once() == await once()


# --- large documents -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("personality", ["axis2", "plain-soap12", "base64-cte", "inline"])
async def test_a_large_document_is_sent_whole_without_being_held(personality: str, tmp_path: Path):
    size = 24_000_001
    document = large(size)
    expected = document.sha1
    async with fake_repository(document, personality=PERSONALITIES[personality].but(framing="length")) as fake:
        reader, writer = await asyncio.open_connection(fake.host, fake.port)
        tracemalloc.start()
        try:
            writer.write(retrieve(document).message("/repository"))
            head = await reader.readuntil(b"\r\n\r\n")
            with (tmp_path / "body").open("wb") as file:
                while piece := await reader.read(1 << 18):
                    file.write(piece)
            held = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
            writer.close()
            await writer.wait_closed()
    # The noise in both forms, a block on its way, and what the two ends of the connection hold.
    assert held < 12 * BLOCK
    body = (tmp_path / "body").read_bytes()
    fields = dict(line.split(": ", 1) for line in head.decode("latin-1").strip().split("\r\n")[1:])
    assert len(body) == int(fields["Content-Length"])
    (found,) = read(fields["Content-Type"], body).documents
    assert len(found.data or b"") == size
    assert hashlib.sha1(found.data or b"").hexdigest() == expected


@given(st.integers(0, 3 * BLOCK), st.sampled_from(["", "seed"]))
def test_generated_content_is_one_thing_in_both_forms(size: int, seed: str):
    content = Generated(size, seed=seed)
    data = b"".join(content.chunks())
    assert len(data) == size
    assert base64.b64encode(data) == b"".join(content.encoded())
    assert content.sha1 == hashlib.sha1(data).hexdigest()


def test_no_two_blocks_of_generated_content_are_equal():
    blocks = list(Generated(20 * BLOCK).chunks())
    assert len(set(blocks)) == 20


@given(
    st.binary(max_size=400),
    st.builds(
        Inline,
        wrap=st.sampled_from([0, 4, 57, 76]),
        eol=st.sampled_from([b"\n", b"\r\n"]),
        around=st.sampled_from([b"", b" \n"]),
        padding=st.booleans(),
        url_safe=st.booleans(),
    ),
)
def test_inline_base64_is_as_long_as_it_says_and_decodes(data: bytes, form: Inline):
    run = inline_base64(Stored(data), form)
    text = b"".join(run.write())
    assert total([run]) == len(text)
    lines = text.removeprefix(form.around).split(form.eol)
    assert max(map(len, lines)) <= (form.wrap or len(text))
    bare = b"".join(text.split()).translate(bytes.maketrans(b"-_", b"+/"))
    assert not form.url_safe or not (b"+" in text or b"/" in text)
    assert form.padding or b"=" not in text
    assert base64.b64decode(bare + b"=" * (-len(bare) % 4), validate=True) == data
