"""The composition root: settings become objects. With `gateway.app` the only modules that know everything.

`opened` is the gateway without its listeners, as `check` and `fetch` use it too; `watch` keeps an eye on one source while it
serves. The life of a serving process is `gateway.app`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from adapters import registry
from adapters.errors import AdapterError, OptionError
from gateway.admission import Admission, Limits
from gateway.audit.opening import open_trail
from gateway.audit.trail import NO_TRAIL, Trail
from gateway.cache import Cache
from gateway.cache.backends import make_cache, max_document_of, policy_of
from gateway.delivery import Delivery
from gateway.documents import Documents
from gateway.entrance import judged_by, opened_policy
from gateway.errors import Resting
from gateway.fhir import Version
from gateway.fhir.capability import CapabilityFacts
from gateway.fills import Fills
from gateway.handlers import Handlers
from gateway.ids import open_scheme
from gateway.metrics.tallies import Meters
from gateway.observed import Observed
from gateway.offering import capability_facts
from gateway.protocol.interactions import Bases
from gateway.routing import Route, Router, Scheme
from gateway.security import smart
from gateway.settings import Settings, SourceSettings
from gateway.shared import SharedReads, Sharing
from gateway.source import Source, services
from gateway.spool import Spool
from gateway.telemetry import Telemetry
from gateway.upkeep import Upkeep
from gateway.workers import Workers

PROBE_SECONDS = 10.0
"""How often a source is asked whether it would answer."""

MAX_THREADS = 32
"""Threads of one source: more would only queue on the same share."""

Progress = Callable[[str, int, int, int], None]
"""Called with a source's name and its manifest's rows read, bytes read and bytes in all."""


@dataclass(slots=True)
class Gateway:
    """The gateway without listeners. `failures` holds why a source could not be entered."""

    settings: Settings
    telemetry: Telemetry
    sources: dict[str, Source]
    schemes: dict[str, Scheme]
    router: Router
    documents: Documents
    handlers: Handlers
    upkeep: Upkeep
    cache: Cache
    fills: Fills
    spool: Spool
    audit: Trail = NO_TRAIL
    failures: dict[str, AdapterError] = field(default_factory=dict)

    def shown_in(self, observed: Observed) -> None:
        """Let whoever looks at the process see this gateway."""
        observed.sources, observed.failures = self.sources, self.failures
        observed.cache, observed.fills, observed.spool = self.cache, self.fills, self.spool
        observed.audit = self.audit


@asynccontextmanager
async def opened(
    settings: Settings,
    *,
    telemetry: Telemetry | None = None,
    progress: Progress | None = None,
    recorded: bool = False,
    meters: Meters | None = None,
) -> AsyncGenerator[Gateway, None]:
    """The composed gateway: manifests loaded, every source entered or its failure noted.

    `recorded`: documents are going to be given out, so the audit trail is written. Raises `TrailUnusable` when it cannot be.
    `meters` count what the sources do; with them the numbers outlive this gateway.

    Raises `OptionError` when an adapter's options cannot work and `ManifestError` when a manifest cannot be used: both
    are mistakes that waiting does not mend. An archive that is away is no reason not to start.
    """
    async with AsyncExitStack() as stack:
        if telemetry is None:
            telemetry = Telemetry(level="error")
            stack.push_async_callback(asyncio.to_thread, telemetry.close)
        audit = await stack.enter_async_context(open_trail(settings.audit, telemetry.log)) if recorded else NO_TRAIL
        meters = meters or Meters()
        spool = Spool(settings.spool.directory, memory=settings.spool.memory, max_bytes=settings.spool.max_bytes)
        stack.callback(spool.close)
        sources = {name: _source(name, of, telemetry, meters) for name, of in settings.sources.items()}
        failures: dict[str, AdapterError] = {}
        await _gathered(_enter(stack, source, failures) for source in sources.values())
        schemes: dict[str, Scheme] = {}
        for name, of in settings.sources.items():
            log = telemetry.log.bind(component="ids", source=name)
            scheme = open_scheme(
                name,
                judged_by(of.ids, name, settings.policy),
                prefix=of.prefix,
                resolve=sources[name].resolve,
                log=log,
                progress=progress,
            )
            schemes[name] = await stack.enter_async_context(scheme)
        router = Router({name: Route(of.prefix, schemes[name]) for name, of in settings.sources.items()})
        log = telemetry.log.bind(component="cache")
        cache: Cache = await stack.enter_async_context(make_cache(settings.cache, log))
        fills = Fills()
        stack.push_async_callback(fills.close)
        documents = Documents(sources, _shared(settings, sources, spool, cache, fills))
        policy = await opened_policy(stack, settings, telemetry.log)
        handlers = Handlers(
            bases=Bases(settings.fhir.paths),
            router=router,
            documents=documents,
            delivery=Delivery(spool, reader_timeout=settings.server.limits.reader_timeout),
            profile=settings.fhir.resolved_profile,
            capabilities=_capabilities(settings, sources),
            policy=policy,
            smart_configuration=smart.render(settings.auth.smart) if settings.auth.smart else None,
            audit=audit,
            request_timeout=settings.server.limits.request_timeout,
            adapters={name: of.adapter for name, of in settings.sources.items()},
        )
        upkeep = Upkeep(router, documents, cache, fills, sources)
        yield Gateway(
            *(settings, telemetry, sources, schemes, router, documents, handlers, upkeep, cache, fills, spool, audit),
            failures=failures,
        )


def _capabilities(settings: Settings, sources: Mapping[str, Source]) -> dict[Version, CapabilityFacts]:
    """What the CapabilityStatement of each base says. Versions are promised only when every source has them."""
    versioned = all(source.capabilities.strong_versions for source in sources.values())
    return {version: capability_facts(settings, version, versioned=versioned) for version in settings.fhir.paths}


def _shared(
    settings: Settings, sources: Mapping[str, Source], spool: Spool, cache: Cache, fills: Fills
) -> dict[str, SharedReads]:
    """The shared reads of every source that is not read directly, over one cache and one set of fills."""
    return {
        name: SharedReads(
            sources[name],
            Sharing(
                always=of.read == "fill",
                keeps=of.cache,
                epoch=of.epoch,
                max_document=max_document_of(settings.cache),
            ),
            cache=cache,
            policy=policy_of(settings.cache),
            fills=fills,
            spool=spool,
        )
        for name, of in settings.sources.items()
        if of.read != "direct"
    }


def _source(name: str, settings: SourceSettings, telemetry: Telemetry, meters: Meters) -> Source:
    adapter_class = registry.load(settings.adapter)
    limits = Limits(**dict(settings.limits))
    workers = Workers(name, min(limits.max_open, MAX_THREADS))
    log = telemetry.log.bind(component="adapter", source=name, adapter=settings.adapter)
    admission = Admission(name, limits, log)
    adapter = adapter_class(name, settings.adapter_options, services(workers, log, limits, admission))
    return Source(name, adapter, limits=limits, workers=workers, admission=admission, meter=meters.of(name))


async def _enter(stack: AsyncExitStack, source: Source, failures: dict[str, AdapterError]) -> None:
    try:
        await source.__aenter__()
    except OptionError:
        await source.__aexit__(None, None, None)
        raise
    except AdapterError as error:
        failures[source.name] = error
    # A source that is away is still left in the end: leaving works after a failed enter.
    stack.push_async_exit(source)


async def _gathered(work: Any) -> None:
    """Run all of `work` at once; the first failure is raised when every one has ended."""
    results = await asyncio.gather(*work, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result


async def watch(gateway: Gateway, source: Source) -> None:
    """Ask one source from time to time, enter it when it was away, and say so when that changes.

    A probe also lets an adapter notice what no request would show it: that its share was mounted anew.
    """
    log = gateway.telemetry.log
    while True:
        await asyncio.sleep(source.probe_in(PROBE_SECONDS))
        try:
            await (source.probe() if source.entered else source.__aenter__())
        except Resting:
            # That calls are stopped was told when it happened.
            continue
        except AdapterError as error:
            if source.name not in gateway.failures:
                log.warning("source is away", source=source.name, error=type(error).__name__, detail=error.detail)
            gateway.failures[source.name] = error
        else:
            if gateway.failures.pop(source.name, None) is not None:
                log.info("source is back", source=source.name)
