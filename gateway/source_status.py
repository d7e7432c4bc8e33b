"""How one source stands, as plain values: what a status page shows and metrics are made of.

Made when somebody looks, from counters that calls keep as plain numbers. Nothing here names a document, a person or a path
inside an archive (C12), and the words and the reasons are closed sets, so that they can be labels of a metric.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from adapters.errors import AdapterError
from gateway.errors import problem_for

State = Literal["ok", "partly away", "probing", "away", "refused", "wedged"]
"""`ok`: calls are let through. `away`: the archive does not answer, calls are refused at once. `probing`: it was, and one call
finds out. `partly away`: some of its endpoints are. `refused`: the archive does not accept the gateway's account. `wedged`:
every thread of the source hangs."""

Circuit = Literal["closed", "half-open", "open"]
"""What the next call to an endpoint meets: leave, leave for exactly one, or a refusal."""

Reason = Literal["away", "wedged", "resting", "queue full", "queued too long"]
"""Why a call was refused without the archive being asked. `resting`: its circuit is open."""

REASONS: tuple[Reason, ...] = ("away", "wedged", "resting", "queue full", "queued too long")


@dataclass(frozen=True, slots=True)
class LastError:
    """The last failure that counts against an archive. `at` is in seconds since 1970; `code` is a row of the error table."""

    kind: str
    code: str
    detail: str
    cure: str
    at: float

    @classmethod
    def of(cls, error: AdapterError) -> LastError:
        """`error` as it is told to an operator, now."""
        entry = problem_for(error).entry
        return cls(type(error).__name__, entry.code, error.detail, entry.cure, time.time())


@dataclass(frozen=True, slots=True)
class EndpointStatus:
    """One endpoint of an archive: a server that fails apart from the others. `name` is "" where an archive has but one.

    `retry_in`: seconds until one call is let through again, None while all are. `opened`: how often calls were stopped since
    the gateway started.
    """

    name: str
    circuit: Circuit
    failures: int = 0
    retry_in: float | None = None
    opened: int = 0
    error: LastError | None = None


@dataclass(frozen=True, slots=True)
class Latency:
    """How long opening took, in seconds, of the last few hundred calls that were answered; 0 where there were none."""

    median: float = 0.0
    p99: float = 0.0
    samples: int = 0

    @classmethod
    def of(cls, durations: Iterable[float]) -> Latency:
        """That of `durations` in seconds, in any order."""
        kept = sorted(durations)
        if not kept:
            return cls()
        return cls(kept[len(kept) // 2], kept[len(kept) * 99 // 100], len(kept))


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """One source. Numbers that only grow count since the gateway started."""

    name: str
    state: State
    open: int
    """Documents that are open now, of `max_open`."""
    max_open: int
    queued: int
    """Calls that wait for their turn now, of `max_queued`."""
    max_queued: int
    threads: int
    threads_busy: int
    threads_hung: int
    """Threads inside one call for longer than the open deadline: nobody waits for them any more."""
    calls: int = 0
    """Calls that reached the archive."""
    failures: int = 0
    """Of those, the ones that count against the archive's health."""
    retries: int = 0
    """Of those, the ones made a second time for the same request."""
    rejected: Mapping[Reason, int] = field(default_factory=dict)
    endpoints: tuple[EndpointStatus, ...] = ()
    latency: Latency = Latency()
    error: LastError | None = None
