"""OperationOutcome: valid in both versions and formats, the same in each, and silent about the request."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from fhir.resources.R4B.operationoutcome import OperationOutcome as OutcomeR4
from fhir.resources.STU3.operationoutcome import OperationOutcome as OutcomeSTU3
from lxml import etree

from adapters.errors import Corrupt
from gateway import errors
from gateway.errors import TABLE, Entry, problem_for
from gateway.fhir import Version, outcome
from gateway.protocol.negotiation import Format
from gateway.protocol.profile import GP_CONNECT_OUTCOME, SPINE_OUTCOME

MODELS: dict[Version, Any] = {Version.STU3: OutcomeSTU3, Version.R4: OutcomeR4}
SPINE = "https://fhir.nhs.uk/STU3/CodeSystem/Spine-ErrorOrWarningCode-1"

every_entry = pytest.mark.parametrize("entry", TABLE.values(), ids=lambda entry: entry.code)
every_version = pytest.mark.parametrize("version", Version, ids=lambda version: version.name)
every_format = pytest.mark.parametrize("format", Format, ids=lambda format: format.name)


def parsed(body: bytes, version: Version, format: Format) -> dict[str, Any]:
    """The resource as JSON values, read by its model."""
    model = MODELS[version]
    resource = model.model_validate_json(body) if format is Format.JSON else model.model_validate_xml(body)
    value: dict[str, Any] = json.loads(resource.model_dump_json())
    return value


@every_entry
@every_version
@pytest.mark.requirement("FR-152", "FR-154")
def test_json_and_xml_say_the_same_and_are_valid(entry: Entry, version: Version) -> None:
    read = parsed(outcome.render(entry, version, Format.JSON), version, Format.JSON)
    assert read == parsed(outcome.render(entry, version, Format.XML), version, Format.XML)
    [issue] = read["issue"]
    assert issue["severity"] == entry.severity
    assert issue["code"] == (entry.issue_stu3 or entry.issue if version is Version.STU3 else entry.issue)
    assert issue["diagnostics"] == entry.sentence
    assert issue["details"]["text"] == entry.title


@pytest.mark.requirement("FR-154")
def test_a_withdrawn_document_has_the_issue_code_of_its_version() -> None:
    codes = {
        version: json.loads(outcome.render(errors.WITHDRAWN, version, Format.JSON))["issue"][0]["code"]
        for version in Version
    }
    assert codes == {Version.STU3: "not-found", Version.R4: "deleted"}


@every_version
@pytest.mark.requirement("CG-14")
def test_the_gateways_code_and_the_spine_code_stand_side_by_side(version: Version) -> None:
    body = json.loads(outcome.render(errors.ACCESS_DENIED, version, Format.JSON))
    assert body["issue"][0]["details"]["coding"] == [
        {"system": outcome.CODE_SYSTEM, "code": "GW-DOC-004", "display": errors.ACCESS_DENIED.title},
        {"system": SPINE, "code": "ACCESS DENIED", "display": "Access has been denied to process this request"},
    ]


@every_entry
@pytest.mark.requirement("CG-13", "GP-79")
@pytest.mark.parametrize("profile", [GP_CONNECT_OUTCOME, SPINE_OUTCOME])
def test_a_profile_is_stated_and_gets_the_spine_coding_alone(entry: Entry, profile: str) -> None:
    body = parsed(outcome.render(entry, Version.STU3, Format.XML, profile_url=profile), Version.STU3, Format.XML)
    assert body["meta"] == {"profile": [profile]}
    [coding] = body["issue"][0]["details"]["coding"]
    assert coding["system"] == SPINE
    assert coding.keys() == {"system", "code", "display"}


@every_version
@every_format
def test_the_parameter_at_fault_is_named(version: Version, format: Format) -> None:
    body = outcome.render(errors.INVALID_PARAMETER, version, format, detail_name="_summary")
    [issue] = parsed(body, version, format)["issue"]
    assert issue["location"] == ["http._summary"]
    assert issue["diagnostics"].startswith(errors.INVALID_PARAMETER.sentence)
    assert "_summary" in issue["diagnostics"].removeprefix(errors.INVALID_PARAMETER.sentence)


@every_format
def test_a_name_out_of_the_request_is_not_repeated(format: Format) -> None:
    named = outcome.render(errors.UNKNOWN_PARAMETER, Version.R4, format, detail_name="nhs-number-9434765919")
    assert named == outcome.render(errors.UNKNOWN_PARAMETER, Version.R4, format)


@every_version
@every_format
@pytest.mark.requirement("FR-157")
def test_what_operators_are_told_stays_out_of_the_body(version: Version, format: Format) -> None:
    error = Corrupt("could not read /srv/letters/9434765919.pdf: Errno 5")
    error.source = "letters"
    problem = problem_for(error)
    body = outcome.render(problem.entry, version, format, detail_name=problem.detail_name).decode()
    assert not any(part in body for part in ("/srv", "9434765919", "Errno", "letters"))


@every_version
@every_format
@pytest.mark.requirement("FR-100")
def test_pretty_changes_the_layout_only(version: Version, format: Format) -> None:
    plain, pretty = (outcome.render(errors.NOT_FOUND, version, format, pretty=flag) for flag in (False, True))
    assert parsed(plain, version, format) == parsed(pretty, version, format)
    assert b"\n  " in pretty
    assert b"\n  " not in plain


@every_format
def test_markup_in_a_sentence_is_escaped(format: Format) -> None:
    text = 'a <b> & "c" \N{EN DASH} d.'
    entry = Entry(code="GW-DOC-999", status=404, issue="not-found", title=text, sentence=text, cause="-.", cure="-.")
    body = outcome.render(entry, Version.STU3, format)
    assert parsed(body, Version.STU3, format)["issue"][0]["diagnostics"] == text


def test_xml_is_in_the_fhir_namespace_and_declares_utf_8() -> None:
    body = outcome.render(errors.NOT_FOUND, Version.R4, Format.XML)
    tree = etree.fromstring(body).getroottree()
    assert tree.getroot().tag == "{http://hl7.org/fhir}OperationOutcome"
    assert (tree.docinfo.encoding or "").lower() == "utf-8"


def fresh(program: str) -> str:
    """What `program` prints in a process that has imported nothing yet."""
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout


def test_nothing_heavy_is_imported_before_the_first_need() -> None:
    program = """
