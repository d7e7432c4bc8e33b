"""Numbers: what is counted, that labels are closed sets, that several processes add up, and that Prometheus can read it."""

from __future__ import annotations

import asyncio
import io
import itertools
import json
import math
import threading
import time
from typing import Any

import pytest
from aiohttp.test_utils import make_mocked_request
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from adapters.errors import AdapterError, Deleted, NotFound, TimedOut, Unavailable
from gateway import errors
from gateway.calls import Call
from gateway.metrics import exposition
from gateway.metrics.catalogue import BUCKETS, METRICS, NONE, OTHER
from gateway.metrics.exposition import _rendered, merged, packed, unpacked
from gateway.metrics.readings import Snapshot, read
from gateway.metrics.tallies import Histogram, Meters, SourceMeter
from gateway.observed import Observed
from gateway.protocol.interactions import Bases
from gateway.protocol.profile import PROFILES
from gateway.source import Limits, Source, services
from gateway.telemetry import Telemetry
from gateway.workers import Workers
from tests.support.scripted import ScriptedAdapter
from tests.support.service import BASES

OPENMETRICS = "application/openmetrics-text; version=1.0.0"


def a_call(target: str = "/R4/Binary/a", method: str = "GET") -> Call:
    return Call(make_mocked_request(method, target), Bases(BASES), PROFILES["care-connect"])


def ended(meters: Meters, target: str = "/R4/Binary/a", method: str = "GET", status: int = 200, **facts: Any) -> None:
    """One request, from its beginning to its end."""
    call = a_call(target, method)
    call.status = status
    for name, value in facts.items():
        setattr(call, name, value)
    call.sending()
    call.end()
    meters.requests.ended(call)


async def snapshot(meters: Meters, **parts: Any) -> Snapshot:
    telemetry = Telemetry(form="json", stream=io.StringIO())
    try:
        return await read(Observed(telemetry, meters, **parts))
    finally:
        await asyncio.to_thread(telemetry.close)


def parsed(text: bytes) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


# --- histograms ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [0, 0.0005, *BUCKETS, *(bound + 1e-9 for bound in BUCKETS), 1e6])
def test_a_bucket_holds_what_is_at_most_its_bound(seconds: float) -> None:
    histogram = Histogram()
    histogram.observe(seconds)
    at = histogram.counts.index(1)
    assert [*BUCKETS, math.inf][at] >= seconds
    assert at == 0 or BUCKETS[at - 1] < seconds
    assert (sum(histogram.counts), histogram.total) == (1, seconds)


# --- requests --------------------------------------------------------------------------------------------------------


async def test_requests_are_counted_by_what_was_asked_and_answered() -> None:
    meters = Meters()
    ended(meters, source="letters", sent=7, cache="miss")
    ended(meters, source="letters", sent=5, cache="hit")
    ended(meters, "/R4/metadata", source="letters")
    ended(meters, "/R4/Binary/a", "HEAD", 404, source="letters")
    ended(meters, status=206, source="letters", entry=errors.ENDED_BY_READER)
    meters.requests.unparsed(400)
    found = await snapshot(meters)
    assert found["gateway_requests_total"] == {
        ("letters", "GET", "read", "200"): 2,
        (NONE, "GET", "capabilities", "200"): 1,
        ("letters", "HEAD", "read", "404"): 1,
        ("letters", "GET", "read", "206"): 1,
        (NONE, OTHER, "unparsed", "400"): 1,
    }
    assert found["gateway_requests_aborted_total"] == {("letters", "GW-END-004"): 1}
    assert found["gateway_response_bytes_total"] == {("letters",): 12, (NONE,): 0}
    assert found["gateway_cache_requests_total"] == {("letters", "miss"): 1, ("letters", "hit"): 1}
    assert sum(found["gateway_request_duration_seconds"]["letters", "hit"][:-1]) == 1  # type: ignore[index]


async def test_strangers_make_no_series() -> None:
    meters = Meters()
    for at in range(60):
        ended(meters, f"/R4/Binary/{at}?x={at}", f"METHOD{at}", 405)
        ended(meters, f"/{at}/{at}", "PUT", 404)
        ended(meters, f"/R4/Patient{at}", "BREW", 1000 + at)
    series = (await snapshot(meters))["gateway_requests_total"]
    assert len(series) < 12
    assert {code for _, _, _, code in series} <= {"404", "405", OTHER}
    assert {method for _, method, _, _ in series} <= {"PUT", OTHER}


