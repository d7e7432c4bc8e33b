"""Letters after letters: each comes, and is closed, in the round trip that opens it. What is no letter loses nothing by it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from adapters.smb.failures import Refused
from adapters.smb.native.file import NativeFile
from adapters.smb.native.share import LETTERS, NativeShare
from adapters.smb.share import FIRST_READ
from tests.support.scripted_smb import CLOSE, CREATE, END_OF_FILE, READ, Asked, ScriptedServer
from tests.unit.smb.native.test_share import NOT_FOUND, gone, shared

LOCKED = 0xC0000054
INTERNAL_ERROR = 0xC00000E5


@pytest.fixture
async def ends() -> AsyncIterator[tuple[NativeShare, ScriptedServer]]:
    """A share from which letters were read already."""
    share, server = await shared()
    for _ in range(LETTERS):
        await letter(share, server)
    yield share, server
    await gone(share, server)


async def letter(share: NativeShare, server: ScriptedServer) -> None:
    opening = asyncio.ensure_future(share.open("first", 0, FIRST_READ))
    create, read = await server.asked(), await server.asked()
    give(server, create, read, b"hello")
    (await opening).abandon()
    close = await server.asked()
    assert close.command == CLOSE
    server.closed(close, 5)


async def chained(
    share: NativeShare, server: ScriptedServer, name: str = "a"
) -> tuple[asyncio.Task[NativeFile], Asked, Asked, Asked]:
    """A letter that is being opened, and the three requests that came for it."""
    opening = asyncio.ensure_future(share.open(name, 0, FIRST_READ))
    create, read, close = [await server.asked() for _ in range(3)]
    assert (create.command, read.command, close.command) == (CREATE, READ, CLOSE)
    return opening, create, read, close


def give(server: ScriptedServer, create: Asked, read: Asked, data: bytes) -> None:
    """Answer what opens and reads a document that is just these bytes."""
    server.created(create, len(data))
    server.read(read, data)


async def content(file: NativeFile) -> bytes:
    return b"".join([piece async for piece in file.pieces(0, file.facts.size)])


async def test_letter_is_opened_read_and_closed_in_one_round_trip(ends: tuple[NativeShare, ScriptedServer]) -> None:
    share, server = ends
    opening, create, read, close = await chained(share, server, "second")
    give(server, create, read, b"goodbye")
    assert not opening.done(), "what it was when it was closed is not known yet"
    server.closed(close, 7)
    file = await opening
    assert share.open_count == 0
    assert await content(file) == b"goodbye"
    facts = await file.close()
    assert facts is not None
    assert facts.size == 7
    assert await file.close() is None
    file.abandon()
    assert await server.silent()


async def test_facts_are_those_of_the_moment_of_closing(ends: tuple[NativeShare, ScriptedServer]) -> None:
    share, server = ends
    opening, create, read, close = await chained(share, server, "growing")
    give(server, create, read, b"goodbye")
    server.closed(close, 9)
    file = await opening
    facts = await file.close()
    assert facts is not None
    assert (file.facts.size, facts.size) == (7, 9)


async def test_empty_document_is_a_letter(ends: tuple[NativeShare, ScriptedServer]) -> None:
    share, server = ends
    opening, create, read, close = await chained(share, server, "empty")
    server.created(create, 0)
    server.answer(read, status=END_OF_FILE)
    server.closed(close, 0)
    assert await content(await opening) == b""
    assert await server.silent()


@pytest.mark.parametrize("came", [b"", b"good", b"goodbye"], ids=["nothing", "a part", "all, and it had more"])
async def test_document_that_did_not_come_whole_is_opened_again(
    ends: tuple[NativeShare, ScriptedServer], came: bytes
) -> None:
    share, server = ends
    opening, create, read, close = await chained(share, server, "long")
    server.created(create, 8)
    if came:
        server.read(read, came)
    else:
        server.answer(read, status=END_OF_FILE)
    server.closed(close, 8)
    again, read = await server.asked(), await server.asked()
    assert (again.command, again.body) == (CREATE, create.body)
    give(server, again, read, b"goodbyes")
    file = await opening
    assert await content(file) == b"goodbyes"
    assert share.open_count == 1
    file.abandon()
    assert (await server.asked()).command == CLOSE


async def test_after_a_long_document_the_next_one_stays_open(ends: tuple[NativeShare, ScriptedServer]) -> None:
    share, server = ends
    opening, create, read, close = await chained(share, server, "long")
    server.created(create, FIRST_READ + 1)
    server.read(read, bytes(FIRST_READ))
    server.closed(close, FIRST_READ + 1)
    create, read = await server.asked(), await server.asked()
    server.created(create, FIRST_READ + 1)
    server.read(read, bytes(FIRST_READ))
    (await opening).abandon()
    assert (await server.asked()).command == CLOSE
    for _ in range(LETTERS):
        await letter(share, server)
    opening, *_ = await chained(share, server)
    opening.cancel()


async def test_a_look_says_nothing_of_what_comes(ends: tuple[NativeShare, ScriptedServer]) -> None:
    share, server = await shared()
    for _ in range(2 * LETTERS):
        opening = asyncio.ensure_future(share.open("a", 0, 0))
        server.created(await server.asked(), 5)
        (await opening).abandon()
        server.closed(await server.asked(), 5)
    await letter(share, server)
    await gone(share, server)


async def test_part_of_a_document_is_read_from_an_open_one(ends: tuple[NativeShare, ScriptedServer]) -> None:
    share, server = ends
    for offset, length in ((3, FIRST_READ), (0, 2), (0, 0)):
        opening = asyncio.ensure_future(share.open("part", offset, length))
        create = await server.asked()
        assert create.command == CREATE
        if length:
            read = await server.asked()
            server.created(create, 5)
            server.read(read, b"lo"[:length])
        else:
            server.created(create, 5)
        assert await server.silent()
        (await opening).abandon()
        assert (await server.asked()).command == CLOSE


async def test_letter_that_is_refused_is_not_opened_again(ends: tuple[NativeShare, ScriptedServer]) -> None:
    share, server = ends
    opening, *asked = await chained(share, server, "gone")
    for one in asked:
        server.answer(one, status=NOT_FOUND)
    with pytest.raises(Refused) as refused:
        await opening
    assert refused.value.status == NOT_FOUND
    assert await server.silent()


async def test_letter_that_cannot_be_read_is_refused_when_it_is_opened_again(
    ends: tuple[NativeShare, ScriptedServer],
) -> None:
    share, server = ends
    opening, create, read, close = await chained(share, server, "locked")
    server.created(create, 5)
    server.answer(read, status=LOCKED)
    server.closed(close, 5)
    create, read = await server.asked(), await server.asked()
    server.created(create, 5, file_id=b"L" * 16)
    server.answer(read, status=LOCKED)
    with pytest.raises(Refused) as refused:
        await opening
    assert refused.value.status == LOCKED
    close = await server.asked()
    assert b"L" * 16 in close.body
    server.closed(close, 5)
    # It was the document, not the chain.
    for _ in range(LETTERS):
        await letter(share, server)
    opening, *_ = await chained(share, server)
    opening.cancel()


@pytest.mark.parametrize("refused", ["read", "close", "both"])
async def test_server_that_takes_no_such_chains_gets_no_other_one(
    ends: tuple[NativeShare, ScriptedServer], refused: str
) -> None:
    share, server = ends
    opening, create, read, close = await chained(share, server, "a")
    server.created(create, 5, file_id=b"L" * 16)
    if refused == "close":
        server.read(read, b"hello")
    else:
        server.answer(read, status=INTERNAL_ERROR)
    if refused == "read":
        server.closed(close, 5)
    else:
        server.answer(close, status=INTERNAL_ERROR)
        closing = await server.asked()
        assert closing.command == CLOSE
        assert b"L" * 16 in closing.body
    create, read = await server.asked(), await server.asked()
    give(server, create, read, b"hello")
    file = await opening
    assert await content(file) == b"hello"
    file.abandon()
    assert (await server.asked()).command == CLOSE
    for _ in range(2 * LETTERS):
        await letter(share, server)


async def test_reader_who_leaves_leaves_nothing_open(ends: tuple[NativeShare, ScriptedServer]) -> None:
    share, server = ends
    opening, create, read, close = await chained(share, server, "a")
    opening.cancel()
    await asyncio.gather(opening, return_exceptions=True)
    give(server, create, read, b"hello")
    server.closed(close, 5)
    assert await server.silent()
    assert share.open_count == 0


async def test_server_with_few_credits_gets_no_longer_chains() -> None:
    share, server = await shared(credits=2)
    for _ in range(LETTERS):
        await letter(share, server)
    opening = asyncio.ensure_future(share.open("a", 0, FIRST_READ))
    create, read = await server.asked(), await server.asked()
    assert (create.command, read.command) == (CREATE, READ)
    assert await server.silent()
    give(server, create, read, b"hello")
    assert await content(await opening) == b"hello"
    await gone(share, server)
