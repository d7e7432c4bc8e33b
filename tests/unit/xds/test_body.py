"""How much of a long answer is taken from its connection at a time, as an event loop drives it."""

from __future__ import annotations

from typing import Any, cast

import aiohttp
import pytest

from adapters.contract import MAX_CHUNK
from adapters.xds import body
from adapters.xds.body import GENEROUS, LARGE_PIECE, PIECE, PROVEN, Rest, Room


class Connection:
    """A transport and its owner, as far as a rest has to do with them."""

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def set_protocol(self, protocol: object) -> None: ...

    def is_closing(self) -> bool:
        return True


def rest(room: Room, size: int = 8 * PROVEN) -> Rest:
    connection = cast(Any, Connection())
    return Rest(cast(aiohttp.ClientResponse, None), connection, connection, size, room)


async def taken(answer: Rest, filling: int) -> int:
    """The size of the next piece when `filling` bytes at most are there whenever the loop looks."""
    while True:
        offered = answer.get_buffer(-1)
        answer.buffer_updated(min(filling, len(offered)))
        if len(offered) <= filling or answer._paused:
            return len(await answer.read(1))


async def test_pieces_grow_for_a_reader_that_keeps_up() -> None:
    room = Room()
    answer, sizes, count = rest(room), [], 0
    while count < PROVEN + 4 * LARGE_PIECE:
        sizes.append(await taken(answer, 1 << 30))
        count += sizes[-1]
    assert sorted(set(sizes)) == [PIECE, LARGE_PIECE]
    assert PROVEN <= sum(size for size in sizes if size == PIECE) < PROVEN + PIECE, "not before it has shown it"
    assert room.generous == GENEROUS - 1
    answer.give_back()
    answer.give_back()
    assert room.generous == GENEROUS


async def test_what_is_joined_is_one_chunk_at_most() -> None:
    answer, count = rest(Room()), 0
    while count < PROVEN + 4 * LARGE_PIECE:
        answer.get_buffer(-1)
        answer.buffer_updated(200_000)
        size = await taken(answer, 1 << 30)
        assert 200_000 < size <= MAX_CHUNK - 4096
        count += size


async def test_only_so_many_readers_have_large_pieces() -> None:
    room = Room()
    room.generous = 1
    first, second = rest(room), rest(room)
    for answer, largest in ((first, LARGE_PIECE), (second, PIECE)):
        assert max([await taken(answer, 1 << 30) for _ in range(PROVEN // PIECE + 3)]) == largest
    first.give_back()
    assert max([await taken(second, 1 << 30) for _ in range(PROVEN // PIECE + 3)]) == LARGE_PIECE


async def test_slow_readers_have_small_pieces_and_give_large_ones_back(monkeypatch: pytest.MonkeyPatch) -> None:
    room = Room()
    answer = rest(room)
    sizes = [await taken(answer, 1 << 30) for _ in range(PROVEN // PIECE + 3)]
    assert sizes[-1] == LARGE_PIECE
    monkeypatch.setattr(body, "BRISK", 0.0)
    sizes = [await taken(answer, 1 << 30) for _ in range(2 * PROVEN // LARGE_PIECE)]
    assert sizes[-1] == PIECE
    assert room.generous == GENEROUS
    answer = rest(room)
    assert {await taken(answer, 1 << 30) for _ in range(2 * PROVEN // PIECE)} == {PIECE}


async def test_what_is_read_after_all_was_given_back_takes_no_place() -> None:
    room = Room()
    answer = rest(room)
    answer.give_back()
    for _ in range(PROVEN // PIECE + 3):
        await taken(answer, 1 << 30)
    assert room.generous == GENEROUS


async def test_bytes_behind_the_body_find_a_place_however_full_it_is() -> None:
    answer = rest(Room(), PIECE)
    for size in (200_000, PIECE - 200_000):
        assert len(answer.get_buffer(-1)) >= size
        answer.buffer_updated(size)
    assert answer.get_buffer(-1), "an event loop takes an empty buffer for a mistake"
    answer.buffer_updated(1)
    assert answer.surplus
    assert len(await answer.read(1)) == PIECE