async def test_a_scrape_is_bounded() -> None:
    """Ten sources with everything that can happen to each."""
    meters = Meters()
    statuses = sorted({200, 206, 304, *(entry.status for entry in errors.TABLE.values())})
    words = ("hit", "stale", "miss", "collapsed", "outdated", "bypass", None)
    targets = ("/R4/Binary/a", "/R4/Binary/a/_history/1")
    calls = [a_call(target, method) for target in targets for method in ("GET", "HEAD")]
    for at, status, word, call in itertools.product(range(10), statuses, words, calls):
        call.source, call.status, call.cache = f"source-{at}", status, word
        call.sending()
        call.end()
        meters.requests.ended(call)
    found = await snapshot(meters)
    began = time.perf_counter()
    text, _ = _rendered(found, "")
    taken = time.perf_counter() - began
    lines = [line for line in text.splitlines() if not line.startswith(b"#")]
    assert 3000 < len(lines) < 10_000, "the sets are closed: no traffic makes more of them"
    assert taken < 5


async def test_a_scrape_is_written_out_beside_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[int] = []
    monkeypatch.setattr(
        exposition, "_rendered", lambda *given: (threads.append(threading.get_ident()), _rendered(*given))[1]
    )
    text, _ = await exposition.rendered(await snapshot(Meters()))
    assert b"gateway_ready 0.0" in text
    assert threads != [threading.get_ident()]


# --- sources ---------------------------------------------------------------------------------------------------------


def source(meter: SourceMeter) -> Source:
    workers = Workers("letters", 1)
    return Source("letters", ScriptedAdapter("letters", None, services(workers, None), scripts={}), limits=Limits(),
                  workers=workers, meter=meter)  # fmt: skip


@pytest.mark.parametrize(
    ("error", "reason"),
    [(NotFound(), None), (Deleted(), None), (Unavailable("x"), "unavailable"), (TimedOut(), "timed_out"),
     (errors.Wedged(), "wedged"), (type("Own", (AdapterError,), {})(), OTHER)],
)  # fmt: skip
async def test_failures_are_told_from_answers(error: AdapterError, reason: str | None) -> None:
    meters = Meters()
    meter = meters.of("letters")
    with pytest.raises(AdapterError), meter.timed("stat"):
        raise error
    found = await snapshot(meters, sources={"letters": source(meter)})
    assert found.get("gateway_backend_errors_total", {}) == ({("letters", reason): 1} if reason else {})
    assert ("letters", "stat") in found.get("gateway_backend_duration_seconds", {}) or reason


async def test_every_failure_has_a_line_where_debug_is_logged() -> None:
    stream = io.StringIO()
    telemetry = Telemetry(form="json", stream=stream, level="info")
    meter = Meters(telemetry.log).of("letters")
    for level in ("info", "debug"):
        telemetry.set_level(level)
        with pytest.raises(TimedOut), meter.timed("stat"):
            raise TimedOut("no answer")
    await asyncio.to_thread(telemetry.close)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    (line,) = [line for line in lines if line["event"] == "archive operation failed"]
    told = {key: line[key] for key in ("source", "operation", "error", "detail", "level")}
    wanted = {"source": "letters", "operation": "stat", "error": "TimedOut", "detail": "no answer", "level": "debug"}
    assert told == wanted


# --- several processes -----------------------------------------------------------------------------------------------


async def test_the_numbers_of_workers_become_those_of_one_process() -> None:
    both = []
    for count in (1, 2):
        meters = Meters()
        for _ in range(count):
            ended(meters, source="letters", sent=10)
        both.append(await snapshot(meters, began=1000.0 * count))
    whole = merged(unpacked(packed(one)) for one in both)
    assert whole["gateway_requests_total"] == {("letters", "GET", "read", "200"): 3}
    assert sum(whole["gateway_request_duration_seconds"]["letters", NONE][:-1]) == 3  # type: ignore[index]
    assert whole["gateway_start_time_seconds"] == {(): 1000.0}, "the smallest"
    assert whole["gateway_ready"] == {(): 0.0}
    assert whole["gateway_workers"] == {(): 2.0}, "added up"
    assert both[0]["gateway_workers"] == {(): 1.0}, "the parts stay as they were"


async def test_what_is_written_can_be_read_and_histograms_add_up() -> None:
    meters = Meters()
    ended(meters, source="letters", sent=10)
    found = await snapshot(meters)
    for accept, kind in (
        ("", "text/plain"),
        ("application/openmetrics-text; version=1.0.0", "application/openmetrics"),
    ):
        _, content_type = _rendered(found, accept)
        assert content_type.startswith(kind)
    # The parser of OpenMetrics is strict: names, units, order and ends of histograms are judged by it.
    strict = [*openmetrics.text_string_to_metric_families(_rendered(found, OPENMETRICS)[0].decode())]
    assert {family.name for family in strict} == {metric.name.removesuffix("_total") for metric in METRICS}
    samples = parsed(_rendered(found, "")[0])
    labels = (("cache", NONE), ("source", "letters"))
    assert samples["gateway_request_duration_seconds_count"][labels] == 1
    assert (
        samples["gateway_request_duration_seconds_bucket"][("cache", NONE), ("le", "+Inf"), ("source", "letters")] == 1
    )
    assert samples["gateway_requests_total"]
    names = {metric.name for metric in METRICS}
    assert found.keys() <= names, "nothing is exposed that the catalogue does not declare"
