"""The sources of a gateway: made from the settings, entered, and asked from time to time whether they would answer.

Part of the composition root. An archive whose settings did not change lives on from one configuration to the next, with its
connections and everything that is known of it; one that is not needed any more is closed after its last body.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

from adapters import registry
from adapters.errors import AdapterError, OptionError
from gateway.admission import Admission, Limits
from gateway.errors import Resting
from gateway.metrics.tallies import Meters
from gateway.parts import Parts
from gateway.premises import Premises
from gateway.settings import Settings, SourceSettings
from gateway.source import Source, services
from gateway.telemetry import Telemetry
from gateway.workers import Workers

PROBE_SECONDS = 10.0
"""How often a source is asked whether it would answer."""

MAX_THREADS = 32
"""Threads of one source: more would only queue on the same share."""


@dataclass(slots=True, eq=False)
class Archive:
    """A source, and why it is away if it is."""

    source: Source
    failure: AdapterError | None = None


class Failures(Mapping[str, AdapterError]):
    """Why sources are away, by their names, as it stands at every look."""

    def __init__(self, archives: Mapping[str, Archive]) -> None:
        self._archives = archives

    def __getitem__(self, name: str) -> AdapterError:
        failure = self._archives[name].failure
        if failure is None:
            raise KeyError(name)
        return failure

    def __iter__(self) -> Iterator[str]:
        return (name for name, archive in self._archives.items() if archive.failure is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)


async def archives(settings: Settings, premises: Premises, parts: Parts) -> dict[str, Archive]:
    """All sources at once: one that hangs keeps the others waiting no longer than itself."""

    async def archive(name: str, of: SourceSettings) -> Archive:
        return await parts.take(
            ("source", name),
            (of.adapter, of.adapter_options, of.limits),
            partial(_archive, name, of, premises),
            busy=lambda archive: archive.source.open_count > 0 or premises.fills.reads(archive.source),
        )

    entering = (archive(name, of) for name, of in settings.sources.items())
    found: dict[str, Archive] = {}
    for name, result in zip(settings.sources, await asyncio.gather(*entering, return_exceptions=True), strict=True):
        if isinstance(result, BaseException):
            raise result
        found[name] = result
    return found


async def _archive(name: str, of: SourceSettings, premises: Premises, stack: AsyncExitStack) -> Archive:
    source = _source(name, of, premises.telemetry, premises.meters)
    archive = Archive(source)
    try:
        await source.__aenter__()
    except OptionError:
        await source.__aexit__(None, None, None)
        raise
    except AdapterError as error:
        archive.failure = error
    # A source that is away is still left in the end: leaving works after a failed enter.
    stack.push_async_exit(source)
    if premises.serving:
        stack.callback(asyncio.get_running_loop().create_task(_watch(archive, premises.telemetry.log)).cancel)
    return archive


def _source(name: str, settings: SourceSettings, telemetry: Telemetry, meters: Meters) -> Source:
    adapter_class = registry.load(settings.adapter)
    limits = Limits(**dict(settings.limits))
    workers = Workers(name, min(limits.max_open, MAX_THREADS))
    log = telemetry.log.bind(component="adapter", source=name, adapter=settings.adapter)
    admission = Admission(name, limits, log)
    adapter = adapter_class(name, settings.adapter_options, services(workers, log, limits, admission))
    return Source(name, adapter, limits=limits, workers=workers, admission=admission, meter=meters.of(name))


async def _watch(archive: Archive, log: Any) -> None:
    """Ask one source from time to time, enter it when it was away, and say so when that changes.

    A probe also lets an adapter notice what no request would show it: that its share was mounted anew.
    """
    source = archive.source
    if archive.failure is not None:
        _away(source, archive.failure, log)
    while True:
        await source.rested(PROBE_SECONDS)
        try:
            await (source.probe() if source.entered else source.__aenter__())
        except Resting:
            # That calls are stopped was told when it happened.
            continue
        except AdapterError as error:
            if archive.failure is None:
                _away(source, error, log)
            archive.failure = error
        else:
            if archive.failure is not None:
                archive.failure = None
                log.info("source is back", source=source.name)


def _away(source: Source, error: AdapterError, log: Any) -> None:
    log.warning("source is away", source=source.name, error=type(error).__name__, detail=error.detail)
