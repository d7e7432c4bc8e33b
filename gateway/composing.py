"""The composition root: settings become objects. With `gateway.app` the only modules that know everything.

`opened` is the gateway without its listeners, as `check` and `fetch` use it too. A serving process composes one gateway after
the other on the same `Premises`, each of its own settings: what did not change is taken over from the one before (`parts`).
The life of a serving process is `gateway.app`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from adapters.errors import AdapterError
from gateway.archives import Archive, Failures, archives
from gateway.audit.trail import Trail
from gateway.cache import Cache
from gateway.cache.backends import make_cache, max_document_of, policy_of
from gateway.delivery import Delivery
from gateway.documents import Documents
from gateway.entrance import judged_by, make_door, opened_policy
from gateway.fhir import Version
from gateway.fhir.capability import CapabilityFacts
from gateway.handlers import Handlers
from gateway.ids import ManifestError, ManifestIds, TemplateIds, open_scheme
from gateway.observed import Observed
from gateway.offering import capability_facts
from gateway.parts import Parts
from gateway.premises import Premises, opened_premises
from gateway.protocol.interactions import Bases
from gateway.routing import Route, Router, Scheme
from gateway.security import smart
from gateway.security.authentication import Authentication
from gateway.security.door import Door
from gateway.security.opening import open_authentication
from gateway.security.rules import Judgement
from gateway.settings import Settings
from gateway.settings.caching import Caching, DiskCaching
from gateway.shared import SharedReads, Sharing
from gateway.source import Source
from gateway.telemetry import Telemetry
from gateway.upkeep import Upkeep

Progress = Callable[[str, int, int, int], None]
"""Called with a source's name and its manifest's rows read, bytes read and bytes in all."""


@dataclass(slots=True)
class Gateway:
    """The gateway without listeners."""

    settings: Settings
    premises: Premises
    archives: Mapping[str, Archive]
    schemes: Mapping[str, Scheme]
    router: Router
    documents: Documents
    handlers: Handlers
    upkeep: Upkeep
    cache: Cache
    authentication: Authentication | None = None
    door: Door | None = None
    cache_waits: bool = False
    """Whether its cache is not open yet, because its directory is in use by the gateway that runs."""
    parts: Parts = field(default_factory=Parts)

    @property
    def telemetry(self) -> Telemetry:
        return self.premises.telemetry

    @property
    def audit(self) -> Trail:
        return self.premises.audit

    @property
    def sources(self) -> dict[str, Source]:
        return {name: archive.source for name, archive in self.archives.items()}

    @property
    def failures(self) -> Mapping[str, AdapterError]:
        """Why sources are away, as it stands whenever somebody looks."""
        return Failures(self.archives)

    def shown_in(self, observed: Observed) -> None:
        """Let whoever looks at the process see this gateway."""
        observed.sources, observed.failures, observed.cache = self.sources, self.failures, self.cache
        observed.fills, observed.spool, observed.audit = self.premises.fills, self.premises.spool, self.audit
        observed.authentication = self.authentication


@asynccontextmanager
async def opened(
    settings: Settings, *, telemetry: Telemetry | None = None, progress: Progress | None = None, recorded: bool = False
) -> AsyncGenerator[Gateway, None]:
    """The composed gateway: manifests loaded, every source entered or its failure noted.

    `recorded`: documents are going to be given out, so the audit trail is written. Raises `TrailUnusable` when it cannot be,
    and what `composed` raises.
    """
    async with AsyncExitStack() as stack:
        if telemetry is None:
            telemetry = Telemetry(level="error")
            stack.push_async_callback(asyncio.to_thread, telemetry.close)
        premises = await stack.enter_async_context(opened_premises(settings, telemetry, recorded=recorded))
        gateway = await composed(settings, premises, progress=progress)
        stack.push_async_callback(gateway.parts.close, wait=False)
        yield gateway


async def composed(
    settings: Settings, premises: Premises, *, former: Gateway | None = None, progress: Progress | None = None
) -> Gateway:
    """A gateway of these settings, which shares with `former` what is the same in both. Its parts are to be closed.

    Raises `OptionError` when an adapter's options cannot work and `ManifestError` when a manifest cannot be used: both
    are mistakes that waiting does not mend. An archive that is away is no reason not to start. Raises too what a policy, the
    door and a cache raise that cannot be opened; nothing is left open then.
    """
    parts = Parts(None if former is None else former.parts)
    try:
        return await _composed(settings, premises, parts, progress, None if former is None else former.settings.cache)
    except BaseException:
        await parts.close(wait=False)
        raise


async def _composed(
    settings: Settings, premises: Premises, parts: Parts, progress: Progress | None, caching: Caching | None
) -> Gateway:
    sourced = await archives(settings, premises, parts)
    schemes = {name: await _scheme(name, settings, premises, parts, sourced[name], progress) for name in sourced}
    router = Router({name: Route(of.prefix, schemes[name]) for name, of in settings.sources.items()})
    sources = {name: archive.source for name, archive in sourced.items()}
    waits = _same_directory(settings.cache, caching)
    cache = await _cache(settings, premises, parts, enter=not waits)
    documents = Documents(sources, _shared(settings, sources, premises, cache))
    handlers = Handlers(
        bases=Bases(settings.fhir.paths),
        router=router,
        documents=documents,
        delivery=Delivery(premises.spool, reader_timeout=settings.server.limits.reader_timeout),
        profile=settings.fhir.resolved_profile,
        capabilities=_capabilities(settings, sources),
        policy=await _policy(settings, premises, parts),
        smart_configuration=smart.render(settings.auth.smart) if settings.auth.smart else None,
        audit=premises.audit,
        request_timeout=settings.server.limits.request_timeout,
        adapters={name: of.adapter for name, of in settings.sources.items()},
    )
    upkeep = Upkeep(router, documents, cache, premises.fills, sources)
    gateway = Gateway(settings, premises, sourced, schemes, router, documents, handlers, upkeep, cache)
    gateway.parts, gateway.cache_waits = parts, waits
    if premises.serving:
        gateway.authentication = await _authentication(settings, premises, parts)
        gateway.door = await _door(settings, premises, parts, gateway.authentication)
    return gateway


def _capabilities(settings: Settings, sources: Mapping[str, Source]) -> dict[Version, CapabilityFacts]:
    """What the CapabilityStatement of each base says. Versions are promised only when every source has them."""
    versioned = all(source.capabilities.strong_versions for source in sources.values())
    return {version: capability_facts(settings, version, versioned=versioned) for version in settings.fhir.paths}


# --- the parts -------------------------------------------------------------------------------------------------------


async def _scheme(
    name: str, settings: Settings, premises: Premises, parts: Parts, archive: Archive, progress: Progress | None
) -> Scheme:
    of = settings.sources[name]
    ids = judged_by(of.ids, name, settings.policy)
    # Only ids that are looked for in the archive itself depend on it.
    asked = archive if isinstance(ids, TemplateIds) else None

    async def make(stack: AsyncExitStack) -> Scheme:
        log = premises.telemetry.log.bind(component="ids", source=name)
        resolve = archive.source.resolve
        scheme = open_scheme(name, ids, prefix=of.prefix, resolve=resolve, log=log, progress=progress)
        try:
            return await stack.enter_async_context(scheme)
        except ManifestError as error:
            error.source = name
            raise

    return await parts.take(("ids", name), (ids, of.prefix, asked), make)


async def _cache(settings: Settings, premises: Premises, parts: Parts, *, enter: bool) -> Cache:
    async def make(stack: AsyncExitStack) -> Cache:
        cache = make_cache(settings.cache, premises.telemetry.log.bind(component="cache"))
        # Leaving is idempotent, and works for one that was never entered.
        stack.push_async_exit(cache)
        return await cache.__aenter__() if enter else cache

    return await parts.take(("cache",), settings.cache, make)


def _same_directory(new: Caching, old: Caching | None) -> bool:
    """Whether two caches with different settings are to be one after the other in one directory, which one alone can use."""
    if not isinstance(new, DiskCaching) or not isinstance(old, DiskCaching):
        return False
    return new != old and new.directory == old.directory


async def _policy(settings: Settings, premises: Premises, parts: Parts) -> Judgement | None:
    manifests = tuple(name for name, source in settings.sources.items() if isinstance(source.ids, ManifestIds))

    async def make(stack: AsyncExitStack) -> Judgement | None:
        return await opened_policy(stack, settings, premises.telemetry.log)

    return await parts.take(("policy",), (settings.policy, manifests), make)


async def _authentication(settings: Settings, premises: Premises, parts: Parts) -> Authentication | None:
    async def make(stack: AsyncExitStack) -> Authentication | None:
        opening = open_authentication(settings.auth, settings.dialect, premises.telemetry.log)
        return await stack.enter_async_context(opening)

    return await parts.take(("auth",), (settings.auth, settings.dialect), make)


async def _door(settings: Settings, premises: Premises, parts: Parts, authentication: Authentication | None) -> Door:
    async def make(stack: AsyncExitStack) -> Door:
        return make_door(settings, authentication, premises.telemetry.log)

    server = settings.server
    return await parts.take(("door",), (settings.clients, server.cors, server.tls, authentication), make)


def _shared(
    settings: Settings, sources: Mapping[str, Source], premises: Premises, cache: Cache
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
            fills=premises.fills,
            spool=premises.spool,
        )
        for name, of in settings.sources.items()
        if of.read != "direct"
    }
