"""Answers before a judge from outside: httplint, which reads HTTP messages as RFC 9110 and its neighbours write them."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from httplint import HttpResponseLinter
from httplint.note import levels
from httplint.status import STATUS_BAD_REQUEST

from tests.integration.archive import letters
from tests.integration.test_header_requirements import ANSWERS
from tests.support.raw_http import Answer

BAD = {levels.BAD, levels.WARN}


def complaints(answer: Answer, *, head: bool = False) -> list[str]:
    """What the judge finds wrong in an answer; that a 400 is one does not count."""
    linter = HttpResponseLinter(start_time=time.time(), no_content=head)
    linter.process_response_topline(
        answer.version.encode(), str(answer.status).encode(), answer.reason.encode("latin-1")
    )
    linter.process_headers([(name.encode(), value.encode("latin-1")) for name, value in answer.fields])
    linter.feed_content(answer.body)
    linter.finish_content(answer.complete)
    return [note.summary for note in linter.notes if note.level in BAD and not isinstance(note, STATUS_BAD_REQUEST)]


MORE = {
    "not satisfiable": ("GET", "/R4/Binary/letter", {"Range": "bytes=99999-"}),
    "no methods": ("GET", "/R4/Binary", {}),
    "html": ("GET", "/R4/Binary/page", {}),
    "empty": ("GET", "/R4/Binary/empty", {}),
}


@pytest.mark.parametrize(("method", "target", "headers"), [*ANSWERS.values(), *MORE.values()], ids=[*ANSWERS, *MORE])
@pytest.mark.requirement("FR-34", "FR-41", "FR-128", "FR-129", "CC-51")
async def test_nothing_is_wrong_with_an_answer(method: str, target: str, headers: dict[str, str]) -> None:
    async with letters() as at:
        etag = (await at.ask("/R4/Binary/letter")).field("ETag") or ""
        answer = await at.ask(target.replace("ETAG", etag[3:-1]), method=method, **headers)
    assert complaints(answer, head=method == "HEAD") == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ETag", "W/unquoted"),
        ("Last-Modified", "2024-03-01"),
        ("Content-Length", "7"),
        ("Content-Disposition", 'inline; filename="a'),
        ("Content-Type", "pdf"),
        ("Vary", "a b"),
    ],
)
async def test_the_judge_sees_what_is_wrong(name: str, value: str) -> None:
    async with letters() as at:
        answer = await at.ask("/R4/Binary/letter")
    fields = tuple((key, value if key == name else given) for key, given in answer.fields)
    assert fields != answer.fields
    assert complaints(replace(answer, fields=fields))
