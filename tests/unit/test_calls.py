"""One request's ids and its log line, for every way in which a request can end."""

from __future__ import annotations

import asyncio
import re
import string
from typing import Any

import hypothesis
import hypothesis.strategies as st
import pytest
from aiohttp.test_utils import make_mocked_request

from adapters.errors import Busy, Unavailable
from gateway import errors
from gateway.calls import Call, new_request_id, shown_id
from gateway.fhir import Version
from gateway.protocol.interactions import Bases
from gateway.protocol.profile import PROFILES
from gateway.telemetry import KEYS
from tests.support.raw_http import connect, exchange, request
from tests.support.scripted import Script
from tests.support.service import BASES, Service, scripted, service

PROFILE = PROFILES["care-connect"]

OWN = re.compile(r"[0-9a-f]+-[0-9a-f]+")


def call(target: str = "/R4/Binary/a", method: str = "GET", **headers: str) -> Call:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Call(make_mocked_request(method, target, headers=named), Bases(BASES), PROFILE)


# --- ids of a request ------------------------------------------------------------------------------------------------


@pytest.mark.requirement("FR-140")
@pytest.mark.parametrize("given", ["a", "0", "9c8f3c4e-1111-4222-8333-444455556666", "A.b_c:d-e", "x" * 100])
def test_a_short_plain_id_of_the_client_is_kept(given: str) -> None:
    one = call(X_Request_Id=given, X_Correlation_Id=given)
    assert (one.request_id, one.correlation_id) == (given, given)
    headers: dict[str, str] = {}
    one.stamp(headers)
    assert headers == {"X-Request-Id": given, "X-Correlation-Id": given}


@pytest.mark.requirement("FR-145")
@pytest.mark.parametrize(
    "given",
    ["", " ", "x" * 101, "two words", "-leading", ".leading", "quote\"d", "a;b", "a,b", "a\tb", "a\r\nSet-Cookie: x", "ä",
     "<script>", "a/b", "a\0b", "{json}", "%0a"],
)  # fmt: skip
def test_any_other_id_is_replaced_and_never_repeated(given: str) -> None:
    one = call()
    one_given = Call(_with_raw_headers(given), Bases(BASES), PROFILE)
    assert OWN.fullmatch(one_given.request_id)
    assert one_given.correlation_id is None
    assert one_given.request_id != one.request_id
    headers: dict[str, str] = {}
    one_given.stamp(headers)
    assert headers == {"X-Request-Id": one_given.request_id}


def _with_raw_headers(value: str) -> Any:
    return make_mocked_request("GET", "/R4/Binary/a", headers={"X-Request-Id": value, "X-Correlation-Id": value})


@hypothesis.given(st.text(max_size=120) | st.text(string.ascii_letters + string.digits + "._:-", max_size=120))
def test_whatever_is_kept_is_harmless_in_headers_and_logs(given: str) -> None:
    kept = Call(_with_raw_headers(given), Bases(BASES), PROFILE).request_id
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,99}", kept, re.ASCII)
    assert kept == given or OWN.fullmatch(kept)


def test_our_own_ids_never_repeat() -> None:
    made = [new_request_id() for _ in range(1000)]
    assert len(set(made)) == 1000
    assert all(OWN.fullmatch(id) and len(id) <= 64 for id in made)


# --- what a call knows before it is served ---------------------------------------------------------------------------


def test_a_call_outside_every_base_is_answered_as_r4() -> None:
    assert call("/nowhere").version is Version.R4
    assert call("/STU3/Binary/a").version is Version.STU3


@pytest.mark.parametrize(
    "target", ["/R4/Binary/a?_pretty=perhaps", "/R4/Binary/a?_format=%zz", "*", "http://", "/R4?%"]
)
@pytest.mark.parametrize("accept", ["", "*/*", ";;;", "a/b;q=x", "application/fhir+json" * 300])
def test_a_call_can_be_made_of_anything(target: str, accept: str) -> None:
    assert call(target, Accept=accept).fields(None)["outcome"] == "complete"


