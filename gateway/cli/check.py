"""Whether a configuration works: every source is entered and asked, and documents are looked up where that is wanted.

Each source is examined as a gateway of its own, all at once, so that one that hangs or is wrong hides nothing about the
others. Values only; the command prints them. Reports hold ids, never a path, a title or a patient.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from adapters.errors import AccessDenied, AdapterError, Ambiguous, NotFound, OptionError
from gateway import composing, media
from gateway.audit import examining as audit
from gateway.cli.check_auth import CredentialReport, examine_credentials
from gateway.cli.check_cache import CacheReport, examine_cache
from gateway.cli.check_entrance import NOTHING, EntranceReport, examine_entrance
from gateway.cli.check_places import examine_places
from gateway.cli.check_tracing import examine_tracing
from gateway.cli.console import MANIFEST_CURE
from gateway.cli.folder import documents
from gateway.cli.mistake import Mistake
from gateway.ids import ManifestError, Progress
from gateway.problems import raised_at
from gateway.routing import Location
from gateway.settings import Settings
from gateway.settings.caching import DiskCaching, NoCaching
from gateway.settings.doubts import doubts

LISTED = 50_000
"""Names of a folder that a sample is taken from: the first so many, so that a huge folder is not walked to its end."""

LISTING_SECONDS = 20.0
"""How long a folder is listed for a sample."""

AT_ONCE = 8
"""Documents looked at together."""

ENOUGH_FAILURES = 5
"""Failures of the archive itself after which a sample is given up: the rest would only wait for the same deadline."""

State = Literal["ok", "away", "wrong"]
Kind = Literal["missing", "wrong type", "unreadable", "ambiguous", "failed"]


@dataclass(frozen=True, slots=True)
class Finding:
    """A document that is not as it should be. `line` is its row in the manifest."""

    kind: Kind
    id: str
    detail: str
    line: int | None = None


@dataclass(slots=True)
class SourceReport:
    """What was found out about one source.

    `state`: ok, away (it does not answer) or wrong (options or manifest are mistaken). `rows` are those of a manifest.
    `options` names for each of `details` the option to look at, None where there is none. `broken`: its adapter's own code
    failed.
    """

    name: str
    adapter: str
    scheme: str
    prefix: str
    state: State = "ok"
    details: list[str] = field(default_factory=list)
    options: list[str | None] = field(default_factory=list)
    cure: str = ""
    option_error: OptionError | None = None
    broken: bool = False
    local: bool | None = None
    rows: int | None = None
    seconds: float = 0.0
    sampled: int = 0
    empty: int = 0
    findings: list[Finding] = field(default_factory=list)
    note: str = ""

    @property
    def wrong_path(self) -> tuple[str | int, ...]:
        """The key to look at when it is wrong: that of its ids, or that of its adapter when that is broken."""
        if self.broken:
            return "sources", self.name, "adapter"
        return ("sources", self.name, "ids", *(("file",) if self.scheme == "manifest" else ()))

    @property
    def counts(self) -> Counter[Kind]:
        """Findings by kind."""
        return Counter(finding.kind for finding in self.findings)


@dataclass(frozen=True, slots=True)
class Report:
    """What was found out about a configuration."""

    sources: tuple[SourceReport, ...]
    cache: CacheReport
    credentials: tuple[CredentialReport, ...] = ()
    audit: tuple[audit.Finding, ...] = ()
    entrance: EntranceReport = NOTHING
    places: tuple[Mistake, ...] = ()

    @property
    def code(self) -> int:
        """The exit code: 2 for a mistake in the configuration, 1 for an archive, issuer or document that fails, else 0."""
        states: set[str] = {source.state for source in self.sources} | {one.state for one in self.credentials}
        states |= {finding.state for finding in self.audit} | {one.state for one in self.places}
        if self.entrance.mistakes or "wrong" in states or not self.cache.starts:
            return 2
        away = "away" in states or any(source.findings for source in self.sources)
        return int(away or self.cache.state != "ok")


def made_by(settings: Settings) -> list[Path]:
    """The directories that a gateway makes when they are not there."""
    kept = [settings.cache.directory] if isinstance(settings.cache, DiskCaching) else []
    return [*kept, *([settings.audit.directory] if settings.audit.directory is not None else [])]


async def examine(
    settings: Settings, *, sample: int = 0, progress: Progress | None = None, config: Path | None = None
) -> Report:
    """Try the cache and the key sets, then enter and probe every source, and look at `sample` documents of each.

    `progress` is called from threads while manifests are read. `config` is the file that `settings` were read from.
    """
    cache, entrance, credentials, places, traces = await asyncio.gather(
        examine_cache(settings),
        examine_entrance(settings),
        examine_credentials(settings),
        examine_places(settings, config),
        examine_tracing(settings),
    )
    notes = tuple(Mistake(one.path, one.cause, one.cure, "note") for one in doubts(settings))
    # Documents are looked at where they are, not where they are kept; a policy of one's own was made by `examine_entrance`.
    unjudged = settings.policy.model_copy(update={"hook": None})
    alone = settings.model_copy(update={"cache": NoCaching(), "policy": unjudged})
    sources = await asyncio.gather(*(_source(alone, name, sample, progress) for name in settings.sources))
    trail = tuple(await audit.examined(settings.audit))
    return Report(tuple(sources), cache, credentials, trail, entrance, (*places, *traces, *notes))


async def _source(settings: Settings, name: str, sample: int, progress: Progress | None) -> SourceReport:
    of = settings.sources[name]
    report = SourceReport(name, of.adapter, of.ids.scheme, of.prefix)
    began = time.monotonic()
    alone = settings.model_copy(update={"sources": {name: of}})
    try:
        async with composing.opened(alone, progress=progress) as gateway:
            report.rows = getattr(gateway.schemes[name], "rows", None)
            if name in gateway.failures:
                raise gateway.failures[name]
            await gateway.sources[name].probe()
            report.local = gateway.sources[name].capabilities.local
            report.seconds = time.monotonic() - began
            if sample:
                await _sample(gateway, report, sample, getattr(of.options, "root", None))
    except OptionError as error:
        report.state, report.details, report.option_error = "wrong", [error.detail], error
        report.cure = error.cure or "Correct the options of this source."
    except ManifestError as error:
        report.state, report.details = "wrong", str(error).splitlines()
        report.cure = MANIFEST_CURE
    except AdapterError as error:
        parts = error.parts or (error,)
        report.state, report.details = "away", [part.detail or type(part).__name__ for part in parts]
        report.options = [part.option for part in parts]
        report.cure = (
            "A serving gateway starts without this source and tries it again; its documents answer 503 or 504."
        )
    except Exception as error:
        # An adapter of somebody else's may fail in any way (contract rule C9); the others are looked at all the same.
        report.state, report.broken = "wrong", True
        report.details = [f"the adapter's own code failed: {raised_at(error)}"]
        report.cure = "Ask the makers of the adapter; `fhir-gateway adapter test` shows which rule it breaks."
    report.seconds = report.seconds or time.monotonic() - began
    return report


async def _sample(gateway: composing.Gateway, report: SourceReport, count: int, root: object) -> None:
    """Look at up to `count` documents, evenly spread."""
    scheme: Any = gateway.schemes[report.name]
    if hasattr(scheme, "sample"):
        chosen = [(id, line) for id, line, _ in await scheme.sample(count)]
    elif isinstance(root, Path):
        services = gateway.sources[report.name].adapter.services
        try:
            async with asyncio.timeout(LISTING_SECONDS):
                ids, strangers = await services.call(_ids_in, root, scheme)
        except (TimeoutError, OSError):
            report.note = "the folder could not be listed for a sample"
            return
        if strangers:
            report.note = f"{strangers} files have names that the pattern leads no id to"
        count = min(count, len(ids))
        chosen = [(report.prefix + ids[len(ids) * number // count], None) for number in range(count)]
    else:
        report.note = "the documents of this archive cannot be listed; try one with `fhir-gateway fetch ID --explain`"
        return
    waiting = iter(chosen)
    while batch := list(islice(waiting, AT_ONCE)):
        await asyncio.gather(*(_document(gateway, report, id, line) for id, line in batch))
        if report.counts["failed"] >= ENOUGH_FAILURES:
            report.note = "the sample was given up: the archive fails"
            return


def _ids_in(root: Path, scheme: Any) -> tuple[list[str], int]:
    """The ids that lead to the documents below `root`, without prefix, and how many files no id leads to."""
    ids = [scheme.ids_for(path.decode("utf-8", "surrogateescape")) for path in islice(documents(root), LISTED)]
    found = [id for id in ids if id is not None]
    return found, len(ids) - len(found)


async def _document(gateway: composing.Gateway, report: SourceReport, id: str, line: int | None) -> None:
    """Find and open one document, and compare what is said of it with its first bytes."""
    try:
        location = await gateway.router.locate(id)
        async with gateway.documents.directly(location) as document:
            head = await document.head()
            report.empty += document.facts.size == 0
            finding = _type_finding(location, document.facts.descriptor.media_type, head, id, line)
    except AdapterError as error:
        finding = Finding(_kind(error), id, error.detail or type(error).__name__, line)
    report.sampled += 1
    if finding is not None:
        report.findings.append(finding)


def _kind(error: AdapterError) -> Kind:
    if isinstance(error, NotFound):
        return "missing"
    if isinstance(error, Ambiguous):
        return "ambiguous"
    return "unreadable" if isinstance(error, AccessDenied) else "failed"


def _type_finding(location: Location, stated: str | None, head: bytes, id: str, line: int | None) -> Finding | None:
    said = location.media_type or stated
    whose = "the manifest" if location.media_type else "the archive" if stated else "the name"
    said = said or media.by_extension(location.locator)
    seen = media.mismatch(said, head) if said else None
    return None if seen is None else Finding("wrong type", id, f"{whose} says {said}, the bytes look like {seen}", line)
