"""Failures on the wire: status, OperationOutcome, and what is kept from the reader (requirements 1.1 and 3.8)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import pytest

from adapters import errors as archive
from gateway.fhir import Version
from gateway.protocol.negotiation import Format
from gateway.source import Limits
from tests.integration.archive import FHIR_JSON, LETTER, Fixed, every_format, every_version, letters, outcome
from tests.support.raw_http import connect, request
from tests.support.scripted import Script
from tests.support.service import scripted, service

CANARY = "/archive/SMITH-John-9990000018.pdf"
"""Text of the kind that an archive's errors are made of."""

SPINE = "https://fhir.nhs.uk/STU3/CodeSystem/Spine-ErrorOrWarningCode-1"

ISSUE_CODES = frozenset(
    {
        "invalid", "structure", "required", "value", "invariant", "security", "login", "unknown", "expired",
        "forbidden", "suppressed", "processing", "not-supported", "duplicate", "not-found", "too-long", "code-invalid",
        "extension", "too-costly", "business-rule", "conflict", "incomplete", "transient", "lock-error", "no-store",
        "exception", "timeout", "throttled", "informational",
    }
)  # fmt: skip
"""The issue types that both versions have: https://hl7.org/fhir/STU3/valueset-issue-type.html."""


EVERY_FORM = [(version, format) for version in Version for format in Format]


class Failure(NamedTuple):
    """A request that fails, and what its reader is to get."""

    target: str
    status: int
    code: str
    spine: str
    headers: Mapping[str, str] = MappingProxyType({})
    method: str = "GET"


FAILURES = {
    "parameter": Failure("Binary/letter?_summary=banana", 400, "invalid", "INVALID_PARAMETER"),
    "unknown": Failure("Binary/none", 404, "not-found", "NO_RECORD_FOUND"),
    "no id": Failure("Binary/a%20b", 404, "not-found", "NO_RECORD_FOUND"),
    "no path": Failure("nothing/here", 404, "not-found", "BAD_REQUEST"),
    "no resource": Failure("Patient/1", 404, "not-supported", "NOT_IMPLEMENTED"),
    "another version": Failure("Binary/letter/_history/1", 404, "not-found", "NO_RECORD_FOUND"),
    "method": Failure("Binary/letter", 405, "not-supported", "BAD_REQUEST", method="DELETE"),
    "search": Failure("Binary?patient=1", 405, "not-supported", "NOT_IMPLEMENTED"),
    "condition": Failure("Binary/letter", 412, "conflict", "BAD_REQUEST", {"If_Match": '"x"'}),
    "range": Failure("Binary/letter", 416, "value", "BAD_REQUEST", {"Range": "bytes=99999-"}),
}

FAULTS: dict[str, tuple[BaseException, int, str]] = {
    "denied": (archive.AccessDenied(CANARY), 403, "forbidden"),
    "corrupt": (archive.Corrupt(CANARY), 502, "exception"),
    "credentials": (archive.CredentialsRejected(CANARY), 502, "exception"),
    "unavailable": (archive.Unavailable(CANARY), 503, "transient"),
    "busy": (archive.Busy(CANARY), 503, "throttled"),
    "timed out": (archive.TimedOut(CANARY), 504, "timeout"),
    "unsupported": (archive.Unsupported(CANARY), 501, "not-supported"),
    "the system's": (TimeoutError(CANARY), 504, "timeout"),
    "nobody's": (KeyError(CANARY), 503, "transient"),
}
"""What an archive raises when it is asked, the status and the issue code."""


@pytest.mark.parametrize("name", FAILURES)
@pytest.mark.requirement("CC-19", "CC-22", "CC-51", "FR-21", "FR-150", "FR-152", "FR-153", "FR-154", "FR-158", "CG-14")
async def test_a_refusal_is_an_outcome_in_the_format_asked_for(name: str) -> None:
    failure = FAILURES[name]
    async with letters() as at:
        for version, format in EVERY_FORM:
            accept = f"application/pdf, {format.media_type};q=0.1"
            target = f"/{version.name}/{failure.target}"
            answer = await at.ask(target, method=failure.method, Accept=accept, **failure.headers)
            assert answer.status == failure.status
            issue = outcome(answer, version, format)
            assert issue["code"] == failure.code
            assert issue["code"] in ISSUE_CODES
            codings = {coding["system"]: coding for coding in issue["details"]["coding"]}
            assert codings[SPINE]["code"] == failure.spine
            assert codings[SPINE]["display"]


@every_version
@pytest.mark.requirement("FR-80", "FR-150", "FR-254", "CG-04")
async def test_even_a_format_that_is_not_served_gets_an_outcome(version: Version) -> None:
    async with letters() as at:
        for format in Format:
            answer = await at.ask(f"/{version.name}/Binary/letter", Accept=f"image/png, {format.generic[0]}")
            assert answer.status == 406
            assert outcome(answer, version, format)["code"] == "not-supported"


@every_version
@pytest.mark.requirement("CC-23", "FR-22", "FR-154", "FR-253")
async def test_gone_has_the_issue_code_that_its_version_knows(version: Version) -> None:
    async with letters() as at:
        answer = await at.ask(f"/{version.name}/Binary/gone")
        assert answer.status == 410
        assert outcome(answer, version)["code"] == ("deleted" if version is Version.R4 else "not-found")


