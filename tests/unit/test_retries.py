"""The budget of second attempts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.resilience import RetryBudget


class Clock:
    now = 100.0
    calls = 0

    def __call__(self) -> float:
        return self.now


def budget(**numbers: float) -> tuple[RetryBudget, Clock]:
    clock = Clock()
    return RetryBudget(lambda: clock.calls, clock=clock, **numbers), clock


def test_a_source_that_is_seldom_asked_may_ask_again() -> None:
    one, clock = budget(most=1, per_second=0.5)
    for _ in range(5):
        assert one.spend()
        assert not one.spend()
        clock.now += 2


def test_when_everything_fails_one_call_in_five_is_repeated() -> None:
    one, clock = budget(share=0.2, most=10, per_second=0.0)
    repeated = 0
    for _ in range(1000):
        clock.calls += 1
        if one.spend():
            clock.calls += 1
            repeated += 1
    assert 200 <= repeated <= 10 + 0.2 * clock.calls
    assert clock.calls <= 1000 * 1.25 + 13


@given(st.lists(st.one_of(st.integers(1, 50), st.floats(0, 20), st.just("spend")), max_size=200))
def test_never_more_than_what_was_earned(steps: list[int | float | str]) -> None:
    one, clock = budget(share=0.2, per_second=0.5, most=10.0)
    spent, began = 0, clock.now
    for step in steps:
        if isinstance(step, int):
            clock.calls += step
        elif isinstance(step, float):
            clock.now += step
        else:
            spent += one.spend()
        assert spent <= 10 + 0.2 * clock.calls + 0.5 * (clock.now - began) + 1e-6
