"""docs/xds-interoperability.md is what requests find today; and the check can fail."""

from __future__ import annotations

import pytest

from gateway.demo.xds import FAULTS, PERSONALITIES, named
from tests.faults.xds_faults import ROWS
from tests.meta import xds_matrix
from tests.meta.xds_interoperability import FAILING, PAGE, READABLE, page, wrong
from tests.meta.xds_matrix import ASKED, Tables, measured
from tests.support.raw_http import Answer, Ending

CURE = "Write it anew: python -m tests.meta.xds_interoperability"


@pytest.mark.blocking_allowed
async def test_the_page_is_what_requests_find() -> None:
    tables = await measured()
    assert wrong(tables) == []
    assert PAGE.read_text("utf-8") == page(tables), CURE


def test_every_repository_and_every_fault_is_on_the_page() -> None:
    text = PAGE.read_text("utf-8")
    assert {*READABLE, *FAILING} == {*PERSONALITIES, *ASKED}
    for name in READABLE:
        assert f"\n| {name} | " in text
    for name in ROWS:
        assert f"\n| {name} | " in text
    for name in FAILING:
        assert text.count(name) > 3, name


def test_the_fake_repository_can_be_all_that_is_asked_for() -> None:
    assert len(ASKED) == len(set(ASKED)) == 29
    for name in ASKED:
        assert named(name).about
        assert name in PERSONALITIES or name in FAULTS


# --- the check can fail ---------------------------------------------------------------------------------------------


def answer(body: bytes = b"the document", **more: object) -> Answer:
    said = {
        "version": "1.1", "status": 200, "reason": "OK", "body": body, "framing": "length", "complete": True,
        "fields": (("Content-Type", "text/plain"), ("Content-Length", "12"), ("ETag", 'W/"1"')), "ending": Ending.OPEN,
    }  # fmt: skip
    return Answer(**(said | more))  # type: ignore[arg-type]


WHOLE = b"the document"


def test_other_bytes_are_noticed() -> None:
    assert xds_matrix._body(answer(), WHOLE, WHOLE) == "200 length"
    assert xds_matrix._body(answer(b"the documenT"), WHOLE, b"the documenT") == "WRONG BYTES"
    assert xds_matrix._json(answer(b'{"data": "dGhlIGRvY3VtZW50"}'), WHOLE) == "200 length"
    assert xds_matrix._json(answer(b'{"data": "dGhlIGRvY3VtZW4="}'), WHOLE) == "WRONG BYTES"
    xml = b'<Binary xmlns="http://hl7.org/fhir"><content value="%b"/></Binary>'
    assert xds_matrix._xml(answer(xml % b"dGhlIGRvY3VtZW50"), WHOLE) == "200 length"
    assert xds_matrix._xml(answer(xml % b"dGhlIGRvY3VtZW4="), WHOLE) == "WRONG BYTES"


def test_a_cut_that_looks_like_an_end_is_noticed() -> None:
    cut = answer(b"the doc", complete=False, ending=Ending.CLOSED)
    for look in (xds_matrix._json, xds_matrix._xml, xds_matrix._range):
        assert look(cut, WHOLE) == "CUT AND NOT RESET"
    reset = answer(b"the doc", complete=False, ending=Ending.RESET)
    assert xds_matrix._body(reset, WHOLE, None) == "200, reset"


def test_other_headers_and_parts_are_noticed() -> None:
    assert xds_matrix._head(answer(b""), answer()) == "200 length"
    other = answer(b"", fields=(("Content-Type", "text/plain"), ("Content-Length", "11"), ("ETag", 'W/"1"')))
    assert xds_matrix._head(other, answer()) == "OTHER HEADERS THAN GET"
    data = bytes(range(200))
    fields = (("Content-Range", "bytes 100-149/200"),)
    assert xds_matrix._range(answer(data[100:150], status=206, fields=fields), data) == "206"
    assert xds_matrix._range(answer(data[100:149], status=206, fields=fields), data) == "WRONG PART"
    assert xds_matrix._conditional(answer(), 'W/"1"') == "200, NOT 304"
    assert xds_matrix._conditional(answer(b"", status=304), 'W/"1"') == "304"


@pytest.mark.parametrize(
    "cell", ["WRONG BYTES", "CUT AND NOT RESET", "OTHER HEADERS THAN GET", "WRONG PART", "200, NOT 304"]
)
def test_what_no_page_may_show_is_named(cell: str) -> None:
    fine = ("200 length", "200 chunked", "200, no length", "206", "no ETag", "503 GW-SRC-001", "200, reset")
    tables: Tables = {"long": {"cxf": fine}}
    assert wrong(tables) == []
    assert wrong({"long": {"cxf": (*fine, cell)}}) == [f"long, cxf: {cell}"]
