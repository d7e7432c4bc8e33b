"""Documents of a repository: from the answers of every vendor, in every packing, with a registry or without."""

from __future__ import annotations

import asyncio
import hashlib
import tracemalloc
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from adapters.contract import MAX_CHUNK, WHOLE, Span
from adapters.errors import Busy, Changed, Corrupt, Deleted, InvalidLocator, NotFound, Unavailable
from adapters.testing.harness import RecordingLog
from adapters.xds import arrival
from gateway.demo.xds import (
    FAULTS,
    HOME,
    OTHER_REPOSITORY,
    PERSONALITIES,
    REPOSITORY,
    Ending,
    FakeRepository,
    Stored,
    large,
    letter,
    on_demand,
    unassembled,
)
from tests.support.xds import fake_repository
from tests.support.xds_source import endpoint, locator, read, source

COMMUNITY = HOME.removeprefix("urn:oid:")
LONG = large(3_000_000)
SMALL = (letter(1), letter(2))


@pytest.fixture
async def fake() -> AsyncIterator[FakeRepository]:
    async with fake_repository(*SMALL, LONG) as running:
        yield running


@pytest.fixture
def no_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """A short document is waited for however slow this machine is."""
    monkeypatch.setattr(arrival, "PATIENCE", 10.0)


def packing(name: str) -> str:
    """A packing that the personality takes."""
    accepts = PERSONALITIES[name].accepts
    return "mtom" if "mtom" in accepts else sorted(accepts)[0]


def registry(fake: FakeRepository, *use_for: str, **more: Any) -> dict[str, Any]:
    return {"url": fake.endpoint("registry"), "use_for": use_for} | more


# --- every vendor --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verification", ["stream", "spool"])
@pytest.mark.parametrize("name", [name for name, vendor in PERSONALITIES.items() if vendor.whole])
async def test_every_vendors_answer_is_the_true_document(fake: FakeRepository, name: str, verification: str) -> None:
    fake.personality = PERSONALITIES[name]
    text = fake.shelf.put(
        replace(letter(3), content=Stored(b"<ClinicalDocument>\n</ClinicalDocument>"), media_type="text/xml")
    )
    given = endpoint(fake, request_encoding=packing(name), verification=verification, allow_raw_text=True)
    documents = [text] if PERSONALITIES[name].text != "base64" else [*SMALL, LONG, text]
    asked = registry(fake, "stat", "verify", request_encoding="soap11" if packing(name) == "soap11" else "soap12")
    async with source(given, registry=asked) as adapter:
        for document in documents:
            got = await read(adapter, locator(document))
            assert (got.error, hashlib.sha1(got.data).hexdigest()) == (None, document.sha1)
            assert got.descriptor is not None
            assert got.descriptor.size == len(document.data)
            assert got.descriptor.digest is not None
            assert got.descriptor.digest.value.hex() == document.sha1


@pytest.mark.parametrize("encoding", ["mtom", "soap12", "soap11"])
async def test_every_packing_of_requests(fake: FakeRepository, encoding: str) -> None:
    async with source(endpoint(fake, request_encoding=encoding)) as adapter:
        got = await read(adapter, locator(letter(1)))
    assert (got.error, got.data) == (None, letter(1).data)
    assert fake.exchanges[0].asked is not None
    assert fake.exchanges[0].asked.encoding == encoding


async def test_requests_for_those_who_want_little(fake: FakeRepository) -> None:
    fake.personality = FAULTS["refuses-addressing"].on(fake.personality)
    async with source(endpoint(fake, ws_addressing=[])) as adapter:
        assert (await read(adapter, locator(letter(1)))).error is None
    fake.personality = replace(fake.personality, addressing="required")
    async with source(endpoint(fake, must_understand=False)) as adapter:
        assert (await read(adapter, locator(letter(1)))).error is None
    assert b"mustUnderstand" not in fake.exchanges[-1].request.body


async def test_an_address_that_a_proxy_hides(fake: FakeRepository) -> None:
    fake.personality = replace(fake.personality, address="https://public.trust.local/xds?a=1&b=2")
    async with source(endpoint(fake, wsa_to="https://public.trust.local/xds?a=1&b=2")) as adapter:
        assert (await read(adapter, locator(letter(1)))).error is None
    async with source(endpoint(fake)) as adapter:
        assert isinstance((await read(adapter, locator(letter(1)))).error, Corrupt)


