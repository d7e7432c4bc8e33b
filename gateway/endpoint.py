"""One endpoint of an archive and its circuit breaker: a server that fails apart from the others of the same archive.

What became of a call is judged here, by the traits of its error: an archive that has no such document has answered, one that
is silent has not. When calls are stopped and when they go on is logged once each. Most archives are one endpoint, which
`gateway.admission` guards by itself; an adapter that asks several servers is lent one guard for each (`Services.endpoint`).
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING

from adapters.contract import Log
from adapters.errors import AdapterError, Busy, CredentialsRejected, InvalidLocator, TimedOut, Unsupported
from gateway.blame import blamed
from gateway.errors import Resting
from gateway.resilience import Breaker, Circuit, Permit
from gateway.source_status import Circuit as Word
from gateway.source_status import EndpointStatus, LastError

if TYPE_CHECKING:
    from gateway.admission import Admission

NOT_ASKED = (InvalidLocator, Unsupported)
"""Errors that an adapter may find without asking its archive: they say nothing about it."""

NEARLY = 0.9
"""The part of a deadline after which a call that was given up has waited for it in vain."""

_CIRCUITS: dict[Circuit, Word] = {Circuit.CLOSED: "closed", Circuit.HALF_OPEN: "half-open", Circuit.OPEN: "open"}


@dataclass(frozen=True, slots=True)
class Manner:
    """How the calls of a task are judged.

    `probing`: they ask whether the archive is there. That it is closes a circuit; that it is not opens none, since an archive
    may serve documents and still refuse the question. `patience`: seconds after which a call that is given up counts as
    one that was not answered, None for most of the deadline.
    """

    probing: bool = False
    patience: float | None = None


PLAIN = Manner()

MANNER: ContextVar[Manner] = ContextVar("manner", default=PLAIN)


class Endpoint:
    """An endpoint called `name`, "" for an archive that is one. Called, it is the context of one call of its adapter."""

    def __init__(self, admission: Admission, name: str) -> None:
        limits = admission.limits
        self.name = name
        self.breaker = Breaker(failures=limits.breaker_failures, pause=limits.breaker_pause, clock=admission.clock)
        self.error: LastError | None = None
        self.waiting = 0
        """Calls of the adapter that wait for an answer."""
        self._admission = admission
        self._certain = False
        """Whether the last failure was one that waiting does not mend: the archive refuses the gateway's account."""
        self._told: bool | None = None
        """What was logged of calls that are stopped: whether that was certain, None when they go on."""

    def __call__(self) -> _Guarded:
        return _Guarded(self)

    def admit(self) -> Permit:
        """Leave for one call. Raises `resting` when there is none."""
        permit = self.breaker.admit()
        if permit is None:
            raise self.resting()
        return permit

    def resting(self) -> AdapterError:
        """What callers are told while calls are stopped."""
        admission = self._admission
        admission.rejected["resting"] += 1
        seconds = self.breaker.retry_in or 1.0
        why = "" if self.error is None else f": {self.error.detail}"
        error: AdapterError
        if self._certain:
            error = CredentialsRejected(f"not asked again for {seconds:.0f} s{why}", exhausted=True)
        else:
            error = Resting(f"not asked again for {seconds:.0f} s{why}", retry_after=seconds, exhausted=True)
        error.source = admission.name
        return error

    def answered(self, permit: Permit) -> None:
        """A call was answered, whatever the answer."""
        permit.succeeded(tentative=MANNER.get().probing)
        if self._told is not None and self.breaker.circuit is Circuit.CLOSED:
            self._told = None
            self._log.info("calls to the archive go on", endpoint=self.name, state="closed")

    def judge(self, permit: Permit, error: AdapterError) -> None:
        """A call failed with `error`: what that says about the endpoint."""
        if error.answered or not error.unhealthy:
            if isinstance(error, Busy) and permit.probe:
                permit.failed()
            elif isinstance(error, (Busy, *NOT_ASKED)):
                permit.abandoned()
            else:
                self.answered(permit)
            return
        self._admission.failures += 1
        self.error, self._certain = LastError.of(error), not error.transient
        if MANNER.get().probing:
            permit.abandoned()
            return
        stopped = self.breaker.circuit is Circuit.OPEN
        permit.failed(certain=self._certain, each=isinstance(error, TimedOut))
        if not stopped and self.breaker.circuit is Circuit.OPEN:
            self._stopped(error)

    def given_up(self, permit: Permit, seconds: float) -> None:
        """A call was cancelled after so many `seconds`: its reader left, or nobody waits for longer."""
        patience = MANNER.get().patience
        if seconds >= (NEARLY * self._admission.limits.open_timeout if patience is None else patience):
            self.judge(permit, TimedOut(f"no answer within {seconds:.1f} s"))
        else:
            permit.abandoned()

    def status(self) -> EndpointStatus:
        breaker = self.breaker
        return EndpointStatus(
            self.name,
            _CIRCUITS[breaker.circuit],
            breaker.failures,
            breaker.retry_in,
            breaker.opened,
            self.error,
        )

    @property
    def _log(self) -> Log:
        return self._admission.log

    def _stopped(self, error: AdapterError) -> None:
        """Log that calls are stopped: once, and again only when it is something else that a person has to mend."""
        if self._told is not self._certain:
            self._told = self._certain
            self._log.warning(
                "calls to the archive are stopped",
                endpoint=self.name,
                state="open",
                reason=type(error).__name__,
                detail=error.detail,
            )
        self._admission.stopped(self)


class _Guarded:
    """The context of one call that an adapter makes to an endpoint: leave on entering, judgement on leaving."""

    __slots__ = ("_began", "_endpoint", "_permit")

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    def __enter__(self) -> None:
        endpoint = self._endpoint
        endpoint._admission.refuse_crowding(endpoint)
        self._permit = endpoint.admit()
        self._began = endpoint._admission.clock()
        endpoint.waiting += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        endpoint, permit = self._endpoint, self._permit
        endpoint.waiting -= 1
        if error is None:
            endpoint.answered(permit)
        elif isinstance(error, AdapterError):
            endpoint.judge(permit, error)
        elif isinstance(error, Exception):
            endpoint.judge(permit, blamed(error, endpoint._admission.name))
        else:
            endpoint.given_up(permit, endpoint._admission.clock() - self._began)
