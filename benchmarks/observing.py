"""What it costs a request to be counted, and to be traced: microseconds of one process, beside prometheus-client's own.

python -m benchmarks.observing
"""

from __future__ import annotations

import asyncio
import importlib.util
import io
import statistics
import time
from collections.abc import Callable

from aiohttp.test_utils import make_mocked_request
from prometheus_client import CollectorRegistry, Counter, Histogram

from benchmarks.machine import description
from gateway.calls import Call
from gateway.metrics import exposition, readings
from gateway.metrics.catalogue import BUCKETS
from gateway.metrics.tallies import Meters
from gateway.observed import Observed
from gateway.protocol.interactions import Bases
from gateway.protocol.profile import PROFILES
from gateway.settings.tracing import TracingSettings
from gateway.telemetry import Telemetry
from gateway.timeline import Timeline, current, stage
from tests.support.service import BASES

ROUNDS, TIMES = 7, 20_000


def microseconds(work: Callable[[], object], times: int = TIMES) -> float:
    """Processor time of this thread for one `work`, the median of several rounds."""
    found = []
    for _ in range(ROUNDS):
        began = time.thread_time()
        for _ in range(times):
            work()
        found.append((time.thread_time() - began) / times * 1e6)
    return statistics.median(found)


def a_call() -> Call:
    call = Call(make_mocked_request("GET", "/R4/Binary/a"), Bases(BASES), PROFILES["care-connect"])
    call.source, call.cache, call.status, call.sent = "letters", "hit", 200, 65536
    return call


def ours() -> float:
    """Everything that a served request does to be seen: its moments, its numbers, those of its archive, its stages unasked."""
    meters, call = Meters(), a_call()
    meter = meters.of("letters")

    def work() -> None:
        call.first_byte_at = 0.0
        for name in ("authorise", "route", "cache", "open"):
            with stage(name):
                pass
        meter.answered("open", 0.001)
        call.sending()
        call.end()
        meters.requests.ended(call)

    return microseconds(work)


def theirs() -> float:
    """The same numbers kept by prometheus-client, its labels looked up for each request as its manual shows."""
    registry = CollectorRegistry()
    requests = Counter("requests", "x", ("source", "method", "interaction", "code"), registry=registry)
    sent = Counter("sent", "x", ("source",), registry=registry)
    cached = Counter("cached", "x", ("source", "cache"), registry=registry)
    taken = [
        Histogram(name, "x", labels, buckets=BUCKETS, registry=registry)
        for name, labels in (("a", ("source", "cache")), ("b", ("source", "cache")), ("c", ("source", "operation")))
    ]

    def work() -> None:
        requests.labels("letters", "GET", "read", "200").inc()
        sent.labels("letters").inc(65536)
        cached.labels("letters", "hit").inc()
        for histogram in taken:
            histogram.labels("letters", "hit").observe(0.001)

    return microseconds(work)


def traced(sample: float) -> float:
    """A whole trace of a request with its stages, from its beginning to the queue; the receiver is not there."""
    from gateway.tracing import Traces

    telemetry = Telemetry(level="error", stream=io.StringIO())
    traces = Traces(TracingSettings(endpoint="http://127.0.0.1:9/v1/traces", sample=sample), telemetry.log)
    call = a_call()

    def work() -> None:
        call.first_byte_at = 0.0
        timeline: Timeline = traces.begin({}, ("127.0.0.1", 1))
        current.set(timeline)
        for name in ("authorise", "route", "cache", "open"):
            with stage(name):
                pass
        call.sending()
        call.end()
        current.set(None)
        traces.end(call, timeline)

    return microseconds(work, 2000)


def scraped() -> tuple[float, float]:
    """Milliseconds that a scrape of ten busy sources holds the loop, and that it takes a thread beside it."""
    meters = Meters()
    for at in range(10):
        for word in ("hit", "stale", "miss", "collapsed", "outdated", "bypass", None):
            for status in (200, 206, 304, 404, 503, 504):
                call = a_call()
                call.source, call.cache, call.status = f"source-{at}", word, status
                call.sending()
                call.end()
                meters.requests.ended(call)
    observed = Observed(Telemetry(level="error", stream=io.StringIO()), meters)
    held = microseconds(lambda: [*readings._now(observed)], 20) / 1000
    snapshot = asyncio.run(readings.read(observed))
    return held, microseconds(lambda: exposition._rendered(snapshot, ""), 5) / 1000


def main() -> None:
    print(", ".join(f"{name} {value}" for name, value in description().items() if name in ("processor", "Python")))
    mine, its = ours(), theirs()
    print(f"counted by the gateway:        {mine:6.2f} µs")
    print(f"counted by prometheus-client:  {its:6.2f} µs  ({its / mine:.1f} times as long)")
    held, beside = scraped()
    print(f"a scrape holds the loop for:   {held:6.2f} ms, and takes a thread {beside:.1f} ms")
    if importlib.util.find_spec("opentelemetry"):
        print(f"traced:                        {traced(1.0):6.2f} µs")
        print(f"not in the sample:             {traced(0.0):6.2f} µs")


if __name__ == "__main__":
    main()
