"""Traces and a receiver that hangs: what waits is bounded, what is too much is counted, and the end does not wait for it."""

from __future__ import annotations

import asyncio
import io
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp.test_utils import make_mocked_request
from pydantic import ValidationError

from gateway import tracing
from gateway.calls import Call
from gateway.protocol.interactions import Bases
from gateway.protocol.profile import PROFILES
from gateway.settings import tracing as declared
from gateway.settings.tracing import TracingSettings
from gateway.telemetry import Telemetry
from gateway.timeline import current, stage, traceparent
from gateway.tracing import Traces, _parent
from tests.support.service import BASES

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
GIVEN = f"00-{TRACE}-{PARENT}-01"


@pytest.fixture
def hanging() -> Iterator[str]:
    """The address of a receiver that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/v1/traces"


def served(traces: Traces, *, failing: bool = False) -> str:
    """One request with a stage; the id of its trace."""
    call = Call(make_mocked_request("GET", "/R4/Binary/a"), Bases(BASES), PROFILES["care-connect"])
    call.status = 200
    timeline = traces.begin({}, ("127.0.0.1", 1))
    current.set(timeline)
    try:
        with stage("route"):
            if failing:
                raise OSError
    except OSError:
        pass
    call.sending()
    call.end()
    current.set(None)
    traces.end(call, timeline)
    return timeline.trace_id


@pytest.mark.parametrize(
    "given",
    [None, "", "00", GIVEN + "-more", GIVEN.replace("00-", "ff-"), f"00-{'0' * 32}-{PARENT}-01", f"00-{TRACE}-{'0' * 16}-01",
     GIVEN.upper(), GIVEN[:-1] + "g", GIVEN.replace("-", "_"), GIVEN * 10, f" {GIVEN}", f"{GIVEN}\n", GIVEN[1:]],
)  # fmt: skip
def test_what_is_no_traceparent(given: str | None) -> None:
    assert _parent(given) is None


@pytest.mark.parametrize(
    ("given", "sampled"), [(GIVEN, True), (GIVEN[:-1] + "0", False), (f"cc{GIVEN[2:]}-later", True)]
)
def test_what_is_one_also_of_a_later_version(given: str, sampled: bool) -> None:
    found = _parent(given)
    assert found is not None
    assert (f"{found.trace_id:032x}", f"{found.span_id:016x}") == (TRACE, PARENT)
    assert (found.trace_flags.sampled, found.is_remote) == (sampled, True)


async def test_what_waits_for_a_receiver_that_hangs_is_bounded(hanging: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "QUEUE", 64)
    monkeypatch.setattr(tracing, "AT_ONCE", 16)
    monkeypatch.setattr(tracing, "LAST_SECONDS", 0.3)
    telemetry = Telemetry(form="json", stream=(stream := io.StringIO()))
    settings = TracingSettings.model_validate({"endpoint": hanging, "timeout": "400ms"})
    traces = await asyncio.to_thread(Traces, settings, telemetry.log)
    try:
        began = time.monotonic()
        assert len({served(traces, failing=at % 2 == 0) for at in range(300)}) == 300
        taken = time.monotonic() - began
        assert traces.dropped >= 300 * 4 - 64 - 16 * 8, "a span for the request, and one for each of three stages"
        assert taken < 5, "nobody waited for the receiver"
    finally:
        began = time.monotonic()
        await traces.close()
        assert time.monotonic() - began < 2
        await asyncio.to_thread(telemetry.close)
    events = [json.loads(line)["event"] for line in stream.getvalue().splitlines()]
    assert len(events) <= 1, "at most that it is away"


async def test_a_file_of_authorities_that_is_none_is_told_and_counted(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    telemetry = Telemetry(form="json", stream=(stream := io.StringIO()))
    asked = {"endpoint": "https://127.0.0.1:9/v1/traces", "ca_file": str(tmp_path / "ca.pem"), "delay": "10ms"}
    traces = await asyncio.to_thread(Traces, TracingSettings.model_validate(asked), telemetry.log)
    try:
        served(traces)
        async with asyncio.timeout(10):
            while not traces.dropped:  # noqa: ASYNC110 # the queue's thread tells nobody
                await asyncio.sleep(0.01)
    finally:
        await traces.close()
        await asyncio.to_thread(telemetry.close)
    (line,) = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert line["event"] == "trace receiver is away"


def test_without_a_trace_a_stage_is_nothing_and_no_header_is_sent() -> None:
    assert traceparent() is None
    with stage("open"):
        pass
    with pytest.raises(OSError, match="as it was"), stage("open"):
        raise OSError("as it was")


@pytest.mark.parametrize(
    "endpoint",
    ["", "127.0.0.1:4318", "grpc://127.0.0.1:4317", "http://", "http://user:secret@host/v1/traces", "http://[::1/v1", "http://h:0/"],
)  # fmt: skip
def test_what_is_no_address_of_a_receiver(endpoint: str) -> None:
    with pytest.raises(ValidationError) as refused:
        TracingSettings(endpoint=endpoint)
    assert "secret" not in refused.value.errors()[0]["msg"]
    assert "http://127.0.0.1:4318/v1/traces" in refused.value.errors()[0]["ctx"]["cure"]


def test_traces_without_the_library_name_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(declared, "find_spec", lambda name: None)
    with pytest.raises(ValidationError) as refused:
        TracingSettings(endpoint="http://127.0.0.1:4318/v1/traces")
    assert "fhir-document-gateway[otel]" in refused.value.errors()[0]["ctx"]["cure"]
