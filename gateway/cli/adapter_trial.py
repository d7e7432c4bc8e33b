"""One document streamed through one source, as the gateway streams it, and what was seen of it on the way.

Rules of this module: values only, the command prints them; what is read goes to the caller and is not kept. Everything
is the gateway's own: permits, deadlines, spans cut where the adapter has none, and the checks of what an archive sends.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, field, replace

from adapters import registry
from adapters.contract import Capabilities, Span
from adapters.errors import SpanNotSatisfiable
from gateway import magic, media
from gateway.admission import Admission, Limits
from gateway.archives import MAX_THREADS
from gateway.document import Document, Facts
from gateway.documents import Documents
from gateway.media import HEAD_BYTES
from gateway.protocol.ranges import ByteRange, Unsatisfiable, resolve
from gateway.routing import Location
from gateway.settings import SourceSettings
from gateway.source import Source, services
from gateway.telemetry import Telemetry
from gateway.workers import Workers

Take = Callable[[bytes], object]
"""Takes the next bytes of the document."""


@dataclass(slots=True)
class Trial:
    """What was seen so far; a trial that failed keeps what came before. Times are in seconds.

    `entered` is the time of `__aenter__`; `looked` that of the look before a part is asked for; `first` is from asking
    for the document to its first byte, `seconds` to the end of its release. `span` is the part, None for the whole.
    `count` bytes came; `head` is the beginning of the document if it was among them; `digest` is their SHA-256, set at
    the end.
    """

    entered: float | None = None
    looked: float | None = None
    capabilities: Capabilities | None = None
    facts: Facts | None = None
    span: Span | None = None
    first: float | None = None
    seconds: float | None = None
    count: int = 0
    digest: bytes | None = None
    head: bytes = field(default=b"", repr=False)

    @property
    def expected(self) -> int | None:
        """How many bytes are to come, None when nobody can say."""
        size = self.facts.size if self.facts else None
        return size if self.span is None else self.span.length(size)

    @property
    def shown(self) -> str | None:
        """The media type that the first bytes show beyond doubt, None when they do not, or were not read."""
        return magic.sniff(self.head)

    @property
    def contradiction(self) -> str | None:
        """What the bytes look like, when that is not what is served."""
        return media.mismatch(self.facts.media_type, self.head) if self.facts and self.head else None


async def run(
    trial: Trial,
    name: str,
    of: SourceSettings,
    locator: str,
    take: Take,
    *,
    part: ByteRange | None = None,
    telemetry: Telemetry,
) -> None:
    """Enter the adapter of the source `name`, stream the document to `take`, leave; `trial` says how it goes.

    Raises `OptionError` when the options cannot work, otherwise what entering the source and reading raise, and what
    `take` raises.
    """
    source = _source(name, of, telemetry)
    async with AsyncExitStack() as stack:
        stack.push_async_exit(source)  # leaving works, and is due, after an enter that failed
        began = time.perf_counter()
        await source.__aenter__()
        trial.entered = time.perf_counter() - began
        trial.capabilities = source.capabilities
        await _read(trial, source, locator, take, part)


async def _read(trial: Trial, source: Source, locator: str, take: Take, part: ByteRange | None) -> None:
    began = time.perf_counter()
    documents, location, version = Documents({source.name: source}), Location(source.name, locator), None
    if part is not None:
        # As the gateway does: what a part is follows from the size, and the type from the beginning.
        look = await documents.facts(location)
        trial.span = _span(part, look)
        version = look.descriptor.version if source.capabilities.strong_versions else None
        location = replace(location, media_type=look.media_type)
        trial.looked = time.perf_counter() - began
    async with documents.open(location, trial.span, version=version) as document:
        trial.facts = document.facts
        await _stream(trial, document, take, began)
    trial.seconds = time.perf_counter() - began


def _source(name: str, of: SourceSettings, telemetry: Telemetry) -> Source:
    limits = Limits(**dict(of.limits))
    workers = Workers(name, min(limits.max_open, MAX_THREADS))
    log = telemetry.log.bind(component="adapter", source=name, adapter=of.adapter)
    admission = Admission(name, limits, log)
    adapter = registry.load(of.adapter)(name, of.adapter_options, services(workers, log, limits, admission))
    return Source(name, adapter, limits=limits, workers=workers, admission=admission)


def _span(part: ByteRange, facts: Facts) -> Span | None:
    """The bytes that are meant, None for all where the archive does not say how many there are."""
    if facts.size is None:
        return part.span
    found = resolve(part, facts.size)
    if isinstance(found, Unsatisfiable):
        error = SpanNotSatisfiable(facts.size)
        error.source = facts.location.source
        raise error
    return found.span


async def _stream(trial: Trial, document: Document, take: Take, began: float) -> None:
    from_start = trial.span is None or trial.span.start == 0
    hasher = hashlib.sha256()
    async with aclosing(document.chunks(trial.span)) as chunks:
        async for chunk in chunks:
            if trial.first is None:
                trial.first = time.perf_counter() - began
            trial.count += len(chunk)
            if from_start and len(trial.head) < HEAD_BYTES:
                trial.head = (trial.head + chunk)[:HEAD_BYTES]
            hasher.update(chunk)
            take(chunk)
    trial.digest = hasher.digest()
