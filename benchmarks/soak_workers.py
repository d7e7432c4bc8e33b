"""Workers that are killed under readers: `python -m benchmarks.soak_workers`.

One gateway of several workers under readers; one worker after the other is killed (SIGKILL). Exit status 1 when a request fails
that was not being answered by a worker at the moment of its death, or when the audit trail does not hold afterwards.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

from tests.support.gateway import PROJECT, Gateway, serving
from tests.support.ports import free_port
from tests.support.raw_http import exchange, request
from tests.support.rolling import SMALL, Reader, Seen

AROUND = 1.0
"""Seconds around a kill in which requests of the killed worker are found to have failed."""


def _children(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def _whole(admin: int, workers: int) -> float:
    """Wait until all workers serve; how long that took."""
    began = time.monotonic()
    while True:
        (answer,) = await exchange("127.0.0.1", admin, request("/readyz"))
        if answer.json()["workers"]["serving"] >= workers:
            return time.monotonic() - began
        await asyncio.sleep(0.05)


async def _storm(
    gateway: Gateway, admin: int, *, workers: int, kills: int, every: float, seen: Seen
) -> tuple[list[str], list[float]]:
    """Failures that no kill explains, and how long it took until all workers served again."""
    over, moments, late, took = asyncio.Event(), [], [], []

    async def reader(number: int) -> None:
        one = Reader([gateway.port], seen, number)
        while not over.is_set():
            before = len(seen.failed)
            await one.ask("small", SMALL)
            if len(seen.failed) > before and not any(abs(time.monotonic() - moment) < AROUND for moment in moments):
                late.append(seen.failed[-1])
            await asyncio.sleep(0.04)
        await one.close()

    readers = [asyncio.ensure_future(reader(number)) for number in range(8)]
    for number in range(kills):
        await asyncio.sleep(every)
        moments.append(time.monotonic())
        os.kill(_children(gateway.pid)[number % workers], signal.SIGKILL)
        await asyncio.sleep(0.2)
        took.append(await _whole(admin, workers))
    over.set()
    await asyncio.gather(*readers)
    return late, took


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks/soak_workers.py", description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=20, help="workers to kill (default 20)")
    parser.add_argument("--workers", type=int, default=3, help="workers (default 3)")
    parser.add_argument("--every", type=float, default=5.0, help="seconds between two kills (default 5)")
    given = parser.parse_args()
    seen = Seen()
    with tempfile.TemporaryDirectory(prefix="soak-workers-") as name:
        directory, admin = Path(name), free_port()
        (directory / "archive").mkdir()
        (directory / "archive" / "small.bin").write_bytes(SMALL)
        ids = {"scheme": "template", "pattern": "{id}.bin"}
        source = {"adapter": "filesystem", "ids": ids, "options": {"root": str(directory / "archive")}}
        path = directory / "gateway.yaml"
        whole = {"server": {"port": free_port(), "workers": given.workers}, "admin": {"port": admin},
                 "auth": {"mode": "none"}, "audit": {"directory": str(directory / "audit")},
                 "sources": {"letters": source}}  # fmt: skip
        path.write_text(yaml.safe_dump(whole))
        with serving(path, directory / "run", timeout=60) as gateway:
            late, took = asyncio.run(
                _storm(gateway, admin, workers=given.workers, kills=given.kills, every=given.every, seen=seen)
            )
        command = [sys.executable, "-m", "gateway", "audit", "verify", "--config", str(path)]
        verified = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    print(f"answered whole: {seen.answered['small']}; {given.kills} workers killed")
    print(f"all workers serve again after {max(took):.1f} s at most")
    print(f"cut off with the worker that answered them: {len(seen.failed)}, at most {given.kills * 8} could be; "
          f"sent again on a new connection: {seen.repeated}; failed otherwise: {len(late)}")  # fmt: skip
    print(f"the trail is whole: {verified.returncode == 0}")
    return 1 if late or verified.returncode else 0


if __name__ == "__main__":
    sys.exit(main())