async def test_ids_as_a_partner_wants_them(fake: FakeRepository) -> None:
    uuid = "9F3B1C60-1111-4222-8333-0123456789AB"
    document = fake.shelf.put(replace(letter(1), unique_id=f"urn:uuid:{uuid.lower()}"))
    fake.personality = FAULTS["wants-oid-prefix"].on(fake.personality)
    async with source(endpoint(fake, repository_id_style="urn", document_id_style="urn_uuid")) as adapter:
        got = await read(adapter, f"^{REPOSITORY}^{uuid}")
    assert (got.error, got.data) == (None, document.data)


async def test_an_id_with_everything_in_it(fake: FakeRepository) -> None:
    document = fake.shelf.put(replace(letter(1), unique_id="1.2.3^<SCAN> & \"17\" 'ä' ]]>"))
    async with source(endpoint(fake), registry=registry(fake, "stat", "verify")) as adapter:
        got = await read(adapter, locator(document))
        assert (got.error, got.data) == (None, document.data)
        assert (await adapter.stat(locator(document))).size == len(document.data)


async def test_types_are_corrected(fake: FakeRepository) -> None:
    async with source(endpoint(fake, media_types={"application/pdf": "application/x-letter"})) as adapter:
        got = await read(adapter, locator(letter(1)))
    assert got.descriptor is not None
    assert got.descriptor.media_type == "application/x-letter"


# --- where a document is -------------------------------------------------------------------------------------------


async def test_two_repositories_and_a_community(fake: FakeRepository) -> None:
    other = fake.shelf.put(replace(letter(3), repository=OTHER_REPOSITORY))
    own = endpoint(fake)
    second = endpoint(fake, alias="b", repository_unique_ids=[f"urn:oid:{OTHER_REPOSITORY}"])
    community = endpoint(
        fake.endpoint("gateway"), alias="c", transaction="iti39", home_community_id=HOME, repository_unique_ids=[]
    )
    async with source(own, second, community) as adapter:
        for where, data in (
            (locator(letter(1)), letter(1).data),
            (locator(other), other.data),
            (locator(letter(2), home=COMMUNITY), letter(2).data),
        ):
            got = await read(adapter, where)
            assert (got.error, got.data) == (None, data)
    assert [exchange.endpoint for exchange in fake.exchanges] == ["repository", "repository", "gateway"]
    assert [one.home for exchange in fake.exchanges for one in exchange.documents] == [None, None, HOME]


async def test_a_community_is_added_where_the_endpoint_has_one(fake: FakeRepository) -> None:
    async with source(endpoint(fake, home_community_id=HOME)) as adapter:
        assert (await read(adapter, locator(letter(1)))).error is None
        assert (await read(adapter, locator(letter(1), home=COMMUNITY))).error is None
    assert [one.home for exchange in fake.exchanges for one in exchange.documents] == [HOME, HOME]


@pytest.mark.parametrize(
    ("where", "kind"),
    [
        (f"^1.2.3.4^{letter(1).unique_id}", NotFound),
        (f"{COMMUNITY}^{REPOSITORY}^{letter(1).unique_id}", NotFound),
        ("nothing of the kind", InvalidLocator),
        (f"^{REPOSITORY}^", InvalidLocator),
    ],
)
async def test_nobody_is_asked_for_what_nobody_can_have(fake: FakeRepository, where: str, kind: type[NotFound]) -> None:
    async with source(endpoint(fake), registry=registry(fake, "stat", "verify", "availability")) as adapter:
        assert isinstance((await read(adapter, where)).error, kind)
        with pytest.raises(kind):
            await adapter.stat(where)
    assert fake.exchanges == []


# --- how it comes --------------------------------------------------------------------------------------------------


