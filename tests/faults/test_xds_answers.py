"""Every fault that a repository's answer can have, with what a reader gets: the true document, or an error that says why.

The table names all faults of the fake repository: a new one without a row fails. Whether the error comes before the first byte
depends on how much of the document had arrived; that no wrong or short document ever ends well does not.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from adapters.errors import (
    AccessDenied,
    AdapterError,
    Busy,
    Corrupt,
    CredentialsRejected,
    NotFound,
    TimedOut,
    Unavailable,
)
from adapters.testing.harness import RecordingLog
from adapters.xds.retrieval import WrongDocument
from adapters.xds.soap import ForbiddenReference, LimitExceeded, Malformed
from gateway.demo.xds import FAULTS, FakeRepository, Stored, large, letter
from tests.support.xds import fake_repository
from tests.support.xds_source import QUICK, endpoint, locator, read, source

PATIENT = "THISTLEQUILL", "9999458076", "java.lang"
"""What the fake's own error texts hold, and no text of ours may."""

CDA = replace(letter(1), content=Stored("<ClinicalDocument>æ</ClinicalDocument>".encode()), media_type="text/xml")
"""Text, in place of the first letter."""

SHORT = QUICK | {"connect": "1s", "first_byte": "300ms", "between_bytes": "300ms"}
"""Deadlines for those who are to miss them."""

REFUSED: dict[str, type[AdapterError]] = {
    # HTTP
    "http-401": CredentialsRejected,
    "http-403": AccessDenied,
    "html-404": Unavailable,
    "redirect-login": Unavailable,
    "html-login": Corrupt,
    "html-500": Corrupt,
    "empty-200": Corrupt,
    "empty-202": Corrupt,
    "http-503": Busy,
    "http-429": Busy,
    "json-200": Corrupt,
    "not-http": Unavailable,
    "huge-header": Unavailable,
    # SOAP
    "fault-500-soap11": Corrupt,
    "fault-500-soap12": Corrupt,
    "fault-other-version": Corrupt,
    "fault-sender": Corrupt,
    "fault-200": Corrupt,
    "fault-multipart": Corrupt,
    "fault-not-understood": Corrupt,
    "fault-invalid-token": CredentialsRejected,
    "fault-failed-authentication": CredentialsRejected,
    "fault-failed-check": CredentialsRejected,
    "fault-expired": CredentialsRejected,
    "fault-action": Corrupt,
    "requires-security": CredentialsRejected,
    "refuses-addressing": Corrupt,
    # what the repository states
    "XDSDocumentUniqueIdError": NotFound,
    "XDSUnknownRepositoryId": Unavailable,
    "XDSUnknownCommunity": Unavailable,
    "XDSUnavailableCommunity": Unavailable,
    "XDSMissingHomeCommunityId": Corrupt,
    "XDSRepositoryBusy": Busy,
    "XDSRepositoryOutOfResources": Busy,
    "XDSRepositoryError": Corrupt,
    "XDSResultNotSinglePatient": Corrupt,
    "XDSRegistryBusy": Busy,
    "XDSRegistryError": Corrupt,
    "XDSRegistryOutOfResources": Busy,
    "XDSRegistryNotAvailable": Unavailable,
    "XDSMissingDocument": NotFound,
    "XDSRepositoryWrongRepositoryUniqueId": Unavailable,
    "XDSSqlError": Corrupt,
    "VendorSpecific-4711": Corrupt,
    "code-as-urn": NotFound,
    "failure-without-list": Corrupt,
    "failure-empty-list": Corrupt,
    "success-without-documents": Corrupt,
    "success-with-errors": NotFound,
    "wrong-id": WrongDocument,
    "missing-id": WrongDocument,
    "deferred": Busy,
    "wants-oid-prefix": Unavailable,
    # MIME and XML
    "dangling-cid": Malformed,
    "http-include": ForbiddenReference,
    "file-include": ForbiddenReference,
    "dup-cid": Malformed,
    "many-parts": LimitExceeded,
    "huge-part-header": LimitExceeded,
    "gzip-unlabelled": Corrupt,
    "gzip-bomb": LimitExceeded,
    "huge-root": LimitExceeded,
    "inline-invalid": Malformed,
    "raw-text": Malformed,
    "doctype": Malformed,
    "entities": Malformed,
    "external-entity": Malformed,
    "nested": LimitExceeded,
    # the connection
    "drip": TimedOut,
    "stall-start": TimedOut,
    "stall-head": TimedOut,
    "stall": TimedOut,
    "reset-start": Unavailable,
    "close-start": Unavailable,
    "reset-head": Unavailable,
    "reset": Unavailable,
    "truncated": Unavailable,
    "length-short": Unavailable,
}

