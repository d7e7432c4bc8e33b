"""The error table: complete, consistent, and safe to show."""

from __future__ import annotations

import math

import pytest

from adapters import errors as archive
from gateway import errors
from gateway.errors import TABLE, Problem, problem_for

MAPPING = [
    (archive.AdapterError("d"), 500, errors.INTERNAL),
    (archive.NotFound("d"), 404, errors.NOT_FOUND),
    (archive.Deleted("d"), 410, errors.WITHDRAWN),
    (archive.InvalidLocator("d"), 404, errors.NOT_FOUND),
    (archive.AccessDenied("d"), 403, errors.ACCESS_DENIED),
    (archive.CredentialsRejected("d"), 502, errors.CREDENTIALS_REJECTED),
    (archive.Unavailable("d"), 503, errors.SOURCE_UNAVAILABLE),
    (archive.Busy("d"), 503, errors.SOURCE_BUSY),
    (archive.TimedOut("d"), 504, errors.SOURCE_TIMED_OUT),
    (archive.Changed("d"), 503, errors.CHANGED_REPEATEDLY),
    (archive.SpanNotSatisfiable(7), 416, errors.RANGE_NOT_SATISFIABLE),
    (archive.Ambiguous("d"), 502, errors.AMBIGUOUS),
    (archive.Corrupt("d"), 502, errors.CORRUPT),
    (archive.Unsupported("d"), 501, errors.NOT_SUPPORTED),
    (archive.OptionError("d"), 500, errors.INTERNAL),
]


def taxonomy(root: type[archive.AdapterError]) -> set[type[archive.AdapterError]]:
    return {root}.union(*(taxonomy(kind) for kind in root.__subclasses__() if kind.__module__ == "adapters.errors"))


def named(error: object) -> str:
    return type(error).__name__


@pytest.mark.requirement("FR-159")
@pytest.mark.parametrize(("error", "status", "entry"), MAPPING, ids=named)
def test_an_archive_error_becomes_its_row(error: archive.AdapterError, status: int, entry: errors.Entry) -> None:
    error.source = "letters"
    problem = problem_for(error)
    assert (problem.entry, problem.entry.status) == (entry, status)
    assert problem.source == "letters"
    assert problem.detail == error.detail
    assert problem.__cause__ is error


def test_no_class_of_the_taxonomy_is_left_out() -> None:
    assert {type(error) for error, _, _ in MAPPING} == taxonomy(archive.AdapterError)


def test_an_adapters_own_subclass_gets_the_row_of_its_nearest_parent() -> None:
    class ShareIsFull(archive.Busy):
        pass

    assert problem_for(ShareIsFull()).entry is errors.SOURCE_BUSY


@pytest.mark.parametrize(
    ("asked", "sent"),
    [(None, "5"), (2.2, "3"), (0, "1"), (-4, "1"), (1e12, "3600"), (math.inf, "5"), (math.nan, "5")],
)
def test_retry_after_is_whole_seconds_within_reason(asked: float | None, sent: str) -> None:
    assert problem_for(archive.Busy(retry_after=asked)).headers == {"Retry-After": sent}


def test_every_429_and_503_says_when_to_come_back_and_nothing_else_does() -> None:
    for entry in TABLE.values():
        assert (entry.retry_after is not None) == (entry.status in (429, 503)), entry.code
        assert ("Retry-After" in Problem(entry).headers) == (entry.status in (429, 503))


@pytest.mark.requirement("FR-129")
def test_a_range_outside_the_document_names_its_length() -> None:
    assert problem_for(archive.SpanNotSatisfiable(1234)).headers == {"Content-Range": "bytes */1234"}


@pytest.mark.requirement("FR-03")
def test_a_malformed_id_cannot_be_told_from_an_unknown_one() -> None:
    malformed, unknown = problem_for(archive.InvalidLocator("x")), problem_for(archive.NotFound("y"))
    assert (malformed.entry, malformed.headers) == (unknown.entry, unknown.headers)


def test_not_found_and_could_not_ask_are_opposite_statements() -> None:
    unknown = "not known whether this document exists"
    unasked = {
        errors.SOURCE_UNAVAILABLE, errors.SOURCE_BUSY, errors.SOURCE_TIMED_OUT, errors.SOURCE_WEDGED,
        errors.SOURCE_RESTING, errors.CREDENTIALS_REJECTED, errors.INTERNAL, errors.AUDIT_UNAVAILABLE,
    }  # fmt: skip
    assert {entry for entry in TABLE.values() if unknown in entry.sentence} == unasked
    assert errors.NOT_FOUND.sentence.startswith("There is no document")
    assert "no document" not in " ".join(entry.sentence for entry in unasked)


def test_only_definite_answers_about_a_document_say_not_found() -> None:
    says_so = {entry.code for entry in TABLE.values() if entry.spine and entry.spine.code == "NO_RECORD_FOUND"}
    assert says_so == {"GW-DOC-001", "GW-DOC-002", "GW-DOC-003", "GW-DOC-005"}


@pytest.mark.requirement("FR-32")
def test_an_old_version_is_refused_with_the_reason_that_history_is_not_supported() -> None:
    assert errors.VERSION_NOT_KEPT.status == 404
    assert "history is not supported" in errors.VERSION_NOT_KEPT.sentence


def test_a_problem_mentions_only_names_of_the_closed_set() -> None:
    assert Problem(errors.INVALID_PARAMETER, detail_name="_summary").detail_name == "_summary"
    assert Problem(errors.INVALID_PARAMETER, detail_name="9434765919").detail_name is None


def test_headers_given_win_over_the_row() -> None:
    headers = {"Allow": "GET, HEAD", "Retry-After": "9"}
    assert Problem(errors.SOURCE_BUSY, headers=headers).headers == headers


@pytest.mark.parametrize("written", ["GW-SRC-003", "gw-src-003", " gw_src_003\n"])
def test_explain_takes_a_code_in_any_spelling(written: str) -> None:
    text = errors.explain(written)
    entry = errors.SOURCE_TIMED_OUT
    flat = " ".join(text.split())
    assert text.startswith("GW-SRC-003")
    assert all(part in flat for part in (entry.title, entry.sentence, entry.cause, entry.cure, "HTTP 504", "timeout"))
    assert max(map(len, text.splitlines())) <= 100


def test_explain_knows_the_codes_that_stand_in_logs_only() -> None:
    assert errors.ENDED_BY_SOURCE.title in errors.explain("GW-END-001")


@pytest.mark.parametrize(
    ("written", "hint"),
    [("GW-SRC-33", "GW-SRC-003"), ("gw-srk-001", "GW-SRC-001"), ("416", "GW-DOC-006"), ("banana", "Codes look like")],
)
def test_an_unknown_code_gets_the_nearest_ones(written: str, hint: str) -> None:
    with pytest.raises(errors.UnknownCode, match=hint):
        errors.explain(written)


def test_an_unknown_code_is_repeated_neither_at_length_nor_raw() -> None:
    with pytest.raises(errors.UnknownCode) as caught:
        errors.explain("\x1b[31m" + "x" * 5000)
    assert len(str(caught.value)) < 120
    assert "\x1b" not in str(caught.value)
