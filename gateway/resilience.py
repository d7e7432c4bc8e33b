"""Giving up on what keeps failing, and finding out when it is back: a circuit breaker.

A pure state machine over an injected clock: no I/O, no waiting, no tasks. Whoever calls asks `admit` first and says what
became of the call. Calls that were under way together fail together and count as one failure, so that a connection
which breaks under fifty readers is not fifty reasons to give up.
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

    def succeeded(self) -> None:
        """The other side answered."""
        self._breaker._succeeded(self)

    def failed(self, *, certain: bool = False) -> None:
        """It did not. `certain` says that no second failure is needed to give up."""
        self._breaker._failed(self, self._failures, certain)

    def abandoned(self) -> None:
        """Nothing was found out: the caller left before the end."""
        self._breaker._abandoned(self)


class Breaker:
    """Refuses calls for `pause` seconds after `failures` failures in a row, then admits one to find out.

    `clock` counts seconds and never goes back.
    """

    __slots__ = ("_clock", "_failures", "_limit", "_open_until", "_pause", "_permit", "_probe", "_total")

    def __init__(self, *, failures: int, pause: float, clock: Callable[[], float]) -> None:
        self._limit = failures
        self._pause = pause
        self._clock = clock
        self._open_until: float | None = None
        self._probe: Permit | None = None
        self._failures = 0
        self._total = 0
        self._permit = Permit(self, 0, probe=False)

    @property
    def circuit(self) -> Circuit:
        """What the next call meets."""
        if self._open_until is None:
            return Circuit.CLOSED
        ready = self._probe is not None or self._clock() >= self._open_until
        return Circuit.HALF_OPEN if ready else Circuit.OPEN

    def admit(self) -> Permit | None:
        """Leave to make a call; None when it is refused."""
        if self._open_until is None:
            # Calls that begin between two failures need no permits of their own.
            return self._permit
        if self._probe is not None or self._clock() < self._open_until:
            return None
        self._probe = Permit(self, self._total, probe=True)
        return self._probe

    def _succeeded(self, permit: Permit) -> None:
        if permit is self._probe:
            self._probe = self._open_until = None
            self._renew()
        if self._open_until is None:
            self._failures = 0

    def _failed(self, permit: Permit, failures_before: int, certain: bool) -> None:
        if permit is self._probe:
            self._open()
        elif self._open_until is None and not permit.probe and (certain or failures_before == self._total):
            self._failures += 1
            self._renew()
            if certain or self._failures >= self._limit:
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
