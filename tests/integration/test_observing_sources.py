"""The numbers and the status of archives under load: places, queue, refusals, circuit, shared reads, hung threads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from adapters.errors import Unavailable
from gateway.metrics.readings import Snapshot, read
from gateway.observed import Observed
from gateway.shared import Sharing
from gateway.source import Limits
from gateway.status import status
from tests.support.scripted import Script
from tests.support.service import Service, scripted, service

LIMITS = Limits(max_open=2, max_queued=1, queue_timeout=5, open_timeout=5, idle_timeout=5, breaker_failures=3)


def seen(at: Service) -> Observed:
    return Observed(at.telemetry, pipeline=at.pipeline, sources=at.sources, fills=at.fills, spool=at.spool)


async def until(at: Service, condition: Callable[[Snapshot], Any]) -> Snapshot:
    """The first reading that fits."""
    async with asyncio.timeout(10):
        while not condition(snapshot := await read(seen(at))):  # noqa: ASYNC110 # what is read has no event
            await asyncio.sleep(0.01)
    return snapshot


async def test_places_queue_and_refusals_can_be_seen() -> None:
    going_on = asyncio.Event()
    scripts = {"a": Script([b"letter"], entering=[going_on])}
    async with service({"letters": scripted(scripts)}, limits=LIMITS) as at:
        asking = [asyncio.create_task(at.ask("/R4/Binary/a")) for _ in range(3)]
        snapshot = await until(at, lambda now: now["gateway_bulkhead_queue"]["letters",] == 1)
        assert snapshot["gateway_bulkhead_in_use"]["letters",] == 2
        assert snapshot["gateway_bulkhead_limit"]["letters",] == 2
        assert snapshot["gateway_requests_in_flight"][()] == 3
        assert (await at.ask("/R4/Binary/a")).status == 503
        page = (await status(seen(at)))["sources"]["letters"]
        assert (page["in_flight"], page["queued"], page["rejected"]) == (2, 1, {"queue full": 1})
        snapshot = await read(seen(at))
        assert snapshot["gateway_bulkhead_rejected_total"]["letters", "queue_full"] == 1
        going_on.set()
        assert {answer.status for answer in await asyncio.gather(*asking)} == {200}
        await at.idle()
        assert (await read(seen(at)))["gateway_bulkhead_in_use"]["letters",] == 0


async def test_a_circuit_that_opens_can_be_seen_with_its_cure() -> None:
    scripts = {"a": Script([b"letter"], entering=[Unavailable("the connection was refused")])}
    async with service({"letters": scripted(scripts)}, limits=LIMITS) as at:
        snapshot = await read(seen(at))
        assert snapshot["gateway_breaker_state"]["letters", "(none)", "closed"] == 1
        assert snapshot["gateway_source_up"]["letters",] == 1
        for _ in range(6):
            assert (await at.ask("/R4/Binary/a")).status == 503
        snapshot = await read(seen(at))
        states = {labels[2]: value for labels, value in snapshot["gateway_breaker_state"].items()}
        assert states == {"closed": 0, "open": 1, "half-open": 0}
        assert snapshot["gateway_source_up"]["letters",] == 0
        assert snapshot["gateway_bulkhead_rejected_total"]["letters", "resting"] > 0
        page = (await status(seen(at)))["sources"]["letters"]
        assert page["state"] == "away"
        assert page["error"]["code"].startswith("GW-SRC-")
        assert page["error"]["detail"] == "the connection was refused"
        assert page["error"]["cure"]
        assert page["last_error"]["at"]
        (endpoint,) = page["endpoints"]
        assert (endpoint["circuit"], endpoint["opened"]) == ("open", 1)
        assert endpoint["retry_in_seconds"] > 0


async def test_readers_of_one_read_can_be_seen() -> None:
    going_on = asyncio.Event()
    scripts = {"a": Script([b"letter"], entering=[going_on])}
    async with service({"letters": scripted(scripts)}, sharing=Sharing(always=True)) as at:
        asking = [asyncio.create_task(at.ask("/R4/Binary/a")) for _ in range(5)]
        snapshot = await until(at, lambda now: now["gateway_coalesced_waiters"][()] == 4)
        assert snapshot["gateway_inflight_fills"][()] == 1
        going_on.set()
        assert {answer.status for answer in await asyncio.gather(*asking)} == {200}
        snapshot = await until(at, lambda now: now["gateway_inflight_fills"][()] == 0)
        assert snapshot["gateway_coalesced_waiters"][()] == 0
        assert at.sources["letters"].meter.filled == len(b"letter"), "once for all of them"
