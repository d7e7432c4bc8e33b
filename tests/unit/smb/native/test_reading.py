"""What a reader gets when the server answers late, out of order, in parts, or not as it was asked."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator

import pytest

from adapters.smb.failures import Lost, Refused, Untrusted
from adapters.smb.native.connection import Connection
from adapters.smb.native.reading import BASE, GROWTH, LARGE_PIECE, PIECE, PROVEN, Reading, Surplus
from adapters.smb.wire import charge
from tests.support.scripted_smb import END_OF_FILE, PENDING, READ, Asked, ScriptedServer, connected

FILE = b"F" * 16
DOCUMENT = random.Random(3).randbytes(5 * BASE // 2)


@pytest.fixture
async def ends() -> AsyncIterator[tuple[Connection, ScriptedServer]]:
    connection, server = await connected()
    yield connection, server
    await _gone(connection, server)


async def _gone(connection: Connection, server: ScriptedServer) -> None:
    connection.sever(Lost("the test is over"))
    await connection.aclose(0)
    await server.aclose()


def reading(
    connection: Connection,
    start: int = 0,
    stop: int = len(DOCUMENT),
    *,
    head: bytes = b"",
    far: bool = False,
    surplus: Surplus | None = None,
    limit: int = 8 * BASE,
) -> Reading:
    return Reading(
        connection, FILE, start, stop, head=head, limit=limit, max_read=1 << 23,
        surplus=surplus or Surplus(64 << 20), far=far,
    )  # fmt: skip


def part(asked: Asked) -> bytes:
    return DOCUMENT[asked.offset : asked.offset + asked.length]


async def serve(server: ScriptedServer, rounds: random.Random) -> None:
    """Answer READs in any order, sometimes in two parts, sometimes after an interim answer."""
    waiting: list[Asked] = []
    while True:
        while not waiting or not await server.silent(0.002):
            waiting.append(await server.asked())
        asked = waiting.pop(rounds.randrange(len(waiting)))
        assert asked.command == READ
        if rounds.random() < 0.3:
            server.answer(asked, status=PENDING, interim=True, credits=0)
        whole = part(asked)
        server.read(asked, whole[: rounds.randrange(1, len(whole) + 1)] if rounds.random() < 0.3 else whole)


@pytest.mark.parametrize("seed", range(12))
async def test_bytes_come_in_order_whatever_the_order_of_the_answers(seed: int) -> None:
    dice = random.Random(seed)
    start, head = dice.randrange(len(DOCUMENT)), dice.choice([0, 1, PIECE])
    connection, server = await connected(credits=dice.choice([8, 24, 512]))
    serving = asyncio.ensure_future(serve(server, dice))
    pieces = [piece async for piece in reading(connection, start, head=DOCUMENT[start : start + head])]
    assert b"".join(pieces) == DOCUMENT[start:]
    assert all(0 < len(piece) <= 1 << 20 for piece in pieces)
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
    await _gone(connection, server)


async def test_reader_that_stalls_has_no_more_than_a_base_window_on_its_way(
    ends: tuple[Connection, ScriptedServer],
) -> None:
    connection, server = ends
    stalled = reading(connection, far=True)
    asked = [await server.asked() for _ in range(BASE // PIECE)]
    assert await server.silent()
    assert sum(one.length for one in asked) == BASE
    for one in asked:
        server.read(one, part(one))
    assert await server.silent()
    stalled.close()


async def test_window_grows_for_a_reader_that_drains_far_away_and_falls_back_when_it_is_behind(
    ends: tuple[Connection, ScriptedServer],
) -> None:
    connection, server = ends
    surplus = Surplus(64 << 20)
    hurried = reading(connection, stop=64 * BASE, far=True, surplus=surplus)
    for _ in range(BASE // PIECE):
        # It waits for every piece, but it has not shown yet that it goes on.
        waiting = asyncio.ensure_future(anext(hurried))
        await asyncio.sleep(0)
        assert surplus.left == 64 << 20
        one = await server.asked()
        server.read(one, bytes(one.length))
        await waiting
    waiting = asyncio.ensure_future(anext(hurried))
    await asyncio.sleep(0)
    asked = []
    while not await server.silent():
        asked.append(await server.asked())
    assert GROWTH * BASE - LARGE_PIECE < sum(one.length for one in asked) <= GROWTH * BASE
    assert surplus.left == (64 << 20) - (GROWTH - 1) * BASE
    for one in asked:
        server.read(one, bytes(one.length))
    await waiting
    for _ in range(8):
        # It comes for its pieces only when all that was read ahead is there.
        while not await server.silent():
            one = await server.asked()
            server.read(one, bytes(one.length))
        await anext(hurried)
    assert surplus.left > (64 << 20) - (GROWTH - 1) * BASE
    hurried.close()
    assert surplus.left == 64 << 20


async def test_window_stays_small_near_the_server(ends: tuple[Connection, ScriptedServer]) -> None:
    connection, server = ends
    near = reading(connection, stop=64 * BASE)
    waiting = asyncio.ensure_future(anext(near))
    asked = []
    while not await server.silent():
        asked.append(await server.asked())
    assert sum(one.length for one in asked) == BASE
    waiting.cancel()
    near.close()


async def test_pieces_grow_for_a_reader_that_keeps_up_with_a_server_nearby(
    ends: tuple[Connection, ScriptedServer],
) -> None:
    connection, server = ends
    surplus = Surplus(64 << 20)
    near = reading(connection, stop=2 * PROVEN, surplus=surplus)
    sizes, taken = [], 0
    while taken < PROVEN + 4 * LARGE_PIECE:
        waiting = asyncio.ensure_future(anext(near))
        await asyncio.sleep(0)
        one = await server.asked()
        server.read(one, bytes(one.length))
        taken += len(await waiting)
        sizes.append(one.length)
    assert set(sizes) == {PIECE, LARGE_PIECE}
    assert PROVEN <= sum(size for size in sizes if size == PIECE) <= PROVEN + 2 * BASE, "not before it has shown it"
    assert surplus.left == (64 << 20) - (2 * LARGE_PIECE - BASE)
    near.close()
    assert surplus.left == 64 << 20


async def test_end_of_file_before_the_end_is_an_error(ends: tuple[Connection, ScriptedServer]) -> None:
    connection, server = ends
    short = reading(connection, stop=2 * PIECE)
    first, second = await server.asked(), await server.asked()
    server.answer(second, status=END_OF_FILE)
    server.read(first, part(first))
    assert await anext(short) == part(first)
    with pytest.raises(Refused) as refused:
        await anext(short)
    assert refused.value.status == END_OF_FILE


@pytest.mark.parametrize("extra", [1, 1000])
async def test_more_bytes_than_asked_end_the_connection(ends: tuple[Connection, ScriptedServer], extra: int) -> None:
    connection, server = ends
    greedy = reading(connection, stop=PIECE)
    asked = await server.asked()
    server.read(asked, part(asked) + bytes(extra))
    with pytest.raises(Untrusted):
        await anext(greedy)
    assert connection.broken


async def test_no_bytes_at_all_end_the_connection(ends: tuple[Connection, ScriptedServer]) -> None:
    connection, server = ends
    starved = reading(connection, stop=PIECE)
    server.read(await server.asked(), b"")
    with pytest.raises(Untrusted):
        await anext(starved)


async def test_answers_for_a_reader_who_left_give_their_credits_back() -> None:
    connection, server = await connected(credits=BASE // PIECE * charge(PIECE))
    left = reading(connection)
    asked = [await server.asked() for _ in range(BASE // PIECE)]
    left.close()
    again = reading(connection, stop=PIECE)
    assert await server.silent(), "there are no credits for a second reader yet"
    for one in asked:
        server.read(one, part(one))
    one = await server.asked()
    server.read(one, part(one))
    assert await anext(again) == DOCUMENT[:PIECE]
    await _gone(connection, server)
