"""The engine on smbprotocol alone, over a real smbd: exact where the library is not, and careful with threads."""

from __future__ import annotations

import asyncio
import gc
import os
import struct
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import smbprotocol.connection

from adapters.contract import Services
from adapters.smb import library, native
from adapters.smb.failures import Lost, Refused, Untrusted
from adapters.smb.library import share as library_share
from adapters.smb.session import Demands, Target
from adapters.smb.share import Share
from adapters.smb.wire.status import (
    STATUS_END_OF_FILE,
    STATUS_FILE_LOCK_CONFLICT,
    STATUS_OBJECT_NAME_NOT_FOUND,
    STATUS_STOPPED_ON_SYMLINK,
)
from adapters.testing.harness import RecordingLog
from tests.support import rogue_behaviour as rogue
from tests.support.rogue_smb import RogueSmb
from tests.support.samba import Samba, samba
from tests.support.smb_messages import CLOSE, CREATE, READ, Message, Request
from tests.support.smb_share import (
    FIRST,
    THREADS,
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

EPOCH = 116_444_736_000_000_000
"""1970-01-01 as a FILETIME."""


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


@pytest.fixture
async def share(server: Samba, join: Join) -> Share:
    return await join(library, server)


@pytest.mark.parametrize(
    ("offset", "length", "start", "stop"),
    [
        (0, 0, 0, 3_000_000),
        (1_000_000, FIRST, 1_000_000, 3_000_000),
        (0, FIRST, 100, 200),
        (0, 1000, 500, 5000),
        (0, 1000, 1000, 1001),
        (0, 1000, 2_000_000, 2_000_500),
        (500, 1000, 0, 3_000_000),
        (0, 3_000_000, 0, 3_000_000),
        (2_999_999, FIRST, 2_999_999, 3_000_000),
        (10_000_000, FIRST, 0, 10),
        (0, FIRST, 7, 7),
    ],
)
async def test_any_part_of_a_document_is_that_part(
    share: Share, server: Samba, offset: int, length: int, start: int, stop: int
) -> None:
    data = content(3_000_000)
    put(server, "scan.tif", data)
    file = await share.open("scan.tif", offset, length)
    assert await read(file, start, stop) == data[start:stop]
    await file.close()


async def test_reading_past_the_end_is_an_error_and_no_quiet_stop(share: Share, server: Samba) -> None:
    put(server, "short.pdf", b"short")
    file = await share.open("short.pdf", 0, FIRST)
    with pytest.raises(Refused) as refused:
        await read(file, 0, 6)
    assert refused.value.status == STATUS_END_OF_FILE
    file.abandon()


async def test_facts_are_those_of_the_file_to_the_last_digit(share: Share, server: Samba) -> None:
    path = put(server, "facts.pdf", b"facts")
    written = 1_700_000_000_123_456_700
    os.utime(path, ns=(written, written))
    file = await share.open("facts.pdf", 0, FIRST)
    facts = file.facts
    assert facts.size == 5
    assert facts.written == EPOCH + written // 100
    assert not facts.attributes & 0x10
    assert len(facts.disk_id) == 32
    assert int.from_bytes(facts.disk_id[:8], "little") == path.stat().st_ino
    closed = await file.close()
    assert closed == replace(facts, disk_id=b"", created=closed.created if closed else 0)


async def test_both_engines_state_the_same(server: Samba, join: Join) -> None:
    put(server, "same.pdf", content(1000))
    facts, listings = [], []
    for engine in (library, native, library):
        share = await join(engine, server)
        file = await share.open("same.pdf", 0, FIRST)
        await read(file, 0, 1000)
        facts.append((file.facts.size, file.facts.written, file.facts.changed, file.facts.disk_id))
        file.abandon()
        listings.append(await share.entries("", "same.*"))
    assert facts[0] == facts[1] == facts[2]
    assert listings[0] == listings[1] == listings[2]


async def test_folders_without_a_match_or_not_there(share: Share, server: Samba) -> None:
    (server.folder() / "empty").mkdir(exist_ok=True)
    put(server, "file.pdf", b"file")
    assert await share.entries("empty", "*") == []
    assert await share.entries("empty", "nothing.*") == []
    with pytest.raises(Refused) as refused:
        await share.entries("nowhere", "*")
    assert refused.value.status == STATUS_OBJECT_NAME_NOT_FOUND
    with pytest.raises(Refused):
        await share.entries("file.pdf", "*")
    await until(lambda: server.open_files() == 0)


@pytest.mark.parametrize(
    ("size", "spoil"),
    [
        (5_000_000, rogue.OverlongReads),
        (5_000_000, lambda: rogue.OverlongReads(nth=3)),
        (5_000_000, rogue.EmptyReads),
        (5_000_000, lambda: rogue.EmptyReads(nth=3)),
        (5_000_000, rogue.WildOffsets),
        (40, lambda: rogue.WildOffsets(16)),
        (40, lambda: rogue.WildOffsets(70)),
    ],
    ids=["overlong", "overlong later", "empty", "empty later", "behind", "in the header", "in the fixed part"],
)
async def test_answers_that_make_no_sense_end_the_connection(
    server: Samba, join: Join, size: int, spoil: Callable[[], rogue.Behaviour]
) -> None:
    put(server, "sense.pdf", content(size))
    with RogueSmb(server.host, server.port) as spoiler:
        share = await join(library, server, port=spoiler.port, signing=False)
        spoiler.behaviour = spoil()
        with pytest.raises(Untrusted):
            await whole(share, "sense.pdf")
        assert spoiler.behaviour.spoiled
        assert share.broken
        await share.aclose()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda: rogue.ShortReads(most=70_000),
        rogue.PendingFirst,
        lambda: rogue.PendingFirst(commands=(CREATE, CLOSE)),
        rogue.StarvedCredits,
    ],
    ids=["short", "pending", "pending at first", "starved"],
)
async def test_odd_servers_are_borne_with(server: Samba, join: Join, spoil: Callable[[], rogue.Behaviour]) -> None:
    put(server, "odd.pdf", content(3_000_000))
    with RogueSmb(server.host, server.port) as spoiler:
        share = await join(library, server, port=spoiler.port, signing=False)
        spoiler.behaviour = spoil()
        file = await share.open("odd.pdf", 0, FIRST)
        assert await read(file, 0, 3_000_000) == content(3_000_000)
        assert await file.close() is not None
        assert spoiler.behaviour.spoiled
        await share.aclose()


