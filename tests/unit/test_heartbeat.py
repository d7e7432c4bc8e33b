"""The loop's pulse: how late it was, and that a loop which stands still is seen as such once it is asked."""

from __future__ import annotations

import asyncio
import time

import pytest

from gateway import heartbeat
from gateway.heartbeat import Heartbeat


@pytest.mark.blocking_allowed
async def test_a_blocked_loop_is_late_and_forgiven(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "BEAT", 0.02)
    monkeypatch.setattr(heartbeat, "STILL", 0.3)
    pulse = Heartbeat()
    assert (pulse.lag, pulse.alive) == (0.0, True), "before it begins"
    pulse.start()
    await asyncio.sleep(0.1)
    assert pulse.alive
    time.sleep(0.5)  # noqa: ASYNC251 # what is to be seen
    assert not pulse.alive, "seen before the next beat"
    assert pulse.lag >= 0.3
    async with asyncio.timeout(5):
        while not pulse.alive:  # noqa: ASYNC110 # the loop's own turns are what is waited for
            await asyncio.sleep(0.02)
    assert pulse.lag >= 0.3, "the worst of late is remembered"
    pulse.stop()
