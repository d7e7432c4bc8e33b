"""What the rules of `policy.deny` say, and the whole judgement: rules first, then the policy of one's own.

Rules decide on values that are at hand, so they cannot fail. `forbids_source` is asked before an id is even looked up: a
client that may not see an archive at all must not find out, by an error or by its time, what is in it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from gateway.security import Identity
from gateway.security.policy import PERMIT, Access, Policy, Verdict, deny, judged
from gateway.settings.policy import DenyRule

RULE = deny("rule")


class Rule:
    """One rule, ready to be asked."""

    def __init__(self, settings: DenyRule) -> None:
        self._sources = None if settings.sources is None else frozenset(settings.sources)
        self._clients = None if settings.clients is None else frozenset(settings.clients)
        self._spared = frozenset(settings.except_clients)
        self._column = None if settings.column is None else _plain(settings.column)
        self._values = frozenset(map(_plain, settings.values or settings.unless or ()))
        self._unless = settings.unless is not None

    def is_about(self, identity: Identity, source: str) -> bool:
        """Whether it concerns this client and this source."""
        return (
            (self._sources is None or source in self._sources)
            and (self._clients is None or identity.client in self._clients)
            and identity.client not in self._spared
        )

    @property
    def of_source(self) -> bool:
        """Whether it denies everything that it is about, whatever a document's columns say."""
        return self._column is None

    def denies(self, attributes: Mapping[str, str], columns: bool) -> bool:
        """Whether a document with these attributes is denied; `columns` says that its archive has a manifest."""
        if self._column is None:
            return True
        if not columns:
            return False
        value = next((_plain(value) for name, value in attributes.items() if _plain(name) == self._column), "")
        return (value in self._values) != self._unless


class Rules:
    """All rules together."""

    def __init__(self, rules: Iterable[DenyRule], manifests: Iterable[str]) -> None:
        """`manifests` are the sources that have columns."""
        self._rules = tuple(map(Rule, rules))
        self._manifests = frozenset(manifests)

    def forbids_source(self, identity: Identity, source: str) -> bool:
        """Whether nothing of `source` is for this caller."""
        return any(rule.of_source and rule.is_about(identity, source) for rule in self._rules)

    def denies(self, access: Access) -> bool:
        """Whether a rule denies this read."""
        columns, attributes = access.source in self._manifests, access.location.attributes
        return any(
            rule.is_about(access.identity, access.source) and rule.denies(attributes, columns) for rule in self._rules
        )


class Due:
    """A moment that is fixed before anything is looked up.

    A wait for what is left, begun after the look-up, would end a whole number of milliseconds later, since the timers of event
    loops are no finer, and the rest would show in every answer how long the look-up took.
    """

    __slots__ = ("_passed", "_timer")

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self._passed = loop.create_future()
        self._timer = loop.call_later(seconds, self._passed.set_result, None)

    async def wait(self) -> None:
        """Wait for it."""
        await asyncio.shield(self._passed)

    def dismiss(self) -> None:
        """Nobody will wait."""
        self._timer.cancel()


class Judgement:
    """What the handlers ask: the rules, then the policy of one's own if there is one."""

    def __init__(self, rules: Rules, hook: Policy | None, *, timeout: float, floor: float | None, log: Any) -> None:
        """`timeout` of the hook in seconds; `floor` is how long an answer "no such document" takes at least, in seconds."""
        self._rules = rules
        self._hook = hook
        self._timeout = timeout
        self._log = log
        self._floor = floor
        self.forbids_source: Callable[[Identity, str], bool] = rules.forbids_source

    def due(self) -> Due | None:
        """When an answer "no such document" to the request that comes now may go out; None when it may at once."""
        return None if self._floor is None else Due(asyncio.get_running_loop(), self._floor)

    async def decide(self, access: Access) -> Verdict:
        """The verdict. Raises nothing."""
        if self._rules.denies(access):
            return RULE
        if self._hook is None:
            return PERMIT
        return await judged(self._hook, access, timeout=self._timeout, log=self._log)


def _plain(text: str) -> str:
    return text.strip().casefold()
