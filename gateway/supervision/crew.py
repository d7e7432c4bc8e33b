"""The workers of one supervisor: all started, the dead replaced, everything asked of all of them."""

from __future__ import annotations

import asyncio
import secrets
import socket
import time
from collections.abc import Mapping, Sequence
from typing import Any

from gateway.supervision.orders import DRAIN, DRAIN_NOW, HURRY
from gateway.supervision.worker import NoAnswer, Said, Worker

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 30.0
"""Seconds before a worker that died is replaced: twice as long each time that it dies young."""

OLD = 60.0
"""Seconds after which a worker's death is a new story."""

LOOK, HUNG = 5.0, 30.0
"""How often workers are asked whether they turn, and after how many seconds of silence one is killed."""


class Crew:
    """As many workers as there are to be."""

    def __init__(
        self,
        listening: Sequence[socket.socket],
        config: str | None,
        text: str | None,
        workers: int,
        *,
        log: Any,
        key: bytes,
    ) -> None:
        self._listening = listening
        self._config = config
        self.text = text
        """The configuration that new workers begin with."""
        self.size = workers
        self._log = log
        # All workers call a document and a client by the same pseudonym.
        self._key = (key or secrets.token_bytes(32)).hex()
        self._places: dict[int, Worker] = {}
        self._keeping: list[asyncio.Task[None]] = []
        self._leaving = False
        self.replaced = 0

    @property
    def serving(self) -> list[Worker]:
        """Those that take connections."""
        return [worker for worker in self._places.values() if worker.serving]

    def pids(self) -> dict[int, int | None]:
        """The process in each place."""
        return {number: worker.pid for number, worker in sorted(self._places.items())}

    async def start(self) -> int | None:
        """Start all; the first alone, so that what is wrong is said once. The exit code when that one does not come up."""
        first = await self._started(1)
        code = await self._up(first)
        if code is not None:
            return code
        others = [await self._started(number) for number in range(2, self.size + 1)]
        await asyncio.gather(*(self._up(worker) for worker in others))
        loop = asyncio.get_running_loop()
        self._keeping = [loop.create_task(self._keep(worker)) for worker in [*self._places.values()]]
        self._keeping.append(loop.create_task(self._listen()))
        return None

    async def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        seconds: float = 10.0,
    ) -> list[Said]:
        """What each worker that serves says; those that do not answer are left out."""
        asking = (worker.ask(method, path, body, headers=headers, seconds=seconds) for worker in self.serving)
        said = await asyncio.gather(*asking, return_exceptions=True)
        return [one for one in said if isinstance(one, Said)]

    async def end(self, *, patient: bool, seconds: float) -> None:
        """Tell all to end, and wait for it; what has not ended after `seconds` is killed."""
        self._leaving = True
        for worker in self._places.values():
            worker.leaving = True
            worker.tell(DRAIN if patient else DRAIN_NOW)
        waiting = [asyncio.ensure_future(worker.ended.wait()) for worker in self._places.values()]
        _, left = await asyncio.wait(waiting, timeout=seconds) if waiting else (set(), set())
        if left:
            self._log.error("workers killed that did not end", count=len(left))
            for worker in self._places.values():
                worker.kill()
            await asyncio.wait(left, timeout=1.0)
        for task in self._keeping:
            task.cancel()

    def hurry(self) -> None:
        """Wait no longer for what is waited for."""
        for worker in self._places.values():
            worker.tell(HURRY)

    def kill(self) -> None:
        """End all that are left."""
        for worker in self._places.values():
            worker.kill()

    async def _started(self, number: int) -> Worker:
        worker = self._places[number] = Worker(number, self.text)
        await worker.start(self._listening, self._config, self.size, self._key)
        return worker

    async def _up(self, worker: Worker) -> int | None:
        """Wait until the worker serves, or ended: then its exit code."""
        loop = asyncio.get_running_loop()
        ended = loop.create_task(worker.wait())
        ready = loop.create_task(worker.ready.wait())
        await asyncio.wait({ended, ready}, return_when=asyncio.FIRST_COMPLETED)
        if worker.ready.is_set():
            worker.waiting = ended
            return None
        ready.cancel()
        return ended.result()

    async def _keep(self, worker: Worker) -> None:
        """For as long as the gateway serves: have a worker in this place."""
        pause = FIRST_PAUSE
        while True:
            code = await (worker.waiting or asyncio.get_running_loop().create_task(worker.wait()))
            if self._leaving:
                return
            if time.monotonic() - worker.began >= OLD:
                pause = FIRST_PAUSE
            signal = {"signal": -code} if code < 0 else {}
            self._log.error("worker ended", pid=worker.pid, count=worker.number, status=code, seconds=pause, **signal)
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)
            if self._leaving:
                return
            worker = await self._started(worker.number)
            self.replaced += 1
            if await self._up(worker) is None:
                self._log.info("worker replaced", pid=worker.pid, count=worker.number)
                if worker.text != self.text:
                    # It began with a configuration that is not in use any more.
                    worker.leaving = True
                    worker.tell(DRAIN_NOW)

    async def _listen(self) -> None:
        """Kill workers that have been silent for long: their event loop does not turn, and nothing else ends them."""
        while True:
            await asyncio.sleep(LOOK)
            await asyncio.gather(*(self._heard(worker) for worker in self.serving))

    async def _heard(self, worker: Worker) -> None:
        try:
            await worker.ask("GET", "/livez", seconds=LOOK)
            worker.heard = time.monotonic()
        except NoAnswer:
            if time.monotonic() - worker.heard >= HUNG and worker.serving:
                self._log.error("worker hangs and is killed", pid=worker.pid, count=worker.number)
                worker.kill()
