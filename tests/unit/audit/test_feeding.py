"""Delivery to one receiver, whatever it does: nothing ends it, and one record that cannot be said keeps back no other."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Sequence
from pathlib import Path

import pytest

from gateway.audit import feeding
from gateway.audit.feeding import Feed
from gateway.audit.reading import Record
from gateway.telemetry import Telemetry
from tests.support.audit import KEYS, written


class Choosy:
    """Cannot write one record; raises what it is told to before anything else."""

    def __init__(self, cannot: str = "", *failures: Exception) -> None:
        self.cannot = cannot
        self.failures = list(failures)
        self.got: list[str] = []

    async def send(self, records: Sequence[Record]) -> int:
        if self.failures:
            raise self.failures.pop(0)
        words = [one.fields.get("request", one.event) for one in records]
        if self.cannot in words:
            raise ValueError("SECRET of a record")
        self.got += words
        return len(records)

    async def close(self) -> None:
        return None


async def fed(directory: Path, receiver: Choosy, count: int, monkeypatch: pytest.MonkeyPatch) -> tuple[Feed, str]:
    """Feed until `count` records were taken; the feed as it is then, and its log."""
    monkeypatch.setattr(feeding, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(feeding, "LONGEST_PAUSE", 0.002)
    log = io.StringIO()
    telemetry = Telemetry(form="json", stream=log)
    feed = Feed("siem", directory, KEYS, receiver, telemetry.log)
    running = asyncio.create_task(feed.run())
    async with asyncio.timeout(10):
        while len(receiver.got) < count:
            assert not running.done(), running
            await asyncio.sleep(0.005)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await asyncio.to_thread(telemetry.close)
    return feed, log.getvalue()


async def test_a_record_that_cannot_be_written_for_a_receiver_is_set_aside_and_keeps_back_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await asyncio.to_thread(written, tmp_path, 9)
    receiver = Choosy("request-4")
    feed, log = await fed(tmp_path, receiver, 10, monkeypatch)
    assert [one for one in receiver.got if one.startswith("request")] == [f"request-{n}" for n in range(9) if n != 4]
    assert feed.set_aside == 1
    aside = await asyncio.to_thread((tmp_path / "delivered" / "siem" / "refused.jsonl").read_text)
    assert "ValueError" in aside
    assert "SECRET" not in log


async def test_a_defect_does_not_end_the_delivery(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await asyncio.to_thread(written, tmp_path, 3)
    receiver = Choosy("", RuntimeError("SECRET"), AssertionError("SECRET"))
    _, log = await fed(tmp_path, receiver, 5, monkeypatch)
    assert "audit receiver is away" in log
    assert "delivery failed: RuntimeError" in log
    assert "SECRET" not in log
