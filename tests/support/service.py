"""The gateway's own objects on a real socket, in the test's process: for tests that steer an adapter or read its log.

Everything between the socket and the adapter is the product; only settings and command line are left out.
"""

from __future__ import annotations

import asyncio
import io
import json
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adapters.contract import Adapter, Services
from gateway.admission import Admission
from gateway.audit.trail import NO_TRAIL, Trail
from gateway.cache import Cache, NoCache
from gateway.cache import Limits as CacheLimits
from gateway.cache.policy import Policy
from gateway.delivery import Delivery
from gateway.documents import Documents
from gateway.fhir import Version
from gateway.fhir.capability import CapabilityFacts
from gateway.fills import Fills
from gateway.handlers import Handlers
from gateway.http_server import HttpServer
from gateway.listener import Allowance, Listener, listening_on
from gateway.protocol.interactions import Bases
from gateway.protocol.profile import PROFILES, Profile
from gateway.routing import Location, Route, Router, Scheme
from gateway.security.authentication import Authentication
from gateway.security.door import Door
from gateway.security.rules import Judgement
from gateway.server import Pipeline
from gateway.shared import SharedReads, Sharing
from gateway.source import Limits, Source, services
from gateway.spool import Spool
from gateway.telemetry import Logger, Telemetry
from gateway.upkeep import Upkeep
from gateway.workers import Workers
from tests.support.raw_http import Answer, exchange, request
from tests.support.scripted import Script, ScriptedAdapter

BASES = {Version.STU3: "/STU3", Version.R4: "/R4"}

PATIENCE = Limits(queue_timeout=0.2, open_timeout=2, idle_timeout=2)
"""Deadlines long enough for a busy machine and short enough for a test."""

MakeAdapter = Callable[[str, Services], Adapter]
MakeJudgement = Callable[[Any], Judgement]
"""Makes a policy that logs to what it is given."""


class _Plain:
    """The id is the locator, followed by `suffix`."""

    def __init__(self, source: str, suffix: str) -> None:
        self.source = source
        self.suffix = suffix

    async def locate(self, rest: str) -> Location:
        return Location(self.source, rest + self.suffix)


