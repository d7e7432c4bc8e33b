"""The life of a supervisor: bind, start workers, speak for them, reload and drain them, end with them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from gateway import marked_yaml
from gateway.audit.opening import key_of
from gateway.draining import Ending, last_resort
from gateway.entrance import public_sockets
from gateway.http_server import HttpServer
from gateway.keyfile import read_key
from gateway.listener import Allowance, Listener, address_of, listening_on
from gateway.mistakes import Places, told
from gateway.problems import Problem
from gateway.reloads import Outcome, Reloads, refused, tell
from gateway.settings import Settings, load
from gateway.settings.fixed import fixed_changes
from gateway.supervision.crew import Crew
from gateway.supervision.front import Front
from gateway.supervision.worker import Said
from gateway.telemetry import Telemetry
from gateway.watching import Watching

MARGIN = 8.0
"""Seconds that workers get beyond their own deadlines before they are killed."""

PREPARE_SECONDS = 100.0
"""How long all workers may take to get ready for another configuration."""


class WorkersFailed(Exception):
    """The first worker did not come up; it said why. `code` is its exit code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Configuration:
    """The configuration of all workers, and their common way from one to the next."""

    def __init__(self, config: Path | None, settings: Settings, crew: Crew, telemetry: Telemetry) -> None:
        self._config = config
        self.settings = settings
        self._crew = crew
        self._telemetry = telemetry
        self._lock = asyncio.Lock()
        self._reloads = Reloads()

    def state(self) -> dict[str, Any]:
        """How it stands, as plain values."""
        return self._reloads.state()

    async def reload(self) -> Outcome:
        """Read the configuration, and use it when all workers can."""
        async with self._lock:
            began = time.monotonic()
            outcome = self._reloads.note(await self._tried())
            if not outcome.good:
                # Each worker tells on its own status page and in its numbers how the configuration stands.
                await self._all("abandon", {"problems": [problem.as_dict() for problem in outcome.problems]})
            tell(outcome, self._telemetry.log, time.monotonic() - began)
            return outcome

    async def _tried(self) -> Outcome:
        places = Places(None, None)
        try:
            text = None if self._config is None else await asyncio.to_thread(marked_yaml.text, self._config)
            settings = await asyncio.to_thread(load, self._config, os.environ, text=text)
            places = await asyncio.to_thread(Places, self._config, text)
            fixed = [places.problem(path, "fixed", *words) for path, *words in fixed_changes(self.settings, settings)]
            if fixed:
                return refused(fixed)
        except Exception as error:
            return refused(told(error, places, self._telemetry))
        asked = len(self._crew.serving)
        said = await self._all("prepare", {"text": text})
        problems = _problems(said)
        if len(said) < asked or any(one.status != 200 for one in said):
            cure = "Look into the log for why, and reload again."
            problems.append(Problem("worker", "A worker did not answer whether it can use this configuration.", cure))
        if problems:
            return refused(problems)
        self._crew.text, self.settings = text, settings
        self._telemetry.configure(settings.log.level)
        used = [one.json() for one in await self._all("commit", {}) if one.status == 200]
        first: Mapping[str, Any] = used[0] if used else {}
        return Outcome(time.time(), sources=first.get("sources", {}), cache=first.get("cache", "kept"))

    async def _all(self, what: str, body: Mapping[str, Any]) -> list[Said]:
        return await self._crew.ask("POST", f"/worker/{what}", json.dumps(body).encode(), seconds=PREPARE_SECONDS)


def _problems(said: Sequence[Said]) -> list[Problem]:
    """What workers say is wrong, each once."""
    found = [Problem(**problem) for one in said for problem in one.json().get("problems", ())]
    return [*dict.fromkeys(found)]


