"""The conformance kit on an installed adapter: against the harness that came with it, or against a site's own archive.

Rules of this module: values only, the command prints them. The one place of the product that knows `adapters.testing`.
What comes of a site's archive names no document: its texts are redacted and carry no traceback.
"""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from adapters import registry
from adapters.contract import Adapter, Services
from adapters.errors import AdapterError, OptionError
from adapters.testing import CHECKS, CannotSurvey, Check, Report, Result, SiteHarness, Verdict, run_fresh, survey
from adapters.testing.finding import NoHarness, adapters_of, harness_of
from adapters.testing.harness import THREAD_NAME
from adapters.testing.runner import MakeHarness
from adapters.testing.site import MakeAdapter
from gateway import composing
from gateway.cli.fetch import only_for
from gateway.problems import did_you_mean, sentence
from gateway.settings import Settings, SourceSettings
from gateway.workers import SOURCE_THREADS

THREADS = (THREAD_NAME, SOURCE_THREADS)
"""What the names of the threads begin with that adapters are lent here."""

__all__ = [
    "THREADS",
    "CannotRun",
    "Check",
    "Report",
    "Result",
    "Trial",
    "Verdict",
    "chosen",
    "on_site",
    "see",
    "with_harness",
]

SECTIONS = {"O": "options"}
"""The section of docs/adapters.md that explains the rules of a group, where that is not the contract's own."""


class CannotRun(Exception):
    """The kit cannot be run. `cure` says what to do."""

    def __init__(self, cause: str, cure: str) -> None:
        super().__init__(cause)
        self.cure = cure


@dataclass(frozen=True, slots=True)
class Trial:
    """One adapter to be tested. `source` is the configured source whose archive is read, None for the harness alone;
    `documents` is how many of its documents are read."""

    entry: registry.Entry
    make_harness: MakeHarness = field(repr=False)
    source: str | None = None
    documents: int = 0

    async def run(self, check: Check, rounds: int) -> Result:
        """Run one check so many times, each on a fresh harness; one failure is a failure. Raises `CannotRun`."""
        try:
            results = [await run_fresh(check, self.make_harness) for _ in range(rounds)]
        except Exception as error:  # what an adapter does is a result; this is the author's own set-up
            cause = f"The harness of {self.entry.name!r} failed for {check.number}: {type(error).__name__}: {error}"
            raise CannotRun(sentence(cause), "Correct the harness, then run this again.") from error
        failed = [result for result in results if result.verdict is Verdict.FAILED]
        result = (failed or results)[0]
        if failed and rounds > 1:
            result = dataclasses.replace(result, what=f"in {len(failed)} of {rounds} runs {result.what}")
        if isinstance(self.make_harness, type) and issubclass(self.make_harness, SiteHarness):
            result = dataclasses.replace(result, what=self.make_harness.redacted(result.what), trace="")
        return result


def chosen(rules: Sequence[str]) -> tuple[Check, ...]:
    """The checks of these rules: `C7` is all of a rule, `C7.2` one check; all without any. Raises `CannotRun`."""
    groups = dict.fromkeys(check.rule for check in CHECKS)
    known = {*groups, *(check.number for check in CHECKS)}
    for rule in rules:
        if rule.upper() not in known:
            raise CannotRun(f"There is no rule {rule!r}.", f"Rules are {', '.join(groups)}; C7.2 is one check of C7.")
    wanted = {rule.upper() for rule in rules}
    return tuple(check for check in CHECKS if not wanted or wanted & {check.rule, check.number})


def see(check: Check) -> str:
    """Where the rule is explained."""
    return f"docs/adapters.md#{SECTIONS.get(check.rule, 'the-contract')}"


def with_harness(package: str) -> list[Trial]:
    """The adapters of `package`, each against the harness that came with it. Raises `CannotRun`."""
    trials = []
    for entry in _installed(package):
        try:
            trials.append(Trial(entry, harness_of(entry.name, _loaded(entry))))
        except NoHarness as error:
            raise CannotRun(str(error), f"{error.cure} Its archive can be tested with --live.") from error
    return trials


async def on_site(package: str, settings: Settings, ids: Iterable[str]) -> list[Trial]:
    """The adapters of `package` against the sources that these ids lead to. Raises `CannotRun` and what `composing.opened`
    raises."""
    entries = {entry.name: entry for entry in _installed(package)}
    sources = _sources(settings, ids, entries)
    located = await _located(settings.model_copy(update={"sources": sources}), ids)
    trials = []
    for name, documents in located.items():
        of = sources[name]
        try:
            harness = await survey(_maker(name, of), documents, at_once=of.limits.max_open)
        except CannotSurvey as error:
            raise CannotRun(f"Source {name}: {error}", error.cure) from error
        trials.append(Trial(entries[of.adapter], harness, name, len(documents)))
    return trials


def _installed(package: str) -> list[registry.Entry]:
    entries = adapters_of(package)
    if not entries:
        cure = did_you_mean(package, [*registry.available()], what="adapter")
        raise CannotRun(f"No installed adapter or distribution is called {package!r}.", cure)
    return entries


def _loaded(entry: registry.Entry) -> type[Adapter]:
    try:
        return registry.load(entry.name)
    except OptionError as error:
        raise CannotRun(sentence(error.detail), sentence(error.cure or "Install it again.")) from error


def _sources(settings: Settings, ids: Iterable[str], entries: dict[str, registry.Entry]) -> dict[str, SourceSettings]:
    """The sources that the router would ask for these ids, by name."""
    sources: dict[str, SourceSettings] = {}
    for id in ids:
        fitting = only_for(settings, id).sources
        if not fitting:
            raise CannotRun(f"No source of the configuration has the id {id}.", "Give ids as a client would use them.")
        for name, of in fitting.items():
            if of.adapter not in entries:
                raise CannotRun(
                    f"The id {id} leads to the source {name}, whose adapter is {of.adapter!r}.",
                    f"Give ids of a source whose adapter is {' or '.join(map(repr, entries))}.",
                )
        sources |= fitting
    return sources


async def _located(settings: Settings, ids: Iterable[str]) -> dict[str, dict[str, str]]:
    """The locator of each id, by source."""
    located: dict[str, dict[str, str]] = {}
    async with composing.opened(settings) as gateway:
        for name, error in gateway.failures.items():
            cause = error.detail or type(error).__name__
            raise CannotRun(
                f"The source {name} cannot be entered: {cause}.", "`fhir-gateway check --config FILE` says more."
            )
        for id in ids:
            try:
                location = await gateway.router.locate(id)
            except AdapterError as error:
                cause = error.detail or type(error).__name__
                cure = f"`fhir-gateway fetch {shlex.quote(id)} --config FILE --explain` shows where it leads."
                raise CannotRun(f"The id {id} leads to no document: {cause}.", cure) from error
            located.setdefault(location.source, {})[id] = location.locator
    return located


def _maker(name: str, of: SourceSettings) -> MakeAdapter:
    kind = registry.load(of.adapter)

    def make(services: Services) -> Adapter:
        return kind(name, of.adapter_options, services)

    return make
