"""Every fault of a repository, through the gateway over HTTP: status, OperationOutcome and log line are those of the table."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from adapters.xds import arrival
from gateway import errors
from gateway.demo.xds import FAULTS, FakeRepository, Stored, large, letter
from tests.faults.xds_faults import OUTSIDE, REGISTRY, ROWS, Answer, Row
from tests.support.raw_http import Answer as Received
from tests.support.xds import Authority, fake_repository
from tests.support.xds_gateway import XdsGateway, options, xds_gateway

pytestmark = pytest.mark.blocking_allowed

PATIENT = "THISTLEQUILL", "9999458076", "java.lang"
"""What the fake's own error texts hold."""

SHORT = {"connect": "1s", "first_byte": "300ms", "between_bytes": "300ms"}

CDA = replace(letter(1), content=Stored("<ClinicalDocument>æ</ClinicalDocument>".encode()), media_type="text/xml")

REGISTRY_FAULTS = {row.fault for row in REGISTRY}


@pytest.fixture(autouse=True)
def no_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """A short document is waited for however slow this machine is."""
    monkeypatch.setattr(arrival, "PATIENCE", 10.0)


@pytest.fixture
async def fake() -> AsyncIterator[FakeRepository]:
    async with fake_repository(letter(1), letter(2)) as running:
        yield running


def test_the_table_is_complete() -> None:
    assert ROWS.keys() == FAULTS.keys() | OUTSIDE.keys()
    assert {name for name, fault in FAULTS.items() if fault.where == "registry"} == REGISTRY_FAULTS


def test_both_unknown_codes_and_all_of_the_profile_are_in_it() -> None:
    from gateway.demo.xds.faults import RETRIEVE_CODES, UNKNOWN_CODES

    assert len(UNKNOWN_CODES) == 2
    assert {*RETRIEVE_CODES, *UNKNOWN_CODES} <= ROWS.keys()


# --- short documents: everything is known before the first byte ----------------------------------------------------


@pytest.mark.parametrize("name", sorted(FAULTS.keys() - REGISTRY_FAULTS))
async def test_a_fault_of_the_repository(fake: FakeRepository, tmp_path: Path, name: str) -> None:
    row = ROWS[name]
    document = letter(1)
    if name == "raw-text":
        document = fake.shelf.put(CDA)
    if name == "slow-drip":
        document = fake.shelf.put(large(1000, unique_id="1.2.3.1000"))
    timeouts = {"timeouts": SHORT} if row.answer is not None and row.answer.status == 504 else {}
    async with xds_gateway({"care": options(fake, **timeouts)}, tmp_path) as gateway:
        fake.next(name, times=2)
        received = await gateway.ask("care", document)
        await judge(row, received, gateway, b"" if row.empty else document.data)


@pytest.mark.parametrize("name", sorted(REGISTRY_FAULTS))
async def test_a_fault_of_the_registry(fake: FakeRepository, tmp_path: Path, name: str) -> None:
    given = options(fake, use_for=("stat", "verify", "availability"))
    async with xds_gateway({"care": given}, tmp_path) as gateway:
        fake.next(name, at="registry")
        received = await gateway.ask("care", letter(1))
        await judge(ROWS[name], received, gateway, letter(1).data)


@pytest.mark.parametrize("name", sorted(OUTSIDE))
async def test_a_fault_below_http(tmp_path: Path, name: str) -> None:
    authority = Authority(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    stranger = Authority(other, "Nobody")
    tls = None
    if name != "connect-refused":
        tls = authority.server(
            "127.0.0.9" if name == "tls-other-name" else "127.0.0.1", clients=name == "tls-certificate-missing"
        )
    trusted = stranger if name == "tls-unknown-authority" else authority
    more: dict[str, Any] = {"tls": {"ca": str(trusted.file)}} if tls is not None else {}
    async with AsyncExitStack() as stack:
        fake = await stack.enter_async_context(fake_repository(letter(1), tls=tls))
        gateway = await stack.enter_async_context(xds_gateway({"care": options(fake, **more)}, tmp_path))
        if name == "connect-refused":
            await stack.enter_async_context(fake.deaf())
        await judge(ROWS[name], await gateway.ask("care", letter(1)), gateway, letter(1).data)
    assert fake.exchanges == []


async def judge(row: Row, received: Received, gateway: XdsGateway, data: bytes) -> None:
    """The answer and the log are what the row says, and nobody is told what the repository wrote."""
    (line,) = await gateway.service.lines()
    records = await gateway.records()
    written = gateway.service.log.getvalue()
    if row.answer is None:
        assert (received.status, received.complete, received.body == data) == (200, True, True)
        assert received.field("Content-Length") == str(len(data))
        assert (line["level"], line["outcome"], line["status"]) == ("info", "complete", 200)
        assert "code" not in line
    else:
        judge_refusal(row.answer, received, line)
        assert row.says
        assert row.says in line["detail"]
        assert received.field("Retry-After") == (None if row.retry_after is None else str(row.retry_after))
        assert line["source"] == "care"
    stopped = [record for record in records if record["event"] == "calls to the archive are stopped"]
    # An account that is refused is not tried again and again; everything else may be a passing fault.
    assert len(stopped) == (row.answer is not None and row.answer.code == errors.CREDENTIALS_REJECTED.code)
    others = [record for record in records if record["event"] not in ("request", "calls to the archive are stopped")]
    if row.event:
        (told,) = others
        assert told["event"].startswith(row.event)
        assert told["endpoint"] == "endpoint a"
        assert (told.get("quirk") or told.get("code")) == row.key
    else:
        assert others == []
    told_to_all = written + received.body.decode("latin-1")
    assert not any(word in told_to_all for word in PATIENT)
    assert letter(1).unique_id not in written


def judge_refusal(answer: Answer, received: Received, line: dict[str, Any]) -> None:
    outcome = received.json()
    assert outcome["resourceType"] == "OperationOutcome"
    (issue,) = outcome["issue"]
    codes = [coding["code"] for coding in issue["details"]["coding"]]
    assert (received.status, issue["code"], codes) == (answer.status, answer.issue, [answer.code, answer.spine])
    assert received.complete
    assert (line["status"], line["code"], line["level"]) == (answer.status, answer.code, answer.level)
    assert line["outcome"] == "refused"
    assert re.fullmatch("[A-Z].*[.]", issue["diagnostics"] if "diagnostics" in issue else issue["details"]["text"])
