"""A line on which a long answer takes longer than an echo may: the server lives, and its readers keep their connection."""

from __future__ import annotations

import asyncio

from adapters.smb.pool import Pool
from adapters.testing.harness import RecordingLog
from tests.unit.smb.fake_archive import TARGET, FakeArchive, until


async def test_a_server_that_is_still_sending_is_not_given_up() -> None:
    archive = FakeArchive()
    archive.put("a.pdf", b"a letter")
    slow, echo = asyncio.Event(), asyncio.Event()
    archive.opening, archive.echoing = [slow], [echo]
    pool = Pool(archive.join, most=1, idle=60, log=RecordingLog(), patience=0.01, echo_deadline=0.1)
    asking = asyncio.ensure_future(pool.ask(TARGET, lambda pooled: pooled.share.open("a.pdf", 0, 10)))
    await until(lambda: archive.shares and archive.shares[0].echoes)
    [share] = archive.shares
    for _ in range(20):
        share.heard = asyncio.get_running_loop().time()
        await asyncio.sleep(0.02)
    assert not share.broken
    await until(lambda: share.broken)
    slow.set()
    await asyncio.wait({asking})
    asking.exception()
    await pool.aclose()
