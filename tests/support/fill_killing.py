"""Processes that are killed while they read a document for everybody and store it.

As a program it obeys lines "NUMBER FOLDER" on standard input. Each is a process of its own, forked from this one: a gateway
that reads one document from an archive that breaks once, over a disk cache and a spool in FOLDER. It dies by SIGKILL the
NUMBERth time that the task of its fill waits for anything; the answer is "killed", or "whole" when it waits less often.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from collections.abc import Coroutine, Generator
from pathlib import Path
from typing import Any

from adapters.errors import Unavailable
from gateway.cache import Key, Limits
from gateway.cache.disk import DiskCache
from gateway.cache.sealing import CacheKey, Keyring
from gateway.fill import Fill
from gateway.shared import Sharing
from tests.support.fragile import STABLE, Archive
from tests.support.service import service

KEY = Key("letters", "", "a")
DATA = random.Random(9).randbytes(1_500_000)


def cache_at(folder: Path) -> DiskCache:
    """The cache of these tests."""
    return DiskCache(Limits(), Keyring([CacheKey("k1", bytes(range(32)))]), folder / "cache", max_bytes=64 << 20)


class DyingAt:
    """Awaits a coroutine; kills this process the `number`th time that it waits."""

    def __init__(self, work: Coroutine[Any, Any, None], number: int) -> None:
        self._work = work
        self._left = number

    def __await__(self) -> Generator[Any, Any, None]:
        work = self._work.__await__()
        try:
            waiting = next(work)
            while True:
                self._left -= 1
                if not self._left:
                    os.kill(os.getpid(), signal.SIGKILL)
                try:
                    given = yield waiting
                except BaseException as error:
                    waiting = work.throw(error)
                else:
                    waiting = work.send(given)
        except StopIteration:
            return


async def _dying(number: int, folder: Path) -> None:
    run = Fill.run

    async def dying(fill: Fill) -> None:
        await DyingAt(run(fill), number)

    Fill.run = dying  # type: ignore[method-assign]
    archive = Archive(capabilities=STABLE, chunk=48_000, breaks=[(700_001, Unavailable("lost"))])
    archive.put("a", DATA)
    async with cache_at(folder) as cache:
        places: dict[str, Any] = {"spool_directory": folder / "spool", "spool_bytes": 8 << 20}
        async with service({"letters": archive.make()}, sharing=Sharing(), cache=cache, **places) as running:
            answer = await running.ask("/R4/Binary/a")
            assert answer.body == DATA
            while not cache.counts.stored:  # noqa: ASYNC110 - nothing tells us
                await asyncio.sleep(0.01)


def main() -> None:
    for order in sys.stdin:
        number, folder = order.split(maxsplit=1)
        child = os.fork()
        if not child:
            asyncio.run(_dying(int(number), Path(folder.strip())))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print("killed" if os.WIFSIGNALED(status) else "whole" if not status else "failed", flush=True)


if __name__ == "__main__":
    main()
