"""What an adversarial reading of the xds adapter found: answers that were taken for more, or for less, than they say."""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest

from adapters.errors import Busy, Corrupt, NotFound, Unavailable
from gateway.demo.xds import (
    PERSONALITIES,
    REPOSITORY,
    Document,
    FakeRepository,
    large,
    letter,
    on_demand,
    unassembled,
)
from tests.faults.test_xds_connections import canned, request, scripted
from tests.support.xds import fake_repository
from tests.support.xds_source import endpoint, locator, read, source

ENVELOPE = '<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Body>{}</s:Body></s:Envelope>'
FAILURE = "urn:oasis:names:tc:ebxml-regrep:ResponseStatusType:Failure"
SUCCESS = "urn:oasis:names:tc:ebxml-regrep:ResponseStatusType:Success"
PDF = b"%PDF-1.7\r\n" + bytes(200_000) + b"%%EOF\r\n"


@pytest.fixture
async def fake() -> AsyncIterator[FakeRepository]:
    async with fake_repository(letter(1), letter(2)) as running:
        yield running


def retrieved(*documents: str, status: str = SUCCESS, code: str | None = None) -> bytes:
    """The answer of a repository; `documents` are DocumentResponses as text."""
    listed = "" if code is None else f'<r:RegistryErrorList><r:RegistryError errorCode="{code}"/></r:RegistryErrorList>'
    return ENVELOPE.format(
        '<x:RetrieveDocumentSetResponse xmlns:x="urn:ihe:iti:xds-b:2007">'
        f'<r:RegistryResponse xmlns:r="urn:oasis:names:tc:ebxml-regrep:xsd:rs:3.0" status="{status}">{listed}'
        f"</r:RegistryResponse>{''.join(documents)}</x:RetrieveDocumentSetResponse>"
    ).encode()


def document(content: str, *, before: bool = True, id: str | None = None) -> str:
    """A DocumentResponse; `before`: its DocumentUniqueId stands before its bytes, as the schema has it."""
    said = f"<x:DocumentUniqueId>{id or letter(1).unique_id}</x:DocumentUniqueId>"
    held = f"<x:Document>{content}</x:Document>"
    return f"<x:DocumentResponse>{said + held if before else held + said}</x:DocumentResponse>"


def found(*entries: str, status: str | None = SUCCESS) -> bytes:
    """The answer of a registry."""
    said = "" if status is None else f' status="{status}"'
    return ENVELOPE.format(
        f'<q:AdhocQueryResponse xmlns:q="urn:oasis:names:tc:ebxml-regrep:xsd:query:3.0"{said}>'
        f'<m:RegistryObjectList xmlns:m="urn:oasis:names:tc:ebxml-regrep:xsd:rim:3.0">{"".join(entries)}'
        "</m:RegistryObjectList></q:AdhocQueryResponse>"
    ).encode()


def entry(id: str) -> str:
    return (
        '<m:ExtrinsicObject><m:ExternalIdentifier identificationScheme="urn:uuid:2e82c1f6-a085-4c72-9da3-8640a32e42ab" '
        f'value="{id}"/></m:ExtrinsicObject>'
    )


def packaged(data: bytes, *, close: bytes) -> bytes:
    include = '<i:Include xmlns:i="http://www.w3.org/2004/08/xop/include" href="cid:doc@x"/>'
    return (
        b"--b\r\nContent-Type: application/xop+xml\r\nContent-ID: <root@x>\r\n\r\n"
        + retrieved(document(include))
        + b"\r\n--b\r\nContent-Type: application/octet-stream\r\nContent-ID: <doc@x>\r\n\r\n"
        + data
        + close
    )


# --- more than it says ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verification", ["stream", "spool"])
@pytest.mark.parametrize(("code", "kind"), [("XDSRepositoryError", Corrupt), ("XDSDocumentUniqueIdError", NotFound)])
async def test_an_error_beside_an_empty_element_is_no_empty_document(code: str, kind: type, verification: str) -> None:
    """Stacks that bind XML to objects write an element for a document that they do not have."""
    for element in (document(""), document(" \n"), document("", before=False)):
        answer = canned(retrieved(element, status=FAILURE, code=code))
        async with scripted(answer) as url, source(endpoint(url, verification=verification)) as adapter:
            got = await read(adapter, locator(letter(1)))
        assert type(got.error) is kind
        assert got.before


