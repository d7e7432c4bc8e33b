"""What is logged because it changed: once each time, and not by whoever happened to make a request."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.cache import Limits, NoCache
from gateway.notices import LATE, Notices
from gateway.observed import Observed
from gateway.telemetry import Telemetry


class Cache(NoCache):
    """One that is away when a test says so."""

    gone = False

    @property
    def away(self) -> bool:
        return self.gone


class Looking:
    """Notices over a process whose parts a test changes, and the lines that came of it."""

    def __init__(self) -> None:
        self.stream = io.StringIO()
        self.telemetry = Telemetry(form="json", stream=self.stream)
        self.cache = Cache(Limits())
        self.observed = Observed(self.telemetry, cache=self.cache)
        self.notices = Notices(self.observed)

    async def said(self, looks: int) -> list[tuple[str, str]]:
        """Event and detail of every line so far, after so many looks more."""
        for _ in range(looks):
            self.notices.look()
        await asyncio.to_thread(self.telemetry.close)
        lines: list[dict[str, Any]] = [json.loads(line) for line in self.stream.getvalue().splitlines()]
        return [(line["event"], line.get("detail", "")) for line in lines]


@pytest.fixture
async def looking() -> AsyncIterator[Looking]:
    looking = Looking()
    yield looking
    await asyncio.to_thread(looking.telemetry.close)


async def test_a_process_that_is_well_says_nothing(looking: Looking) -> None:
    assert await looking.said(3) == []


async def test_a_cache_that_goes_and_comes_back_is_told_once_each_time(looking: Looking) -> None:
    for gone in (False, True, True, True, False, False, True):
        looking.cache.gone = gone
        looking.notices.look()
    events = [event for event, _ in await looking.said(0)]
    assert events == ["cache is away", "cache is back", "cache is away"]


async def test_a_loop_that_was_late_is_told_and_not_again_at_once(looking: Looking) -> None:
    looking.observed.heartbeat._lags.append(LATE + 0.5)
    assert [event for event, _ in await looking.said(5)] == ["event loop is late"]


async def test_certificates_are_told_before_they_end_and_that_of_the_listener_by_its_own_watch(
    looking: Looking,
) -> None:
    now = datetime.now(UTC)
    ends = {
        "server.tls.certificate": now + timedelta(days=1),
        "sources.care.options.endpoints.0.tls.certificate": now + timedelta(days=13),
        "sources.care.options.endpoints.0.tls.ca": now + timedelta(days=400),
        "audit.sinks.0.tls.ca": None,
    }
    looking.observed.certificates = SimpleNamespace(ends=ends)  # type: ignore[assignment]
    details = [detail for _, detail in await looking.said(4)]
    assert len(details) == 2, "once a day"
    assert details[0].startswith("sources.care.options.endpoints.0.tls.certificate: it expires on ")
    assert details[1] == "audit.sinks.0.tls.ca: cannot be read"
