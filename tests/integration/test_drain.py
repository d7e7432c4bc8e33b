"""The end of a gateway under readers: nothing that began is broken off, and each further signal ends a wait."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.gateway import Gateway, serving
from tests.support.ports import free_port
from tests.support.raw_http import Ending, connect, exchange, request
from tests.support.rolling import replicas, roll

ENVIRON = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY")}
"""Without the variable by which all other gateways of a test run skip the delay."""

BIG = bytes(range(256)) * 65_536


def configuration(directory: Path, **limits: str) -> dict[str, Any]:
    (directory / "archive").mkdir()
    (directory / "archive" / "letter.bin").write_bytes(b"letter")
    (directory / "archive" / "big.bin").write_bytes(BIG)
    ids = {"scheme": "template", "pattern": "{id}.bin"}
    source = {"adapter": "filesystem", "ids": ids, "options": {"root": str(directory / "archive")}}
    return {"server": {"limits": limits}, "admin": {"port": free_port()}, "sources": {"letters": source}}


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_rolling_restart_of_two_replicas_fails_no_request(tmp_path: Path, workers: int) -> None:
    """`benchmarks/soak_rolling.py` does it for ten minutes, with downloads of a minute."""
    found = replicas(tmp_path, delay=0.2, drain=20, workers=workers)
    seen = await roll(found, restarts=2, every=1, rate=40, downloads=3, download=2, patience=30)
    assert seen.failed == []
    assert seen.codes == [0, 0]
    assert seen.answered["large"] >= 3
    assert seen.answered["small"] > 50
    assert max(seen.took) < 15, "each process ended when its last download had"


async def told(gateway: Gateway, event: str) -> None:
    async with asyncio.timeout(10):
        while event not in [line.get("event") for line in gateway.lines()]:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_while_load_balancers_find_out_requests_are_answered_the_last_on_their_connections(
    tmp_path: Path,
) -> None:
    whole = configuration(tmp_path, drain_delay="1500ms", drain="5s")
    with serving(whole, tmp_path / "run", environ=ENVIRON) as gateway:
        async with connect(gateway.host, gateway.port) as kept, connect(gateway.host, gateway.port) as silent:
            await kept.send(request("/R4/Binary/letter"))
            assert (await kept.answer()).field("Connection") is None
            began = time.monotonic()
            gateway.server.signal(signal.SIGTERM)
            await told(gateway, "draining")
            (ready,) = await exchange("127.0.0.1", whole["admin"]["port"], request("/readyz"))
            assert (ready.status, ready.json()["status"]) == (503, "draining")
            await kept.send(request("/R4/Binary/letter"))
            last = await kept.answer()
            assert (last.body, last.field("Connection")) == (b"letter", "close")
            assert (await kept.rest(), kept.ending) == (b"", Ending.CLOSED)
            (new,) = await exchange(gateway.host, gateway.port, request("/R4/Binary/none"))
            assert (new.status, new.field("Connection")) == (404, "close")
            assert (await silent.rest(), silent.ending) == (b"", Ending.CLOSED)
        assert await asyncio.to_thread(gateway.server.popen.wait, 10) == 0
        assert time.monotonic() - began >= 1.5


async def test_each_further_signal_ends_what_is_waited_for(tmp_path: Path) -> None:
    whole = configuration(tmp_path, drain_delay="60s", drain="60s", reader_timeout="60s")
    with serving(whole, tmp_path / "run", environ=ENVIRON) as gateway:
        async with connect(gateway.host, gateway.port, receive_buffer=1 << 16) as stalled:
            await stalled.send(request("/R4/Binary/big"))
            first = await stalled.receive()
            began = time.monotonic()
            gateway.server.signal(signal.SIGTERM)
            await told(gateway, "draining")
            (answer,) = await exchange(gateway.host, gateway.port, request("/R4/Binary/letter"))
            assert answer.body == b"letter"
            gateway.server.signal(signal.SIGTERM)
            async with asyncio.timeout(5):
                while True:
                    try:
                        await exchange(gateway.host, gateway.port, request("/R4/Binary/letter"))
                    except OSError:
                        break
                    await asyncio.sleep(0.02)
            assert gateway.server.running, "the download is waited for still"
            gateway.server.signal(signal.SIGTERM)
            assert await asyncio.to_thread(gateway.server.popen.wait, 10) == 0
            assert time.monotonic() - began < 20
            assert len(first + await stalled.rest()) < len(BIG)
            assert stalled.ending is Ending.RESET


async def test_whoever_presses_ctrl_c_does_not_wait_for_load_balancers(tmp_path: Path) -> None:
    with serving(configuration(tmp_path, drain_delay="60s"), tmp_path / "run", environ=ENVIRON) as gateway:
        gateway.server.signal(signal.SIGINT)
        assert await asyncio.to_thread(gateway.server.popen.wait, 10) == 0
