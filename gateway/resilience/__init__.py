"""How the gateway bends: circuit breaker, bulkhead with a queue that sheds, retry budget.

Pure state machines over an injected clock: no I/O, no waiting, no tasks. What waits, logs and knows an archive is
`gateway.admission`. Each machine has a module of its own; what is used together is here.
"""

from __future__ import annotations

from gateway.resilience.breaker import Breaker, Circuit, Permit
from gateway.resilience.bulkhead import Bulkhead, Turn
from gateway.resilience.retries import RetryBudget

__all__ = ["Breaker", "Bulkhead", "Circuit", "Permit", "RetryBudget", "Turn"]
