"""A source is asked from time to time: what becomes of one that is given a rest, and what is told of it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from adapters.errors import Unavailable
from gateway import archives
from gateway.archives import Archive
from gateway.source import Limits
from tests.support.scripted import Script, ScriptedAdapter
from tests.support.service import service

LIMITS = Limits(breaker_failures=1, breaker_pause=0.15)


class Watched(ScriptedAdapter):
    probes = 0

    async def probe(self) -> None:
        self.probes += 1


async def test_a_probe_finds_an_archive_again_before_a_reader_has_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "PROBE_SECONDS", 30)
    made: list[Watched] = []

    def make(name: str, lent: Any) -> Watched:
        script = Script([b"letter"], entering=[Unavailable("lost", exhausted=True)])
        made.append(Watched(name, None, lent, scripts={"a": script}))
        return made[0]

    async with service({"letters": make}, limits=LIMITS) as at:
        source = at.sources["letters"]
        archive = Archive(source)
        await at.ask("/R4/Binary/nothing")  # whatever is made for the first refusal is there then
        watching = asyncio.create_task(archives._watch(archive, at.telemetry.log))
        try:
            assert (await at.ask("/R4/Binary/a")).status == 503
            assert source.status().state == "away"
            async with asyncio.timeout(5):
                while source.status().state != "ok":  # noqa: ASYNC110 - nothing tells us
                    await asyncio.sleep(0.01)
        finally:
            watching.cancel()
        assert made[0].probes == 1
        assert archive.failure is None
        assert (await at.ask("/R4/Binary/a")).status == 503, "it answers its probe and nothing else"
        assert source.status().state == "away"
        await at.events("calls to the archive go on")
        assert "source is" not in at.log.getvalue(), "told by the circuit, and not a second time"