import sys
from gateway import errors
from gateway.fhir import Version, outcome, capability, binary
from gateway.protocol.negotiation import Format
for entry in errors.TABLE.values():
    outcome.render(entry, Version.R4, Format.JSON)
print([name for name in ("fhir.resources", "fhir_core", "lxml", "pydantic") if name in sys.modules])
"""
    assert fresh(program).strip() == "[]"


def test_the_library_is_imported_in_another_thread_and_completely() -> None:
    program = """
import asyncio, sys, threading
from gateway import errors
from gateway.fhir import Version, capability, outcome
from gateway.protocol.negotiation import Format

class Watch:
    threads = set()
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("fhir", "fhir_core", "lxml"):
            self.threads.add(threading.current_thread())

async def main():
    sys.meta_path.insert(0, Watch())
    await asyncio.gather(*(outcome.prepare(Format.XML) for _ in range(50)), capability.prepare())
    assert Watch.threads and threading.main_thread() not in Watch.threads
    imported = set(sys.modules)
    facts = capability.CapabilityFacts(software_version="1", security="-", versioned=True, services=("OAuth",))
    for version in Version:
        for format in Format:
            capability.render(version, format, facts, pretty=True)
            for entry in errors.TABLE.values():
                outcome.render(entry, version, format, profile_url="https://x.test/p", detail_name="_format")
    print(sorted(set(sys.modules) - imported), len(Watch.threads))

asyncio.run(main())
"""
    assert fresh(program).strip() == "[] 2"


async def test_it_is_ready_after_prepare() -> None:
    await outcome.prepare(Format.XML)
    assert outcome.render(errors.NOT_FOUND, Version.R4, Format.XML)