WHOLE = {
    "success-two-documents", "wrong-repository", "wrong-home", "success-warning", "partial", "partial-oasis", "unknown-status",
    "start-missing", "start-unbracketed", "start-wrong", "type-wrong", "boundary-missing", "boundary-wrong", "labelled-xml",
    "labelled-multipart", "no-preamble-crlf", "no-close", "close-without-eol", "wrong-part-length", "part-length-long",
    "crumbs", "slow-drip", "slow-start", "interim", "no-continue", "cookies", "inline-wrapped", "inline-crlf", "inline-blank",
    "inline-unpadded", "inline-url-safe", "media-type-injection", "media-type-missing", "media-type-empty",
    "media-type-undefined", "media-type-odd", "refuses-security", "mtom-only", "one-document",
    # not whole for a reader who wants the framing too; the document's own end had come
    "close-glued", "cut-at-the-end", "length-long", "charset-wrong",
}  # fmt: skip

EMPTY = {"empty-document"}
"""The repository says that the document has no bytes: that is what is passed on."""

SLOW = {"slow-start", "slow-drip"}
"""Whole, with a document that is not long."""


def test_the_table_is_complete() -> None:
    mine = {name for name, fault in FAULTS.items() if fault.where != "registry"}
    assert mine == {*REFUSED, *WHOLE, *EMPTY}
    assert not WHOLE & REFUSED.keys()


@pytest.fixture
async def fake() -> AsyncIterator[FakeRepository]:
    async with fake_repository(letter(1), letter(2)) as running:
        yield running


@pytest.mark.parametrize("verification", ["stream", "spool"])
@pytest.mark.parametrize("name", sorted(REFUSED))
async def test_what_cannot_be_the_document_is_an_error(fake: FakeRepository, name: str, verification: str) -> None:
    if name == "raw-text":
        fake.shelf.put(CDA)
    fake.next(name, times=5)
    timeouts = SHORT if REFUSED[name] is TimedOut else QUICK
    async with source(endpoint(fake, timeouts=timeouts, verification=verification)) as adapter:
        got = await read(adapter, locator(letter(1)))
        assert got.error is not None
        assert type(got.error) is REFUSED[name]
        assert isinstance(got.error, NotFound) == (REFUSED[name] is NotFound)
        assert letter(1).data.startswith(got.data)
        assert len(got.data) < len(letter(1).data)
        log = adapter.services.log
    assert isinstance(log, RecordingLog)
    told = " ".join([got.error.detail, str(got.error), *log.lines])
    assert got.error.detail.startswith("endpoint a: ")
    assert not any(word in told for word in (*PATIENT, letter(1).unique_id))
    if name in ("wrong-id", "missing-id"):
        assert "ALERT" in told
        assert got.data == b""


@pytest.mark.parametrize("verification", ["stream", "spool"])
@pytest.mark.parametrize("name", sorted(WHOLE - SLOW))
async def test_what_can_be_forgiven_is_the_true_document(fake: FakeRepository, name: str, verification: str) -> None:
    fake.next(name)
    async with source(endpoint(fake, verification=verification)) as adapter:
        got = await read(adapter, locator(letter(1)))
    assert got.error is None
    assert got.data == letter(1).data
    assert got.descriptor is not None
    assert got.descriptor.media_type == (None if name in MEDIA_TYPES_OF_NO_USE else "application/pdf")


MEDIA_TYPES_OF_NO_USE = {"media-type-injection", "media-type-missing", "media-type-empty", "media-type-undefined"}


@pytest.mark.parametrize("name", sorted(SLOW))
async def test_what_is_slow_and_goes_on_is_waited_for(fake: FakeRepository, name: str) -> None:
    small = large(3000, unique_id=f"{letter(1).unique_id}.9")
    fake.shelf.put(small)
    fake.next(name)
    async with source(endpoint(fake, timeouts={"first_byte": "10s", "between_bytes": "1s"})) as adapter:
        got = await read(adapter, locator(small))
    assert (got.error, got.data) == (None, small.data)


