"""A bulkhead as a state machine: places that are never taken twice, and a queue that sheds when it stands."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.resilience import Bulkhead, Turn

PATIENCE, TARGET = 2.0, 0.25


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def bulkhead(places: int = 2, max_queued: int = 4) -> tuple[Bulkhead, Clock]:
    clock = Clock()
    return Bulkhead(places, max_queued=max_queued, patience=PATIENCE, target=TARGET, clock=clock), clock


def waiting(one: Bulkhead, name: str) -> Turn:
    turn = one.wait(name)
    assert turn is not None
    return turn


def test_so_many_at_once_and_so_many_in_the_queue() -> None:
    one, _ = bulkhead(2, 2)
    assert [one.enter() for _ in range(3)] == [True, True, False]
    waiting(one, "a")
    waiting(one, "b")
    assert one.wait("c") is None
    assert (one.in_use, one.queued) == (2, 2)


def test_while_there_is_no_overload_it_is_first_come_first_served() -> None:
    one, clock = bulkhead(1)
    one.enter()
    turns = [waiting(one, name) for name in "abc"]
    clock.now += PATIENCE / 2
    assert [one.leave() for _ in turns] == turns
    assert one.leave() is None
    assert one.in_use == 0


def test_a_queue_that_has_stood_serves_the_newest_and_sheds_who_waited_for_longer_than_the_target() -> None:
    one, clock = bulkhead(1, 100)
    one.enter()
    # Whoever waits is served after a second, and two come in that time: the queue never empties.
    for _ in range(2):
        waiting(one, "first")
        waiting(one, "first")
        clock.now += 1
        one.leave()
    assert one.overloaded
    clock.now += TARGET / 2
    late = waiting(one, "late")
    assert [turn.token for turn in one.overdue()] == ["first", "first"], "they have waited for more than the target"
    latest = waiting(one, "latest")
    assert one.leave() is latest
    assert one.leave() is late


def test_a_queue_that_was_empty_is_patient_again() -> None:
    one, clock = bulkhead(1)
    one.enter()
    waiting(one, "a")
    clock.now += PATIENCE
    assert one.overloaded
    assert [turn.token for turn in one.overdue()] == ["a"]
    waiting(one, "b")
    clock.now += TARGET * 2
    assert not one.overloaded
    assert not one.overdue()


def test_who_leaves_the_queue_is_served_no_more() -> None:
    one, _ = bulkhead(1)
    one.enter()
    turn = waiting(one, "a")
    assert one.quit(turn)
    assert not one.quit(turn)
    assert one.leave() is None


def test_with_fewer_places_than_before_some_are_not_handed_over() -> None:
    one, _ = bulkhead(3)
    for _ in range(3):
        one.enter()
    turn = waiting(one, "a")
    one.places = 1
    assert [one.leave(), one.leave()] == [None, None]
    assert one.leave() is turn


STEPS = st.lists(
    st.one_of(
        st.just("come"),
        st.just("leave"),
        st.just("shed"),
        st.just("clear"),
        st.integers(0, 9),
        st.floats(0.01, 3),
    ),
    max_size=120,
)


@given(STEPS, st.integers(1, 3), st.integers(1, 4))
def test_no_place_is_lost_or_taken_twice_and_nobody_is_forgotten(
    steps: list[str | int | float], places: int, most: int
) -> None:
    one, clock = bulkhead(places, most)
    inside, queue = 0, list[Turn]()
    for step in steps:
        if step == "come":
            if one.enter():
                assert not queue, "somebody waits for a place that was free"
                inside += 1
            else:
                refused = one.refuses("")
                turn = one.wait(object())
                assert (turn is None) is refused is (len(queue) >= most)
                queue += [turn] if turn is not None else []
        elif step == "leave" and inside:
            overloaded = one.overloaded
            turn = one.leave()
            assert (turn is None) is (not queue)
            if turn is None:
                inside -= 1
            else:
                assert turn is (queue[-1] if overloaded else queue[0])
                queue.remove(turn)
        elif step in ("shed", "clear"):
            limit = TARGET if one.overloaded else PATIENCE
            gone = one.overdue() if step == "shed" else one.clear()
            if step == "shed":
                assert gone == [turn for turn in queue if turn.since <= clock.now - limit]
            queue = [turn for turn in queue if turn not in gone]
        elif isinstance(step, int) and queue:
            assert one.quit(queue.pop(step % len(queue)))
        elif isinstance(step, float):
            clock.now += step
        assert (one.in_use, one.queued) == (inside, len(queue))
        assert one.in_use <= places
        assert one.queued <= most
        assert one.in_use == places or not queue


# --- turns of several clients ----------------------------------------------------------------------------------------


def test_each_client_gets_its_turn_however_many_turns_of_another_wait() -> None:
    full, _ = bulkhead(1, 10)
    assert full.enter()
    for name in ("flood", "flood", "flood", "ward", "flood", "clinic"):
        assert full.wait(name, name)
    assert [full.leave().token for _ in range(6)] == ["flood", "ward", "clinic", "flood", "flood", "flood"]  # type: ignore[union-attr]
    assert full.leave() is None
    assert full.enter()


def test_in_a_full_queue_the_client_with_most_turns_makes_room() -> None:
    full, _ = bulkhead(1, 4)
    assert full.enter()
    for number in range(4):
        assert full.wait(number, "flood")
    assert full.wait(4, "flood") is None, "it makes no room for itself"
    assert full.wait("a letter", "ward")
    assert [turn.token for turn in full.overdue()] == [0]
    assert full.queued == 4
    assert full.wait("another", "ward")
    assert [turn.token for turn in full.overdue()] == [1]
    assert full.wait("a third", "ward") is None, "by now both have as many"
