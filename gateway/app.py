"""The life of a serving process: start, ready, drain on SIGTERM or SIGINT, end.

With `gateway.composing`, which makes objects of settings, the composition root: the only modules that know everything.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import AsyncExitStack

from gateway import systemd
from gateway.admin import Admin
from gateway.composing import opened, watch
from gateway.entrance import (
    make_door,
    make_server,
    opened_certificate,
    opened_listener,
    opened_tracing,
    watched_expiries,
)
from gateway.http_server import HttpServer, gather_writes
from gateway.keyfile import read_key
from gateway.listener import Allowance, Listener, listening_on
from gateway.marked_yaml import dotted
from gateway.metrics.tallies import Meters
from gateway.notices import Notices
from gateway.observed import Observed
from gateway.security.opening import open_authentication
from gateway.server import Pipeline
from gateway.settings import Settings
from gateway.settings.doubts import doubts
from gateway.telemetry import Telemetry
from gateway.workers import SOURCE_THREADS


async def run(settings: Settings, telemetry: Telemetry, announce: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT. `announce` is called with the public address once requests are taken.

    Raises `OSError` when an address cannot be bound, and what `opened` raises.
    """
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    for doubt in doubts(settings):
        telemetry.log.warning(
            "the configuration is doubtful", detail=f"{dotted(doubt.path)}: {doubt.cause} {doubt.cure}"
        )
    async with AsyncExitStack() as stack:
        observed = _observed(stack, telemetry)
        admin_side = Admin(observed)
        admin_server = HttpServer(admin_side, keepalive=settings.server.limits.keep_alive)
        admin_sockets = await listening_on(settings.admin.host, settings.admin.port)
        admin = _listening(
            stack, admin_server, Listener(admin_sockets, admin_server, Allowance(200), log=telemetry.log)
        )
        renewal = await opened_certificate(stack, settings, telemetry.log)
        gateway = await stack.enter_async_context(
            opened(settings, telemetry=telemetry, recorded=True, meters=observed.meters)
        )
        gateway.shown_in(observed)
        admin_side.upkeep = gateway.upkeep
        observed.certificates = watched_expiries(stack, settings)
        gateway.audit.deliver()
        for name, error in gateway.failures.items():
            telemetry.log.warning("source is away", source=name, error=type(error).__name__, detail=error.detail)
        for source in gateway.sources.values():
            stack.callback(loop.create_task(watch(gateway, source)).cancel)
        authentication = await stack.enter_async_context(
            open_authentication(settings.auth, settings.dialect, telemetry.log)
        )
        observed.authentication = authentication
        door = make_door(settings, authentication, telemetry.log)
        observed.traces = await opened_tracing(stack, settings, telemetry.log)
        seen = (observed.meters.requests, observed.traces)
        pipeline = observed.pipeline = Pipeline(gateway.handlers, telemetry, door, *seen)
        limits = settings.server.limits
        server = make_server(limits, pipeline)
        public = observed.listener = _listening(
            stack, server, await opened_listener(settings.server, server, pipeline, renewal, telemetry.log)
        )
        if renewal is not None:
            stack.callback(loop.create_task(renewal.watch(public.renew)).cancel)
        # What was built so far lives as long as the process: the collector need not look at it again.
        gc.collect()
        gc.freeze()
        observed.started = True
        telemetry.log.info("ready", address=public.url, admin=admin.url, count=len(gateway.sources), pid=os.getpid())
        announce(public.url)
        await stopping.wait()
        observed.draining = pipeline.draining = True
        telemetry.log.info("draining", open=pipeline.in_flight)
        public.close()
        server.pre_shutdown()
        await _until(lambda: pipeline.in_flight == 0 and not server.unsent, seconds=limits.drain)
        pipeline.stopping = True
        cut_off = pipeline.in_flight
        await server.shutdown(1.0)
        telemetry.log.info("stopped", open=cut_off)


def _observed(stack: AsyncExitStack, telemetry: Telemetry) -> Observed:
    """What is looked at from outside, its pulse measured."""
    observed = Observed(telemetry, Meters(telemetry.log))
    observed.heartbeat.start()
    stack.callback(observed.heartbeat.stop)
    stack.callback(asyncio.get_running_loop().create_task(Notices(observed).watch()).cancel)
    return observed


def _listening(stack: AsyncExitStack, server: HttpServer, listener: Listener) -> Listener:
    """On leaving, `listener` is closed and its open connections are ended."""
    stack.push_async_callback(server.shutdown, 1.0)
    stack.callback(listener.close)
    return listener


async def _until(condition: Callable[[], bool], *, seconds: float) -> None:
    deadline = asyncio.get_running_loop().time() + seconds
    while not condition() and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110 # once in a process's life
        await asyncio.sleep(0.02)


def serve(settings: Settings, announce: Callable[[str], None] | None = None) -> int:
    """The life of a serving process; returns its exit code. Prints `ready http://HOST:PORT` when requests are taken.

    Raises what `run` raises. Ends the process itself when threads of a hung archive would keep it from ending.
    """
    telemetry = Telemetry(
        level=settings.log.level,
        form=settings.log.format,
        key=read_key(settings.log.key_file) if settings.log.key_file else None,
    )
    logging.getLogger("asyncio").addHandler(logging.NullHandler())
    logging.getLogger("aiohttp").addHandler(logging.NullHandler())
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(run(settings, telemetry, announce or _print_ready))
    finally:
        telemetry.close()
    if any(thread.name.startswith(SOURCE_THREADS) for thread in threading.enumerate()):
        sys.stdout.flush()
        os._exit(0)
    return 0


def _print_ready(url: str) -> None:
    print(f"ready {url}", flush=True)
    systemd.ready()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    gather_writes()
    return uvloop.new_event_loop
