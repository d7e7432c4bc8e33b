"""The life of a serving process: start, ready, reloads, drain on SIGTERM or SIGINT, end.

With `gateway.composing`, which makes objects of settings, the composition root: the only modules that know everything.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from gateway import systemd
from gateway.admin import Admin
from gateway.allocation import keep_freed_memory
from gateway.composing import Gateway, composed
from gateway.draining import Ending, Traffic, drain, last_resort
from gateway.entrance import (
    allowance,
    make_server,
    opened_certificate,
    opened_listener,
    opened_tracing,
    watched_expiries,
)
from gateway.epoch import Epoch
from gateway.http_server import HttpServer, gather_writes
from gateway.keyfile import read_key
from gateway.listener import Allowance, Listener, listening_on
from gateway.marked_yaml import dotted
from gateway.metrics.tallies import Meters
from gateway.notices import Notices
from gateway.observed import Observed
from gateway.premises import opened_premises
from gateway.reloading import Reloading
from gateway.server import Pipeline
from gateway.settings import Settings
from gateway.settings.doubts import doubts
from gateway.settings.share import share_of
from gateway.telemetry import Telemetry
from gateway.watching import Watching
from gateway.workers import SOURCE_THREADS

if TYPE_CHECKING:
    from gateway.renewal import Renewal
    from gateway.supervision.seat import Seat

CLOSING = 1.5
"""Seconds for everything to be closed when the process ends: an archive that hangs is left behind."""


class Public:
    """The public listener of one process, and what it answers with."""

    def __init__(self, pipeline: Pipeline, server: HttpServer, listener: Listener) -> None:
        self.pipeline = pipeline
        self.server = server
        self.listener = listener

    def use(self, gateway: Gateway) -> Epoch:
        """Answer by this gateway from now on."""
        server, limits = gateway.settings.server, gateway.settings.server.limits
        self.server.limit(
            keepalive=limits.keep_alive, header_timeout=limits.header_timeout, reader_timeout=limits.reader_timeout
        )
        self.listener.allow(allowance(server))
        return self.pipeline.swap(gateway.handlers, gateway.door)


async def run(
    settings: Settings,
    telemetry: Telemetry,
    announce: Callable[[str], None],
    *,
    config: Path | None = None,
    seat: Seat | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT. `announce` is called with the public address once requests are taken.

    `config` is the file that a reload reads. `seat` is that of a worker: it serves its part of the settings, and ends and
    reloads when its supervisor says so. Raises `OSError` when an address cannot be bound, and what `composed` raises.
    """
    ending = Ending()
    share = partial(share_of, workers=1 if seat is None else seat.orders.workers)
    own = share(settings)
    async with AsyncExitStack() as stack:
        observed = _observed(stack, telemetry)
        observed.config.file = None if config is None else str(config)
        admin = Admin(observed)
        if seat is None:
            admin_url = await _opened_admin(stack, settings, admin, telemetry, ending)
        else:
            admin_url = ""
            desk = seat.take(stack, ending, admin, observed)
        renewal = await opened_certificate(stack, own, telemetry.log)
        premises = await stack.enter_async_context(
            opened_premises(own, telemetry, recorded=True, serving=True, meters=observed.meters)
        )
        gateway = await composed(own, premises)

        def use(gateway: Gateway) -> Epoch:
            gateway.shown_in(observed)
            telemetry.configure(gateway.settings.log.level)
            admin.upkeep = gateway.upkeep
            certificates.use(gateway.settings)
            return public.use(gateway)

        reloading = admin.reloading = Reloading(config, settings, gateway, use, observed.config, share=share)
        stack.push_async_callback(_within, reloading.close)
        certificates = observed.certificates = watched_expiries(stack, own)
        premises.audit.deliver()
        public = await _opened_public(stack, own, observed, gateway, renewal, None if seat is None else seat.listening)
        use(gateway)
        if seat is None:
            _watched(stack, Watching(config, reloading.reload, lambda: reloading.settings.reload.watch))
        else:
            desk.reloading = reloading
        # What was built so far lives as long as the process: the collector need not look at it again.
        gc.collect()
        gc.freeze()
        observed.started = True
        url = public.listener.url
        telemetry.log.info("ready", address=url, admin=admin_url, count=len(gateway.sources), pid=os.getpid())
        announce(url)
        await ending.asked()
        observed.draining = True
        traffic = Traffic(public.pipeline, public.server, public.listener, premises.fills)
        await drain(traffic, ending, reloading.settings.server.limits, telemetry.log)
        last_resort(telemetry)