@dataclass
class Service:
    """A listening gateway."""

    port: int
    sources: Mapping[str, Source]
    pipeline: Pipeline
    telemetry: Telemetry
    log: io.StringIO
    host: str = "127.0.0.1"
    spool: Spool | None = None
    fills: Fills | None = None
    shared: Mapping[str, SharedReads] = field(default_factory=dict)
    listener: Listener | None = None
    upkeep: Upkeep | None = None
    listening: Sequence[socket.socket] = ()

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    async def events(self, event: str, count: int = 1) -> list[dict[str, Any]]:
        """The log lines of this event, once there are at least `count` of them."""
        for _ in range(200):
            found = [line for text in self.log.getvalue().splitlines() if (line := json.loads(text))["event"] == event]
            if len(found) >= count:
                return found
            await asyncio.sleep(0.01)
        raise AssertionError(f"fewer than {count} lines {event!r} in the log:\n{self.log.getvalue()}")

    async def ask(self, target: str, *, method: str = "GET", version: str = "1.1", **headers: str) -> Answer:
        """One request on a connection of its own, without TLS; header names are written with underscores."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        (answer,) = await exchange(
            self.host,
            self.port,
            request(target, method=method, version=version, fields=tuple(named.items())),
            methods=(method,),
        )
        return answer

    async def lines(self, count: int = 1) -> list[dict[str, Any]]:
        """The request lines logged so far, once there are at least `count` of them."""
        for _ in range(200):
            found = [line for text in self.log.getvalue().splitlines() if (line := json.loads(text))]
            found = [line for line in found if line["event"] == "request"]
            if len(found) >= count:
                return found
            await asyncio.sleep(0.01)
        raise AssertionError(f"fewer than {count} request lines in the log:\n{self.log.getvalue()}")

    async def logged(self, text: str) -> str:
        """The whole log, once `text` stands in it: lines are written a moment after what they tell of."""
        for _ in range(200):
            if text in self.log.getvalue():
                return self.log.getvalue()
            await asyncio.sleep(0.01)
        raise AssertionError(f"{text!r} is not in the log:\n{self.log.getvalue()}")

    async def idle(self) -> None:
        """Wait until no request is in flight and no document is open."""
        for _ in range(500):
            if not self.pipeline.in_flight and not any(source.open_count for source in self.sources.values()):
                return
            await asyncio.sleep(0.01)
        raise AssertionError(f"still busy: {self.sources}")


@asynccontextmanager
async def service(
    archives: Mapping[str, MakeAdapter],
    *,
    schemes: Mapping[str, Scheme] | None = None,
    suffix: str = "",
    profile: Profile = PROFILES["care-connect"],
    limits: Limits = PATIENCE,
    reader_timeout: float = 5,
    threads: int = 4,
    spool_bytes: int = 1 << 20,
    spool_memory: int = 1 << 16,
    spool_directory: Path | None = None,
    sharing: Sharing | None = None,
    cache: Cache | None = None,
    policy: Policy | None = None,
    door: Door | None = None,
    judgement: MakeJudgement | None = None,
    tls: ssl.SSLContext | None = None,
    allowance: Allowance | None = None,
    keepalive: float = 5,
    header_timeout: float = 5,
    authentication: Authentication | None = None,
    audit: Callable[[Logger], AbstractAsyncContextManager[Trail]] | None = None,
    request_timeout: float | None = None,
) -> AsyncIterator[Service]:
    """Serve these archives; the first has the prefix "", the others their name and a dot.

    With `sharing` they are read by fills, with `cache` also kept there. A cache is entered and left by its owner.
    `audit` makes the trail to keep.
    """
    log = io.StringIO()
    telemetry = Telemetry(form="json", stream=log, key=b"test")
    async with AsyncExitStack() as stack:
        stack.push_async_callback(asyncio.to_thread, telemetry.close)
        sources: dict[str, Source] = {}
        routes: dict[str, Route] = {}
        for name, make in archives.items():
            workers = Workers(name, threads)
            admission = Admission(name, limits, telemetry.log.bind(source=name))
            adapter = make(name, services(workers, telemetry.log, admission=admission))
            source = Source(name, adapter, limits=limits, workers=workers, admission=admission)
            sources[name] = await stack.enter_async_context(source)
            scheme = (schemes or {}).get(name) or _Plain(name, suffix)
            routes[name] = Route(f"{name}." if routes else "", scheme)
        trail = NO_TRAIL if audit is None else await stack.enter_async_context(audit(telemetry.log))
        spool = Spool(spool_directory, memory=spool_memory, max_bytes=spool_bytes)
        stack.callback(spool.close)
        fills = Fills()
        cache = cache or NoCache(CacheLimits())
        stack.push_async_callback(fills.close)
        shared = {
            name: SharedReads(
                source,
                sharing,
                cache=cache,
                policy=policy or Policy(),
                fills=fills,
                spool=spool,
            )
            for name, source in sources.items()
            if sharing is not None
        }
        router, documents = Router(routes), Documents(sources, shared)
        handlers = Handlers(
            bases=Bases(BASES),
            router=router,
            documents=documents,
            delivery=Delivery(spool, reader_timeout=reader_timeout),
            profile=profile,
            policy=judgement(telemetry.log) if judgement is not None else None,
            capabilities={
                version: CapabilityFacts(software_version="0", security="none", versioned=True) for version in BASES
            },
            audit=trail,
            request_timeout=request_timeout,
        )
        pipeline = Pipeline(handlers, telemetry, door or Door(authentication=authentication))
        server = HttpServer(pipeline, keepalive=keepalive, header_timeout=header_timeout, reader_timeout=reader_timeout)
        listener = Listener(
            sockets := await listening_on("127.0.0.1", 0),
            server,
            allowance or Allowance(),
            log=telemetry.log,
            context=tls,
            refusal=pipeline.crowded(),
        )
        port = sockets[0].getsockname()[1]
        stack.push_async_callback(server.shutdown, 0.5)
        stack.callback(listener.close)
        made: dict[str, Any] = {
            "spool": spool,
            "fills": fills,
            "shared": shared,
            "listener": listener,
            "listening": sockets,
        }
        made["upkeep"] = Upkeep(router, documents, cache, fills, sources)
        yield Service(port, sources, pipeline, telemetry, log, **made)


def scripted(scripts: dict[str, Script]) -> MakeAdapter:
    """An archive of scripts."""
    return lambda name, lent: ScriptedAdapter(name, None, lent, scripts=scripts)
