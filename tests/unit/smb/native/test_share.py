"""Opening and closing on a connection whose server answers as the test says."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator

import pytest

from adapters.smb.failures import Lost, Refused, Untrusted
from adapters.smb.native.share import NativeShare
from adapters.smb.session import Target
from tests.support.scripted_smb import CLOSE, CREATE, END_OF_FILE, NOT_FOUND, PENDING, READ, ScriptedServer, connected

RELATED, DFS = 0x04, 0x10000000
SESSION_DELETED = 0xC0000203
FIRST = 64 << 10


@pytest.fixture
async def ends() -> AsyncIterator[tuple[NativeShare, ScriptedServer]]:
    share, server = await shared()
    yield share, server
    await gone(share, server)


async def shared(*, dfs: bool = False, credits: int = 512) -> tuple[NativeShare, ScriptedServer]:
    connection, server = await connected(credits=credits)
    target = Target("files.trust.local", 445, "letters")
    return NativeShare(connection, target=target, encrypted=False, dfs=dfs, max_read=1 << 23, window=8 << 20), server


async def gone(share: NativeShare, server: ScriptedServer) -> None:
    share.sever("the test is over")
    await share.aclose()
    await server.aclose()


async def test_open_is_one_chain_and_a_small_file_needs_no_other_read(
    ends: tuple[NativeShare, ScriptedServer],
) -> None:
    share, server = ends
    opening = asyncio.ensure_future(share.open("a\\b.pdf", 0, FIRST))
    create, read = await server.asked(), await server.asked()
    assert (create.command, read.command) == (CREATE, READ)
    assert not create.flags & RELATED
    assert read.flags & RELATED
    assert "a\\b.pdf".encode("utf-16-le") in create.body
    server.created(create, 5)
    server.read(read, b"hello")
    file = await opening
    assert [piece async for piece in file.pieces(0, 5)] == [b"hello"]
    assert share.open_count == 1
    closing = asyncio.ensure_future(file.close())
    close = await server.asked()
    assert close.command == CLOSE
    server.closed(close, 5)
    facts = await closing
    assert facts is not None
    assert facts.size == 5
    assert share.open_count == 0
    assert await file.close() is None


async def test_empty_file_opens(ends: tuple[NativeShare, ScriptedServer]) -> None:
    share, server = ends
    opening = asyncio.ensure_future(share.open("empty", 0, FIRST))
    server.created(await server.asked(), 0)
    server.answer(await server.asked(), status=END_OF_FILE)
    file = await opening
    assert [piece async for piece in file.pieces(0, 0)] == []
    file.abandon()


async def test_missing_file_is_refused_and_nothing_is_closed(ends: tuple[NativeShare, ScriptedServer]) -> None:
    share, server = ends
    opening = asyncio.ensure_future(share.open("gone", 0, FIRST))
    for _ in range(2):
        server.answer(await server.asked(), status=NOT_FOUND)
    with pytest.raises(Refused) as refused:
        await opening
    assert refused.value.status == NOT_FOUND
    assert await server.silent()
    assert share.open_count == 0


async def test_unreadable_file_is_refused_and_closed(ends: tuple[NativeShare, ScriptedServer]) -> None:
    share, server = ends
    opening = asyncio.ensure_future(share.open("locked", 0, FIRST))
    create, read = await server.asked(), await server.asked()
    server.created(create, 5, file_id=b"L" * 16)
    server.answer(read, status=0xC0000054)
    with pytest.raises(Refused):
        await opening
    close = await server.asked()
    assert close.command == CLOSE
    assert b"L" * 16 in close.body


@pytest.mark.parametrize("answered_first", [True, False])
async def test_file_opened_for_a_reader_who_left_is_closed(
    ends: tuple[NativeShare, ScriptedServer], answered_first: bool
) -> None:
    share, server = ends
    opening = asyncio.ensure_future(share.open("late", 0, FIRST))
    create, read = await server.asked(), await server.asked()
    if not answered_first:
        opening.cancel()
        await asyncio.gather(opening, return_exceptions=True)
    server.created(create, 5, file_id=b"L" * 16)
    server.read(read, b"hello")
    if answered_first:
        # In the very turn of the loop in which the answer arrived, before the reader saw it.
        for _ in range(10_000):
            if share.open_count:
                break
            await asyncio.sleep(0)
        opening.cancel()
        await asyncio.gather(opening, return_exceptions=True)
        assert opening.cancelled()
    close = await server.asked()
    assert close.command == CLOSE
    assert b"L" * 16 in close.body
    assert share.open_count == 0


async def test_file_is_closed_also_when_its_reader_leaves_before_there_is_credit() -> None:
    share, server = await shared(credits=2)
    opening = asyncio.ensure_future(share.open("a", 0, FIRST))
    create, read = await server.asked(), await server.asked()
    server.created(create, 5, file_id=b"L" * 16)
    server.read(read, b"hello", credits=0)
    file = await opening
    other = asyncio.ensure_future(share.echo())
    echo = await server.asked()
    closing = asyncio.ensure_future(file.close())
    assert await server.silent(), "there was credit for closing"
    closing.cancel()
    await asyncio.gather(closing, return_exceptions=True)
    server.answer(echo, struct.pack("<HH", 4, 0))
    await other
    close = await server.asked()
    assert close.command == CLOSE
    assert b"L" * 16 in close.body
    await gone(share, server)


async def test_name_in_a_dfs_namespace_begins_with_server_and_share() -> None:
    share, server = await shared(dfs=True)
    opening = asyncio.ensure_future(share.open("a.pdf", 0, 0))
    create = await server.asked()
    assert create.flags & DFS
    assert "files.trust.local\\letters\\a.pdf".encode("utf-16-le") in create.body
    server.created(create, 5)
    (await opening).abandon()
    await gone(share, server)


async def test_server_that_ends_the_connection_loses_all_that_is_open(
    ends: tuple[NativeShare, ScriptedServer],
) -> None:
    share, server = ends
    waiting = [asyncio.ensure_future(share.open(f"{number}", 0, FIRST)) for number in range(3)]
    await server.asked()
    await server.aclose()
    for one in waiting:
        with pytest.raises(Lost):
            await one
    assert share.broken
    with pytest.raises(Lost):
        await share.open("later", 0, FIRST)


async def test_session_that_the_server_ended_is_told_by_its_status(ends: tuple[NativeShare, ScriptedServer]) -> None:
    share, server = ends
    asking = asyncio.ensure_future(share.echo())
    server.answer(await server.asked(), status=SESSION_DELETED)
    with pytest.raises(Refused) as refused:
        await asking
    assert refused.value.status == SESSION_DELETED


@pytest.mark.parametrize(
    "frame",
    [
        b"\x00\x00\x00\x10" + bytes(16),
        b"\x00\xff\xff\xff" + bytes(64),
        b"\x00\x00\x00\x40" + bytes(64),
        b"\x00\x00\x00\x40" + b"\xfdSMB" + bytes(60),
        b"\x00\x00\x00\x40" + b"\xfcSMB" + bytes(60),
    ],
    ids=["shorter than a header", "endless", "no protocol", "sealed", "compressed"],
)
async def test_frames_that_make_no_sense_end_the_connection(
    ends: tuple[NativeShare, ScriptedServer], frame: bytes
) -> None:
    share, server = ends
    waiting = asyncio.ensure_future(share.open("a", 0, FIRST))
    await server.asked()
    server.bare(frame)
    with pytest.raises(Untrusted):
        await waiting
    assert share.broken


@pytest.mark.parametrize("what", ["unknown id", "other command", "twice", "read before create"])
async def test_answers_that_nobody_asked_for_end_the_connection(
    ends: tuple[NativeShare, ScriptedServer], what: str
) -> None:
    share, server = ends
    waiting = asyncio.ensure_future(share.open("a", 0, FIRST))
    create, read = await server.asked(), await server.asked()
    if what == "unknown id":
        server.answer(type(create)(CREATE, 4000, 1, 1, 0, b""))
    elif what == "other command":
        server.answer(type(create)(READ, create.message_id, 1, 1, 0, b""), status=NOT_FOUND)
    elif what == "twice":
        server.created(create, 5)
        server.created(create, 5)
    else:
        server.read(read, b"hello")
    with pytest.raises(Untrusted):
        await waiting
    assert share.broken


async def test_interim_answers_only_ask_for_patience(ends: tuple[NativeShare, ScriptedServer]) -> None:
    share, server = ends
    opening = asyncio.ensure_future(share.open("slow", 0, FIRST))
    create, read = await server.asked(), await server.asked()
    server.answer(create, status=PENDING, interim=True, credits=0)
    await asyncio.sleep(0.02)
    assert not opening.done()
    server.created(create, 5)
    server.read(read, b"hello")
    (await opening).abandon()


async def test_oplock_break_is_ignored(ends: tuple[NativeShare, ScriptedServer]) -> None:
    share, server = ends
    asking = asyncio.ensure_future(share.echo())
    echo = await server.asked()
    server.answer(type(echo)(18, 0xFFFFFFFFFFFFFFFF, 0, 0, 0, b""), struct.pack("<HBBI16s", 24, 0, 0, 0, b"F" * 16))
    server.answer(echo, struct.pack("<HH", 4, 0))
    await asking


async def test_requests_wait_for_credit_in_turn() -> None:
    share, server = await shared(credits=2)
    first = asyncio.ensure_future(share.open("1", 0, FIRST))
    second = asyncio.ensure_future(share.open("2", 0, FIRST))
    create, read = await server.asked(), await server.asked()
    assert await server.silent(), "the second had no credits"
    server.created(create, 1)
    server.read(read, b"1")
    (await first).abandon()
    create, read = await server.asked(), await server.asked()
    assert "2".encode("utf-16-le") in create.body
    server.created(create, 1)
    server.read(read, b"2")
    (await second).abandon()
    await gone(share, server)


@pytest.mark.parametrize("how", ["with a refusal", "with an interim answer"])
async def test_credits_come_with_every_answer(how: str) -> None:
    share, server = await shared(credits=2)
    first = asyncio.ensure_future(share.open("1", 0, FIRST))
    second = asyncio.ensure_future(share.open("2", 0, FIRST))
    asked = [await server.asked(), await server.asked()]
    for one in asked:
        if how == "with a refusal":
            server.answer(one, status=NOT_FOUND)
        else:
            # Windows grants in the interim answer and nothing in the final one.
            server.answer(one, status=PENDING, interim=True)
    create, read = await server.asked(), await server.asked()
    server.created(create, 1)
    server.read(read, b"2")
    (await second).abandon()
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    await gone(share, server)


async def test_server_without_credits_ends_the_connection_instead_of_waiting_for_ever() -> None:
    share, server = await shared(credits=2)
    first = asyncio.ensure_future(share.open("1", 0, FIRST))
    second = asyncio.ensure_future(share.open("2", 0, FIRST))
    for _ in range(2):
        server.answer(await server.asked(), status=NOT_FOUND, credits=0)
    with pytest.raises(Refused):
        await first
    with pytest.raises(Untrusted, match="credits"):
        await second
    await gone(share, server)