async def _opened_public(
    stack: AsyncExitStack,
    settings: Settings,
    observed: Observed,
    gateway: Gateway,
    renewal: Renewal | None,
    inherited: list[socket.socket] | None,
) -> Public:
    """The public listener, taking connections."""
    telemetry = observed.telemetry
    observed.traces = await opened_tracing(stack, settings, telemetry.log)
    seen = (observed.meters.requests, observed.traces)
    pipeline = observed.pipeline = Pipeline(gateway.handlers, telemetry, gateway.door, *seen)
    server = make_server(settings.server.limits, pipeline)
    listener = observed.listener = await opened_listener(
        settings.server, server, pipeline, renewal, telemetry.log, inherited=inherited
    )
    if renewal is not None:
        stack.callback(asyncio.get_running_loop().create_task(renewal.watch(listener.renew)).cancel)
    return Public(pipeline, server, _listening(stack, server, listener))


async def _opened_admin(
    stack: AsyncExitStack, settings: Settings, admin: Admin, telemetry: Telemetry, ending: Ending
) -> str:
    """The admin listener, and the signals of whoever started the process. The listener's address."""
    ending.on_signals()
    server = HttpServer(admin, keepalive=settings.server.limits.keep_alive)
    sockets = await listening_on(settings.admin.host, settings.admin.port)
    return _listening(stack, server, Listener(sockets, server, Allowance(200), log=telemetry.log)).url


def _watched(stack: AsyncExitStack, watching: Watching) -> None:
    """Reload on SIGHUP, and when the file changed."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, watching.wish)
    stack.callback(loop.create_task(watching.run(), name="reload").cancel)


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


async def _within(close: Callable[[], Awaitable[object]]) -> None:
    """Close, but wait no longer than `CLOSING` for archives that hang."""
    try:
        async with asyncio.timeout(CLOSING):
            await close()
    except TimeoutError:
        return


def serve(settings: Settings, announce: Callable[[str], None] | None = None, *, config: Path | None = None) -> int:
    """The life of a serving process; returns its exit code. Prints `ready http://HOST:PORT` when requests are taken.

    With `server.workers` above one it has others serve. Raises what `run` and `supervise` raise. Ends the process itself when
    threads of a hung archive would keep it from ending.
    """
    key = read_key(settings.log.key_file) if settings.log.key_file else None
    telemetry = Telemetry(level=settings.log.level, form=settings.log.format, key=key)
    for doubt in doubts(settings):
        detail = f"{dotted(doubt.path)}: {doubt.cause} {doubt.cure}"
        telemetry.log.warning("the configuration is doubtful", detail=detail)
    say = announce or _print_ready
    if settings.server.workers == 1:
        return _lived(telemetry, lambda: run(settings, telemetry, say, config=config))
    # A gateway without workers does not load what it takes to have some.
    from gateway.supervision.supervisor import WorkersFailed, supervise

    try:
        return _lived(telemetry, lambda: supervise(settings, telemetry, say, config=config))
    except WorkersFailed as failed:
        return failed.code


def work(settings: Settings, seat: Seat) -> int:
    """The life of a worker; returns its exit code. Raises what `run` raises."""
    orders = seat.orders
    telemetry = Telemetry(
        level=settings.log.level, form=settings.log.format, key=bytes.fromhex(orders.log_key), worker=orders.number
    )
    return _lived(telemetry, lambda: run(settings, telemetry, lambda _: seat.ready(), config=orders.file, seat=seat))


def _lived(telemetry: Telemetry, life: Callable[[], Coroutine[None, None, None]]) -> int:
    keep_freed_memory()
    logging.getLogger("asyncio").addHandler(logging.NullHandler())
    logging.getLogger("aiohttp").addHandler(logging.NullHandler())
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(life())
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
