"""How many calls may be made a second time: a budget that keeps retries from becoming a load of their own.

A pure state machine over an injected clock. Every call earns a share of a retry, and every second a little, so that a source
that is seldom asked may retry too; what is earned is kept up to `most`. When an archive fails every call, it is asked at most
`share` more often than without retries.
"""

from __future__ import annotations

from collections.abc import Callable


class RetryBudget:
    """`share` of calls may be repeated, and `per_second` besides, at most `most` at a time out of what was saved.

    Calls are not counted here but told by `calls`, which never gets smaller: the counter that there is anyway.
    """

    __slots__ = ("_balance", "_calls", "_clock", "_most", "_per_second", "_seen", "_share", "_then")

    def __init__(
        self,
        calls: Callable[[], int],
        *,
        share: float = 0.2,
        per_second: float = 0.5,
        most: float = 10.0,
        clock: Callable[[], float],
    ) -> None:
        self._calls = calls
        self._share = share
        self._per_second = per_second
        self._most = most
        self._clock = clock
        self._balance = most
        self._seen = calls()
        self._then = clock()

    def spend(self) -> bool:
        """Whether a call may be repeated now; it is then paid for."""
        now, calls = self._clock(), self._calls()
        earned = self._share * (calls - self._seen) + self._per_second * (now - self._then)
        self._balance = min(self._most, self._balance + earned)
        self._seen, self._then = calls, now
        if self._balance < 1.0:
            return False
        self._balance -= 1.0
        return True
