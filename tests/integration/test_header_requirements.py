"""What the header of an answer says, and what it must not repeat (requirements 3.6, 3.7 and 4.6)."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from gateway.fhir import Version
from gateway.protocol.conditional import parse_http_date
from tests.integration.archive import (
    LAST_MODIFIED,
    LETTER,
    STORED,
    binary,
    every_version,
    letters,
    make,
    outcome,
)
from tests.support.raw_http import connect, request
from tests.support.service import service

ANSWERS = {
    "native": ("GET", "/R4/Binary/letter", {}),
    "json": ("GET", "/R4/Binary/letter?_format=json", {}),
    "xml": ("GET", "/STU3/Binary/letter?_format=xml", {}),
    "head": ("HEAD", "/R4/Binary/letter", {}),
    "vread": ("GET", "/R4/Binary/letter/_history/ETAG", {}),
    "part": ("GET", "/R4/Binary/letter", {"Range": "bytes=0-3"}),
    "not modified": ("GET", "/R4/Binary/letter", {"If_None_Match": "*"}),
    "metadata": ("GET", "/STU3/metadata", {}),
    "missing": ("GET", "/R4/Binary/none", {}),
    "gone": ("GET", "/R4/Binary/gone", {}),
    "no path": ("GET", "/elsewhere", {}),
    "not acceptable": ("GET", "/R4/Binary/letter", {"Accept": "image/png"}),
    "refused": ("POST", "/R4/Binary/letter", {}),
    "bad parameter": ("GET", "/R4/Binary/letter?_pretty=banana", {}),
}
"""One request for every kind of answer."""

every_answer = pytest.mark.parametrize("kind", ANSWERS)


@every_answer
@pytest.mark.requirement("SV-60", "SV-64", "GP-49", "FR-126", "FR-143", "FR-144")
async def test_every_answer_forbids_sniffing_and_storing_and_has_nothing_of_others(kind: str) -> None:
    method, target, headers = ANSWERS[kind]
    async with letters() as at:
        etag = (await at.ask("/R4/Binary/letter")).field("ETag") or ""
        answer = await at.ask(target.replace("ETAG", etag[3:-1]), method=method, **headers)
        assert answer.field("X-Content-Type-Options") == "nosniff"
        assert answer.field("Cache-Control") == "no-store"
        assert answer.field("Date")
        # Location is for writes; the others are set by agents that alter content on the way.
        for name in ("Location", "X-Intermediary", "X-Powered-By"):
            assert answer.field(name) is None
        assert not any(re.match("(request|response)-modified-", name.lower()) for name, _ in answer.fields)
        assert "aiohttp" not in str(answer.fields).lower()
        assert "python" not in str(answer.fields).lower()


@every_version
@pytest.mark.requirement("FR-120", "FR-124")
async def test_the_native_form_says_in_its_header_what_the_resource_says_in_its_elements(version: Version) -> None:
    async with letters() as at:
        native = await at.ask(f"/{version.name}/Binary/letter")
        value = binary(await at.ask(f"/{version.name}/Binary/letter?_format=json"), version)
        assert native.field("Content-Type") == value["contentType"]
        assert native.field("ETag") == f'W/"{value["meta"]["versionId"]}"'
        assert native.field("Last-Modified") == LAST_MODIFIED
        assert value["meta"]["lastUpdated"] == "2024-03-01T12:00:00Z"
        # No security context is known, so none is told in either form.
        assert native.field("X-Security-Context") is None
        assert "securityContext" not in value


@every_version
@pytest.mark.requirement("FR-125", "GP-53")
async def test_content_location_is_the_version_that_was_sent(version: Version) -> None:
    async with letters() as at:
        for target in ("letter", "letter?_format=json"):
            answer = await at.ask(f"/{version.name}/Binary/{target}")
            location = answer.field("Content-Location") or ""
            assert location == f"/{version.name}/Binary/letter/_history/{(answer.field('ETag') or '')[3:-1]}"
            assert (await at.ask(location)).body == LETTER.data


@pytest.mark.requirement("FR-127", "SV-61", "SV-62", "SV-63")
async def test_nothing_that_could_run_in_a_browser_is_shown_by_it() -> None:
    async with letters() as at:
        for id, stored in STORED.items():
            answer = await at.ask(f"/R4/Binary/{id}")
            kind, _, name = (answer.field("Content-Disposition") or "").partition("; ")
            policy = answer.field("Content-Security-Policy") or ""
            assert re.fullmatch(rf'filename="{id}(\.[a-z]+)?"', name)
            assert "default-src 'none'" in policy
            shown = stored.media_type.startswith("image/") or stored.media_type in ("application/pdf", "text/plain")
            assert kind == ("inline" if shown else "attachment"), id
            assert "sandbox" in policy or stored.media_type == "application/pdf"


async def test_a_name_that_has_its_ending_does_not_get_it_twice() -> None:
    async with service({"letters": make("memory", Path(), {"letter.PDF": LETTER, "letter": LETTER})}) as at:
        for id, name in (("letter.PDF", "letter.PDF"), ("letter", "letter.pdf")):
            disposition = (await at.ask(f"/R4/Binary/{id}")).field("Content-Disposition")
            assert disposition == f'inline; filename="{name}"'


async def test_a_document_from_the_future_is_dated_no_later_than_its_answer(tmp_path: Path) -> None:
    archive = make("folder", tmp_path, {"letter": LETTER})
    os.utime(tmp_path / "letter", (4_000_000_000, 4_000_000_000))
    async with service({"letters": archive}) as at:
        answer = await at.ask("/R4/Binary/letter")
        changed, sent = (parse_http_date(answer.field(name) or "") for name in ("Last-Modified", "Date"))
        assert changed is not None
        assert sent is not None
        assert changed <= sent
        again = await at.ask("/R4/Binary/letter", If_Modified_Since=answer.field("Last-Modified") or "")
        assert again.status == 200


# --- the ids of a request -------------------------------------------------------------------------------------------


@every_answer
@pytest.mark.requirement("FR-140")
async def test_a_request_id_is_echoed_in_every_answer_and_in_the_log(kind: str) -> None:
    method, target, headers = ANSWERS[kind]
    async with letters() as at:
        etag = (await at.ask("/R4/Binary/letter")).field("ETag") or ""
        given = "6f1c2e1a-7e1b-4f0a-9d5e-0c6d2f3a4b5c"
        answer = await at.ask(target.replace("ETAG", etag[3:-1]), method=method, X_Request_Id=given, **headers)
        assert answer.field("X-Request-Id") == given
        assert (await at.lines(2))[1]["request_id"] == given


@every_answer
@pytest.mark.requirement("FR-140")
async def test_a_request_without_an_id_gets_one_of_its_own(kind: str) -> None:
    method, target, headers = ANSWERS[kind]
    async with letters() as at:
        etag = (await at.ask("/R4/Binary/letter")).field("ETag") or ""
        answers = [await at.ask(target.replace("ETAG", etag[3:-1]), method=method, **headers) for _ in range(2)]
        ids = [answer.field("X-Request-Id") for answer in answers]
        assert all(ids)
        assert len(set(ids)) == 2
        assert [line["request_id"] for line in (await at.lines(3))[1:]] == ids


@pytest.mark.requirement("FR-140", "FR-158")
async def test_even_bytes_that_are_no_request_get_an_id() -> None:
    async with letters() as at:
        async with connect(at.host, at.port) as connection:
            await connection.send(b"NONSENSE\r\n\r\n")
            answer = await connection.answer()
        (line,) = await at.lines()
        assert answer.field("X-Request-Id") == line["request_id"]


@pytest.mark.requirement("FR-141")
async def test_the_clients_correlation_id_comes_back_beside_the_servers_own() -> None:
    async with letters() as at:
        for target in ("/R4/Binary/letter", "/R4/Binary/none", "/R4/metadata"):
            answer = await at.ask(target, X_Correlation_Id="trace-17")
            assert answer.field("X-Correlation-Id") == "trace-17"
            assert answer.field("X-Request-Id") not in (None, "trace-17")
        assert [line["correlation_id"] for line in await at.lines(3)] == ["trace-17"] * 3


@pytest.mark.parametrize(
    "value",
    ["x" * 101, "a b", "a\tb", "<script>", 'a"b', "a;b", "a,b", "é", "a\x7fb", "-a", "${jndi:ldap://x}", ""],
    ids=ascii,
)
@pytest.mark.requirement("FR-141", "FR-145")
async def test_an_id_that_could_harm_a_log_or_a_header_is_replaced(value: str) -> None:
    async with letters() as at:
        answer = await at.ask("/R4/Binary/none", X_Request_Id=value, X_Correlation_Id=value)
        outcome(answer)
        given = answer.field("X-Request-Id")
        assert given
        assert re.fullmatch(r"[a-f0-9-]+", given)
        assert answer.field("X-Correlation-Id") is None
        (line,) = await at.lines()
        assert line["request_id"] == given
        assert "correlation_id" not in line


@pytest.mark.parametrize(
    "text", ["a\r\nX-Canary: 1", "a\rX-Canary: 1", "a\nX-Canary: 1", "a\0X-Canary: 1", "a%0d%0aX-Canary: 1"]
)
@pytest.mark.requirement("FR-145")
async def test_a_line_break_in_an_id_adds_no_header(text: str) -> None:
    async with letters() as at:
        async with connect(at.host, at.port) as connection:
            await connection.send(request("/R4/Binary/letter", fields=(("X-Request-Id", text),)))
            answer = await connection.answer()
        assert answer.status in (200, 400)
        assert answer.field("X-Canary") is None
        assert len(await at.lines()) == 1
        assert "canary" not in at.log.getvalue().lower()


@pytest.mark.requirement("FR-142")
async def test_the_address_of_the_service_is_never_taken_from_a_request() -> None:
    async with letters() as at:
        for target in ("/R4/metadata", "/R4/Binary/letter", "/R4/Binary/none"):
            async with connect(at.host, at.port) as connection:
                fields = (("X-Forwarded-Host", "evil.test"), ("X-Forwarded-Proto", "https"))
                await connection.send(request(target, host="evil.test", fields=fields))
                answer = await connection.answer()
                assert b"evil.test" not in answer.body
                assert "evil.test" not in str(answer.fields)