def test_a_method_that_nobody_knows_is_not_repeated() -> None:
    assert call(method="PROPFIND9434765919").fields(None)["method"] == "other"
    assert call(method="DELETE").fields(None)["method"] == "DELETE"


# --- the line of each outcome ----------------------------------------------------------------------------------------

CHUNK = bytes(1000)

SCRIPTS = {
    "whole": Script([CHUNK, CHUNK]),
    "away": Script([], entering=[Unavailable("the share does not answer")]),
    "busy": Script([], entering=[Busy("later", retry_after=7)]),
    "broken": Script([KeyError("secret-id")]),
    "cut": Script([CHUNK, CHUNK, Unavailable("lost")], size=5000),
    "short": Script([CHUNK], size=5000),
}

JSON = "application/fhir+json"


async def line_of(at: Service, target: str, method: str = "GET", **headers: str) -> dict[str, Any]:
    """The log line of one request."""
    before = len(await at.lines(0))
    async with connect(at.host, at.port) as connection:
        named = tuple((name.replace("_", "-"), value) for name, value in headers.items())
        await connection.send(request(target, method=method, fields=named))
        await connection.answer(method)
    return (await at.lines(before + 1))[-1]


NATIVE = {"source": "letters", "representation": "native", "base": "R4", "interaction": "read"}
REFUSED = {"outcome": "refused"}

OUTCOMES: list[tuple[str, str, dict[str, str], dict[str, Any]]] = [
    ("GET", "/R4/Binary/whole", {}, NATIVE | {"status": 200, "outcome": "complete", "bytes": 2000}),
    ("HEAD", "/R4/Binary/whole", {}, NATIVE | {"status": 200, "outcome": "complete", "bytes": 0}),
    ("GET", "/R4/Binary/whole", {"Range": "bytes=10-19"}, NATIVE | {"status": 206, "bytes": 10}),
    ("GET", "/R4/Binary/whole", {"If-None-Match": "*"}, NATIVE | {"status": 304, "bytes": 0, "outcome": "complete"}),
    ("GET", "/STU3/Binary/whole?_format=xml", {}, {"status": 200, "representation": "envelope", "base": "STU3"}),
    ("GET", "/R4/Binary/whole/_history/1", {}, {"status": 200, "interaction": "vread"}),
    ("GET", "/R4/Binary/whole/_history/2", {}, REFUSED | {"status": 404, "code": errors.VERSION_NOT_KEPT.code}),
    ("GET", "/R4/metadata", {}, {"status": 200, "interaction": "capabilities", "outcome": "complete"}),
    ("GET", "/R4/Binary/none", {}, REFUSED | {"status": 404, "code": errors.NOT_FOUND.code, "source": "letters"}),
    ("GET", "/R4/Binary/a%20b", {}, REFUSED | {"status": 404}),
    ("GET", "/R4/Binary/whole", {"Accept": "image/png"}, REFUSED | {"status": 406}),
    ("GET", "/R4/Binary/whole", {"Range": "bytes=5000-"}, REFUSED | {"status": 416}),
    ("GET", "/R4/Binary/whole", {"If-Match": '"x"'}, REFUSED | {"status": 412}),
    ("GET", "/R4/Binary/away", {}, REFUSED | {"status": 503, "level": "warning", "source": "letters"}),
    ("GET", "/R4/Binary/busy", {}, REFUSED | {"status": 503, "detail": "later"}),
    ("GET", "/R4/Binary/broken", {}, REFUSED | {"status": 503, "detail": "the adapter failed with KeyError"}),
    (
        "GET",
        "/R4/Binary/cut",
        {},
        NATIVE
        | {"status": 200, "outcome": "aborted", "code": "GW-END-001", "bytes": 2000, "reason": "the archive broke off"},
    ),
    ("GET", "/R4/Binary?patient=secret-id", {}, REFUSED | {"status": 405, "interaction": "search-type"}),
    ("DELETE", "/R4/Binary/whole", {}, REFUSED | {"status": 405, "method": "DELETE", "interaction": "write"}),
    ("GET", "/R4/Patient/1", {}, REFUSED | {"status": 404, "interaction": "unknown-resource"}),
    ("GET", "/secret-id", {}, REFUSED | {"status": 404, "interaction": "unknown-path"}),
]
"""A request, and part of the line that it leaves."""


