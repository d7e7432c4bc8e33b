"""The error table as data: stable codes, valid values, finished sentences, and a page that says the same."""

from __future__ import annotations

import http
import re
from pathlib import Path

import pytest

from gateway import errors
from gateway.errors import ABORTS, TABLE, Abort, Entry

PAGE = Path(__file__).parents[2] / "docs" / "errors.md"

# https://hl7.org/fhir/STU3/valueset-issue-type.html
STU3_ISSUE_CODES = frozenset(
    {
        "invalid", "structure", "required", "value", "invariant", "security", "login", "unknown", "expired",
        "forbidden", "suppressed", "processing", "not-supported", "duplicate", "not-found", "too-long", "code-invalid",
        "extension", "too-costly", "business-rule", "conflict", "incomplete", "transient", "lock-error", "no-store",
        "exception", "timeout", "throttled", "informational",
    }
)  # fmt: skip
R4_ISSUE_CODES = STU3_ISSUE_CODES | {"deleted", "multiple-matches"}

# The codes of Spine-ErrorOrWarningCode-1 that concern reading (CG-15), one of them with a space (CG-16).
SPINE_CODES = frozenset(
    {
        "NO_RECORD_FOUND", "INVALID_PARAMETER", "BAD_REQUEST", "MISSING_OR_INVALID_HEADER", "ACCESS DENIED",
        "UNSUPPORTED_MEDIA_TYPE", "NOT_IMPLEMENTED", "INTERNAL_SERVER_ERROR",
    }
)  # fmt: skip

every_row = pytest.mark.parametrize("row", [*TABLE.values(), *ABORTS.values()], ids=lambda row: row.code)
every_answer = pytest.mark.parametrize("row", TABLE.values(), ids=lambda row: row.code)


def test_the_page_is_fresh() -> None:
    assert PAGE.read_text("utf-8") == errors.render_docs(), (
        "docs/errors.md is stale; its first lines say how to renew it"
    )


def test_the_page_shows_every_code_once_as_a_heading() -> None:
    headings = re.findall(r"^### (GW-\S+)$", PAGE.read_text("utf-8"), re.MULTILINE)
    assert sorted(headings) == sorted([*TABLE, *ABORTS])


def test_codes_are_unique_and_every_row_is_in_a_table() -> None:
    rows = [value for value in vars(errors).values() if isinstance(value, Entry | Abort)]
    assert len({row.code for row in rows}) == len(rows) == len(TABLE) + len(ABORTS)


@every_row
def test_a_code_names_its_area_and_a_number(row: Entry | Abort) -> None:
    assert re.fullmatch(r"GW-(REQ|SEC|DOC|SRC|SYS)-\d{3}" if isinstance(row, Entry) else r"GW-END-\d{3}", row.code)


@every_answer
def test_a_status_is_an_error_of_http(row: Entry) -> None:
    assert http.HTTPStatus(row.status) >= 400


@every_answer
@pytest.mark.requirement("FR-153", "FR-154")
def test_severity_and_issue_code_exist_in_both_versions(row: Entry) -> None:
    assert row.severity in {"fatal", "error", "warning", "information"}
    assert row.issue in R4_ISSUE_CODES
    assert (row.issue_stu3 or row.issue) in STU3_ISSUE_CODES
    assert row.issue_stu3 != row.issue


@every_answer
def test_every_answer_has_a_spine_code_of_the_code_system(row: Entry) -> None:
    assert row.spine is not None
    assert row.spine.code in SPINE_CODES
    assert row.spine.display
    assert not row.spine.display.endswith(".")


@every_row
def test_texts_are_finished_sentences_without_placeholders(row: Entry | Abort) -> None:
    texts = [row.cause, row.cure, *([row.sentence] if isinstance(row, Entry) else [])]
    for text in texts:
        assert re.fullmatch(r"\S.*[^\s.]\.", text, re.DOTALL), text
        assert "  " not in text
    assert not row.title.endswith(".")


@every_answer
def test_a_public_sentence_holds_nothing_to_fill_in_and_tells_what_to_do(row: Entry) -> None:
    assert not re.search(r"[{}<>%$\[\]]|\bNone\b", row.sentence)
    happened, *advice = re.split(r"[.;,] ", row.sentence)
    assert happened
    assert advice
    assert len(row.sentence) <= 250