async def test_an_empty_document_is_told_before_it_is_sent(fake: FakeRepository) -> None:
    fake.next("empty-document")
    async with source(endpoint(fake)) as adapter:
        got = await read(adapter, locator(letter(1)))
    assert got.descriptor is not None
    assert (got.error, got.data, got.descriptor.size) == (None, b"", 0)


@pytest.mark.parametrize("name", ["stall", "reset", "truncated"])
async def test_a_long_document_that_breaks_off_is_an_error_after_its_first_bytes(
    fake: FakeRepository, name: str
) -> None:
    long = fake.shelf.put(large(2_000_000))
    fake.next(name)
    timeouts = SHORT if REFUSED[name] is TimedOut else QUICK
    async with source(endpoint(fake, timeouts=timeouts)) as adapter:
        got = await read(adapter, locator(long))
    assert type(got.error) is REFUSED[name]
    assert not got.before
    assert 0 < len(got.data) < 2_000_000
    assert long.data.startswith(got.data)


@pytest.mark.parametrize("name", ["stall", "reset", "truncated"])
async def test_a_spooled_document_that_breaks_off_shows_nothing(fake: FakeRepository, name: str) -> None:
    long = fake.shelf.put(large(2_000_000))
    fake.next(name)
    timeouts = SHORT if REFUSED[name] is TimedOut else QUICK
    async with source(endpoint(fake, timeouts=timeouts, verification="spool")) as adapter:
        got = await read(adapter, locator(long))
    assert type(got.error) is REFUSED[name]
    assert (got.before, got.data) == (True, b"")


async def test_waits_that_a_service_asks_for_are_passed_on(fake: FakeRepository) -> None:
    async with source(endpoint(fake)) as adapter:
        for name, seconds in (("http-503", 7), ("http-429", 3), ("XDSRepositoryBusy", 5), ("deferred", 60)):
            fake.next(name)
            got = await read(adapter, locator(letter(1)))
            assert got.error is not None
            assert got.error.retry_after == seconds


async def test_a_site_corrects_what_a_code_means(fake: FakeRepository) -> None:
    fake.next("XDSRepositoryError")
    async with source(endpoint(fake, error_map={"XDSRepositoryError": "not_found"})) as adapter:
        got = await read(adapter, locator(letter(1)))
    assert type(got.error) is NotFound


async def test_what_is_forgiven_is_told_once(fake: FakeRepository) -> None:
    async with source(endpoint(fake)) as adapter:
        for _ in range(3):
            fake.next("wrong-repository")
            await read(adapter, locator(letter(1)))
        log = adapter.services.log
        assert isinstance(log, RecordingLog)
        assert len([line for line in log.lines if "repository-differs" in line]) == 1


async def test_a_repository_that_does_not_know_its_id_is_told_to_the_operator(fake: FakeRepository) -> None:
    fake.next("XDSUnknownRepositoryId", times=3)
    async with source(endpoint(fake)) as adapter:
        for _ in range(3):
            await read(adapter, locator(letter(1)))
        log = adapter.services.log
        assert isinstance(log, RecordingLog)
        assert len([line for line in log.lines if "repository_unique_ids" in line]) == 1


async def test_wrong_documents_are_counted(fake: FakeRepository) -> None:
    fake.next("wrong-id", times=2)
    async with source(endpoint(fake)) as adapter:
        for _ in range(2):
            await read(adapter, locator(letter(1)))
        log = adapter.services.log
        assert isinstance(log, RecordingLog)
        assert "'count': 2" in log.lines[-1]


async def test_raw_text_where_it_is_allowed(fake: FakeRepository) -> None:
    fake.shelf.put(CDA)
    fake.next("raw-text")
    async with source(endpoint(fake, allow_raw_text=True)) as adapter:
        got = await read(adapter, locator(CDA))
    assert (got.error, got.data) == (None, CDA.data)


async def test_a_document_larger_than_allowed_is_refused(fake: FakeRepository) -> None:
    long = fake.shelf.put(large(2_000_000))
    for verification in ("stream", "spool"):
        async with source(endpoint(fake, max_document="1MiB", verification=verification)) as adapter:
            got = await read(adapter, locator(long))
        assert type(got.error) is Corrupt
        assert "`max_document`" in got.error.detail
        assert len(got.data) <= 1 << 20
