"""What a check is, when it applies, and how it says that a rule is broken.

Rules of this module: values and the decorator only. A check is one small coroutine function over a harness. Its number
is the rule it shows (C1 to C12 of `adapters.contract`; L: the life of an adapter; O: options; F: `Content.file`) and a
counter. Numbers are cited by authors and never change their meaning.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import TypeGuard

from adapters.contract import Capabilities
from adapters.testing.harness import Harness
from adapters.testing.site import SiteHarness

Subjects = Harness | type[Harness]


class Violation(AssertionError):
    """A rule is broken; the text is one sentence that says what happened."""


@dataclass(frozen=True, slots=True)
class Need:
    """A condition without which a check says nothing. `reason` completes "not applicable: ...", `at_a_site` does so
    where the kit runs on a site's own archive."""

    met: Callable[[Subjects], bool]
    reason: str
    at_a_site: str | None = None

    def reason_for(self, harness: Subjects) -> str:
        return self.at_a_site if self.at_a_site and is_site(harness) else self.reason


@dataclass(frozen=True, slots=True)
class Check:
    """One check. `why` says what goes wrong in a hospital without the rule, `cure` what the author does about it."""

    number: str
    name: str
    why: str
    cure: str
    needs: tuple[Need, ...]
    run: Callable[[Harness], Awaitable[None]]

    @property
    def rule(self) -> str:
        return self.number.partition(".")[0]

    @property
    def title(self) -> str:
        return self.name.replace("_", " ")

    def excluded(self, harness: Subjects) -> str | None:
        """Why this check does not apply to `harness` (or its class); None when it applies."""
        return next((need.reason_for(harness) for need in self.needs if not need.met(harness)), None)


def check(
    number: str, *, cure: str, needs: Iterable[Need] = ()
) -> Callable[[Callable[[Harness], Awaitable[None]]], Check]:
    """Make a coroutine function a `Check`: its name is the title, its docstring the reason."""

    def made(function: Callable[[Harness], Awaitable[None]]) -> Check:
        return Check(
            number=number,
            name=getattr(function, "__name__", number),
            why=" ".join((function.__doc__ or "").split()),
            cure=cure,
            needs=tuple(needs),
            run=function,
        )

    return made


def hook(name: str, cannot: str) -> Need:
    """The harness overrides the optional method `name`."""

    def overridden(harness: Subjects) -> bool:
        kind = harness if isinstance(harness, type) else type(harness)
        return getattr(kind, name) is not getattr(Harness, name)

    return Need(
        overridden,
        f"the harness has no `{name}`: it cannot {cannot}",
        f"a site's archive is only read: the kit cannot {cannot}",
    )


def declared(name: str, value: bool = True) -> Need:
    """The adapter is expected to declare the capability `name` as `value`."""
    return Need(
        lambda harness: getattr(capabilities_of(harness), name) is value,
        f"the adapter declares {name}={not value}",
    )


def capabilities_of(harness: Subjects) -> Capabilities:
    """The capabilities that a harness expects. Raises `TypeError` with the cure when it does not say."""
    found = getattr(harness, "capabilities", None)
    if not isinstance(found, Capabilities):
        kind = harness if isinstance(harness, type) else type(harness)
        raise TypeError(f"{kind.__name__} needs `capabilities = Capabilities(...)`: what the adapter should declare")
    return found


def is_site(harness: Subjects) -> TypeGuard[SiteHarness | type[SiteHarness]]:
    """Whether the kit runs on a site's own archive."""
    return issubclass(harness if isinstance(harness, type) else type(harness), SiteHarness)


def open_together(harness: Subjects) -> int | None:
    """How many documents may be open together, as the adapter declares and the site allows; None for no limit."""
    return harness.at_once if is_site(harness) else capabilities_of(harness).max_open


SEED = Need(lambda harness: not is_site(harness), "the check stores documents, and a site's archive is only read")
LIVE = hook("live", "count what is open in the archive")
CUT = hook("cut_after", "break the archive off in the middle of a document")
OFFLINE = hook("offline", "take the archive away")
REPLACE = hook("replace", "change a document behind its locator")
WITHDRAW = hook("withdraw", "withdraw a document")
MUTABLE = declared("immutable", False)
SPANS = declared("spans")
STRONG_VERSIONS = declared("strong_versions")
FILE = Need(
    lambda harness: harness.offers_file,
    "the harness says that no `Content.file` is offered",
    "the adapter offers no `Content.file` here",
)
SECRETS = Need(
    lambda harness: bool(harness.secrets),
    "the harness names no secret option values in `secrets`",
    "the source's options hold no secret in clear",
)
