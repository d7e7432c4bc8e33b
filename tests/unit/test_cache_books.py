"""Tickets and books: what was purged is known, and what is kept is counted, in the order of use."""

from __future__ import annotations

import random

import pytest

from gateway.cache import Key, Scope
from gateway.cache.ledger import Item, Ledger
from gateway.cache.tickets import REMEMBERED, Purges

KEY = Key("letters", "1", "a")


@pytest.mark.parametrize(
    ("scope", "refused"),
    [
        (Scope(), True),
        (Scope("letters"), True),
        (Scope("letters", "a"), True),
        (Scope(None, "a"), True),
        (Scope("scans"), False),
        (Scope("letters", "b"), False),
        (Scope("scans", "a"), False),
    ],
)
def test_a_ticket_is_refused_after_a_purge_of_its_key_alone(scope: Scope, refused: bool) -> None:
    purges = Purges()
    before = purges.ticket
    purges.note(scope)
    assert purges.refuse(before, KEY) is refused
    assert purges.refuse(purges.ticket, KEY) is False


def test_a_ticket_from_before_more_purges_than_are_remembered_is_refused() -> None:
    purges = Purges()
    before = purges.ticket
    for number in range(REMEMBERED):
        purges.note(Scope("scans", str(number)))
    assert not purges.refuse(before, KEY)
    purges.note(Scope("scans"))
    assert purges.refuse(before, KEY)
    assert not purges.refuse(purges.ticket, KEY)


def test_a_purge_long_ago_is_still_seen_among_others() -> None:
    purges = Purges()
    before = purges.ticket
    purges.note(Scope("letters", "a"))
    between = purges.ticket
    for number in range(REMEMBERED - 1):
        purges.note(Scope("scans", str(number)))
    assert purges.refuse(before, KEY)
    assert not purges.refuse(between, KEY)


def test_the_ticket_of_another_cache_is_refused() -> None:
    here, there = Purges(), Purges()
    assert here.refuse(there.ticket, KEY)
    assert here.ticket != there.ticket


def item(weight: int = 10, ends: float = 100.0, group: str = "g") -> Item[str]:
    return Item(group, weight, ends, "kept")


def test_what_was_found_last_goes_last() -> None:
    ledger: Ledger[str, str] = Ledger()
    for name in "abc":
        ledger.add(name, item())
    assert ledger.find("a", 0.0) is not None
    assert ledger.get("b") is not None, "looking without using"
    gone = []
    for name in ledger.surplus(10):
        gone.append(name)
        ledger.pop(name)
    assert gone == ["b", "c"]
    assert ledger.names() == ["a"]


def test_an_entry_is_overdue_at_its_end_and_not_found_then() -> None:
    ledger: Ledger[str, str] = Ledger()
    ledger.add("a", item(ends=5.0))
    assert ledger.find("a", 4.99) is not None
    assert ledger.find("a", 5.0) is None
    assert ledger.overdue(4.99) == []
    assert ledger.overdue(5.0) == ["a"]


def test_the_books_add_up_whatever_happens() -> None:
    rng = random.Random(3)
    ledger: Ledger[int, str] = Ledger()
    truth: dict[int, Item[str]] = {}
    for _ in range(5000):
        name, group = rng.randrange(30), str(rng.randrange(4))
        match rng.randrange(5):
            case 0 | 1:
                truth[name] = item(rng.randrange(100), 100.0, group)
                ledger.add(name, truth[name])
            case 2:
                assert ledger.pop(name) is truth.pop(name, None)
            case 3:
                assert ledger.find(name, 0.0) is truth.get(name)
            case 4:
                room = rng.randrange(2000)
                for gone in ledger.surplus(room):
                    ledger.pop(gone)
                    del truth[gone]
                assert ledger.used <= room
        assert ledger.used == sum(one.weight for one in truth.values())
        assert len(ledger) == len(truth)
        assert set(ledger.group(group)) == {name for name, one in truth.items() if one.group == group}
    ledger.clear()
    assert (ledger.used, len(ledger), ledger.group("0")) == (0, 0, [])
