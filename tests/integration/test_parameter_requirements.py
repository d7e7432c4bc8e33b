"""Query parameters and Prefer on the wire (requirements 3.5); what `_format` decides is with the negotiation."""

from __future__ import annotations

import json

import pytest

from gateway.fhir import Version
from gateway.protocol.negotiation import Format
from tests.integration.archive import (
    LETTER,
    binary,
    every_format,
    every_version,
    letters,
    outcome,
    resource,
)


@every_version
@pytest.mark.requirement("FR-100")
async def test_pretty_is_for_readers_and_changes_nothing_else(version: Version) -> None:
    async with letters() as at:
        for format in Format:
            answers = {
                pretty: await at.ask(f"/{version.name}/Binary/letter?_format={format.name.lower()}&_pretty={pretty}")
                for pretty in ("true", "false")
            }
            assert answers["true"].body.count(b"\n") > answers["false"].body.count(b"\n") + 3
            assert binary(answers["true"], version, format) == binary(answers["false"], version, format)
            assert answers["true"].field("ETag") == answers["false"].field("ETag")
        for target, kind in (("metadata", "CapabilityStatement"), ("Binary/none", "OperationOutcome")):
            answer = await at.ask(f"/{version.name}/{target}?_pretty=true")
            assert answer.body.count(b"\n") > 3
            resource(answer, kind, version)


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("_pretty=banana", "_pretty"),
        ("_pretty=", "_pretty"),
        ("_pretty=TRUE", "_pretty"),
        ("_summary=banana", "_summary"),
        ("_summary=count", "_summary"),
        ("_summary=", "_summary"),
        ("_elements=", "_elements"),
        ("_elements=id,%00", "_elements"),
        ("_summary=true&_elements=id", "_elements"),
        ("_summary=true&_summary=false", "_summary"),
        ("_format=json&_format=xml", "_format"),
    ],
)
@every_version
@pytest.mark.requirement("CC-19", "FR-101", "FR-102", "FR-107", "FR-112")
async def test_a_value_without_a_meaning_is_refused_by_name(version: Version, query: str, name: str) -> None:
    async with letters() as at:
        for target in ("Binary/letter", "metadata"):
            answer = await at.ask(f"/{version.name}/{target}?{query}")
            assert answer.status == 400
            issue = outcome(answer, version)
            assert issue["code"] == "invalid"
            assert issue["diagnostics"].endswith(f" {name}.")
            assert "banana" not in answer.body.decode()


@every_version
@every_format
@pytest.mark.requirement("CC-19", "FR-112", "FR-150")
async def test_a_refused_parameter_does_not_lose_the_format(version: Version, format: Format) -> None:
    async with letters() as at:
        answer = await at.ask(f"/{version.name}/Binary/letter?_summary=banana&_format={format.name.lower()}")
        assert answer.status == 400
        outcome(answer, version, format)
        answer = await at.ask(f"/{version.name}/Binary/letter?_summary=banana", Accept=format.media_type)
        assert answer.status == 400
        outcome(answer, version, format)


@pytest.mark.requirement("FR-109")
async def test_a_wish_about_what_a_write_returns_is_ignored_on_a_read() -> None:
    async with letters() as at:
        for value in (
            "return=minimal",
            "return=representation",
            "return=OperationOutcome",
            "respond-async",
            ";;,=",
            "",
        ):
            answer = await at.ask("/R4/Binary/letter", Prefer=value)
            assert (answer.status, answer.body) == (200, LETTER.data)


@every_version
@pytest.mark.requirement("FR-110", "FR-111")
async def test_unknown_parameters_are_ignored_unless_strictness_is_asked_for(version: Version) -> None:
    async with letters() as at:
        for query in ("foo=bar", "_count=3", "patient=1&type=2", "&&=&", "%ff=%00"):
            target = f"/{version.name}/Binary/letter?{query}"
            for prefer in ("", "handling=lenient", "handling=strictly"):
                assert (await at.ask(target, Prefer=prefer)).body == LETTER.data
            for prefer in ("handling=strict", "return=minimal, Handling=Strict; x=1", 'handling="strict"'):
                answer = await at.ask(target, Prefer=prefer)
                if not query.strip("&="):
                    continue
                assert answer.status == 400
                assert outcome(answer, version)["code"] == "not-supported"
                assert b"foo" not in answer.body
        strict = await at.ask(f"/{version.name}/Binary/letter?_format=json&_pretty=true", Prefer="handling=strict")
        assert json.loads(strict.body)["id"] == "letter"
