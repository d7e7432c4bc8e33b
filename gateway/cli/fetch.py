"""One document, asked for as a client would ask: the whole gateway, on a socket that nobody else can reach.

The request goes through the same parser, pipeline and delivery as any other, over a Unix socket in a private directory,
so that what is shown is what a client gets, headers and failures included.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import aiohttp
from yarl import URL

from adapters.errors import AdapterError
from gateway import composing
from gateway.errors import Problem, problem_for
from gateway.http_server import HttpServer
from gateway.routing import Location
from gateway.server import Pipeline
from gateway.settings import Settings
from gateway.settings.caching import NoCaching

PIECE = 256 * 1024
"""Bytes handed on at a time."""

Write = Callable[[int, bytes], object]
"""Takes the status of the answer and a piece of its body."""


@dataclass(frozen=True, slots=True)
class Route:
    """Where an id leads. `failure` is what was said instead of a `location`."""

    source: str | None
    location: Location | None
    failure: Problem | None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a client got. `complete` is false when the connection was reset in mid-body; times are in seconds."""

    status: int
    reason: str
    headers: tuple[tuple[str, str], ...]
    size: int
    complete: bool
    first_byte: float
    seconds: float


class Asking:
    """An open gateway that can be asked."""

    def __init__(self, gateway: composing.Gateway, session: aiohttp.ClientSession) -> None:
        self.gateway = gateway
        self._session = session

    async def route(self, id: str) -> Route:
        """Where `id` leads, without opening the document."""
        try:
            location = await self.gateway.router.locate(id)
        except AdapterError as error:
            return Route(error.source, None, problem_for(error))
        return Route(location.source, location, None)

    async def get(self, target: str, accept: str | None, write: Write) -> Answer:
        """GET `target`; every piece of the body goes to `write`. Without `accept` no such header is sent."""
        headers = {} if accept is None else {"Accept": accept}
        began = time.perf_counter()
        size, complete, first = 0, True, 0.0
        async with self._session.get(URL(f"http://localhost{target}", encoded=True), headers=headers) as response:
            first = time.perf_counter() - began
            try:
                async for piece in response.content.iter_chunked(PIECE):
                    size += len(piece)
                    write(response.status, piece)
            except (aiohttp.ClientPayloadError, aiohttp.ClientOSError):
                complete = False
            seconds = time.perf_counter() - began
            fields = tuple(response.headers.items())
            return Answer(response.status, response.reason or "", fields, size, complete, first, seconds)


def only_for(settings: Settings, id: str) -> Settings:
    """The settings with the one source that the router would ask for `id`: no other needs to be opened.

    And without a cache that only one process can use: that is the serving one.
    """
    fitting = [name for name, source in settings.sources.items() if id.startswith(source.prefix)]
    fitting.sort(key=lambda name: len(settings.sources[name].prefix))
    cache = settings.cache if settings.cache.backend == "redis" else NoCaching()
    sources = {name: settings.sources[name] for name in fitting[-1:]}
    return settings.model_copy(update={"sources": sources, "cache": cache})


@asynccontextmanager
async def asking(settings: Settings, progress: composing.Progress | None = None) -> AsyncIterator[Asking]:
    """A gateway that only this process can reach. Raises what `composing.opened` raises."""
    with TemporaryDirectory(prefix="fhir-gateway-") as directory:
        path = str(Path(directory, "socket"))
        async with composing.opened(settings, progress=progress, recorded=True) as gateway:
            server = HttpServer(
                Pipeline(gateway.handlers, gateway.telemetry), keepalive=settings.server.limits.keep_alive
            )
            listener = await asyncio.get_running_loop().create_unix_server(server, path)
            session = aiohttp.ClientSession(
                connector=aiohttp.UnixConnector(path),
                timeout=aiohttp.ClientTimeout(total=None),
                skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent"),
                auto_decompress=False,
            )
            try:
                yield Asking(gateway, session)
            finally:
                await session.close()
                listener.close()
                await server.shutdown(1.0)