@pytest.mark.parametrize("command", [CREATE, READ, CLOSE])
async def test_refusal_of_any_step_bears_its_status_and_leaves_nothing_open(
    server: Samba, join: Join, command: int
) -> None:
    put(server, "refused.pdf", b"refused")
    with RogueSmb(server.host, server.port) as spoiler:
        share = await join(library, server, port=spoiler.port, signing=False)
        spoiler.behaviour = rogue.Refused(command, STATUS_FILE_LOCK_CONFLICT)
        with pytest.raises(Refused) as refused:
            await (await share.open("refused.pdf", 0, FIRST)).close()
        assert refused.value.status == STATUS_FILE_LOCK_CONFLICT
        assert share.open_count == 0
        if command != CLOSE:  # which the server never saw
            await until(lambda: server.open_files() == 0)
        assert not share.broken
        await share.aclose()


class Symlink(rogue.Refused):
    """Answers the first CREATE with the way to another document."""

    def __init__(self, other: str) -> None:
        super().__init__(CREATE, STATUS_STOPPED_ON_SYMLINK)
        name = other.encode("utf-16-le")
        link = (
            struct.pack("<IIHHHHHHI", 0x4C4D5953, 0xA000000C, 12 + len(name), 0, 0, len(name), 0, len(name), 1) + name
        )
        context = struct.pack("<III", 4 + len(link), 0, len(link)) + link
        self._body = struct.pack("<HBBI", 9, 1, 0, len(context)) + context

    def on_reply(self, command: int, message: Message, request: Request | None) -> list[Message | rogue.Wire]:
        answers = super().on_reply(command, message, request)
        if command == CREATE and message.status == STATUS_STOPPED_ON_SYMLINK:
            message.replace_body(self._body)
        return answers


