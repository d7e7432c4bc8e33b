"""Answers without a document, answers that break off, and answers that are too much: what `RetrievalReader` makes of them."""

from __future__ import annotations

import pytest

from adapters.xds.retrieval import Faulted, Foreign, NoDocument, RetrievalReader, Truncated, Whole
from adapters.xds.soap import LimitExceeded, Limits, Malformed, Tolerance
from tests.unit.xds.answers import (
    ASKED,
    FAILURE,
    PARTIAL,
    PDF,
    PLAIN,
    SOAP_11,
    SUCCESS,
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


# --- no document ---


@pytest.mark.parametrize("step", EVERY_STEP)
@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize(
    ("status", "errors", "word", "cause"),
    [
        (FAILURE, [error("XDSDocumentUniqueIdError")], "Failure", "XDSDocumentUniqueIdError"),
        (SUCCESS, [error("XDSRepositoryBusy")], "Success", "XDSRepositoryBusy"),
        (PARTIAL, [error("XDSRepositoryError")], "PartialSuccess", "XDSRepositoryError"),
        (
            FAILURE,
            [error("XDSSomething", "Warning"), error("XDSUnknownCommunity", "error")],
            "Failure",
            "XDSUnknownCommunity",
        ),
        (
            FAILURE,
            [error("XDSSomething", "urn:oasis:names:tc:ebxml-regrep:ErrorSeverityType:warning")],
            "Failure",
            "XDSSomething",
        ),
        (FAILURE, [error("urn:x:XDSRepositoryError")], "Failure", "XDSRepositoryError"),
        (FAILURE, [error("Not found: Mary")], "Failure", "unreadable"),
        (FAILURE, [], "Failure", None),
        (FAILURE, None, "Failure", None),
        (SUCCESS, None, "Success", None),
        ("urn:vendor:Unavailable", None, "Unavailable", None),
    ],
)
def test_an_answer_without_a_document(
    status: str, errors: list[str] | None, word: str, cause: str | None, packed: bool, step: int | None
) -> None:
    envelope = retrieved(status=status, errors=errors)
    reading = read(multipart(root(envelope)) if packed else envelope, related() if packed else PLAIN, step=step)
    outcome = reading.outcome
    assert isinstance(outcome, NoDocument)
    assert (outcome.status, outcome.cause and outcome.cause.code) == (word, cause)
    assert not outcome.deferred
    assert "Mary" not in repr(outcome)


def test_errors_speak_before_the_status_and_after_the_document() -> None:
    warned = retrieved(response(inline(PDF)), errors=[error("XDSExtra", "Warning")])
    failed = retrieved(response(inline(PDF)), status=FAILURE, errors=[error("XDSRepositoryError")])
    partial = retrieved(response(inline(PDF)), status=PARTIAL, errors=[error("XDSUnknownCommunity")])
    for body in (warned, failed, partial):
        assert read(body, PLAIN).data == PDF
    named = retrieved(response(None), status=FAILURE, errors=[error("XDSRepositoryError")])
    assert isinstance(read(named, PLAIN).outcome, NoDocument)


def test_an_answer_that_will_be_sent_later() -> None:
    slots = (
        '<rs:ResponseSlotList><r:Slot xmlns:r="urn:oasis:names:tc:ebxml-regrep:xsd:rim:3.0" '
        'name="DeferredProcessingRequired"/></rs:ResponseSlotList>'
    )
    body = retrieved(status=PARTIAL).replace(b"</rs:RegistryResponse>", slots.encode() + b"</rs:RegistryResponse>")
    outcome = read(body, PLAIN).outcome
    assert isinstance(outcome, NoDocument)
    assert outcome.deferred


@pytest.mark.parametrize("step", EVERY_STEP)
@pytest.mark.parametrize("status", [200, 400, 500])
@pytest.mark.parametrize("packed", [True, False])
def test_a_fault(packed: bool, status: int, step: int | None) -> None:
    envelope = in_body(
        "<env:Fault><faultcode>env:Server</faultcode><faultstring>x</faultstring></env:Fault>", soap=SOAP_11
    )
    body = multipart(root(envelope)) if packed else envelope
    outcome = read(body, related() if packed else PLAIN, status=status, step=step).outcome
    assert isinstance(outcome, Faulted)
    assert (outcome.fault.codes, outcome.fault.version) == (("Server",), "1.1")


@pytest.mark.parametrize("step", EVERY_STEP)
@pytest.mark.parametrize(
    ("body", "instead"),
    [
        (b"", "nothing"),
        (b"\r\n ", "nothing"),
        (b"<!DOCTYPE html><html><form action=login>", "HTML"),
        (b"<html><body>502 Bad Gateway</body></html>", "HTML"),
        (b"<problem>no</problem>", "XML that is no SOAP envelope"),
        (b"Service Unavailable", "something else than XML"),
        (b'{"status": 503}', "something else than XML"),
        (b"\x1f\x8b\x08\x00abc", "compressed data"),
        (b"%PDF-1.7", "something else than XML"),
        (b"<", "something else than XML"),
        (b"-", "something else than XML"),
    ],
)
def test_what_is_no_soap_message(body: bytes, instead: str, step: int | None) -> None:
    for content_type in ("text/html", PLAIN):
        assert read(body, content_type, status=503, step=step).outcome == Foreign(instead)


def test_a_document_under_an_error_status_is_not_taken() -> None:
    for status in (302, 404, 500):
        reading = read(retrieved(response(inline(PDF))), PLAIN, status=status)
        assert isinstance(reading.outcome, NoDocument)
        assert reading.data == b""


# --- what breaks off ---


@pytest.mark.parametrize("step", [None, 7])
@pytest.mark.parametrize("content_type", [related(), PLAIN])
def test_wherever_an_answer_breaks_off_it_never_looks_whole(content_type: str, step: int | None) -> None:
    body = mtom() if content_type == related() else retrieved(response(inline(PDF)))
    whole_from = len(body.rstrip())
    for length in range(len(body)):
        reading = read(body[:length], content_type, step=step, complete=False)
        assert PDF.startswith(reading.data)
        if length < whole_from:
            assert reading.outcome == Truncated(len(reading.data))
        else:
            assert reading.outcome == Whole(len(PDF))


@pytest.mark.parametrize("step", EVERY_STEP)
def test_a_missing_close_is_forgiven_where_http_says_that_nothing_is_missing(step: int | None) -> None:
    body = multipart(root(retrieved(response(include("cid:doc@x")))), attachment(PDF), close=b"")
    reading = read(body, step=step)
    assert (reading.data, reading.outcome, reading.quirks) == (PDF, Whole(len(PDF)), {"no-close"})
    assert isinstance(read(body, step=step, complete=False).outcome, Truncated)
    assert isinstance(read(body, step=step, tolerance=Tolerance(no_close=False)).outcome, Truncated)


@pytest.mark.parametrize("step", EVERY_STEP)
def test_a_plain_envelope_that_stops_is_not_whole_whatever_http_says(step: int | None) -> None:
    body = retrieved(response(inline(PDF)))
    assert read(body[:-20], PLAIN, step=step).outcome == Truncated(len(PDF))
    assert isinstance(read(body[:-120], PLAIN, step=step).outcome, Truncated)


def test_the_outcome_comes_with_the_last_byte_and_not_with_the_body() -> None:
    body = multipart(root(retrieved(response(include("cid:doc@x")))), attachment(PDF), attachment(b"x" * 100, "<more>"))
    reader = RetrievalReader(ASKED, 200, related())
    events = reader.feed(body[: body.index(b"x" * 100)])
    assert events[-1] == Whole(len(PDF))
    assert reader.feed(body[body.index(b"x" * 100) :]) == []
    assert reader.end(complete=True) == []


@pytest.mark.parametrize("step", EVERY_STEP)
def test_a_lone_part_that_may_not_be_alone_or_whole_is_not_taken(step: int | None) -> None:
    body = mtom(id="<other@x>")
    assert read(body, step=step).data == PDF
    followed = body.replace(b"--uuid:1b2c-3d--\r\n", b"--uuid:1b2c-3d\r\n")
    assert read(followed, step=step, complete=False).outcome == Truncated(0)
    broken = body.replace(b"--uuid:1b2c-3d--\r\n", b"--uuid")
    with pytest.raises(Malformed):
        read(broken, step=step)


# --- limits ---


def test_large_pieces_are_cut_to_what_the_contract_allows() -> None:
    data = bytes(5 << 19)
    assert read(mtom(data)).largest == 1 << 20
    assert read(retrieved(response(inline(data))), PLAIN).largest == 1 << 20
    late = multipart(attachment(data), root(retrieved(response(include("cid:doc@x")))))
    assert read(late).largest == 1 << 20


@pytest.mark.parametrize("step", [None, 4096])
def test_what_was_not_asked_for_is_skipped_up_to_a_limit(step: int | None) -> None:
    limits = Limits(skipped=50_000)
    for size, fits in ((40_000, True), (60_000, False)):
        bodies = {
            PLAIN: retrieved(response(inline(bytes(size)), document=OTHER), response(inline(PDF))),
            related(): multipart(
                root(retrieved(response(include("cid:doc@x")))), attachment(PDF), attachment(bytes(size), "<more>")
            ),
        }
        for content_type, body in bodies.items():
            if fits:
                assert read(body, content_type, limits=limits, step=step).data == PDF
            else:
                with pytest.raises(LimitExceeded, match="not asked for"):
                    read(body, content_type, limits=limits, step=step)


def test_an_endless_list_of_errors_is_not_kept() -> None:
    outcome = read(retrieved(status=FAILURE, errors=[error("XDSRepositoryError")] * 5000), PLAIN).outcome
    assert isinstance(outcome, NoDocument)
    assert len(outcome.errors) == 100


def test_limits_of_parts_and_envelope_hold_here_too() -> None:
    many = multipart(root(retrieved(response(include("cid:doc@x")))), *[attachment(b"x", "<n>")] * 10_000)
    long = multipart(
        root(retrieved(response(include("cid:doc@x")))), attachment(PDF, "<doc@x>", "X: " + "y" * (1 << 20))
    )
    deep = retrieved("<a>" * 10_000)
    for body in (many, long, deep):
        with pytest.raises(LimitExceeded):
            read(body, PLAIN if body.startswith(b"<") else related())