async def test_a_short_document_has_its_size_without_a_registry(fake: FakeRepository, no_hurry: None) -> None:
    fake.next("crumbs")
    async with source(endpoint(fake)) as adapter:
        short, long = await read(adapter, locator(letter(1))), await read(adapter, locator(LONG))
    assert short.descriptor is not None
    assert long.descriptor is not None
    assert (short.descriptor.size, long.descriptor.size) == (len(short.data), None)


@pytest.mark.parametrize("faults", [("reset",), ("truncated",), ("dup-cid", "crumbs")])
async def test_what_is_wrong_with_a_short_document_is_known_before_its_first_byte(
    fake: FakeRepository, no_hurry: None, faults: tuple[str, ...]
) -> None:
    fake.next(*faults)
    async with source(endpoint(fake)) as adapter:
        got = await read(adapter, locator(letter(1)))
    assert got.error is not None
    assert (got.before, got.data) == (True, b"")


async def test_spans_are_not_known_and_it_is_said(fake: FakeRepository) -> None:
    async with source(endpoint(fake)) as adapter:
        assert not adapter.capabilities.spans
        for document, span in ((letter(1), Span(0, len(letter(1).data))), (LONG, WHOLE)):
            async with adapter.open(locator(document), Span(10, 20)) as content:
                assert content.span == span
                assert b"".join([chunk async for chunk in content.chunks]) == document.data


@pytest.mark.parametrize("encoding", ["mtom", "soap12"])
async def test_a_large_document_passes_in_little_memory(fake: FakeRepository, encoding: str) -> None:
    size = 64 << 20
    document = fake.shelf.put(large(size, unique_id="1.2.3.64"))
    got, largest = 0, 0
    async with source(endpoint(fake, request_encoding=encoding)) as adapter:
        tracemalloc.start()
        try:
            async with adapter.open(locator(document)) as content:
                async for chunk in content.chunks:
                    got += len(chunk)
                    largest = max(largest, len(chunk))
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert got == size
    assert largest <= MAX_CHUNK
    # The fake repository's own buffers are in it too.
    assert peak < 12 << 20


async def test_a_connection_carries_one_document_after_another(fake: FakeRepository) -> None:
    async with source(endpoint(fake)) as adapter:
        for document in (letter(1), LONG, letter(2), LONG):
            assert (await read(adapter, locator(document))).error is None
    assert {exchange.connection for exchange in fake.exchanges} == {1}


async def test_sessions_of_a_load_balancer_are_not_kept(fake: FakeRepository) -> None:
    # By name: cookies of addresses are kept by nobody.
    async with source(endpoint(fake.endpoint().replace("127.0.0.1", "localhost"))) as adapter:
        fake.next("cookies")
        await read(adapter, locator(letter(1)))
        await read(adapter, locator(letter(1)))
    assert fake.exchanges[1].request.field("Cookie") is None


