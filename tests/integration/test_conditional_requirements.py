"""Conditional reads on the wire: 304, 412, and what takes precedence (requirements 3.3)."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.fhir import Version
from gateway.protocol.negotiation import Format
from tests.integration.archive import (
    KINDS,
    LAST_MODIFIED,
    LETTER,
    every_version,
    letters,
    make,
    outcome,
    resource,
)
from tests.support.service import service

BEFORE, AFTER = "Fri, 01 Mar 2024 11:59:59 GMT", "Fri, 01 Mar 2024 12:00:01 GMT"
FORMS = {"": Format.JSON, "?_format=json": Format.JSON, "?_format=xml": Format.XML}
"""Queries, and the format of a refusal."""


@pytest.mark.parametrize("kind", KINDS)
@every_version
@pytest.mark.requirement("FR-40", "FR-41", "FR-42", "FR-44", "FR-49")
async def test_a_current_copy_need_not_be_sent_again(version: Version, kind: str, tmp_path: Path) -> None:
    async with service({"letters": make(kind, tmp_path, {"letter": LETTER})}) as at:
        whole = await at.ask(f"/{version.name}/Binary/letter")
        etag = whole.field("ETag") or ""
        strong = etag.removeprefix("W/")
        for form in FORMS:
            for condition in (etag, strong, f'"x", {etag}', f'W/"x",{strong}, "y"', "*"):
                for method in ("GET", "HEAD"):
                    target = f"/{version.name}/Binary/letter{form}"
                    answer = await at.ask(target, method=method, If_None_Match=condition)
                    assert (answer.status, answer.body) == (304, b""), condition
                    for name in ("ETag", "Last-Modified", "Vary", "Cache-Control", "Content-Location"):
                        assert answer.field(name) == whole.field(name) is not None
                    assert answer.field("Date")
                    assert answer.field("Content-Type") is answer.field("Content-Length") is None


@pytest.mark.parametrize(
    ("conditions", "status"),
    [
        pytest.param({"If_None_Match": 'W/"other"'}, 200, id="another version"),
        pytest.param({"If_Modified_Since": LAST_MODIFIED}, 304, id="unchanged since"),
        pytest.param({"If_Modified_Since": AFTER}, 304, id="unchanged since later"),
        pytest.param({"If_Modified_Since": "Friday, 01-Mar-24 12:00:00 GMT"}, 304, id="the date of RFC 850"),
        pytest.param({"If_Modified_Since": "Fri Mar  1 12:00:00 2024"}, 304, id="the date of asctime"),
        pytest.param({"If_Modified_Since": BEFORE}, 200, id="changed since"),
        pytest.param(
            {"If_None_Match": 'W/"other"', "If_Modified_Since": AFTER},
            200,
            id="the tag decides against the date",
            marks=pytest.mark.requirement("FR-43"),
        ),
        pytest.param(
            {"If_None_Match": "ETAG", "If_Modified_Since": BEFORE},
            304,
            id="the tag decides for the copy",
            marks=pytest.mark.requirement("FR-43"),
        ),
        *(
            pytest.param(
                {"If_Modified_Since": text}, 200, id=f"no date: {text}", marks=pytest.mark.requirement("FR-45")
            )
            for text in ("yesterday", "2024-03-01T12:00:00Z", "Fri, 32 Mar 2024 12:00:00 GMT", "0", "")
        ),
        pytest.param({"If_Match": "*"}, 200, id="if it exists"),
        pytest.param({"If_Match": "ETAG"}, 412, id="a weak tag never matches strongly"),
        pytest.param({"If_Match": '"other"'}, 412, id="if it is another version"),
        pytest.param({"If_Unmodified_Since": BEFORE}, 412, id="if unchanged since before"),
        pytest.param({"If_Unmodified_Since": LAST_MODIFIED}, 200, id="if unchanged since then"),
        pytest.param({"If_Match": '"other"', "If_None_Match": "*"}, 412, id="if-match goes first"),
    ],
)
@pytest.mark.requirement("FR-40")
async def test_a_condition(conditions: dict[str, str], status: int) -> None:
    async with letters() as at:
        etag = (await at.ask("/R4/Binary/letter")).field("ETag") or ""
        headers = {name: etag if value == "ETAG" else value for name, value in conditions.items()}
        for form, format in FORMS.items():
            answer = await at.ask(f"/R4/Binary/letter{form}", **headers)
            assert answer.status == status
            if status == 412:
                assert outcome(answer, format=format)["code"] == "conflict"


@every_version
@pytest.mark.requirement("FR-47")
async def test_the_metadata_says_truly_which_conditions_work(version: Version) -> None:
    async with letters() as at:
        statement = resource(await at.ask(f"/{version.name}/metadata"), "CapabilityStatement", version)
        assert statement["rest"][0]["resource"][0]["conditionalRead"] == "full-support"
        etag = (await at.ask(f"/{version.name}/Binary/letter")).field("ETag") or ""
        assert (await at.ask(f"/{version.name}/Binary/letter", If_None_Match=etag)).status == 304
        assert (await at.ask(f"/{version.name}/Binary/letter", If_Modified_Since=LAST_MODIFIED)).status == 304


@pytest.mark.requirement("FR-21", "FR-22", "FR-40")
async def test_a_condition_does_not_hide_that_there_is_no_document() -> None:
    async with letters() as at:
        assert (await at.ask("/R4/Binary/none", If_None_Match="*")).status == 404
        assert (await at.ask("/R4/Binary/gone", If_None_Match="*")).status == 410
        assert (await at.ask("/R4/Binary/letter", If_None_Match="*", Accept="image/png")).status == 406


async def test_repeated_fields_are_one_list() -> None:
    async with letters() as at:
        etag = (await at.ask("/R4/Binary/letter")).field("ETag")
        answer = await at.ask("/R4/Binary/letter", If_None_Match=f'"x"\r\nIf-None-Match: {etag}')
        assert answer.status == 304
