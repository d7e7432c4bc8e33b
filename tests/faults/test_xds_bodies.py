"""What goes wrong inside a document, seen at the reader's socket: part of a document never looks like the whole.

The long document has left the gateway in part when its repository fails, so there is no status left to say so: the
connection must be reset. Natively and in both envelopes, with a length and in chunks.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.demo.xds import PERSONALITIES, FakeRepository, Fault, letter
from tests.faults.xds_breaks import BROKEN, LONG
from tests.support.raw_http import Answer, Ending, connect, request
from tests.support.xds import fake_repository
from tests.support.xds_gateway import XdsGateway, options, xds_gateway

pytestmark = pytest.mark.blocking_allowed

FORMS = {
    "native": ("R4", {}),
    "json": ("R4", {"accept": "application/fhir+json"}),
    "xml": ("STU3", {"accept": "application/fhir+xml"}),
}

SHORT = {"connect": "2s", "first_byte": "10s", "between_bytes": "300ms"}


@pytest.fixture
async def fake() -> AsyncIterator[FakeRepository]:
    async with fake_repository(letter(1), letter(2), LONG) as running:
        yield running


def sources(fake: FakeRepository, **more: Any) -> dict[str, Any]:
    """One source that learns the size from the registry, and one that does not."""
    return {
        "sized": options(fake, use_for=("stat", "verify"), timeouts=SHORT, **more),
        "unsized": options(fake, timeouts=SHORT, **more),
    }


async def whole(gateway: XdsGateway, source: str, form: str) -> bytes:
    base, headers = FORMS[form]
    answer = await gateway.ask(source, LONG, base=base, **headers)
    assert (answer.status, answer.complete) == (200, True)
    assert answer.framing == ("length" if source == "sized" else "chunked")
    return answer.body


@pytest.mark.parametrize("case", BROKEN)
async def test_a_document_that_breaks_off_is_a_reset(fake: FakeRepository, tmp_path: Path, case: str) -> None:
    personality, fault, error = BROKEN[case]
    fake.personality = PERSONALITIES[personality]
    async with xds_gateway(sources(fake), tmp_path, read="direct") as gateway:
        for source in ("sized", "unsized"):
            for form, (base, headers) in FORMS.items():
                true = await whole(gateway, source, form)
                fake.next(fault, at="repository")
                answer = await gateway.ask(source, LONG, base=base, **headers)
                assert (answer.status, answer.complete, answer.ending) == (200, False, Ending.RESET), (source, form)
                assert 0 < len(answer.body) < len(true)
                assert true.startswith(answer.body)
        lines = [line for line in await gateway.service.lines(12) if line["outcome"] != "complete"]
    assert [(line["code"], line["outcome"], line["level"]) for line in lines] == [
        ("GW-END-001", "aborted", "warning")
    ] * 6
    assert all(line["detail"].startswith(f"{error}: endpoint a: ") for line in lines)
    assert [line["representation"] for line in lines] == ["native", "envelope", "envelope"] * 2


@pytest.mark.parametrize("case", BROKEN)
async def test_a_shared_read_that_breaks_off_is_mended(fake: FakeRepository, tmp_path: Path, case: str) -> None:
    personality, fault, _ = BROKEN[case]
    fake.personality = PERSONALITIES[personality]
    async with xds_gateway(sources(fake), tmp_path) as gateway:
        for source in ("sized", "unsized"):
            fake.next(fault, at="repository")
            answer = await gateway.ask(source, LONG)
            assert (answer.status, answer.complete, answer.body == LONG.data) == (200, True, True), source


@pytest.mark.parametrize("form", FORMS)
async def test_a_document_of_another_hash_lacks_its_end(fake: FakeRepository, tmp_path: Path, form: str) -> None:
    base, headers = FORMS[form]
    async with xds_gateway(sources(fake), tmp_path, read="direct") as gateway:
        true = await whole(gateway, "sized", form)
        fake.next("wrong-hash", at="registry")
        answer = await gateway.ask("sized", LONG, base=base, **headers)
        assert (answer.status, answer.complete, answer.ending) == (200, False, Ending.RESET)
        # The version is the hash that the registry states, and stands at the beginning of an envelope.
        assert answer.body[-1000:] in true
        assert len(answer.body) < len(true)
        line = (await gateway.service.lines(2))[-1]
    assert (line["code"], line["outcome"]) == ("GW-END-001", "aborted")
    assert "digest" in line["detail"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("case", ["cut, framed by the connection", "reset, with a length", "spoilt base64"])
async def test_an_http_1_0_reader_is_told_before_the_first_byte(
    fake: FakeRepository, tmp_path: Path, case: str, form: str
) -> None:
    """It could not tell an end from a loss; the document is gathered first where no length is known."""
    personality, fault, _ = BROKEN[case]
    base, headers = FORMS[form]
    fake.personality = PERSONALITIES[personality]
    async with xds_gateway(sources(fake), tmp_path, read="direct") as gateway:
        fake.next(fault)
        answer = await gateway.ask("unsized", LONG, base=base, version="1.0", **headers)
        assert answer.status in (502, 503)
        assert b"OperationOutcome" in answer.body
        fake.next(fault, at="repository")
        answer = await gateway.ask("sized", LONG, base=base, version="1.0", **headers)
        assert (answer.status, answer.complete, answer.ending) == (200, False, Ending.RESET)


async def test_a_document_that_waits_to_be_whole_shows_nothing_of_a_broken_one(
    fake: FakeRepository, tmp_path: Path
) -> None:
    async with xds_gateway(sources(fake, verification="spool"), tmp_path, read="direct") as gateway:
        for case, (personality, fault, _) in BROKEN.items():
            fake.personality = PERSONALITIES[personality]
            # What did not come is asked for once more, before anybody was told anything.
            fake.next(fault, times=2, at="repository")
            answer = await gateway.ask("unsized", LONG)
            fake.forget()
            if case == "a second part of the same id":
                assert answer.status == 502
            assert answer.status in (502, 503, 504), case
            assert answer.json()["resourceType"] == "OperationOutcome"
            assert (await gateway.ask("unsized", LONG)).body == LONG.data


async def test_after_a_reset_the_next_reader_gets_the_whole(fake: FakeRepository, tmp_path: Path) -> None:
    async with xds_gateway(sources(fake), tmp_path, read="direct") as gateway:
        for _ in range(3):
            fake.next("reset", at="repository")
            assert (await gateway.ask("sized", LONG)).ending is Ending.RESET
            assert await whole(gateway, "sized", "native") == LONG.data


# --- somebody else's document --------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["wrong-id", "missing-id"])
@pytest.mark.parametrize("personality", ["standard", "inline", "root-last", "swa", "closing", "gzip"])
async def test_somebody_elses_document_is_refused_before_any_byte(
    fake: FakeRepository, tmp_path: Path, personality: str, fault: str
) -> None:
    fake.personality = PERSONALITIES[personality]
    stranger = letter(2).data
    asked = 0
    async with xds_gateway({"care": options(fake)}, tmp_path) as gateway:
        for document in (letter(1), LONG):
            for more in ({}, {"accept": "application/fhir+json"}, {"method": "HEAD"}, {"range": "bytes=0-99"}):
                fake.next(fault)
                answer = await gateway.ask("care", document, **more)
                asked += 1
                assert (answer.status, answer.complete) == (502, True)
                assert stranger[:64] not in answer.body
                assert base64.b64encode(stranger[:60]) not in answer.body
                assert letter(2).unique_id not in str(answer.fields)
        records = await gateway.records(asked)
    requests = [record for record in records if record["event"] == "request"]
    assert [(one["level"], one["code"], one["bytes"] > 0) for one in requests if one["method"] == "GET"] == [
        ("error", "GW-SRC-006", True)
    ] * 6
    alerts = [record for record in records if record["event"].startswith("ALERT")]
    assert [record["count"] for record in alerts] == list(range(1, asked + 1))
    assert {(record["source"], record["endpoint"]) for record in alerts} == {("care", "endpoint a")}
    assert not any(letter(number).unique_id in str(records) for number in (1, 2))


# --- references that lead elsewhere --------------------------------------------------------------------------------


@asynccontextmanager
async def trap() -> AsyncIterator[tuple[int, list[bytes]]]:
    """A listener that nobody may call: its port, and the first bytes of whoever did."""
    caught: list[bytes] = []

    async def called(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        caught.append(await reader.read(100))
        writer.close()

    server = await asyncio.start_server(called, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], caught


HREFS = (
    "http://127.0.0.1:{port}/document", "HTTP://127.0.0.1:{port}/", "https://127.0.0.1:{port}/document",
    "ftp://127.0.0.1:{port}/document", "//127.0.0.1:{port}/document", "file://127.0.0.1:{port}/etc/hostname",
    "jar:http://127.0.0.1:{port}/a!/b",
)  # fmt: skip

IDS = ("cid:http://127.0.0.1:{port}/document", "cid:http%3A%2F%2F127.0.0.1%3A{port}%2Fdocument")
"""Ids that look like addresses, as WCF has them: with one part and one reference, they can mean that part alone."""


async def test_the_trap_catches(fake: FakeRepository) -> None:
    async with trap() as (port, caught):
        async with connect("127.0.0.1", port) as connection:
            await connection.send(request("/document"))
            await connection.rest()
    assert len(caught) == 1


async def test_a_reference_out_of_the_answer_is_not_followed(fake: FakeRepository, tmp_path: Path) -> None:
    async with trap() as (port, caught), xds_gateway({"care": options(fake)}, tmp_path) as gateway:
        for href in (*HREFS, *IDS):
            fake.next(Fault("include", "", {"href": href.format(port=port)}))
            answer = await gateway.ask("care", letter(1))
            assert answer.status == (200 if href in IDS else 502), href
            assert str(port).encode() not in answer.body
        await asyncio.sleep(0.1)
        assert caught == []
        records = await gateway.records(len(HREFS) + len(IDS))
        assert not any(str(port) in str(record) for record in records)
    assert len(fake.exchanges) == len(HREFS) + len(IDS)


async def test_a_reference_to_a_file_is_not_opened(fake: FakeRepository, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("the secret of this machine")
    async with xds_gateway({"care": options(fake)}, tmp_path) as gateway:
        for href in (f"file://{secret}", f"file:{secret}", str(secret), f"cid:{secret}", f"cid:file://{secret}"):
            fake.next(Fault("include", "", {"href": href, "idle_parts": 1}))
            answer = await gateway.ask("care", letter(1))
            assert answer.status == 502, href
            assert b"secret" not in answer.body
        assert "secret" not in str(await gateway.records(5))


# --- what a repository calls a document ----------------------------------------------------------------------------

INJECTIONS = (
    "application/pdf\r\nX-Injected: yes", "application/pdf\nX-Injected: yes", "application/pdf\r\n\r\n<script>",
    "application/pdf; name=\"a\r\nX-Injected: yes\"", "application/pdf\u2028X-Injected: yes", "a/b/c", "x" * 5000 + "/y",
)  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
async def test_line_ends_in_a_media_type_reach_no_header(fake: FakeRepository, tmp_path: Path, form: str) -> None:
    base, headers = FORMS[form]
    async with xds_gateway({"care": options(fake)}, tmp_path) as gateway:
        for stated in INJECTIONS:
            fake.next(Fault("type", "", {"media_type": stated}))
            answer: Answer = await gateway.ask("care", letter(1), base=base, **headers)
            assert (answer.status, answer.complete) == (200, True)
            assert answer.field("X-Injected") is None
            assert "Injected" not in str(answer.fields)
            if form == "native":
                assert answer.field("Content-Type") == "application/pdf"
                assert answer.body == letter(1).data
            else:
                assert b"application/pdf" in answer.body[:400]
                assert b"Injected" not in answer.body
