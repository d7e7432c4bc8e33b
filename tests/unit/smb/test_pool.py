"""Connections are shared, made once for all who wait, doubted when they are silent, and never left behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from adapters.errors import AdapterError, Unavailable
from adapters.smb.failures import Lost, Refused
from adapters.smb.pool import CROWD, Pool, Pooled
from adapters.smb.session import Target
from adapters.smb.wire.status import STATUS_OBJECT_NAME_NOT_FOUND, STATUS_USER_SESSION_DELETED
from adapters.testing.harness import RecordingLog
from tests.unit.smb.fake_archive import TARGET, FakeArchive, FakeFile, FakeShare, until

LONG = 30.0
SHORT = 0.02


@pytest.fixture
def archive() -> FakeArchive:
    found = FakeArchive()
    found.put("a.pdf", b"data")
    return found


@asynccontextmanager
async def pool_over(archive: FakeArchive, **settings: Any) -> AsyncIterator[Pool]:
    given = {"most": 4, "idle": LONG, "patience": LONG, "echo_deadline": LONG, "log": RecordingLog()}
    pool = Pool(archive.join, **(given | settings))
    try:
        yield pool
    finally:
        await pool.aclose()


async def opened(pooled: Pooled) -> FakeFile:
    file = await pooled.share.open("a.pdf", 0, 0)
    assert isinstance(file, FakeFile)
    return file


async def which(pooled: Pooled) -> FakeShare:
    (await pooled.share.open("a.pdf", 0, 0)).abandon()
    assert isinstance(pooled.share, FakeShare)
    return pooled.share


async def turns(count: int = 10) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


# --- sharing ---------------------------------------------------------------------------------------------------------


async def test_many_who_ask_at_once_share_one_connection_that_is_made_once(archive: FakeArchive) -> None:
    ready = asyncio.Event()
    archive.connecting = [ready]
    async with pool_over(archive) as pool:
        asking = [asyncio.ensure_future(pool.ask(TARGET, which)) for _ in range(20)]
        await turns()
        assert archive.attempts == 1
        ready.set()
        assert len(set(await asyncio.gather(*asking))) == 1
        assert await pool.ask(TARGET, which) is archive.shares[0]
    assert archive.attempts == 1


async def test_each_target_has_connections_of_its_own(archive: FakeArchive) -> None:
    other = Target("archive", 445, "scans")
    async with pool_over(archive) as pool:
        assert (await pool.ask(TARGET, which)).target == TARGET
        assert (await pool.ask(other, which)).target == other
        assert (await pool.ask(TARGET, which)) is archive.shares[0]


async def test_a_crowd_gets_further_connections_up_to_the_limit_and_goes_to_the_least_loaded(
    archive: FakeArchive,
) -> None:
    async with pool_over(archive, most=3) as pool:
        files = []
        for _ in range(5 * CROWD):
            files.append(await pool.ask(TARGET, opened))
            await turns()
        assert len(archive.shares) == 3
        loads = [share.open_count for share in archive.shares]
        assert max(loads) - min(loads) <= 1
        for file in files:
            file.abandon()


async def test_questions_on_their_way_count_as_load(archive: FakeArchive) -> None:
    slow = asyncio.Event()
    archive.opening = [slow] * (CROWD + 1)
    async with pool_over(archive) as pool:
        asking = [asyncio.ensure_future(pool.ask(TARGET, which)) for _ in range(CROWD + 1)]
        await turns()
        asking.append(asyncio.ensure_future(pool.ask(TARGET, which)))
        await turns()
        assert len(archive.shares) == 2
        slow.set()
        await asyncio.gather(*asking)


async def test_a_crowd_that_waits_for_a_further_connection_makes_one(archive: FakeArchive) -> None:
    ready = asyncio.Event()
    async with pool_over(archive) as pool:
        files = [await pool.ask(TARGET, opened)]
        archive.connecting = [ready] * 10
        for _ in range(3 * CROWD):
            files.append(await pool.ask(TARGET, opened))
            await turns()
        assert archive.attempts == 2
        ready.set()
        for file in files:
            file.abandon()


async def test_a_further_connection_that_is_refused_hurts_nobody_and_is_not_tried_again_at_once(
    archive: FakeArchive,
) -> None:
    log = RecordingLog()
    async with pool_over(archive, log=log) as pool:
        files = [await pool.ask(TARGET, opened)]
        archive.connecting = [Unavailable("the server has as many connections as it takes")] * 50
        for _ in range(3 * CROWD):
            files.append(await pool.ask(TARGET, opened))
            await turns()
        assert archive.attempts == 2
        assert "as many connections as it takes" in log.lines[0]
        for file in files:
            file.abandon()


# --- connecting ------------------------------------------------------------------------------------------------------


async def test_one_waiter_that_is_cancelled_takes_nothing_from_the_others(archive: FakeArchive) -> None:
    ready = asyncio.Event()
    archive.connecting = [ready]
    async with pool_over(archive) as pool:
        leaving, staying = (asyncio.ensure_future(pool.ask(TARGET, which)) for _ in range(2))
        await turns()
        leaving.cancel()
        await turns()
        assert leaving.cancelled()
        ready.set()
        assert await staying is archive.shares[0]


async def test_an_attempt_that_nobody_waits_for_ends_and_the_next_request_begins_another(archive: FakeArchive) -> None:
    archive.connecting = [asyncio.Event()]
    async with pool_over(archive) as pool:
        waiting = [asyncio.ensure_future(pool.ask(TARGET, which)) for _ in range(3)]
        await turns()
        for task in waiting:
            task.cancel()
        # Asked in the same moment, before the attempt has ended.
        late = asyncio.ensure_future(pool.ask(TARGET, which))
        assert await late is archive.shares[0]
        assert archive.attempts == 2


async def test_a_failed_attempt_fails_all_who_waited_and_nobody_after_them(archive: FakeArchive) -> None:
    ready = asyncio.Event()

    async def failing(target: Target) -> FakeShare:
        await ready.wait()
        archive.attempts += 1
        raise Unavailable("the server is away")

    pool = Pool(failing, most=4, idle=LONG, log=RecordingLog())
    waiting = [asyncio.ensure_future(pool.ask(TARGET, which)) for _ in range(5)]
    await turns()
    ready.set()
    failures = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(failure, Unavailable) for failure in failures)
    assert archive.attempts == 1
    pool._connect = archive.join
    assert not (await pool.ask(TARGET, which)).broken
    await pool.aclose()


# --- broken connections ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("failure", [Lost("gone"), Refused(STATUS_USER_SESSION_DELETED, "fake")])
async def test_a_connection_that_died_unnoticed_costs_its_next_reader_nothing(
    archive: FakeArchive, failure: Exception
) -> None:
    async with pool_over(archive) as pool:
        first = await pool.ask(TARGET, which)
        archive.opening = [failure]
        second = await pool.ask(TARGET, which)
        assert second is not first
        assert first.broken
        assert archive.live == [second]


async def test_the_second_try_does_not_go_to_another_old_connection(archive: FakeArchive) -> None:
    async with pool_over(archive) as pool:
        files = []
        for _ in range(CROWD + 2):
            files.append(await pool.ask(TARGET, opened))
            await turns()
        assert len(archive.shares) == 2
        archive.opening = [Lost("gone")]
        assert await pool.ask(TARGET, which) is archive.shares[2]
        for file in files:
            file.abandon()


async def test_what_fails_on_a_fresh_connection_is_not_tried_again(archive: FakeArchive) -> None:
    archive.opening = [Lost("gone")]
    async with pool_over(archive) as pool:
        with pytest.raises(Lost) as caught:
            await pool.ask(TARGET, which)
        assert not caught.value.again
        assert archive.attempts == 1


async def test_a_question_is_put_twice_at_most_and_the_second_failure_says_so(archive: FakeArchive) -> None:
    async with pool_over(archive) as pool:
        await pool.ask(TARGET, which)
        archive.opening = [Lost("gone"), Lost("gone again"), Lost("never asked")]
        with pytest.raises(Lost, match="gone again") as caught:
            await pool.ask(TARGET, which)
        assert caught.value.again


async def test_a_failure_to_connect_again_says_that_it_was_the_second_try(archive: FakeArchive) -> None:
    async with pool_over(archive) as pool:
        await pool.ask(TARGET, which)
        archive.opening = [Lost("gone")]
        archive.connecting = [Unavailable("the server is away")]
        with pytest.raises(AdapterError) as caught:
            await pool.ask(TARGET, which)
        assert caught.value.exhausted


async def test_a_refusal_is_an_answer_and_not_tried_again(archive: FakeArchive) -> None:
    async with pool_over(archive) as pool:
        first = await pool.ask(TARGET, which)
        archive.opening = [Refused(STATUS_OBJECT_NAME_NOT_FOUND, "fake")]
        with pytest.raises(Refused):
            await pool.ask(TARGET, which)
        assert await pool.ask(TARGET, which) is first


async def test_a_broken_connection_is_never_handed_out_and_is_left(archive: FakeArchive) -> None:
    async with pool_over(archive) as pool:
        first = await pool.ask(TARGET, which)
        first.sever("cable")
        second = await pool.ask(TARGET, which)
        assert first.opens == 1
        assert second is not first
        await turns()
        assert first.left


async def test_a_session_that_ended_in_the_middle_of_a_document_is_not_used_again(archive: FakeArchive) -> None:
    async with pool_over(archive) as pool:
        kept: list[Pooled] = []

        async def keep(pooled: Pooled) -> None:
            kept.append(pooled)

        await pool.ask(TARGET, keep)

        async def read() -> bytes:
            raise Refused(STATUS_USER_SESSION_DELETED, "fake")

        with pytest.raises(Refused):
            await kept[0].listen(read())
        assert kept[0].share.broken
        assert await pool.ask(TARGET, which) is not kept[0].share


# --- silent connections ----------------------------------------------------------------------------------------------


async def test_a_late_answer_is_no_reason_to_end_a_connection_that_answers_an_echo(archive: FakeArchive) -> None:
    slow = asyncio.Event()
    async with pool_over(archive, patience=SHORT, echo_deadline=LONG) as pool:
        share = await pool.ask(TARGET, which)
        archive.opening = [slow]
        asking = asyncio.ensure_future(pool.ask(TARGET, which))
        await until(lambda: share.echoes)
        await turns()
        assert not share.broken
        slow.set()
        assert await asking is share


async def test_who_is_answered_in_time_has_no_echo_asked(archive: FakeArchive) -> None:
    async with pool_over(archive, patience=SHORT) as pool:
        share = await pool.ask(TARGET, which)
        await asyncio.sleep(3 * SHORT)
        assert share.echoes == 0


async def test_a_connection_that_answers_nothing_is_replaced_and_its_request_served(archive: FakeArchive) -> None:
    async with pool_over(archive, patience=SHORT, echo_deadline=SHORT) as pool:
        dead = await pool.ask(TARGET, which)
        archive.opening = [asyncio.Event()]
        archive.echoing = [asyncio.Event()]
        alive = await pool.ask(TARGET, which)
        assert alive is not dead
        assert dead.broken
        assert dead.left


async def test_a_reader_who_gives_up_has_the_connection_asked(archive: FakeArchive) -> None:
    async with pool_over(archive, echo_deadline=SHORT) as pool:
        dead = await pool.ask(TARGET, which)
        archive.opening = [asyncio.Event()]
        archive.echoing = [asyncio.Event()]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(SHORT):
                await pool.ask(TARGET, which)
        await until(lambda: dead.left)
        assert await pool.ask(TARGET, which) is not dead


async def test_a_server_that_sends_documents_is_alive_though_its_echo_is_late(archive: FakeArchive) -> None:
    answering = asyncio.Event()
    async with pool_over(archive, echo_deadline=SHORT) as pool:
        kept: list[Pooled] = []

        async def keep(pooled: Pooled) -> None:
            kept.append(pooled)

        await pool.ask(TARGET, keep)
        [pooled] = kept
        archive.echoing = [answering]
        pool.suspect(pooled)

        async def piece() -> bytes:
            await asyncio.sleep(SHORT / 4)
            archive.shares[0].heard = asyncio.get_running_loop().time()
            return b"piece"

        for _ in range(40):
            await pooled.listen(piece())
        assert not pooled.share.broken
        answering.set()
        await until(lambda: pooled.doubt is None)
        assert not pooled.share.broken


async def test_one_echo_at_a_time_is_on_its_way(archive: FakeArchive) -> None:
    answering = asyncio.Event()
    async with pool_over(archive) as pool:
        share = await pool.ask(TARGET, which)
        archive.echoing = [answering]
        archive.opening = [asyncio.Event() for _ in range(20)]
        readers = [asyncio.ensure_future(pool.ask(TARGET, which)) for _ in range(20)]
        await turns()
        for reader in readers:
            reader.cancel()
        await turns()
        assert share.echoes == 1
        answering.set()
        await turns()
        assert not share.broken


async def test_a_failed_echo_ends_the_connection(archive: FakeArchive) -> None:
    async with pool_over(archive) as pool:
        share = await pool.ask(TARGET, which)
        archive.echoing = [Lost("gone")]
        archive.opening = [asyncio.Event()]
        reader = asyncio.ensure_future(pool.ask(TARGET, which))
        await turns()
        reader.cancel()
        await until(lambda: share.left)


# --- idle connections ------------------------------------------------------------------------------------------------


async def test_an_idle_connection_is_left_and_the_next_request_makes_another(archive: FakeArchive) -> None:
    async with pool_over(archive, idle=SHORT) as pool:
        first = await pool.ask(TARGET, which)
        await until(lambda: first.left)
        assert await pool.ask(TARGET, which) is not first


async def test_a_connection_with_an_open_document_is_not_idle(archive: FakeArchive) -> None:
    async with pool_over(archive, idle=SHORT) as pool:
        file = await pool.ask(TARGET, opened)
        await asyncio.sleep(5 * SHORT)
        assert not file.share.left
        file.abandon()
        await until(lambda: file.share.left)


async def test_a_connection_that_is_being_asked_is_not_idle(archive: FakeArchive) -> None:
    slow = asyncio.Event()
    archive.opening = [slow]
    async with pool_over(archive, idle=SHORT) as pool:
        asking = asyncio.ensure_future(pool.ask(TARGET, which))
        await asyncio.sleep(5 * SHORT)
        slow.set()
        assert not (await asking).broken


async def test_further_connections_are_left_when_the_crowd_is_gone(archive: FakeArchive) -> None:
    async with pool_over(archive, idle=5 * SHORT) as pool:
        files = []
        for _ in range(3 * CROWD):
            files.append(await pool.ask(TARGET, opened))
            await turns()
        assert len(archive.shares) > 1
        for file in files:
            file.abandon()
        async with asyncio.timeout(10):
            while len(archive.live) > 1:
                await pool.ask(TARGET, which)
                await asyncio.sleep(SHORT)
        assert archive.live


# --- the end ---------------------------------------------------------------------------------------------------------


async def test_closing_leaves_every_connection_and_ends_who_waits_for_one(archive: FakeArchive) -> None:
    async with pool_over(archive) as pool:
        await pool.ask(TARGET, which)
        archive.connecting = [asyncio.Event()]
        waiting = asyncio.ensure_future(pool.ask(Target("archive", 445, "scans"), which))
        await turns()
        await pool.aclose()
        with pytest.raises(Lost, match="closing"):
            await waiting
        attempts = archive.attempts
        with pytest.raises(Lost, match="closing"):
            await pool.ask(TARGET, which)
        assert archive.attempts == attempts
        await pool.aclose()
    assert archive.shares
    assert not archive.live


async def test_a_connection_that_comes_too_late_is_left(archive: FakeArchive) -> None:
    async def stubborn(target: Target) -> FakeShare:
        with pytest.raises(asyncio.CancelledError):
            await asyncio.Event().wait()
        return await archive.join(target)

    pool = Pool(stubborn, most=1, idle=LONG, log=RecordingLog())
    waiting = asyncio.ensure_future(pool.ask(TARGET, which))
    await turns()
    await pool.aclose()
    with pytest.raises(Lost):
        await waiting
    assert len(archive.shares) == 1
    assert not archive.live


async def test_closing_does_not_wait_for_an_echo(archive: FakeArchive) -> None:
    async with pool_over(archive) as pool:
        await pool.ask(TARGET, which)
        archive.opening = [asyncio.Event()]
        archive.echoing = [asyncio.Event()]
        reader = asyncio.ensure_future(pool.ask(TARGET, which))
        await turns()
        reader.cancel()
        await turns()
        async with asyncio.timeout(5):
            await pool.aclose()
    assert not archive.live
