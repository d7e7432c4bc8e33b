"""The circuit breaker as a state machine: what it admits after what became of earlier calls."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.resilience import Breaker, Circuit, Permit


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def breaker(failures: int = 3, pause: float = 1.0) -> tuple[Breaker, Clock]:
    clock = Clock()
    return Breaker(failures=failures, pause=pause, clock=clock), clock


def admitted(breaker: Breaker) -> Permit:
    permit = breaker.admit()
    assert permit is not None
    return permit


def opened(failures: int = 3) -> tuple[Breaker, Clock]:
    one, clock = breaker(failures)
    for _ in range(failures):
        admitted(one).failed()
    return one, clock


def test_it_opens_after_so_many_failures_in_a_row() -> None:
    one, _ = breaker(3)
    for outcome in ("failed", "failed", "succeeded", "failed", "failed"):
        getattr(admitted(one), outcome)()
    assert one.circuit is Circuit.CLOSED
    admitted(one).failed()
    assert one.circuit is Circuit.OPEN
    assert one.admit() is None


def test_one_certain_failure_is_enough() -> None:
    one, _ = breaker(3)
    admitted(one).failed(certain=True)
    assert one.circuit is Circuit.OPEN


def test_calls_that_were_under_way_together_fail_as_one() -> None:
    one, _ = breaker(2)
    together = [admitted(one) for _ in range(50)]
    for permit in together:
        permit.failed()
    assert one.circuit is Circuit.CLOSED
    admitted(one).failed()
    assert one.circuit is Circuit.OPEN


def test_after_the_pause_exactly_one_call_finds_out() -> None:
    one, clock = opened()
    clock.now += 0.999
    assert one.admit() is None
    clock.now += 0.001
    assert one.circuit is Circuit.HALF_OPEN
    permits = [one.admit() for _ in range(50)]
    probe = permits[0]
    assert probe is not None
    assert probe.probe
    assert permits[1:] == [None] * 49
    probe.succeeded()
    assert one.circuit is Circuit.CLOSED
    assert not admitted(one).probe


def test_a_probe_that_fails_means_another_pause() -> None:
    one, clock = opened()
    clock.now += 1
    admitted(one).failed()
    assert one.circuit is Circuit.OPEN
    clock.now += 1
    assert admitted(one).probe


def test_a_probe_whose_caller_left_is_followed_by_another() -> None:
    one, clock = opened()
    clock.now += 1
    admitted(one).abandoned()
    assert admitted(one).probe


def test_what_became_of_calls_from_before_decides_nothing_any_more() -> None:
    one, clock = breaker(1)
    early, late = admitted(one), admitted(one)
    early.failed()
    late.succeeded()
    assert one.circuit is Circuit.OPEN, "a call that was already under way says nothing about now"
    clock.now += 1
    probe = admitted(one)
    late.failed(certain=True)
    early.succeeded()
    assert one.circuit is Circuit.HALF_OPEN
    probe.succeeded()
    probe.failed()
    assert one.circuit is Circuit.CLOSED


def test_calls_that_each_waited_in_vain_each_count() -> None:
    one, _ = breaker(3)
    together = [admitted(one) for _ in range(3)]
    together[0].failed(each=True)
    together[1].failed(each=True)
    assert (one.circuit, one.failures) == (Circuit.CLOSED, 2)
    together[2].failed(each=True)
    assert one.circuit is Circuit.OPEN
    assert one.opened == 1


def test_calls_from_before_it_was_closed_again_do_not_count_however_they_waited() -> None:
    one, clock = breaker(2)
    early = [admitted(one) for _ in range(6)]
    early[0].failed(each=True)
    early[1].failed(each=True)
    clock.now += 1
    admitted(one).succeeded()
    for permit in early[2:]:
        permit.failed(each=True)
    assert (one.circuit, one.failures) == (Circuit.CLOSED, 0)


def test_what_is_only_known_to_be_there_has_one_failure_left() -> None:
    one, clock = opened(3)
    clock.now += 1
    admitted(one).succeeded(tentative=True)
    assert one.circuit is Circuit.CLOSED
    admitted(one).succeeded(tentative=True)
    admitted(one).failed()
    assert one.circuit is Circuit.OPEN, "that it is there says nothing of its documents"
    clock.now += 1
    admitted(one).succeeded(tentative=True)
    admitted(one).succeeded()
    admitted(one).failed()
    assert one.circuit is Circuit.CLOSED


def test_who_only_looks_takes_nothing() -> None:
    one, clock = opened()
    assert one.refuses
    assert one.retry_in == 1.0
    clock.now += 1
    assert not one.refuses
    assert one.retry_in == 0.0
    assert admitted(one).probe
    assert one.refuses


def test_fifty_at_once_a_thousand_times_and_each_time_exactly_one_finds_out() -> None:
    one, clock = opened()
    for cycle in range(1000):
        clock.now += 1
        permits = [permit for permit in (one.admit() for _ in range(50)) if permit is not None]
        assert [permit.probe for permit in permits] == [True]
        match cycle % 4:
            case 0 | 1:
                permits[0].failed(each=bool(cycle % 2))
            case 2:
                permits[0].abandoned()
                permits = [permit for permit in (one.admit() for _ in range(50)) if permit is not None]
                assert [permit.probe for permit in permits] == [True]
                permits[0].failed()
            case 3:
                permits[0].succeeded(tentative=bool(cycle % 8 == 3))
                while one.circuit is Circuit.CLOSED:
                    admitted(one).failed()


STEPS = st.lists(
    st.one_of(
        st.just("admit"),
        st.tuples(st.sampled_from(["succeeded", "failed", "waited", "abandoned"]), st.integers(0, 9)),
        st.floats(0, 3).map(lambda seconds: ("wait", seconds)),
    ),
    max_size=80,
)


@given(STEPS, st.integers(1, 4))
def test_never_two_probes_at_once_and_never_closed_without_one_that_succeeded(
    steps: list[str | tuple[str, float]], failures: int
) -> None:
    one, clock = breaker(failures)
    under_way: list[Permit] = []
    shut_until = 0.0
    for step in steps:
        before = one.circuit
        if step == "admit":
            permit = one.admit()
            if permit is None:
                assert before is not Circuit.CLOSED, "refused although nothing failed"
                assert clock.now < shut_until or any(other.probe for other in under_way), "nobody finds out"
            else:
                assert not (permit.probe and any(other.probe for other in under_way)), "two probes at once"
                assert permit.probe is (before is not Circuit.CLOSED)
                assert not permit.probe or clock.now >= shut_until, "too early"
                under_way.append(permit)
            continue
        word, value = step
        if word == "wait":
            clock.now += value
        elif under_way:
            permit = under_way.pop(int(value) % len(under_way))
            if word == "waited":
                permit.failed(each=True)
            else:
                getattr(permit, word)()
            if before is not Circuit.CLOSED and one.circuit is Circuit.CLOSED:
                assert permit.probe, "closed by a call that was no probe"
                assert word == "succeeded"
            if before is not Circuit.OPEN and one.circuit is Circuit.OPEN and word in ("failed", "waited"):
                shut_until = clock.now + 1.0
