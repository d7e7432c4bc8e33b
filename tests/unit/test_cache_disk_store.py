"""Books and files of the disk cache, at the moments where one could overtake the other."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.cache import Key, Limits, Scope
from gateway.cache.disk_directory import Directory, Name, path_of
from gateway.cache.disk_store import BLOCK, SLICE, Store, weight_of
from gateway.cache.sealing import CacheKey, Keyring

KEY = Key("letters", "1", "a")
RING = Keyring([CacheKey("k1", bytes(32))])
NAME: Name = ("letters", RING.names(KEY)[0])
WEIGHT = weight_of(100)


class Interrupted(Directory):
    """A directory where something happens after an entry got its name and before the books know."""

    after: Callable[[], object] = staticmethod(lambda: None)

    def settle(self, temporary: str, name: Name) -> os.stat_result:
        status = super().settle(temporary, name)
        self.after()
        return status


@pytest.fixture
def directory(tmp_path: Path) -> Interrupted:
    return Interrupted(tmp_path)


@pytest.fixture
def store(directory: Interrupted) -> Iterator[Store]:
    made = Store(directory, RING, Limits(), 4 * WEIGHT)
    made.open()
    yield made
    made.close()


def staged(store: Store, data: bytes = bytes(100)) -> str:
    descriptor = store.directory.stage("temporary", os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    os.write(descriptor, data)
    os.close(descriptor)
    assert store.reserve(WEIGHT) is not None
    return "temporary"


def put(store: Store, data: bytes = bytes(100), name: Name = NAME) -> bool:
    ticket = store.purges.ticket
    return store.commit(staged(store, data), name, WEIGHT, ticket, KEY)


def test_a_purge_between_the_rename_and_the_books_wins(store: Store, directory: Interrupted, tmp_path: Path) -> None:
    assert put(store)
    directory.after = lambda: store.refuse_from_before(Scope("letters"))
    assert not put(store)
    assert store.find(NAME) is None
    assert not (tmp_path / path_of(NAME)).exists()
    directory.after = lambda: None
    assert put(store)
    assert store.figures() == (1, WEIGHT)


def test_what_was_struck_out_is_not_removed_when_it_is_there_anew(store: Store, tmp_path: Path) -> None:
    assert put(store, b"old".ljust(100))
    struck = store.strike([NAME])
    assert store.find(NAME) is None
    assert put(store, b"new".ljust(100))
    assert store.remove(struck) == []
    assert store.find(NAME) is not None
    assert (tmp_path / path_of(NAME)).read_bytes() == b"new".ljust(100)


def test_an_entry_that_was_replaced_is_not_struck_out_for_the_old_one(store: Store) -> None:
    assert put(store)
    old = store.find(NAME)
    assert put(store)
    assert store.strike([NAME], old) == []
    assert store.strike([NAME], store.find(NAME)) == [NAME]


def test_room_is_made_by_what_was_used_least_recently_and_given_back(store: Store) -> None:
    names = [("letters", f"{number:048x}") for number in range(4)]
    for name in names:
        assert put(store, name=name)
    store.find(names[0])
    assert store.reserve(2 * WEIGHT) == names[1:3]
    assert store.reserve(3 * WEIGHT) is None, "room that is reserved is not there"
    store.abandon("none", 2 * WEIGHT)
    assert store.reserve(3 * WEIGHT) == [names[3]]


def test_an_entry_that_cannot_get_its_name_gives_its_room_back(store: Store, tmp_path: Path) -> None:
    (tmp_path / path_of(NAME)).mkdir(parents=True)
    with pytest.raises(IsADirectoryError):
        put(store)
    assert os.listdir(tmp_path / ".incoming") == []
    assert store.reserve(4 * WEIGHT) == []


def test_a_purge_of_more_than_a_slice_takes_all(store: Store, tmp_path: Path) -> None:
    count = 2 * SLICE + 7
    for number in range(count):
        path = tmp_path / path_of((f"source-{number % 2}", f"{number * 7919:048x}"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    store.close()
    large = Store(Directory(tmp_path), RING, Limits(), count * WEIGHT)
    large.open()
    try:
        assert large.figures() == (count, count * BLOCK)
        large.refuse_from_before(Scope("source-1"))
        assert large.purge(Scope("source-1")) == []
        assert large.figures()[0] == len(list(tmp_path.glob("source-*/*/*"))) == SLICE + 4
        assert large.purge(Scope("x" * 300)) == []
        assert large.purge(Scope()) == []
        assert large.figures() == (0, 0)
        assert list(tmp_path.glob("source-*/*/*")) == []
    finally:
        large.close()
