"""Both engines when things go wrong: servers that hang, crash or cheat, and readers who leave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from adapters.contract import Services
from adapters.errors import Unavailable
from adapters.smb import library, native
from adapters.smb.failures import Lost, Untrusted
from adapters.smb.session import Demands, Target
from adapters.smb.share import Share
from adapters.smb.wire.status import STATUS_OBJECT_NAME_NOT_FOUND
from tests.support import rogue_behaviour as rogue
from tests.support.rogue_smb import RogueSmb
from tests.support.samba import Samba, samba
from tests.support.smb_messages import CREATE, ERROR_BODY, HEADER, SIGNED, Message, Request
from tests.support.smb_share import (
    FIRST,
    PATIENCE,
    Join,
    all_threads_are_free,
    content,
    joining,
    lent,
    login,
    put,
    read,
    until,
    whole,
)

LOGOFF = 2


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Samba]:
    with samba(tmp_path_factory.mktemp("smb"), settings={"server smb encrypt": "if_required"}) as running:
        yield running


@pytest.fixture
def services() -> Iterator[Services]:
    with lent() as services:
        yield services


@pytest.fixture
async def join(services: Services) -> AsyncIterator[Join]:
    async with joining(services) as join:
        yield join


@pytest.fixture(params=[library, native], ids=["library", "native"])
def engine(request: pytest.FixtureRequest) -> ModuleType:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
async def share(engine: ModuleType, server: Samba, join: Join) -> Share:
    return await join(engine, server)


async def test_file_is_closed_once_and_counts_until_then(share: Share, server: Samba) -> None:
    put(server, "once.pdf", b"once")
    first, second = await share.open("once.pdf", 0, FIRST), await share.open("once.pdf", 0, 0)
    assert share.open_count == 2
    assert server.open_files() == 2
    assert await first.close() is not None
    assert await first.close() is None
    first.abandon()
    second.abandon()
    second.abandon()
    assert await second.close() is None
    assert share.open_count == 0
    await until(lambda: server.open_files() == 0)


async def test_many_readers_of_one_connection_each_get_their_own(
    engine: ModuleType, tmp_path: Path, join: Join
) -> None:
    with samba(tmp_path, settings={"smb2 max credits": "8"}) as server:
        for number in range(20):
            put(server, f"{number}.pdf", content(1_500_000 + number))
        share = await join(engine, server)
        found = await asyncio.gather(*(whole(share, f"{number}.pdf") for number in range(20)))
        assert found == [content(1_500_000 + number) for number in range(20)]
        assert server.connections() == 1
        await share.aclose()


async def test_reader_who_leaves_in_the_middle_leaves_the_others_alone(share: Share, server: Samba) -> None:
    put(server, "long.pdf", content(8_000_000))
    leaving, staying = await share.open("long.pdf", 0, FIRST), await share.open("long.pdf", 0, FIRST)
    async for _ in leaving.pieces(0, 8_000_000):
        break
    leaving.abandon()
    assert await read(staying, 0, 8_000_000) == content(8_000_000)
    staying.abandon()
    await until(lambda: server.open_files() == 0)


@pytest.mark.parametrize("first", ["open", "list"])
async def test_what_was_opened_for_a_caller_who_has_gone_is_closed(share: Share, server: Samba, first: str) -> None:
    put(server, "late/late.pdf", b"late")
    await share.echo()
    server.pause()
    opening = [share.open("late\\late.pdf", 0, FIRST) for _ in range(3)]
    listing = [share.entries("late", "*")]
    asking = [asyncio.ensure_future(one) for one in (opening + listing if first == "open" else listing + opening)]
    await asyncio.sleep(0.1)
    for one in asking:
        one.cancel()
    await asyncio.gather(*asking, return_exceptions=True)
    server.resume()
    await share.echo()
    await until(lambda: server.open_files() == 0)
    assert share.open_count == 0
    assert await whole(share, "late\\late.pdf") == b"late"


async def test_hung_server_is_left_when_the_connection_is_severed(
    share: Share, server: Samba, services: Services
) -> None:
    put(server, "hung.pdf", content(2_000_000))
    file = await share.open("hung.pdf", 0, FIRST)
    server.pause()
    try:
        waiting = [
            asyncio.ensure_future(read(file, 0, 2_000_000)),
            asyncio.ensure_future(share.open("hung.pdf", 0, FIRST)),
            asyncio.ensure_future(share.echo()),
        ]
        await asyncio.sleep(0.1)
        share.sever("a test wants it so")
        async with asyncio.timeout(PATIENCE):
            ended = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(one) for one in ended] == [Lost] * 3
        assert all("a test wants it so" in str(one) for one in ended)
        assert share.broken
        with pytest.raises(Lost):
            await share.open("hung.pdf", 0, FIRST)
        file.abandon()
        await share.aclose()
        assert await all_threads_are_free(services)
    finally:
        server.resume()


async def test_hung_server_does_not_hold_up_closing(share: Share, server: Samba) -> None:
    put(server, "hung.pdf", b"hung")
    await share.open("hung.pdf", 0, FIRST)
    server.pause()
    try:
        asking = asyncio.ensure_future(share.echo())
        await asyncio.sleep(0.05)
        async with asyncio.timeout(PATIENCE):
            await share.aclose()
        with pytest.raises(Lost):
            await asking
    finally:
        server.resume()
    await until(lambda: server.connections() == 0)


async def test_crash_of_the_server_loses_what_is_open(share: Share, server: Samba) -> None:
    put(server, "crash.pdf", content(9_000_000))
    file = await share.open("crash.pdf", 0, FIRST)
    server.disconnect_clients()
    with pytest.raises(Lost):
        await read(file, 0, 9_000_000)
    assert share.broken
    with pytest.raises(Lost):
        await share.open("crash.pdf", 0, FIRST)
    with pytest.raises(Lost):
        await file.close()
    file.abandon()


async def test_connection_that_ended_while_idle_is_noticed(share: Share, server: Samba) -> None:
    await share.echo()
    server.disconnect_clients()
    await until(lambda: share.broken)
    with pytest.raises(Lost):
        await share.echo()


async def test_closing_leaves_nothing_at_the_server_and_may_be_repeated(share: Share, server: Samba) -> None:
    put(server, "open.pdf", b"open")
    file = await share.open("open.pdf", 0, FIRST)
    await share.aclose()
    await share.aclose()
    share.sever("twice")
    assert share.broken
    file.abandon()
    with pytest.raises(Lost):
        await share.open("open.pdf", 0, FIRST)
    await until(lambda: server.connections() == 0)
    assert server.open_files() == 0


async def test_cancelled_connection_ends_at_once(engine: ModuleType, server: Samba, services: Services) -> None:
    server.pause()
    try:
        target = Target(server.host, server.port, "letters")
        demands = Demands(encryption=False, deadline=60)
        connecting = asyncio.ensure_future(engine.connect(target, login(server), demands, services))
        await asyncio.sleep(0.1)
        connecting.cancel()
        await asyncio.gather(connecting, return_exceptions=True)
        assert connecting.cancelled()
        assert await all_threads_are_free(services)
    finally:
        server.resume()
    await until(lambda: server.connections() == 0)


class Overheard(rogue.Behaviour):
    """Does nothing but note what is asked."""

    def __init__(self) -> None:
        self.commands: list[int] = []

    def on_requests(self, requests: list[Request]) -> None:
        self.commands += [request.command for request in requests]


async def test_closing_logs_off(engine: ModuleType, server: Samba, join: Join) -> None:
    overheard = Overheard()
    with RogueSmb(server.host, server.port, overheard) as between:
        share = await join(engine, server, port=between.port)
        assert LOGOFF not in overheard.commands
        await share.aclose()
    assert LOGOFF in overheard.commands


@pytest.mark.parametrize(
    "spoil",
    [
        rogue.ChangedBytes,
        rogue.StrippedSignatures,
        rogue.WrongMessageIds,
        lambda: rogue.StrippedSignatures(commands=(CREATE,)),
    ],
    ids=["changed", "unsigned", "other id", "unsigned at first"],
)
async def test_signed_answers_that_were_changed_end_the_connection(
    engine: ModuleType, server: Samba, join: Join, spoil: Callable[[], rogue.Behaviour]
) -> None:
    put(server, "trusted.pdf", content(2_000_000))
    with RogueSmb(server.host, server.port) as spoiler:
        share = await join(engine, server, port=spoiler.port)
        spoiler.behaviour = spoil()
        with pytest.raises(Untrusted):
            await whole(share, "trusted.pdf")
        assert spoiler.behaviour.spoiled
        assert share.broken
        await share.aclose()


async def test_sealed_answers_that_were_changed_end_the_connection(
    engine: ModuleType, server: Samba, join: Join
) -> None:
    put(server, "sealed.pdf", content(2_000_000))
    with RogueSmb(server.host, server.port) as spoiler:
        share = await join(engine, server, port=spoiler.port, encryption=True)
        spoiler.behaviour = rogue.ChangedBytes(larger_than=10_000)
        with pytest.raises(Untrusted):
            await whole(share, "sealed.pdf")
        assert spoiler.behaviour.spoiled
        await share.aclose()


async def test_cut_connection_is_lost(engine: ModuleType, server: Samba, join: Join) -> None:
    put(server, "cut.pdf", content(2_000_000))
    with RogueSmb(server.host, server.port, rogue.TruncatedFrames(nth=2)) as spoiler:
        share = await join(engine, server, port=spoiler.port)
        with pytest.raises(Lost):
            await whole(share, "cut.pdf")
        await share.aclose()


class Junk(rogue.Spoiled):
    """Answers with a body of ones."""

    def spoil(self, message: Message, request: Request | None) -> list[Message | rogue.Wire]:
        message.replace_body(b"\xff" * (len(message.data) - HEADER))
        return [message]


@pytest.mark.parametrize("command", [0, 1, 3], ids=["negotiate", "log on", "share"])
@pytest.mark.parametrize(
    "spoil",
    [
        lambda commands: rogue.AbsurdLengths(0, commands=commands),
        lambda commands: rogue.WrongMessageIds(commands=commands),
        lambda commands: rogue.TruncatedFrames(commands=commands),
        lambda commands: Junk(commands=commands),
    ],
    ids=["empty frame", "other id", "cut", "junk"],
)
async def test_nonsense_while_connecting_is_an_error_that_is_known(
    engine: ModuleType, server: Samba, join: Join, command: int, spoil: Callable[..., rogue.Behaviour]
) -> None:
    with RogueSmb(server.host, server.port, spoil((command,))) as spoiler:
        with pytest.raises((Lost, Unavailable)):
            await join(engine, server, port=spoiler.port)
        assert spoiler.behaviour.spoiled


class ForgedAbsence(rogue.Spoiled):
    """Says, without a signature, that a document which is there is not."""

    def spoil(self, message: Message, request: Request | None) -> list[Message | rogue.Wire]:
        message.status = STATUS_OBJECT_NAME_NOT_FOUND
        message.flags &= ~SIGNED
        message.data[48:64] = bytes(16)
        message.replace_body(ERROR_BODY)
        return [message]


async def test_refusals_are_believed_only_with_a_signature(engine: ModuleType, server: Samba, join: Join) -> None:
    put(server, "there.pdf", b"there")
    with RogueSmb(server.host, server.port) as spoiler:
        share = await join(engine, server, port=spoiler.port)
        spoiler.behaviour = ForgedAbsence(commands=(CREATE,))
        with pytest.raises(Untrusted):
            await share.open("there.pdf", 0, 0)
        assert spoiler.behaviour.spoiled
        await share.aclose()
