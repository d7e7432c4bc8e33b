"""What readers get of an archive that is given a rest, that too many ask, or that takes longer than their own deadline."""

from __future__ import annotations

import asyncio
import json
import math
import time
from dataclasses import replace
from typing import Any

import pytest

from adapters.errors import TimedOut
from gateway import errors
from gateway.cache import Limits as CacheLimits
from gateway.cache.memory import MemoryCache
from gateway.cache.policy import Policy
from gateway.shared import Sharing
from gateway.source import Limits
from tests.support.fragile import ABLE, STABLE, Archive
from tests.support.scripted import Script
from tests.support.service import Service, scripted, service

AT_ONCE = 0.05
"""Seconds in which whoever need not wait is answered."""

LIMITS = Limits(max_open=2, max_queued=2, open_timeout=0.1, idle_timeout=2, breaker_failures=2, breaker_pause=30)


async def refused_at_once(at: Service, target: str, **more: str) -> Any:
    began = time.monotonic()
    answer = await at.ask(target, **more)
    assert time.monotonic() - began < AT_ONCE
    assert answer.status == 503
    return answer


@pytest.mark.parametrize("sharing", [None, Sharing()], ids=["direct", "shared"])
async def test_an_archive_that_rests_is_told_apart_and_says_when_to_come_back(sharing: Sharing | None) -> None:
    hung = {name: Script([b"letter"], entering=[asyncio.Event()]) for name in "ab"}
    archives = {"hung": scripted(hung), "well": scripted({"a": Script([b"letter"])})}
    async with service(archives, limits=LIMITS, sharing=sharing) as at:
        for name in "ab":
            assert (await at.ask(f"/R4/Binary/{name}")).status == 504
        answer = await refused_at_once(at, "/R4/Binary/a")
        assert 1 <= int(answer.field("Retry-After")) <= math.ceil(LIMITS.breaker_pause)
        body = json.loads(answer.body)
        assert body["resourceType"] == "OperationOutcome"
        assert body["issue"][0]["code"] == "transient"
        assert errors.SOURCE_RESTING.code in answer.body.decode()
        xml = await refused_at_once(at, "/STU3/Binary/a", Accept="application/fhir+xml")
        assert errors.SOURCE_RESTING.code.encode() in xml.body
        assert (await refused_at_once(at, "/R4/Binary/b", method="HEAD")).body == b""
        assert (await at.ask("/R4/Binary/well.a")).body == b"letter"
        lines = await at.events("calls to the archive are stopped")
        assert [(line["source"], line["reason"]) for line in lines] == [("hung", "TimedOut")]
        asked = await at.lines(6)
        assert [line["code"] for line in asked if line["source"] == "hung"][2:] == [errors.SOURCE_RESTING.code] * 3


async def test_too_many_are_refused_at_once_in_fhir() -> None:
    script = Script([b"letter", asyncio.Event()])
    async with service(
        {"letters": scripted({str(n): script for n in range(9)})}, limits=replace(LIMITS, open_timeout=5)
    ) as at:
        reading = [asyncio.ensure_future(at.ask(f"/R4/Binary/{number}")) for number in range(4)]
        source = at.sources["letters"]
        while source.status().queued < 2:  # noqa: ASYNC110 - nothing tells us
            await asyncio.sleep(0.005)
        await at.ask("/R4/Binary/nothing")  # whatever is made for the first refusal is there then
        times = set()
        for _ in range(12):
            answer = await refused_at_once(at, "/R4/Binary/5")
            assert errors.SOURCE_BUSY.code.encode() in answer.body
            assert json.loads(answer.body)["issue"][0]["code"] == "throttled"
            times.add(int(answer.field("Retry-After")))
        assert len(times) > 1, "all are told to come back at the same time"
        assert script.opened == 2
        for step in script.steps:
            if isinstance(step, asyncio.Event):
                step.set()
        await asyncio.gather(*reading)


@pytest.mark.parametrize("able", [ABLE, STABLE], ids=["asked for facts", "never changes"])
async def test_copies_are_served_at_once_while_the_archive_rests(able: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ahead = 0.0
    real = time.time
    monkeypatch.setattr("gateway.shared.time.time", lambda: real() + ahead)
    archive = Archive(capabilities=able)
    archive.put("a", b"%PDF-1.7 a letter")
    policy = Policy(ttl=100, stale_while_revalidate=50, stale_if_error=100, patience=0.2)
    async with (
        MemoryCache(CacheLimits(keep=policy.keep, max_document=1 << 20), max_bytes=1 << 20) as cache,
        service(
            {"letters": archive.make()},
            limits=LIMITS,
            sharing=Sharing(),
            cache=cache,
            policy=policy,
            spool_bytes=1 << 24,
        ) as at,
    ):
        assert (await at.ask("/R4/Binary/a")).status == 200
        while not cache.counts.stored:  # noqa: ASYNC110 - nothing tells us
            await asyncio.sleep(0.005)
        archive.away = TimedOut("late")
        ahead = policy.ttl + 60
        for _ in range(3):
            assert (await at.ask("/R4/Binary/other")).status in (503, 504)
        assert at.sources["letters"].status().state == "away"
        began = time.monotonic()
        answer = await at.ask("/R4/Binary/a")
        assert time.monotonic() - began < AT_ONCE
        assert (answer.status, answer.body) == (200, b"%PDF-1.7 a letter")
        assert "detail=archive-away" in str(answer.field("Cache-Status"))


@pytest.mark.parametrize("sharing", [None, Sharing()], ids=["direct", "shared"])
@pytest.mark.parametrize(("limit", "prefer"), [(0.2, None), (60, "wait=0"), (0.2, 'respond-async, wait="60"')])
async def test_a_request_whose_time_is_over_is_answered_in_time(
    sharing: Sharing | None, limit: float, prefer: str | None
) -> None:
    limits = Limits(open_timeout=30, idle_timeout=30, breaker_failures=1)
    waiting = {
        "a": Script([b"x" * 100_000], entering=[asyncio.Event()]),
        "b": Script([asyncio.Event(), b"x" * 100_000]),
    }
    async with service({"letters": scripted(waiting)}, limits=limits, sharing=sharing, request_timeout=limit) as at:
        for name in waiting:
            began = time.monotonic()
            answer = await at.ask(f"/R4/Binary/{name}", **({"Prefer": prefer} if prefer else {}))
            assert time.monotonic() - began < 2
            assert (answer.status, answer.framing) == (504, "length")
            assert errors.SOURCE_TIMED_OUT.code.encode() in answer.body
        assert at.sources["letters"].status().state == "ok", "a reader in a hurry says nothing about the archive"


async def test_who_comes_later_has_a_deadline_of_their_own() -> None:
    script = Script([b"x" * 300_000], entering=[asyncio.Event()])
    async with service(
        {"letters": scripted({"a": script})}, sharing=Sharing(), request_timeout=60, spool_bytes=1 << 22
    ) as at:
        hurried = asyncio.ensure_future(at.ask("/R4/Binary/a", Prefer="wait=1"))
        await asyncio.sleep(0.8)
        patient = asyncio.ensure_future(at.ask("/R4/Binary/a"))
        assert (await hurried).status == 504
        for step in script.entering:
            assert isinstance(step, asyncio.Event)
            step.set()
        assert (await patient).body == b"x" * 300_000
        assert script.opened == 1, "the read of whoever came first went on for all others"