async def test_a_proxy_of_the_environment_is_not_asked(fake: FakeRepository, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with source(endpoint(fake)) as adapter:
        assert (await read(adapter, locator(letter(1)))).error is None


async def test_a_redirect_is_not_followed(fake: FakeRepository) -> None:
    fake.next("redirect-login")
    async with source(endpoint(fake)) as adapter:
        assert isinstance((await read(adapter, locator(letter(1)))).error, Unavailable)
    assert len(fake.exchanges) == 1


async def test_many_documents_at_once_keep_apart(fake: FakeRepository) -> None:
    documents = [fake.shelf.put(large(300_000 + turn, unique_id=f"1.2.3.{turn}")) for turn in range(24)]
    async with source(endpoint(fake), registry=registry(fake, "verify")) as adapter:
        got = await asyncio.gather(*(read(adapter, locator(document)) for document in documents))
    assert [one.error for one in got] == [None] * 24
    assert all(one.data == document.data for one, document in zip(got, documents, strict=True))


# --- versions ------------------------------------------------------------------------------------------------------


async def test_a_version_holds_on_every_replica_and_for_no_other_document(fake: FakeRepository) -> None:
    async with source(endpoint(fake)) as one, source(endpoint(fake, alias="other")) as other:
        stated = [await adapter.stat(locator(letter(1))) for adapter in (one, other)]
        assert stated[0].version == stated[1].version is not None
        assert (await read(one, locator(letter(1)), version=stated[0].version)).error is None
        assert isinstance((await read(one, locator(letter(2)), version=stated[0].version)).error, Changed)
    assert (one.capabilities.immutable, one.capabilities.strong_versions) == (True, True)


async def test_nothing_is_promised_about_documents_made_on_demand(fake: FakeRepository) -> None:
    made = fake.shelf.put(on_demand(3))
    async with source(endpoint(fake, on_demand=True)) as adapter:
        got = await read(adapter, locator(made))
        stable = await read(adapter, locator(letter(1)))
    assert (got.error, got.data) == (None, made.data)
    assert got.descriptor is not None
    assert stable.descriptor is not None
    assert (got.descriptor.version, stable.descriptor.version) == (None, None)
    assert (adapter.capabilities.immutable, adapter.capabilities.strong_versions) == (False, False)


async def test_a_document_that_turns_out_to_be_made_on_demand_has_no_version(fake: FakeRepository) -> None:
    made = fake.shelf.put(on_demand(3))
    async with source(endpoint(fake)) as adapter:
        got = await read(adapter, locator(made))
    assert got.descriptor is not None
    assert (got.error, got.descriptor.version) == (None, None)


# --- the registry --------------------------------------------------------------------------------------------------


async def test_facts_come_from_the_registry_without_reading_the_document(fake: FakeRepository) -> None:
    async with source(endpoint(fake), registry=registry(fake, "stat")) as adapter:
        facts = await adapter.stat(locator(LONG))
        assert adapter.capabilities.cheap_stat
    assert (facts.size, facts.media_type) == (3_000_000, "image/tiff")
    assert [exchange.endpoint for exchange in fake.exchanges] == ["registry"]


async def test_what_the_registry_does_not_know_is_asked_of_the_repository(fake: FakeRepository) -> None:
    async with source(endpoint(fake), registry=registry(fake, "stat")) as adapter:
        for fault in ("unknown-is-error", None):
            if fault:
                fake.next(fault, at="registry")
            with pytest.raises(NotFound):
                await adapter.stat(f"^{REPOSITORY}^1.2.3.4711")
    assert [exchange.endpoint for exchange in fake.exchanges] == ["registry", "repository"] * 2


async def test_reading_does_not_need_a_registry_that_is_for_facts_alone(fake: FakeRepository) -> None:
    given = {"url": "http://127.0.0.1:1/registry", "use_for": ["stat"]}
    async with source(endpoint(fake), registry=given) as adapter:
        assert (await read(adapter, locator(letter(1)))).error is None
        assert (await adapter.stat(locator(letter(1)))).media_type == "application/pdf"
        log = adapter.services.log
        assert isinstance(log, RecordingLog)
        assert "registry: nothing answers" in log.lines[0]


@pytest.mark.parametrize("use", ["verify", "availability"])
async def test_a_registry_that_is_relied_on_must_answer(fake: FakeRepository, use: str) -> None:
    given = {"url": "http://127.0.0.1:1/registry", "use_for": [use]}
    async with source(endpoint(fake), registry=given) as adapter:
        assert isinstance((await read(adapter, locator(letter(1)))).error, Unavailable)
    async with source(endpoint(fake), registry=registry(fake, use)) as adapter:
        assert isinstance((await read(adapter, f"^{REPOSITORY}^1.2.3.4711")).error, NotFound)
        fake.next("http-503", at="registry")
        got = await read(adapter, locator(letter(1)))
        assert isinstance(got.error, Busy)
        assert got.error.retry_after == 7
    assert [exchange.endpoint for exchange in fake.exchanges] == ["registry", "registry"]


@pytest.mark.parametrize("verification", ["stream", "spool"])
@pytest.mark.parametrize("fault", ["wrong-size", "wrong-hash"])
async def test_a_short_document_that_the_registry_contradicts_is_refused(
    fake: FakeRepository, fault: str, verification: str
) -> None:
    async with source(endpoint(fake, verification=verification), registry=registry(fake, "verify")) as adapter:
        fake.next(fault, at="registry")
        got = await read(adapter, locator(letter(1)))
    assert type(got.error) is Corrupt
    assert (got.before, got.data) == (True, b"")
    assert "than the registry states" in got.error.detail


@pytest.mark.parametrize("fault", ["wrong-size", "wrong-hash"])
async def test_a_long_document_that_the_registry_contradicts_is_refused_where_it_waits(
    fake: FakeRepository, fault: str
) -> None:
    async with source(endpoint(fake, verification="spool"), registry=registry(fake, "verify")) as adapter:
        fake.next(fault, at="registry")
        got = await read(adapter, locator(LONG))
    assert type(got.error) is Corrupt
    assert (got.before, got.data) == (True, b"")


async def test_a_document_before_its_envelope_is_verified_too(fake: FakeRepository) -> None:
    fake.personality = PERSONALITIES["root-last"]
    async with source(endpoint(fake), registry=registry(fake, "verify")) as adapter:
        got = await read(adapter, locator(LONG))
        assert (got.error, got.data) == (None, LONG.data)
        fake.next("wrong-hash", at="registry")
        assert type((await read(adapter, locator(LONG))).error) is Corrupt


async def test_an_unknown_document_by_another_code_is_unknown(fake: FakeRepository) -> None:
    async with source(endpoint(fake), registry=registry(fake, "verify")) as adapter:
        fake.next("XDSDocumentUniqueIdError", at="registry")
        got = await read(adapter, locator(letter(1)))
    assert isinstance(got.error, NotFound)
    assert "the registry has no entry" in got.error.detail


async def test_a_registry_that_is_for_availability_alone_verifies_nothing(fake: FakeRepository) -> None:
    async with source(endpoint(fake), registry=registry(fake, "availability")) as adapter:
        for fault in ("wrong-size", "wrong-hash"):
            fake.next(fault, at="registry")
            got = await read(adapter, locator(letter(1)))
            assert (got.error, got.data) == (None, letter(1).data)


async def test_deprecated_documents_are_gone_unless_they_are_wanted(fake: FakeRepository) -> None:
    fake.personality = FAULTS["deprecated"].on(fake.personality)
    async with source(endpoint(fake), registry=registry(fake, "stat", "availability")) as adapter:
        assert isinstance((await read(adapter, locator(letter(1)))).error, Deleted)
        with pytest.raises(Deleted):
            await adapter.stat(locator(letter(1)))
    assert all(exchange.endpoint == "registry" for exchange in fake.exchanges)
    async with source(endpoint(fake), registry=registry(fake, "availability", deprecated="serve")) as adapter:
        assert (await read(adapter, locator(letter(1)))).error is None
    async with source(endpoint(fake), registry=registry(fake, "stat", "verify")) as adapter:
        assert (await read(adapter, locator(letter(1)))).error is None


@pytest.mark.parametrize("fault", ["no-hash", "bad-size", "unknown-availability", "offline"])
async def test_a_careless_registry_does_no_harm(fake: FakeRepository, fault: str) -> None:
    fake.personality = FAULTS[fault].on(fake.personality)
    async with source(endpoint(fake), registry=registry(fake, "stat", "verify", "availability")) as adapter:
        assert (await read(adapter, locator(LONG))).data == LONG.data
        assert (await adapter.stat(locator(LONG))).media_type == "image/tiff"


async def test_a_document_that_is_not_assembled_yet_is_not_an_empty_one(fake: FakeRepository) -> None:
    document = fake.shelf.put(unassembled(3))
    async with source(endpoint(fake), registry=registry(fake, "stat", "verify")) as adapter:
        facts = await adapter.stat(locator(document))
        assert (facts.size, facts.digest, facts.version) == (None, None, None)
        got = await read(adapter, locator(document))
    assert (got.error, got.data) == (None, document.data)


async def test_a_reader_who_leaves_ends_the_repositorys_work(fake: FakeRepository) -> None:
    huge = fake.shelf.put(large(64 << 20, unique_id="1.2.3.64"))
    async with source(endpoint(fake)) as adapter:
        async with adapter.open(locator(huge)) as content:
            await anext(content.chunks)
        async with asyncio.timeout(5):
            assert await fake.exchanges[0].ended() is Ending.LEFT
        assert (await read(adapter, locator(letter(1)))).error is None
