"""The one place that imports fhir.resources, and the only way it gets imported: on first need, off the event loop.

Import and first use (pydantic builds its validators and reads more modules then) take a third of a second, so a service
that needs no small resource never pays for it, and one that does keeps answering meanwhile. There is no R4 package: R4
resources use the R4B classes, which the tests hold against R4's own rules. Documents never pass through here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from importlib import import_module
from typing import Any

from gateway.fhir import Version
from gateway.protocol.negotiation import Format

_PACKAGES = {Version.STU3: "fhir.resources.STU3", Version.R4: "fhir.resources.R4B"}


async def prepare(warm_up: Callable[[], None]) -> None:
    """Run `warm_up` once per process, in a thread of its own; afterwards this returns at once.

    Cancelling a caller does not cancel the run, which others may be waiting for. Raises what `warm_up` raised.
    """
    running = _running(warm_up)
    if not running.done():
        await asyncio.shield(asyncio.wrap_future(running))
    running.result()


@cache
def _running(warm_up: Callable[[], None]) -> Future[None]:
    # Not the loop's default executor, which others may fill with slow work, nor a thread that outlives its one task.
    executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="fhir-models")
    future = executor.submit(warm_up)
    executor.shutdown(wait=False)
    return future


@cache
def _model(resource: str, version: Version) -> Any:
    return getattr(import_module(f"{_PACKAGES[version]}.{resource.lower()}"), resource)


def serialise(body: dict[str, Any], version: Version, format: Format, *, pretty: bool) -> bytes:
    """The resource `body` (FHIR JSON as a dict with `resourceType`), checked by its model, as UTF-8.

    Raises `pydantic.ValidationError` when the model refuses it.
    """
    resource = _model(body["resourceType"], version).model_validate(body)
    if format is Format.JSON:
        return bytes(resource.model_dump_json(indent=2 if pretty else None), "utf-8")
    return bytes(resource.model_dump_xml(pretty_print=pretty))