async def test_the_line_says_what_happened_and_has_only_listed_keys() -> None:
    async with service({"letters": scripted(SCRIPTS)}) as at:
        for method, target, headers, expected in OUTCOMES:
            line = await line_of(at, target, method, **headers, X_Correlation_Id="of-the-client")
            assert {key: line.get(key) for key in expected} == expected, (method, target)
            assert line.keys() <= KEYS
            assert line["correlation_id"] == "of-the-client"
            assert line["duration_ms"] >= 0
            assert ("document" in line) == (line["interaction"] in ("read", "vread"))
        assert "secret-id" not in at.log.getvalue()
        assert not [name for name in SCRIPTS if f'"{name}"' in at.log.getvalue()]


async def test_the_line_of_bytes_that_are_no_request_has_only_listed_keys() -> None:
    async with service({"letters": scripted(SCRIPTS)}) as at:
        await exchange(at.host, at.port, b"NONSENSE secret-id\r\n\r\n")
        (line,) = await at.lines()
        assert line.keys() <= KEYS
        assert (line["outcome"], line["status"]) == ("refused", 400)
        assert "secret-id" not in at.log.getvalue()


async def test_a_reader_that_leaves_is_an_info_with_what_it_got() -> None:
    never = asyncio.Event()
    script = Script([CHUNK, CHUNK, never], size=5000)
    async with service({"letters": scripted({"a": script})}) as at:
        async with connect(at.host, at.port) as connection:
            await connection.send(request("/R4/Binary/a"))
            received = b""
            while not received.endswith(CHUNK):
                received += await connection.receive()
        (line,) = await at.lines()
        assert line.keys() <= KEYS
        assert (line["outcome"], line["code"], line["level"]) == ("aborted", errors.ENDED_BY_READER.code, "info")
        assert (line["status"], line["bytes"]) == (200, 2000)


async def test_the_ids_of_a_request_are_in_every_answer() -> None:
    async with service({"letters": scripted(SCRIPTS)}) as at:
        for target in (
            "/R4/Binary/whole",
            "/R4/Binary/none",
            "/R4/metadata",
            "/nowhere",
            "/R4/Binary/whole?_format=json",
        ):
            answer = await at.ask(target, X_Request_Id="mine-1", X_Correlation_Id="mine-2")
            assert (answer.field("X-Request-Id"), answer.field("X-Correlation-Id")) == ("mine-1", "mine-2")
        lines = await at.lines(5)
        assert {(line["request_id"], line["correlation_id"]) for line in lines} == {("mine-1", "mine-2")}


@pytest.mark.requirement("TK-14")
@pytest.mark.parametrize(
    ("id", "shown"),
    [
        ("request-1", True),
        ("9434765918", True),
        ("9434765919", False),
        ("943-476-5919", False),
        ("letter:943.476.5919:a", False),
        ("x-00009434765919", True),
        ("1796091307.1979566", True),
        ("9434765919-aaaa-bbbb-cccc-943476591900", False),
        ("94347659-1900-4aaa-8bbb-943476591900", True),
    ],
)
def test_an_id_that_holds_an_nhs_number_is_known_by_a_digest_alone(id: str, shown: bool) -> None:
    assert (shown_id(id) == id) is shown
    assert shown_id(id) == shown_id(id)
    assert shown or "943" not in shown_id(id)