@pytest.mark.parametrize(
    "status", [FAILURE, "urn:vendor:Unavailable", "urn:ihe:iti:2007:ResponseStatusType:PartialSuccess"]
)
async def test_an_empty_element_without_success_is_no_empty_document(status: str) -> None:
    async with scripted(canned(retrieved(document(""), status=status))) as url, source(endpoint(url)) as adapter:
        got = await read(adapter, locator(letter(1)))
    assert type(got.error) is Corrupt


async def test_an_empty_element_in_place_of_a_document_that_comes_later_is_none() -> None:
    rim = "urn:oasis:names:tc:ebxml-regrep:xsd:rim:3.0"
    slot = f'<r:ResponseSlotList><m:Slot xmlns:m="{rim}" name="DeferredProcessingRequired"/>'
    body = retrieved(document("")).replace(
        b"</r:RegistryResponse>", f"{slot}</r:ResponseSlotList></r:RegistryResponse>".encode()
    )
    async with scripted(canned(body)) as url, source(endpoint(url)) as adapter:
        got = await read(adapter, locator(letter(1)))
    assert isinstance(got.error, Busy)


async def test_an_empty_document_with_a_warning_is_one() -> None:
    body = retrieved(document(""), code="XDSExtraMetadataNotSaved").replace(
        b"errorCode", b'severity="x:Warning" errorCode'
    )
    async with scripted(canned(body)) as url, source(endpoint(url)) as adapter:
        got = await read(adapter, locator(letter(1)))
    assert (got.error, got.data) == (None, b"")