async def test_symbolic_links_are_not_followed(server: Samba, join: Join) -> None:
    put(server, "other.pdf", b"somebody else's")
    with RogueSmb(server.host, server.port) as spoiler:
        share = await join(library, server, port=spoiler.port, signing=False)
        for _ in range(3):
            spoiler.behaviour = Symlink("other.pdf")
            with pytest.raises(Refused) as refused:
                await share.open("link.pdf", 0, FIRST)
            assert refused.value.status == STATUS_STOPPED_ON_SYMLINK
        spoiler.behaviour = rogue.Behaviour()
        assert await whole(share, "other.pdf") == b"somebody else's"
        await until(lambda: server.open_files() == 0)
        await share.aclose()


async def test_server_that_answers_no_more_frees_the_thread_by_itself(
    server: Samba, services: Services, monkeypatch: pytest.MonkeyPatch, join: Join
) -> None:
    monkeypatch.setattr(library_share, "PATIENCE", 0.2)
    share = await join(library, server)
    put(server, "mute.pdf", b"mute")
    server.pause()
    try:
        with pytest.raises(Lost, match="in time"):
            await share.open("mute.pdf", 0, FIRST)
        assert share.broken
        assert await all_threads_are_free(services)
    finally:
        server.resume()


async def test_refusals_leave_nothing_in_memory(share: Share) -> None:
    def waiting() -> int:
        gc.collect()
        return sum(type(one) is smbprotocol.connection.Request for one in gc.get_objects())

    before = waiting()
    for _ in range(20):
        with pytest.raises(Refused):
            await share.open("missing.pdf", 0, FIRST)
    assert waiting() <= before + 2


async def test_server_that_grants_hardly_any_credits_is_read_in_small_pieces(tmp_path: Path, join: Join) -> None:
    for credits in ("2", "3"):
        with samba(tmp_path / credits, settings={"smb2 max credits": credits}) as server:
            put(server, "long.pdf", content(1_000_000))
            share = await join(library, server)
            assert await whole(share, "long.pdf") == content(1_000_000)
            await share.aclose()


async def test_one_connection_keeps_one_thread(share: Share, server: Samba) -> None:
    put(server, "queue.pdf", content(1_000_000))
    before = threading.active_count()
    server.pause()
    try:
        waiting = [asyncio.ensure_future(whole(share, "queue.pdf")) for _ in range(30)]
        await asyncio.sleep(0.1)
        assert threading.active_count() <= before + 1
    finally:
        server.resume()
    assert await asyncio.gather(*waiting) == [content(1_000_000)] * 30


async def test_cancelled_closing_still_closes(share: Share, server: Samba) -> None:
    put(server, "closing.pdf", b"closing")
    file, other = await share.open("closing.pdf", 0, FIRST), await share.open("closing.pdf", 0, FIRST)
    server.pause()
    try:
        closing = [asyncio.ensure_future(one.close()) for one in (file, other)]
        await asyncio.sleep(0.05)
        for one in closing:
            one.cancel()
        await asyncio.gather(*closing, return_exceptions=True)
    finally:
        server.resume()
    await until(lambda: server.open_files() == 0)


async def test_source_whose_threads_are_gone_can_still_be_left(server: Samba) -> None:
    executor = ThreadPoolExecutor(THREADS)
    services = Services(executor=executor, log=RecordingLog(), clock=time.monotonic)
    target = Target(server.host, server.port, "letters")
    share = await library.connect(target, login(server), Demands(encryption=False), services)
    await asyncio.to_thread(executor.shutdown)
    with pytest.raises(Lost):
        await share.echo()
    await share.aclose()
    with pytest.raises(Lost):
        await library.connect(target, login(server), Demands(encryption=False), services)
    await until(lambda: server.connections() == 0)