@every_version
@pytest.mark.requirement("FR-151")
async def test_a_failed_request_for_the_stored_form_gets_json(version: Version) -> None:
    async with letters() as at:
        for headers in ({}, {"Accept": "*/*"}, {"Accept": "application/pdf"}, {"Accept": "text/html, image/*"}):
            answer = await at.ask(f"/{version.name}/Binary/none", **headers)
            assert answer.status == 404
            outcome(answer, version)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.requirement("FR-150", "FR-157", "FR-159", "FR-254")
async def test_a_fault_of_the_archive_is_told_apart_and_nothing_of_it_leaks(fault: str) -> None:
    error, status, code = FAULTS[fault]
    scripts = {"on-opening": Script([], entering=[error]), "at-once": Script([error], size=10)}
    async with service({"letters": scripted(scripts)}) as at:
        for id in scripts:
            for version, format in EVERY_FORM:
                answer = await at.ask(f"/{version.name}/Binary/{id}?_format={format.name.lower()}")
                assert answer.status == status
                assert outcome(answer, version, format)["code"] == code
                for secret in ("SMITH", "999000", "archive/", "Traceback", "KeyError", ".py"):
                    assert secret not in answer.body.decode()
                retry = answer.field("Retry-After")
                assert (retry is not None and retry.isdigit()) == (status == 503)
        await at.lines(2 * len(EVERY_FORM))
        # What an adapter says is written for operators; what an exception that nobody expected says may be anything.
        if not isinstance(error, archive.AdapterError):
            assert "SMITH" not in at.log.getvalue()


@pytest.mark.parametrize("fault", ["unavailable", "denied"])
@pytest.mark.requirement("FR-159")
async def test_could_not_ask_never_reads_as_not_found(fault: str) -> None:
    error, status, _ = FAULTS[fault]
    async with service({"letters": scripted({"a": Script([], entering=[error])})}) as at:
        answer = await at.ask("/R4/Binary/a")
        assert answer.status == status not in (404, 410)
        codes = [coding["code"] for coding in outcome(answer)["details"]["coding"]]
        assert "NO_RECORD_FOUND" not in codes


@every_version
@every_format
@pytest.mark.requirement("FR-157", "FR-158")
async def test_a_fault_of_the_gateway_itself_is_an_outcome_without_a_trace(version: Version, format: Format) -> None:
    scheme = Fixed("letters", broken=RuntimeError(CANARY))
    async with service({"letters": scripted({})}, schemes={"letters": scheme}) as at:
        answer = await at.ask(f"/{version.name}/Binary/broken", Accept=format.media_type)
        assert answer.status == 500
        assert outcome(answer, version, format)["code"] == "processing"
        await at.lines()
        for secret in ("SMITH", "999000", "Traceback"):
            assert secret not in answer.body.decode() + at.log.getvalue()
        # The operator learns where it happened, and finds the two lines by the request's id.
        assert at.log.getvalue().count(str(answer.field("X-Request-Id"))) == 2


@pytest.mark.requirement("FR-159")
async def test_an_archive_that_does_not_answer_in_time_is_a_timeout() -> None:
    never = asyncio.Event()
    scripts = {"opening": Script([], entering=[never]), "reading": Script([never], size=10), "fine": Script([b"fine"])}
    async with service({"letters": scripted(scripts)}, limits=Limits(open_timeout=0.05, idle_timeout=0.05)) as at:
        for id in ("opening", "reading"):
            answer = await at.ask(f"/R4/Binary/{id}")
            assert answer.status == 504
            assert outcome(answer)["code"] == "timeout"
        assert (await at.ask("/R4/Binary/fine")).body == b"fine"


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"NONSENSE\r\n\r\n", 400),
        (b"FOO /R4/Binary/letter HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /R4/Binary/letter HTTP/1.1\r\n\r\n", 400),
        (b"GET /R4/Binary/letter HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400),
        (b"GET /R4/Binary/letter HTTP/2.0\r\nHost: x\r\n\r\n", 400),
        (b"GET /R4/Binary/letter\r\n\r\n", 400),
        (b"GET /R4/Binary/" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
        (b"GET /R4/Binary/letter HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 20_000 + b"\r\n\r\n", 431),
    ],
    ids=lambda value: value[:40] if isinstance(value, bytes) else value,
)
@pytest.mark.requirement("FR-158")
async def test_what_the_parser_refuses_gets_an_outcome_too(data: bytes, status: int) -> None:
    async with letters() as at:
        async with connect(at.host, at.port) as connection:
            await connection.send(data)
            answer = await connection.answer()
            rest = await connection.rest()
        assert (answer.status, rest) == (status, b"")
        assert answer.version in ("1.0", "1.1")
        assert answer.field("Content-Type") == FHIR_JSON
        outcome(answer)


@pytest.mark.requirement("CC-18", "CC-19", "CC-22", "CC-23", "FR-20", "FR-21", "FR-22")
async def test_a_failure_does_not_disturb_the_next_request_on_the_connection() -> None:
    async with letters() as at, connect(at.host, at.port) as connection:
        for failure in FAILURES.values():
            fields = tuple((name.replace("_", "-"), value) for name, value in failure.headers.items())
            await connection.send(request(f"/R4/{failure.target}", method=failure.method, fields=fields))
            assert (await connection.answer()).status == failure.status
            await connection.send(request("/R4/Binary/letter"))
            assert (await connection.answer()).body == LETTER.data
