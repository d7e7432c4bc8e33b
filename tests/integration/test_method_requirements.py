"""What is refused whatever it names: writes, searches, other methods, other resources (requirements 1.1, 3.2, 3.9)."""

from __future__ import annotations

import pytest

from gateway.fhir import Version
from gateway.protocol.negotiation import Format
from tests.integration.archive import LETTER, every_format, every_version, letters, outcome
from tests.support.raw_http import connect, request

WRITES = ("POST", "PUT", "PATCH", "DELETE")


@pytest.mark.parametrize("method", [*WRITES, "OPTIONS", "TRACE", "PROPFIND", "LOCK", "PURGE"])
@every_version
@every_format
@pytest.mark.requirement("FR-35", "FR-36", "FR-158", "CC-65", "ROW-17")
async def test_only_get_and_head_are_methods_of_a_document(version: Version, format: Format, method: str) -> None:
    async with letters() as at:
        for target in ("Binary/letter", "Binary/none", "Binary/letter/_history/1", "metadata"):
            answer = await at.ask(f"/{version.name}/{target}", method=method, Accept=format.media_type)
            assert answer.status == 405
            assert answer.field("Allow") == "GET, HEAD"
            assert outcome(answer, version, format)["code"] == "not-supported"
        assert (await at.ask(f"/{version.name}/Binary/letter")).body == LETTER.data


@pytest.mark.parametrize("method", WRITES)
@pytest.mark.parametrize(
    "media_type", ["application/fhir+json", "application/pdf", "application/x-www-form-urlencoded", "nonsense"]
)
@pytest.mark.requirement("FR-35", "FR-36", "FR-81", "CC-65")
async def test_a_write_is_refused_before_its_body_is_looked_at(method: str, media_type: str) -> None:
    body = b'{"resourceType":"Binary"}'
    fields = (("Content-Type", media_type), ("Content-Length", str(len(body))))
    async with letters() as at:
        for target in ("/R4/Binary/letter", "/R4/Binary", "/R4", "/R4/metadata"):
            async with connect(at.host, at.port) as connection:
                await connection.send(request(target, method=method, fields=fields, body=body))
                answer = await connection.answer()
                rest = await connection.rest()
            assert (answer.status, rest) == (405, b"")
            assert answer.field("Allow") is not None
            assert outcome(answer)["code"] == "not-supported"
        assert (await at.ask("/R4/Binary/letter")).body == LETTER.data


@every_version
@every_format
@pytest.mark.requirement("CC-24", "FR-37")
async def test_binary_cannot_be_searched(version: Version, format: Format) -> None:
    searches = (
        ("GET", "Binary"), ("GET", "Binary?"), ("GET", "Binary?_id=letter"), ("GET", "Binary?patient=1&_count=10"),
        ("HEAD", "Binary?_id=letter"), ("GET", "Binary/_search?_id=letter"), ("POST", "Binary/_search"),
    )  # fmt: skip
    async with letters() as at:
        for method, target in searches:
            answer = await at.ask(f"/{version.name}/{target}", method=method, Accept=format.media_type)
            assert answer.status == 405, target
            if method != "HEAD":
                assert "cannot be searched" in outcome(answer, version, format)["diagnostics"]
                assert b"Bundle" not in answer.body
                assert b"letter" not in answer.body


@every_version
@pytest.mark.requirement("CC-33", "FR-172", "FR-240", "GP-142", "ROW-17")
async def test_options_is_no_other_name_of_the_metadata(version: Version) -> None:
    async with letters() as at:
        for target in (f"/{version.name}", f"/{version.name}/", f"/{version.name}/metadata"):
            answer = await at.ask(target, method="OPTIONS")
            assert answer.status == 405
            outcome(answer, version)
        preflight = await at.ask(
            f"/{version.name}/Binary/letter",
            method="OPTIONS",
            Origin="https://app.test",
            Access_Control_Request_Method="GET",
        )
        assert preflight.status == 405
        assert not any(name.lower().startswith("access-control") for name, _ in preflight.fields)
        assert (await at.ask("*", method="OPTIONS")).status == 404


@every_version
@every_format
@pytest.mark.requirement("CC-51", "FR-158", "FR-170")
async def test_what_lies_beside_binary_and_metadata_is_not_there(version: Version, format: Format) -> None:
    base = f"/{version.name}"
    targets = {
        f"{base}/Patient/1": True, f"{base}/DocumentReference?patient=1": True, f"{base}/$versions": True,
        f"{base}/Binary/letter/$meta": True, f"{base}/Binary/letter/x": True, f"{base}": True, f"{base}/": True,
        f"{base}/.well-known/smart-configuration": True, f"{base}/Binary/": True,
        f"{base}x/metadata": False, "/metadata": False, "/Binary/letter": False, "/": False, "//": False,
    }  # fmt: skip
    async with letters() as at:
        for target, inside in targets.items():
            answer = await at.ask(target, Accept=format.media_type)
            assert answer.status == 404, target
            outcome(answer, version if inside else Version.R4, format)
