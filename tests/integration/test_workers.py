"""An archive that hangs holds its own threads and nothing else: neither other archives, nor name resolution, nor the end.

The same is asked of the gateway's objects, with threads that a test holds, and of a real process on a mount that hangs.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from adapters import registry
from adapters.contract import Caller, Content, Services, Span
from gateway import errors
from gateway.source import Limits
from gateway.workers import Workers
from tests.support.gateway import Gateway, serving
from tests.support.ports import free_port
from tests.support.raw_http import Answer, exchange, request
from tests.support.scripted import Script, ScriptedAdapter
from tests.support.service import MakeAdapter, scripted, service
from tests.support.stalling_fuse import StallingMount

DEADLINE = 0.15
AT_ONCE = 0.1
"""Seconds: less than any deadline, more than an answer takes."""

LIMITS = Limits(max_open=4, queue_timeout=0.2, open_timeout=DEADLINE, idle_timeout=DEADLINE)
THREADS = 2


# --- threads ---------------------------------------------------------------------------------------------------------


def test_workers_know_since_when_each_thread_is_busy() -> None:
    workers, held, reached = Workers("letters", THREADS), threading.Event(), threading.Barrier(THREADS + 1)

    def hang() -> str:
        reached.wait()
        held.wait()
        return "done"

    calls = [workers.submit(hang) for _ in range(THREADS)]
    reached.wait()
    try:
        assert (workers.busy, workers.hung(60), workers.wedged(60)) == (THREADS, 0, False)
        assert (workers.hung(0), workers.wedged(0)) == (THREADS, True)
        waiting = workers.submit(int, "7")
        assert not waiting.done(), "there are no more threads than were asked for"
    finally:
        held.set()
    assert [call.result(5) for call in calls] == ["done"] * THREADS
    assert waiting.result(5) == 7
    workers.shutdown()
    assert (workers.busy, workers.wedged(0)) == (0, False)


def test_a_call_that_fails_is_over() -> None:
    workers = Workers("letters", 1)
    with pytest.raises(ValueError, match="invalid literal"):
        workers.submit(int, "x").result(5)
    assert workers.submit(int, "7", base=8).result(5) == 7
    workers.shutdown()
    assert workers.busy == 0


# --- the gateway's objects -------------------------------------------------------------------------------------------


class HungAdapter(ScriptedAdapter):
    """Opens on a thread, which hangs for as long as it is held."""

    def __init__(self, name: str, options: Any, services: Services, *, scripts: dict[str, Script]) -> None:
        super().__init__(name, options, services, scripts=scripts)
        self.let_go = threading.Event()

    @asynccontextmanager
    async def open(
        self, locator: str, span: Span | None = None, *, version: str | None = None, caller: Caller | None = None
    ) -> AsyncIterator[Content]:
        await self.services.call(self.let_go.wait)
        async with super().open(locator, span, version=version) as content:
            yield content


def hung(made: list[HungAdapter]) -> MakeAdapter:
    def make(name: str, lent: Services) -> HungAdapter:
        made.append(HungAdapter(name, None, lent, scripts={"a": Script([b"scan"])}))
        return made[-1]

    return make


@pytest.mark.requirement("FR-159")
async def test_a_hung_archive_is_refused_at_once_disturbs_nobody_and_comes_back() -> None:
    made: list[HungAdapter] = []
    archives = {"letters": scripted({"a": Script([b"letter"])}), "scans": hung(made)}
    async with service(archives, limits=LIMITS, threads=THREADS) as at:
        try:
            answers = await asyncio.gather(*(at.ask("/R4/Binary/scans.a") for _ in range(THREADS)))
            assert [answer.status for answer in answers] == [504] * THREADS
            began = time.monotonic()
            refused = await at.ask("/R4/Binary/scans.a")
            assert time.monotonic() - began < AT_ONCE
            assert refused.status == 503
            assert errors.SOURCE_WEDGED.code.encode() in refused.body
            assert int(refused.field("Retry-After") or 0) > 0
            assert (await at.ask("/R4/Binary/a")).body == b"letter"
            assert await asyncio.get_running_loop().getaddrinfo("localhost", 80), "names are looked up on threads too"
        finally:
            made[0].let_go.set()
        async with asyncio.timeout(5):
            while (await at.ask("/R4/Binary/scans.a")).body != b"scan":  # noqa: ASYNC110
                await asyncio.sleep(0.01)


# --- the process -----------------------------------------------------------------------------------------------------


async def ask(gateway: Gateway, id: str) -> Answer:
    (answer,) = await exchange(gateway.host, gateway.port, request(f"/R4/Binary/{id}"))
    return answer


HELD = '''
import os
from contextlib import asynccontextmanager
from pydantic import BaseModel
from adapters.contract import Adapter, Capabilities

class Options(BaseModel, frozen=True, extra="forbid"):
    fifo: str

class HeldAdapter(Adapter):
    """Opening waits, on a thread, for somebody who writes."""
    Options = Options
    capabilities = Capabilities(local=False, spans=False, cheap_stat=False, strong_versions=False, immutable=False,
                                per_caller=False, max_open=None)
    @asynccontextmanager
    async def open(self, locator, span=None, *, version=None, caller=None):
        await self.services.call(os.open, self.options.fifo, os.O_RDONLY)
        yield
    async def probe(self):
        pass
'''
"""An adapter that somebody else wrote and installed, and that waits for ever."""


def installed(directory: Path) -> Path:
    """A directory that holds the adapter `held` as an installer leaves it."""
    facts = directory / "held_adapter-1.0.dist-info"
    facts.mkdir(parents=True)
    (directory / "held_adapter.py").write_text(HELD)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: held-adapter\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text(f"[{registry.GROUP}]\nheld = held_adapter:HeldAdapter\n")
    return directory


async def test_a_process_on_a_mount_that_hangs_serves_the_rest_and_ends_when_told(tmp_path: Path) -> None:
    for name in ("letters", "scans"):
        (tmp_path / name).mkdir()
        for number in range(3):
            (tmp_path / name / f"{number}.pdf").write_bytes(name.encode())
    os.mkfifo(tmp_path / "fifo")
    limits = {"max_open": THREADS, "open_timeout": "150ms", "idle_timeout": "150ms"}
    shared = {"ids": {"scheme": "template", "pattern": "{id}.pdf"}, "limits": limits}
    environ = {**os.environ, "PYTHONPATH": str(installed(tmp_path / "installed"))}
    admin = free_port()
    with StallingMount(tmp_path / "scans", tmp_path / "mount") as mount:
        configuration = {
            "admin": {"port": admin},
            "sources": {
                "letters": {"adapter": "filesystem", "options": {"root": str(tmp_path / "letters")}, **shared},
                "scans": {
                    "adapter": "filesystem",
                    "prefix": "s.",
                    "options": {"root": str(mount.mountpoint)},
                    **shared,
                },
                "held": {"adapter": "held", "prefix": "h.", "options": {"fifo": str(tmp_path / "fifo")}, **shared},
            },
        }
        with serving(configuration, tmp_path / "serving", environ=environ) as gateway:
            assert (await ask(gateway, "s.0")).body == b"scans"
            with mount.hanging("open"):
                answers = await asyncio.gather(ask(gateway, "s.1"), ask(gateway, "s.2"))
                assert [answer.status for answer in answers] == [504, 504]
                refused = await ask(gateway, "s.0")
                assert (refused.status, errors.SOURCE_WEDGED.code.encode() in refused.body) == (503, True)
                assert (await ask(gateway, "0")).body == b"letters"
                (ready,) = await exchange("127.0.0.1", admin, request("/readyz"))
                assert ready.status == 200, "a restart would not mend the share"
            async with asyncio.timeout(5):
                while (await ask(gateway, "s.1")).body != b"scans":  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            # Not the mount again: Linux itself lets no process go that waits for an answer of FUSE.
            assert (await ask(gateway, "h.0")).status == 504
            began = time.monotonic()
            assert await asyncio.to_thread(gateway.terminate) == 0
            assert time.monotonic() - began < 5, "it waited for the thread"
            assert [line["event"] for line in gateway.lines()][-1] == "stopped"
