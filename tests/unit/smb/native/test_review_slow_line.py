"""A line that is slow and a server that dribbles: one reader neither fills the line before all others nor the memory."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import AsyncIterator

import pytest

from adapters.smb.failures import Lost
from adapters.smb.native.connection import Connection
from adapters.smb.native.reading import BASE, PATIENT, PIECE, Reading, Surplus
from adapters.smb.native.share import NativeShare
from adapters.smb.session import Target
from tests.support.scripted_smb import Asked, ScriptedServer, connected

SURPLUS = 64 << 20


@pytest.fixture
async def ends() -> AsyncIterator[tuple[Connection, ScriptedServer]]:
    connection, server = await connected()
    yield connection, server
    connection.sever(Lost("the test is over"))
    await connection.aclose(0)
    await server.aclose()


def far_reader(connection: Connection, surplus: Surplus) -> Reading:
    return Reading(
        connection, b"F" * 16, 0, 64 * BASE, head=b"", limit=8 * BASE, max_read=1 << 23, surplus=surplus, far=True
    )  # fmt: skip


async def drain(server: ScriptedServer, reader: Reading, asked: list[Asked], count: int, pause: float) -> None:
    """Let the reader take `count` pieces that each come `pause` seconds after it began to wait. `asked` waits for answers."""
    for _ in range(count):
        waiting = asyncio.ensure_future(anext(reader))
        await asyncio.sleep(pause)
        while not await server.silent(0.01):
            asked.append(await server.asked())
        one = asked.pop(0)
        server.read(one, bytes(one.length))
        await waiting


async def test_a_line_that_is_full_gets_no_larger_window(ends: tuple[Connection, ScriptedServer]) -> None:
    connection, server = ends
    surplus = Surplus(SURPLUS)
    reader = far_reader(connection, surplus)
    await drain(server, reader, [], 3 * BASE // PIECE, PATIENT / 2)
    assert surplus.left == SURPLUS, "whoever comes now waits behind what was asked for one reader"
    reader.close()


async def test_a_line_that_fills_up_loses_its_larger_window(ends: tuple[Connection, ScriptedServer]) -> None:
    connection, server = ends
    surplus = Surplus(SURPLUS)
    reader = far_reader(connection, surplus)
    asked: list[Asked] = []
    await drain(server, reader, asked, BASE // PIECE + 1, 0)
    assert surplus.left < SURPLUS
    await drain(server, reader, asked, 10, PATIENT)
    assert surplus.left == SURPLUS
    reader.close()


async def test_a_server_that_dribbles_does_not_fill_the_memory(ends: tuple[Connection, ScriptedServer]) -> None:
    connection, server = ends
    reader = far_reader(connection, Surplus(0))
    replies = 4000
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(replies):
            server.read(await server.asked(), b"ab")
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 20 * 2 * replies
    reader.close()


async def test_half_an_answer_shows_that_the_server_lives(ends: tuple[Connection, ScriptedServer]) -> None:
    connection, server = ends
    share = NativeShare(
        connection, target=Target("server", 445, "letters"), encrypted=False, dfs=False, max_read=1 << 20, window=BASE
    )
    before = share.heard
    await asyncio.sleep(0.02)
    server.bare(b"\0\x01\0\0" + b"a part of a long answer")
    async with asyncio.timeout(5):
        while share.heard == before:  # noqa: ASYNC110 # nothing tells us
            await asyncio.sleep(0.001)