async def supervise(
    settings: Settings,
    telemetry: Telemetry,
    announce: Callable[[str], None],
    *,
    config: Path | None = None,
) -> None:
    """Have `server.workers` processes serve until SIGTERM or SIGINT.

    `announce` is called with the public address once all take requests. Raises `OSError` when an address cannot be bound,
    `TrailUnusable`, and `WorkersFailed`.
    """
    ending, loop, log = Ending(), asyncio.get_running_loop(), telemetry.log
    async with AsyncExitStack() as stack:
        ending.on_signals()
        front = Front()
        admin = await _opened_admin(stack, settings, front, log)
        sockets = await public_sockets(settings.server)
        place = _Place(sockets, settings.server.unix_socket)
        stack.callback(place.leave)
        text = None if config is None else await asyncio.to_thread(marked_yaml.text, config)
        key = await asyncio.to_thread(read_key, settings.log.key_file) if settings.log.key_file else b""
        if settings.audit.kept:
            # Made here if it is to be made, so that not all workers make one at once.
            await asyncio.to_thread(key_of, settings.audit)
        crew = front.crew = Crew(
            sockets, None if config is None else str(config), text, settings.server.workers, log=log, key=key
        )
        stack.callback(crew.kill)
        coming = loop.create_task(crew.start())
        asked = loop.create_task(ending.asked())
        await asyncio.wait({coming, asked}, return_when=asyncio.FIRST_COMPLETED)
        if coming.done() and (code := coming.result()) is not None:
            raise WorkersFailed(code)
        configuration = Configuration(config, settings, crew, telemetry)
        if coming.done():
            _serve(stack, front, configuration, config)
            url = address_of(sockets[0], tls=settings.server.tls is not None)
            log.info("ready", address=url, admin=admin.url, count=settings.server.workers, pid=os.getpid())
            announce(url)
        await asked
        coming.cancel()
        front.draining = True
        log.info("draining", count=len(crew.serving))
        hurried = loop.create_task(_hurried(ending, crew))
        limits = configuration.settings.server.limits
        delay = limits.drain_delay if ending.patient else 0.0
        # The workers accept as long as they are to; a socket held here would go on taking connections that nobody serves.
        place.close()
        loop.call_later(delay, place.leave)
        await crew.end(patient=ending.patient, seconds=delay + limits.drain + MARGIN)
        hurried.cancel()
        log.info("stopped", count=settings.server.workers)
        last_resort(telemetry)


def _serve(stack: AsyncExitStack, front: Front, configuration: Configuration, config: Path | None) -> None:
    """Take reloads, and say that all are there."""
    watching = Watching(config, configuration.reload, lambda: configuration.settings.reload.watch)
    loop = asyncio.get_running_loop()
    stack.callback(loop.create_task(watching.run(), name="reload").cancel)
    loop.add_signal_handler(signal.SIGHUP, watching.wish)
    front.reloading = configuration
    front.started = True


async def _opened_admin(stack: AsyncExitStack, settings: Settings, front: Front, log: Any) -> Listener:
    server = HttpServer(front, keepalive=settings.server.limits.keep_alive)
    stack.push_async_callback(server.shutdown, 1.0)
    admin = Listener(await listening_on(settings.admin.host, settings.admin.port), server, Allowance(200), log=log)
    stack.callback(admin.close)
    return admin


async def _hurried(ending: Ending, crew: Crew) -> None:
    """Pass each further wish on."""
    while True:
        await ending.hurried()
        crew.hurry()


class _Place:
    """Where the gateway listens."""

    def __init__(self, sockets: Sequence[socket.socket], path: Path | None) -> None:
        self._sockets = sockets
        self._path = path
        self._identity = None if path is None else _identity(path)

    def close(self) -> None:
        """Let the workers alone have the sockets."""
        for one in self._sockets:
            one.close()

    def leave(self) -> None:
        """Give the address to whoever comes next. A name that somebody else has taken since is left alone."""
        self.close()
        if self._path is not None and _identity(self._path) == self._identity is not None:
            self._path.unlink(missing_ok=True)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
