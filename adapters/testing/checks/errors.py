"""C9 and C12: which errors cross the border, and what their texts must not show.

Rules of this module: checks only; see `adapters.testing.check`.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable

from adapters.contract import Span
from adapters.errors import (
    AdapterError,
    Changed,
    Corrupt,
    InvalidLocator,
    NotFound,
    TimedOut,
    Unavailable,
)
from adapters.testing.check import CUT, MUTABLE, OFFLINE, REPLACE, SECRETS, Violation, capabilities_of, check
from adapters.testing.harness import Harness, RecordingLog
from adapters.testing.subject import (
    CANCELLED,
    DONE,
    MiB,
    Subject,
    cancelled_at,
    chunks_of,
    document,
    entered,
    entering,
    first_chunk,
    outcome,
    sample,
    seed,
    settled,
)

_SIZE = 600_000
_TRANSLATE = "put `with translate({OSError: Unavailable, ...}, doing=...)` around each await of your own"
_ALLOWED_IN_A_BODY = Changed, Corrupt, Unavailable, TimedOut
_SHORTEST = 4
"""Characters below which a locator is not searched for in texts: too many words would contain it."""


@check("C9.1", cure=_TRANSLATE, needs=[OFFLINE])
async def no_foreign_error_when_the_archive_is_away(harness: Harness) -> None:
    """An error the gateway does not know becomes a 500, and nobody is told to come back later."""
    locator = await seed(harness, sample(_SIZE))
    async with entered(harness) as subject:
        async with subject.open(locator) as content:
            await first_chunk(content)
            async with entering(harness.offline()):
                errors = {
                    "reading on": await outcome(chunks_of(content)),
                    "`open`": await outcome(subject.read(locator)),
                    "`stat`": await outcome(subject.stat(locator)),
                    "`probe`": await outcome(subject.adapter.probe()),
                    "entering a new adapter": await outcome(_enter_and_exit(harness)),
                }
        for doing, error in errors.items():
            if error is not None and not isinstance(error, AdapterError):
                raise Violation(f"{doing} while the archive is away raised {type(error).__name__}") from error


async def _enter_and_exit(harness: Harness) -> None:
    async with harness.adapter():
        pass


@check(
    "C9.2",
    cure="map only the archive's own 'no such object' to NotFound; everything else is Unavailable or TimedOut",
    needs=[OFFLINE],
)
async def could_not_ask_is_not_the_same_as_not_found(harness: Harness) -> None:
    """ "There is no letter" and "the archive did not answer" lead a clinician to opposite decisions."""
    locator = await seed(harness, sample(1000))
    async with entered(harness) as subject:
        await subject.read(locator)
        async with entering(harness.offline()):
            errors = {
                "`open`": await outcome(subject.read(locator)),
                "`stat`": await outcome(subject.stat(locator)),
                "`open` of a missing document": await outcome(subject.read(harness.missing)),
            }
        for doing, error in errors.items():
            if error is None:
                raise Violation(f"{doing} succeeded while the archive is away: the answer is remembered or invented")
            if isinstance(error, NotFound | InvalidLocator):
                raise Violation(f"{doing} while the archive is away raised {type(error).__name__}") from error
        if await outcome(subject.read(locator)) is not None:
            raise Violation("the archive is back, and `open` still fails")


@check("C9.3", cure=_TRANSLATE + ", those in the chunk generator too", needs=[CUT])
async def errors_in_a_body_are_of_the_allowed_kinds(harness: Harness) -> None:
    """The gateway repairs a broken read when it knows what broke it."""
    locator = await seed(harness, sample(_SIZE))
    async with entered(harness) as subject:
        for count in (1, 300_001, _SIZE - 1):
            async with entering(harness.cut_after(count)):
                error = await outcome(subject.read(locator))
            _judge_in_a_body("a body that breaks off", error)


def _judge_in_a_body(what: str, error: Exception | None) -> None:
    if error is not None and not isinstance(error, _ALLOWED_IN_A_BODY):
        names = ", ".join(kind.__name__ for kind in _ALLOWED_IN_A_BODY)
        raise Violation(f"{what} raised {type(error).__name__}; allowed are {names}") from error


@check("C9.4", cure="end `with translate(...)` before the `yield`, and let `open` re-raise what is thrown in there")
async def an_error_of_the_reader_comes_back_unchanged(harness: Harness) -> None:
    """A closed browser tab is an OSError: blamed on the archive, it would shut the archive off for everybody."""
    locator = (await document(harness, _SIZE)).locator
    thrown = ConnectionResetError(104, "reader"), TimeoutError("reader"), KeyError("reader"), EOFError("reader")
    async with entered(harness) as subject:
        for error in thrown:
            name = type(error).__name__
            try:
                async with subject.open(locator) as content:
                    await first_chunk(content)
                    raise error
            except Violation:
                raise
            except Exception as back:
                if back is not error:
                    raise Violation(f"the reader raised {name}, and {type(back).__name__} came out of `open`") from back
            else:
                raise Violation(f"the reader raised {name}, and `open` swallowed it")


@check("C9.5", cure="catch `Exception`, never `BaseException`; re-raise CancelledError at once")
async def cancellation_stays_cancellation(harness: Harness) -> None:
    """A cancelled request that turns into an error is counted as a failure of the archive."""
    locator = (await document(harness, _SIZE)).locator
    async with entered(harness) as subject:
        async for ended in cancelled_at(subject, locator):
            if ended not in (CANCELLED, DONE):
                raise Violation(f"a read that was cancelled ended with {ended}")


@check("C9.6", cure="raise Changed where you notice that the object is another one", needs=[MUTABLE, REPLACE])
async def a_change_in_a_body_is_of_the_allowed_kinds(harness: Harness) -> None:
    """`Changed` makes the gateway drop its cached copy and begin anew; any other error keeps the wrong one."""
    for new in (sample(3 * MiB, 1), sample(10, 2)):
        locator = await seed(harness, sample(3 * MiB))
        async with entered(harness) as subject, subject.open(locator) as content:
            await first_chunk(content)
            await settled(harness.replace(locator, new))
            _judge_in_a_body("a body whose document was replaced", await outcome(chunks_of(content)))


async def _provoked(harness: Harness, subject: Subject, locator: str) -> list[tuple[str, AdapterError]]:
    """Every adapter error this harness can bring about, each with the locator that was asked for."""
    capabilities = capabilities_of(harness)
    actions: list[tuple[str, Awaitable[object]]] = [(harness.missing, subject.stat(harness.missing))]
    actions += [(name, subject.read(name)) for name in (harness.missing, *harness.hostile)]
    if capabilities.spans:
        actions.append((locator, subject.read(locator, Span(10**9))))
    if capabilities.strong_versions:
        actions.append((locator, subject.read(locator, version="no-such-version")))
    errors = [(name, await outcome(action)) for name, action in actions]
    if OFFLINE.met(harness):
        async with entering(harness.offline()):
            for action in (subject.read(locator), subject.stat(locator), subject.adapter.probe()):
                errors.append((locator, await outcome(action)))
    if CUT.met(harness):
        async with entering(harness.cut_after(300_001)):
            errors.append((locator, await outcome(subject.read(locator))))
    return [(name, error) for name, error in errors if isinstance(error, AdapterError)]


def _texts(error: AdapterError) -> str:
    return " ".join([str(error), repr(error), error.detail, *getattr(error, "__notes__", ())])


def _parts(locator: str) -> set[str]:
    """A locator and its last piece: a path shows even when the adapter has put a root in front of it.

    What is short or a mere word is left out, since an innocent sentence may contain it.
    """
    parts = locator, re.split(r"[/\\]", locator)[-1]
    return {part for part in parts if len(part) >= _SHORTEST and not part.isalpha()}


@check("C12.1", cure="name the operation and a code, never the object; `translate(..., doing=...)` words it so")
async def no_error_names_the_document(harness: Harness) -> None:
    """File names hold names and NHS numbers, and errors end in logs that are read by many."""
    locator = (await document(harness, _SIZE)).locator
    async with entered(harness) as subject:
        for name, error in await _provoked(harness, subject, locator):
            if any(part in _texts(error) for part in _parts(name)):
                raise Violation(
                    f"the text of {type(error).__name__} contains the locator it was raised for: {error.detail!r} "
                    "(if that is a common word, choose other locators in the harness)"
                )


@check("C12.2", cure="keep locators out of `__repr__` and out of every field handed to `self.services.log`")
async def no_repr_and_no_log_line_names_the_document(harness: Harness) -> None:
    """What is printed in a traceback or a debug line was not meant to be read by those who read it."""
    locator = (await document(harness, _SIZE)).locator
    async with entered(harness) as subject:
        async with subject.open(locator) as content:
            await first_chunk(content)
            texts = [repr(subject.adapter), str(subject.adapter), repr(content.chunks), repr(content.file)]
        names = {locator, *(name for name, _ in await _provoked(harness, subject, locator))}
        log = subject.adapter.services.log
        texts += log.lines if isinstance(log, RecordingLog) else []
        for text in texts:
            if any(part in text for name in names for part in _parts(name)):
                raise Violation(f"a locator appears in {text[:200]!r}")


@check(
    "C12.3", cure="type secret options as pydantic's SecretStr, and quote no option in an error text", needs=[SECRETS]
)
async def no_text_shows_a_secret(harness: Harness) -> None:
    """Options are printed by `check` and in support bundles; error texts go to dashboards."""
    locator = (await document(harness, _SIZE)).locator
    async with entered(harness) as subject:
        adapter = subject.adapter
        errors = [error for _, error in await _provoked(harness, subject, locator)]
        texts = {f"the text of {type(error).__name__}": _texts(error) for error in errors}
        texts["repr(options)"] = f"{adapter.options!r} {adapter.options}"
        texts["repr(adapter)"] = f"{adapter!r} {adapter}"
        log = adapter.services.log
        texts["the log"] = "\n".join(log.lines) if isinstance(log, RecordingLog) else ""
        for place, text in texts.items():
            if any(secret in text for secret in harness.secrets):
                raise Violation(f"{place} shows the value of a secret option")
