"""Giving up on what keeps failing, and finding out when it is back: a circuit breaker.

A pure state machine over an injected clock: no I/O, no waiting, no tasks. Whoever calls asks `admit` first and says what
became of the call. Calls that were under way together fail together and count as one failure, so that a connection
which breaks under fifty readers is not fifty reasons to give up. Calls that waited in vain for as long as anybody may are
another matter: each of them (`each`) has found out for itself.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum


class Circuit(Enum):
    """What a breaker does with the next call."""

    CLOSED = "calls are admitted"
    OPEN = "calls are refused"
    HALF_OPEN = "one call finds out; all others are refused"


class Permit:
    """Leave to make one call. Exactly one of its methods is called when the call has ended, whatever way it ended."""

    __slots__ = ("_breaker", "_failures", "probe")

    def __init__(self, breaker: Breaker, failures: int, *, probe: bool) -> None:
        self._breaker = breaker
        self._failures = failures
        self.probe = probe
        """Whether this is the one call that finds out."""

    def succeeded(self, *, tentative: bool = False) -> None:
        """The other side answered. `tentative`: it answered a question that shows that it is there, not yet that it serves;
        the next failure is then enough to give up again."""
        self._breaker._succeeded(self, tentative)

    def failed(self, *, certain: bool = False, each: bool = False) -> None:
        """It did not. `certain` says that no second failure is needed to give up, `each` that this one counts by itself,
        however many calls failed beside it."""
        self._breaker._failed(self, self._failures, certain, each)

    def abandoned(self) -> None:
        """Nothing was found out: the caller left before the end."""
        self._breaker._abandoned(self)


class Breaker:
    """Refuses calls for `pause` seconds after `failures` failures in a row, then admits one to find out.

    `clock` counts seconds and never goes back.
    """

    __slots__ = (
        "_clock", "_closed_at", "_failures", "_limit", "_open_until", "_pause", "_permit", "_probe", "_total", "opened",
    )  # fmt: skip

    def __init__(self, *, failures: int, pause: float, clock: Callable[[], float]) -> None:
        self._limit = failures
        self._pause = pause
        self._clock = clock
        self._open_until: float | None = None
        self._probe: Permit | None = None
        self._failures = 0
        self._total = 0
        self._closed_at = 0
        self.opened = 0
        """How often it has opened after it was closed."""
        self._permit = Permit(self, 0, probe=False)

    @property
    def circuit(self) -> Circuit:
        """What the next call meets."""
        if self._open_until is None:
            return Circuit.CLOSED
        ready = self._probe is not None or self._clock() >= self._open_until
        return Circuit.HALF_OPEN if ready else Circuit.OPEN

    @property
    def troubled(self) -> bool:
        """Whether a call that succeeds changes anything."""
        return self._failures > 0 or self._open_until is not None

    @property
    def closed(self) -> bool:
        """Whether every call is admitted."""
        return self._open_until is None

    @property
    def failures(self) -> int:
        """Failures in a row that were counted since the last success; none once it is open."""
        return self._failures

    @property
    def retry_in(self) -> float | None:
        """Seconds until one call is admitted to find out, 0 when that may be now; None while all are."""
        return None if self._open_until is None else max(0.0, self._open_until - self._clock())

    @property
    def refuses(self) -> bool:
        """Whether `admit` would refuse a call now. Asking changes nothing."""
        return self._open_until is not None and (self._probe is not None or self._clock() < self._open_until)

    def admit(self) -> Permit | None:
        """Leave to make a call; None when it is refused."""
        if self._open_until is None:
            # Calls that begin between two failures need no permits of their own.
            return self._permit
        if self._probe is not None or self._clock() < self._open_until:
            return None
        self._probe = Permit(self, self._total, probe=True)
        return self._probe

    def _succeeded(self, permit: Permit, tentative: bool) -> None:
        if permit is self._probe:
            self._probe = self._open_until = None
            self._renew()
            self._closed_at = self._total
            self._failures = self._limit - 1 if tentative else 0
        elif self._open_until is None and not tentative:
            self._failures = 0

    def _failed(self, permit: Permit, failures_before: int, certain: bool, each: bool) -> None:
        if permit is self._probe:
            self._open()
            return
        # A call from before it was last closed says nothing about now.
        counts = certain or failures_before == self._total or (each and failures_before >= self._closed_at)
        if self._open_until is None and not permit.probe and counts:
            self._failures += 1
            self._renew()
            if certain or self._failures >= self._limit:
                self.opened += 1
                self._open()

    def _abandoned(self, permit: Permit) -> None:
        if permit is self._probe:
            self._probe = None

    def _open(self) -> None:
        self._probe = None
        self._failures = 0
        self._open_until = self._clock() + self._pause

    def _renew(self) -> None:
        self._total += 1
        self._permit = Permit(self, self._total, probe=False)
