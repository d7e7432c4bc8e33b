"""An xds adapter over a repository, as a source of the gateway has it, for tests that read documents through it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from adapters.contract import Descriptor, Services
from adapters.errors import AdapterError
from adapters.testing.harness import RecordingLog
from adapters.xds import XdsAdapter, XdsOptions
from gateway.demo.xds import REPOSITORY, Document, FakeRepository

QUICK = {"connect": "10s", "first_byte": "20s", "between_bytes": "20s"}
"""Deadlines that end a hung test, and that nothing sound comes near."""


def endpoint(fake: FakeRepository | str, **more: Any) -> dict[str, Any]:
    """The options of an endpoint: the fake repository's, or that at a URL."""
    url = fake if isinstance(fake, str) else fake.endpoint("repository")
    return {"alias": "a", "url": url, "repository_unique_ids": [REPOSITORY], "timeouts": QUICK} | more


def locator(document: Document, home: str = "") -> str:
    return f"{home}^{document.repository}^{document.unique_id}"


@asynccontextmanager
async def source(
    *endpoints: dict[str, Any], registry: dict[str, Any] | None = None, **more: Any
) -> AsyncIterator[XdsAdapter]:
    """An entered adapter. Its log is `adapter.services.log.lines`."""
    options = XdsOptions.model_validate({"endpoints": endpoints, "registry": registry} | more)
    with ThreadPoolExecutor(4, thread_name_prefix="xds-test") as executor:
        services = Services(executor=executor, log=RecordingLog(), clock=time.monotonic)
        async with XdsAdapter("repository", options, services) as adapter:
            yield adapter


@dataclass(frozen=True, slots=True)
class Read:
    """What reading a document came to. `before`: the error came before the first byte."""

    data: bytes
    descriptor: Descriptor | None
    error: AdapterError | None = None
    before: bool = False


async def read(adapter: XdsAdapter, where: str, **more: Any) -> Read:
    """Read a document to its end or its error."""
    data, descriptor = bytearray(), None
    try:
        async with adapter.open(where, **more) as content:
            descriptor = content.descriptor
            async for chunk in content.chunks:
                data += chunk
    except AdapterError as error:
        return Read(bytes(data), descriptor, error, descriptor is None)
    return Read(bytes(data), descriptor)
