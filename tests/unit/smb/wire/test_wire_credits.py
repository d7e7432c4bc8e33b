"""Message ids and credits: ids follow each other, and the window comes to its limit with every kind of server."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.smb.wire import Credits

LIMIT = 256


def test_a_message_id_covers_its_charge() -> None:
    credits = Credits(10, 20, LIMIT)
    assert [credits.take(1), credits.take(4), credits.take(16 - 1)] == [10, 11, 15]
    assert credits.available == 0
    credits.grant(2)
    assert credits.available == 2
    assert credits.take(1) == 30


@pytest.mark.parametrize("charge", [0, -1, 6, 100])
def test_what_is_not_there_cannot_be_taken(charge: int) -> None:
    credits = Credits(10, 5, LIMIT)
    with pytest.raises(ValueError):
        credits.take(charge)
    assert credits.available == 5
    assert credits.take(5) == 10


class Server:
    """A server as far as credits go. `grants` says how many credits a request gets: (asked, charge, window) -> credits."""

    def __init__(self, start: int, grants: Callable[[int, int, int], int]) -> None:
        self.credits = Credits(0, start, LIMIT)
        self.window = start
        self.waiting: list[tuple[int, int]] = []
        self._grants = grants

    def ask(self, charge: int) -> bool:
        if charge > self.credits.available:
            return False
        self.credits.take(charge)
        asked = self.credits.request(charge)
        assert 1 <= asked <= 0xFFFF
        self.waiting.append((asked, charge))
        return True

    def answer(self, number: int, *, interim: bool = False) -> None:
        asked, charge = self.waiting.pop(number)
        self.window -= charge
        granted = self._grants(asked, charge, self.window)
        self.window += granted
        self.credits.grant(granted)
        if interim:
            self.credits.grant(0)

    def drain(self) -> None:
        while self.waiting:
            self.answer(0)


SERVERS: dict[str, tuple[Callable[[int, int, int], int], int]] = {
    "all that is asked for": (lambda asked, _charge, _window: asked, LIMIT),
    "at most 32 more": (lambda asked, charge, _window: min(asked, charge + 32), LIMIT),
    "at most 128 in all": (lambda asked, _charge, window: max(0, min(asked, 128 - window)), 128),
}
"""How it grants, and what the window comes to."""

CHARGES = st.sampled_from([1, 1, 4, 16])
STEPS = st.lists(st.one_of(CHARGES, st.just(0)), min_size=1, max_size=200)


@pytest.mark.parametrize("kind", SERVERS)
@given(start=st.integers(1, LIMIT), steps=STEPS, order=st.randoms(use_true_random=False), interim=st.booleans())
def test_the_window_grows_to_its_limit_and_stays(
    kind: str, start: int, steps: list[int], order: random.Random, interim: bool
) -> None:
    grants, limit = SERVERS[kind]
    server = Server(start, grants)
    for charge in steps:
        if charge:
            server.ask(charge)
        elif server.waiting:
            server.answer(order.randrange(len(server.waiting)), interim=interim and order.random() < 0.2)
    server.drain()
    for _ in range(500):
        server.ask(1)
        server.ask(16)
        server.drain()
    assert server.window == server.credits.available == limit


@given(start=st.integers(1, 64), steps=STEPS, order=st.randoms(use_true_random=False))
def test_a_server_that_grants_what_is_asked_never_grants_more_than_the_limit(
    start: int, steps: list[int], order: random.Random
) -> None:
    server = Server(start, lambda asked, _charge, _window: asked)
    for charge in steps:
        if charge:
            server.ask(charge)
        elif server.waiting:
            server.answer(order.randrange(len(server.waiting)))
        assert server.credits.available + sum(asked for asked, _ in server.waiting) <= LIMIT
    server.drain()
    assert server.window <= LIMIT


def test_the_first_request_asks_for_the_whole_window_and_the_next_for_what_it_costs() -> None:
    credits = Credits(0, 64, LIMIT)
    asked = []
    for charge in (1, 4, 16):
        credits.take(charge)
        asked.append(credits.request(charge))
    assert asked == [LIMIT - 63, 4, 16]


def test_no_request_asks_for_more_than_its_field_holds() -> None:
    credits = Credits(0, 64, 1 << 20)
    credits.take(1)
    assert credits.request(1) == 0xFFFF


def test_a_window_that_is_too_large_shrinks_to_its_limit() -> None:
    server = Server(4 * LIMIT, lambda asked, _charge, _window: asked)
    for _ in range(500):
        server.ask(4)
        assert server.credits.available >= LIMIT - 4
        server.drain()
    assert server.window == LIMIT


def test_a_server_that_withheld_credits_is_asked_again() -> None:
    lean = True
    server = Server(64, lambda asked, charge, _window: 1 if lean else asked)
    for _ in range(100):
        server.ask(4)
        server.ask(1)
        server.drain()
    assert server.window < 8
    lean = False
    for _ in range(20):
        server.ask(1)
        server.drain()
    assert server.window == LIMIT


def test_a_compound_whose_credits_come_with_its_last_reply() -> None:
    credits = Credits(0, 8, LIMIT)
    for _ in range(50):
        asked = 0
        for charge in (1, 4, 1):
            credits.take(charge)
            asked += credits.request(charge)
        for granted in (0, 0, asked):
            credits.grant(granted)
    assert credits.available == LIMIT
