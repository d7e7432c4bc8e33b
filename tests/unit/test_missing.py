"""What an archive does not have is believed for a moment, under the same key alone, and says no more than it did."""

from __future__ import annotations

import pytest

from adapters.errors import Deleted, NotFound
from gateway.errors import problem_for
from gateway.missing import REMEMBERED, Missing, Remembered, RememberedDeleted


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr("gateway.missing.time.monotonic", lambda: now[0])
    return now


class Withdrawn(Deleted):
    """A kind that only one module knows, with more in it than may be kept."""


@pytest.mark.parametrize(
    ("said", "kind"), [(NotFound("none"), NotFound), (Deleted("gone"), Deleted), (Withdrawn("gone"), Deleted)]
)
def test_it_is_said_again_for_a_while(clock: list[float], said: NotFound, kind: type[NotFound]) -> None:
    missing = Missing("letters", 10)
    missing.remember("a", said, clock[0])
    clock[0] += 9.9
    with pytest.raises(kind) as raised:
        missing.refuse("a")
    assert type(raised.value) is (RememberedDeleted if kind is Deleted else Remembered)
    assert problem_for(raised.value).entry is problem_for(kind()).entry
    assert raised.value is not said, "an error that is raised twice carries the traces of the first time"
    assert (raised.value.detail, raised.value.source) == (said.detail, "letters")
    missing.refuse("b")
    clock[0] += 0.1
    missing.refuse("a")


def test_asking_does_not_prolong_it(clock: list[float]) -> None:
    missing = Missing("letters", 10)
    missing.remember("a", NotFound("none"), clock[0])
    for _ in range(9):
        clock[0] += 1
        with pytest.raises(NotFound):
            missing.refuse("a")
    clock[0] += 1
    missing.refuse("a")


def test_no_time_is_never(clock: list[float]) -> None:
    missing = Missing("letters", 0)
    missing.remember("a", NotFound("none"), clock[0])
    missing.refuse("a")


def test_it_can_be_forgotten(clock: list[float]) -> None:
    missing = Missing("letters", 10)
    missing.remember("a", NotFound("none"), clock[0])
    missing.forget()
    missing.refuse("a")


def test_a_stranger_who_asks_for_anything_does_not_fill_the_memory(clock: list[float]) -> None:
    missing = Missing("letters", 10)
    for number in range(3 * REMEMBERED):
        missing.remember(number, NotFound("none"), clock[0])
        assert len(missing._known) <= REMEMBERED
    with pytest.raises(NotFound):
        missing.refuse(3 * REMEMBERED - 1)


def test_what_took_long_to_come_is_believed_for_less(clock: list[float]) -> None:
    missing = Missing("letters", 10)
    asked = clock[0]
    clock[0] += 6
    missing.remember("a", NotFound("none"), asked)
    clock[0] += 3.9
    with pytest.raises(NotFound):
        missing.refuse("a")
    clock[0] += 0.1
    missing.refuse("a")
    missing.remember("b", NotFound("none"), asked)
    missing.refuse("b")
