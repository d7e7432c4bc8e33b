"""A gateway in front of a fake XDS repository: read from a configuration, composed as `serve` does it, on a real socket.

    async with xds_gateway({"care": options(fake)}, directory) as gateway:
        answer = await gateway.ask("care", letter(1), accept="application/fhir+json")

Only the process is left out: the fake repository and the gateway share the test's event loop. What an operator sees is
`await gateway.records()`, the lines of the log. Composing blocks the loop, as every start does: tests that use this are marked
`blocking_allowed`.
"""

from __future__ import annotations

import asyncio
import io
import json
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from gateway.composing import opened
from gateway.demo.xds import REPOSITORY, Document, FakeRepository
from gateway.http_server import HttpServer
from gateway.ids.sealed import Address, Place, Seal
from gateway.server import Pipeline
from gateway.settings import load
from gateway.telemetry import Telemetry
from gateway.workers import SOURCE_THREADS
from tests.support.raw_http import Answer
from tests.support.service import Service

KEY = bytes(range(32))

PATIENCE = 20.0

TIMEOUTS = {"connect": "5s", "first_byte": "10s", "between_bytes": "10s"}
"""Deadlines that nothing sound comes near, on a busy machine either."""


def options(
    fake: FakeRepository | str,
    *,
    personality: str | None = None,
    use_for: tuple[str, ...] = (),
    **endpoint: Any,
) -> dict[str, Any]:
    """The options of a source: the fake repository, or that at a URL; with a registry where `use_for` names a use."""
    where = fake if isinstance(fake, str) else fake.endpoint("repository", personality=personality)
    one = {"alias": "a", "url": where, "repository_unique_ids": [REPOSITORY], "timeouts": TIMEOUTS} | endpoint
    if not use_for:
        return {"endpoints": [one]}
    assert isinstance(fake, FakeRepository)
    return {"endpoints": [one], "registry": {"url": fake.endpoint("registry"), "use_for": list(use_for)}}


@dataclass
class XdsGateway:
    """A listening gateway whose sources read from repositories."""

    service: Service
    prefixes: Mapping[str, str]

    def id(self, source: str, document: Document) -> str:
        """The Binary id of a document at a source."""
        seal = Seal(self.prefixes[source], [KEY], {"a": [Place(None, REPOSITORY)]})
        id = seal.encode(Address.of(None, document.repository, document.unique_id))
        assert id is not None
        return id

    async def ask(self, source: str, document: Document, *, base: str = "R4", **more: str) -> Answer:
        """One request for a document; see `Service.ask`."""
        return await self.service.ask(f"/{base}/Binary/{self.id(source, document)}", **more)

    async def records(self, requests: int = 1) -> list[dict[str, Any]]:
        """The lines of the log, once there are at least so many of requests among them."""
        await self.service.lines(requests)
        return [json.loads(line) for line in self.service.log.getvalue().splitlines()]


@asynccontextmanager
async def xds_gateway(
    sources: Mapping[str, Mapping[str, Any]],
    directory: Path,
    *,
    read: str = "auto",
    cache: Mapping[str, Any] | None = None,
) -> AsyncIterator[XdsGateway]:
    """Serve these sources, given by their options; `directory` takes the configuration and the key of the ids.

    `cache` is the configuration's, none by default.
    """
    prefixes = {name: f"{number}." for number, name in enumerate(sources)}
    settings = await asyncio.to_thread(_settings, sources, prefixes, directory, read, cache)
    log = io.StringIO()
    telemetry = Telemetry(form="json", stream=log, key=b"test")
    before = set(threading.enumerate())
    async with AsyncExitStack() as stack:
        stack.push_async_callback(asyncio.to_thread, _await_threads, before)
        stack.push_async_callback(asyncio.to_thread, telemetry.close)
        composed = await stack.enter_async_context(opened(settings, telemetry=telemetry))
        assert not composed.failures, composed.failures
        pipeline = Pipeline(composed.handlers, telemetry)
        server = HttpServer(pipeline, keepalive=5)
        listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
        stack.push_async_callback(server.shutdown, 0.5)
        stack.callback(listener.close)
        port = listener.sockets[0].getsockname()[1]
        yield XdsGateway(Service(port, composed.sources, pipeline, telemetry, log, upkeep=composed.upkeep), prefixes)


def _await_threads(before: set[threading.Thread]) -> None:
    """Wait until the threads of ids and sources have ended: nobody else does, and a busy machine is slow to let them."""
    for thread in set(threading.enumerate()) - before:
        if thread.name.startswith(("sealed-ids", SOURCE_THREADS)):
            thread.join(PATIENCE)


def _settings(
    sources: Mapping[str, Mapping[str, Any]],
    prefixes: Mapping[str, str],
    directory: Path,
    read: str,
    cache: Mapping[str, Any] | None,
) -> Any:
    key = directory / "seal.key"
    key.write_bytes(KEY)
    configuration = {
        "auth": {"mode": "none"},
        "cache": cache or {"backend": "none"},
        "sources": {
            name: {
                "adapter": "xds",
                "prefix": prefixes[name],
                "read": read,
                "ids": {"scheme": "sealed", "key_file": str(key)},
                # What one fault does to one read is looked at with it, fault after fault: the repository is given no rest.
                "limits": {
                    "open_timeout": "30s",
                    "idle_timeout": "30s",
                    "repair_timeout": "300ms",
                    "breaker_failures": 1000,
                },
                "options": given,
            }
            for name, given in sources.items()
        },
    }
    path = directory / "gateway.yaml"
    path.write_text(yaml.safe_dump(configuration, sort_keys=False))
    return load(path, {})