@pytest.mark.parametrize("verification", ["stream", "spool"])
async def test_a_body_of_unstated_length_without_its_closing_boundary_is_cut(verification: str) -> None:
    """A proxy that lost the repository in the middle ends its own chunks in good order."""

    async def chunked(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        body = packaged(PDF[:100_000], close=b"")
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: multipart/related; boundary=b\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        writer.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
        await writer.drain()

    async with scripted(chunked) as url, source(endpoint(url, verification=verification)) as adapter:
        got = await read(adapter, locator(letter(1)))
    assert type(got.error) is Corrupt
    assert "ended before the document did" in got.error.detail


async def test_a_body_of_stated_length_needs_no_closing_boundary() -> None:
    async with scripted(canned(packaged(PDF, close=b""))) as url, source(endpoint(url)) as adapter:
        got = await read(adapter, locator(letter(1)))
    assert (got.error, got.data) == (None, PDF)


# --- less than it says: "there is no such document" ----------------------------------------------------------------


@pytest.mark.parametrize("status", [FAILURE, "urn:vendor:Unavailable", None])
async def test_a_registry_that_fails_without_a_word_has_not_said_that_there_is_no_document(
    fake: FakeRepository, status: str | None
) -> None:
    async with scripted(canned(found(status=status))) as url:
        relied_on = {"url": url, "use_for": ["availability"]}
        async with source(endpoint(fake), registry=relied_on) as adapter:
            got = await read(adapter, locator(letter(1)))
    assert type(got.error) is Corrupt


async def test_a_registry_under_an_error_status_has_not_said_that_there_is_no_document(fake: FakeRepository) -> None:
    async with scripted(canned(found(), status=b"500 Internal Server Error")) as url:
        async with source(endpoint(fake), registry={"url": url, "use_for": ["availability"]}) as adapter:
            got = await read(adapter, locator(letter(1)))
    assert type(got.error) is Corrupt


@pytest.mark.parametrize(
    "stated", ["urn:uuid:9f3b1c60-1111-4222-8333-0123456789ab", "9F3B1C60-1111-4222-8333-0123456789AB"]
)
async def test_a_registry_writes_a_uuid_its_own_way(fake: FakeRepository, stated: str) -> None:
    uuid = "9f3b1c60-1111-4222-8333-0123456789ab"
    made = fake.shelf.put(replace(letter(1), unique_id=uuid))
    async with scripted(canned(found(entry(stated)))) as url:
        async with source(endpoint(fake), registry={"url": url, "use_for": ["availability"]}) as adapter:
            got = await read(adapter, f"^{REPOSITORY}^{uuid}")
    assert (got.error, got.data) == (None, made.data)


async def test_an_error_status_around_an_answer_that_says_nothing_is_what_it_says() -> None:
    answer = canned(retrieved(), b"Retry-After: 9", status=b"503 Service Unavailable")
    async with scripted(answer) as url, source(endpoint(url)) as adapter:
        got = await read(adapter, locator(letter(1)))
    assert isinstance(got.error, Busy)
    assert got.error.retry_after == 9


@pytest.mark.parametrize("host", ["a..b", "x" * 64 + ".local"])
async def test_a_name_that_no_host_can_have_is_not_known(host: str) -> None:
    async with source(endpoint(f"http://{host}/repository", allow_http=True)) as adapter:
        got = await read(adapter, locator(letter(1)))
    assert isinstance(got.error, Unavailable)
    assert "name is not known here" in got.error.detail


# --- facts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [on_demand, unassembled, letter])
async def test_a_look_and_a_reading_agree_about_the_version(
    fake: FakeRepository, kind: Callable[[int], Document]
) -> None:
    """A look that promises less than the reading does would send a reader who revalidates away for good."""
    made = fake.shelf.put(kind(3))
    registry: dict[str, Any] = {"url": fake.endpoint("registry"), "use_for": ["stat"]}
    async with source(endpoint(fake), registry=registry) as adapter:
        looked = await adapter.stat(locator(made))
        async with adapter.open(locator(made), version=looked.version) as content:
            assert content.descriptor.version == looked.version
            assert content.descriptor.media_type == looked.media_type


# --- what it may cost ----------------------------------------------------------------------------------------------


async def test_documents_that_may_be_the_one_are_few(fake: FakeRepository) -> None:
    """Each is kept until its id is known, a megabyte of it in memory and the rest in a file of its own."""
    many = [document(base64.b64encode(bytes(300_000)).decode(), before=False, id=f"1.2.3.{turn}") for turn in range(40)]
    async with scripted(canned(retrieved(*many, document("QUJD")))) as url, source(endpoint(url)) as adapter:
        got = await read(adapter, locator(letter(1)))
    assert type(got.error) is Corrupt
    assert "before" in got.error.detail


async def test_several_documents_without_their_ids_first_are_told_apart(fake: FakeRepository) -> None:
    few = [document("QUJD", before=False, id=f"1.2.3.{turn}") for turn in range(3)]
    async with (
        scripted(canned(retrieved(*few, document("REVG", before=False)))) as url,
        source(endpoint(url)) as adapter,
    ):
        got = await read(adapter, locator(letter(1)))
    assert (got.error, got.data) == (None, b"DEF")


@pytest.mark.parametrize("personality", ["axis2", "root-last", "inline"])
@pytest.mark.parametrize("verification", ["stream", "spool"])
async def test_a_reader_who_leaves_at_any_moment_leaves_nothing_behind(
    fake: FakeRepository, verification: str, personality: str
) -> None:
    fake.personality = PERSONALITIES[personality]
    wanted = fake.shelf.put(large(2_000_000))
    given = endpoint(fake, verification=verification, max_connections=1)
    registry: dict[str, Any] = {"url": fake.endpoint("registry"), "use_for": ["verify"], "max_connections": 1}
    async with source(given, registry=registry) as adapter:
        assert (await read(adapter, locator(wanted))).error is None
        before, tasks = len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks())
        for turns in (*range(60), *range(60, 1500, 97)):
            reading = asyncio.ensure_future(read(adapter, locator(wanted)))
            for _ in range(turns):
                await asyncio.sleep(0)
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
        got = await read(adapter, locator(wanted))
        assert (got.error, got.data) == (None, wanted.data)
        for _ in range(500):
            if len(os.listdir("/proc/self/fd")) <= before and len(asyncio.all_tasks()) <= tasks:
                break
            await asyncio.sleep(0.01)
        assert len(os.listdir("/proc/self/fd")) <= before
        assert len(asyncio.all_tasks()) <= tasks
