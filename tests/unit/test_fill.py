"""A fill read by hand: what its readers see when the archive breaks and comes back, and what is left when they go."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.contract import Capabilities, Descriptor
from adapters.errors import AdapterError, Changed, Corrupt, Deleted, NotFound, Unavailable
from gateway.fill import WINDOW, Fill, Reader, Terms
from gateway.fills import Fills
from gateway.mended import FRUITLESS, MENDS
from gateway.source import Limits, Source, services
from gateway.spool import Spool, SpoolEntry
from gateway.telemetry import Telemetry
from gateway.workers import Workers
from tests.support.fragile import ABLE, MUTE, STABLE, Archive

KIB = 1024
DATA = random.Random(7).randbytes(200 * KIB + 3)
OTHER = random.Random(8).randbytes(200 * KIB + 3)
LOST = Unavailable("lost")
SOON = Limits(queue_timeout=0.2, open_timeout=1, idle_timeout=1, repair_timeout=0.5)

every_archive = pytest.mark.parametrize("able", [ABLE, MUTE, STABLE], ids=["able", "mute", "stable"])


@dataclass
class Bench:
    """One archive, and all that a fill of it needs."""

    archive: Archive
    source: Source
    spool: Spool
    fills: Fills

    def start(self, **terms: object) -> Fill:
        given = {"max_document": 1 << 20} | terms
        return self.fills.start("a", Fill(self.source, "a", self.spool, Terms(**given)))  # type: ignore[arg-type]

    async def over(self, fill: Fill) -> None:
        """Wait until nothing of the fill is left."""
        assert fill.task is not None
        async with asyncio.timeout(5):
            await asyncio.wait({fill.task})
        assert self.archive.open_now == 0
        assert self.spool.used == 0
        assert self.fills.running == 0
        assert self.fills.get("a") is None


@asynccontextmanager
async def bench(archive: Archive, *, memory: int = 64 * KIB, budget: int = 64 << 20) -> AsyncIterator[Bench]:
    telemetry = Telemetry(level="error")
    workers = Workers("letters", 2)
    source = Source(
        "letters", archive.make()("letters", services(workers, telemetry.log)), limits=SOON, workers=workers
    )
    spool = Spool(None, memory=memory, max_bytes=budget)
    fills = Fills()
    try:
        async with source:
            yield Bench(archive, source, spool, fills)
            await fills.close()
    finally:
        spool.close()
        await asyncio.to_thread(telemetry.close)


def archive_of(data: bytes = DATA, able: Capabilities = ABLE, **paper: bool) -> Archive:
    archive = Archive(capabilities=able, chunk=16 * KIB)
    archive.put("a", data, **paper)
    return archive


async def read(reader: Reader, start: int = 0, stop: int | None = None) -> bytes:
    try:
        async with asyncio.timeout(5):
            return b"".join([piece async for piece in reader.chunks(start, stop)])
    finally:
        reader.leave()


# --- what comes back after a break -----------------------------------------------------------------------------------


@pytest.mark.parametrize("left", [0, 1, 50 * KIB, 100 * KIB - 1])
async def test_a_document_that_came_back_shorter_is_never_whole(left: int) -> None:
    """Of unknown size and without a version, the end of the second read is all that tells."""
    archive = archive_of(able=MUTE, tells_size=False)
    archive.breaks = [(100 * KIB + 16 * KIB, LOST)]
    archive.after_break = lambda: archive.put("a", DATA[:left], tells_size=False)
    async with bench(archive) as at:
        fill = at.start()
        with pytest.raises(Changed):
            await read(fill.follow())
        await at.over(fill)


@every_archive
@pytest.mark.parametrize(
    ("size", "comes_back"),
    [(len(DATA), len(DATA) + 5000), (len(DATA), len(DATA) - 5000), (160 * KIB, 192 * KIB), (160 * KIB, 144 * KIB)],
)
async def test_a_document_has_the_size_that_was_told_or_is_never_whole(
    able: Capabilities, size: int, comes_back: int
) -> None:
    """Readers were told a length: the first so many bytes of a longer document would look whole to them."""
    archive = archive_of(DATA[:size], able=able)
    archive.pause = 0.001
    archive.breaks = [(100 * KIB, LOST)]
    archive.after_break = lambda: archive.put("a", (DATA + OTHER)[:comes_back], tells_size=False)
    kept = []

    async def keep(descriptor: Descriptor, sniffed: str, entry: SpoolEntry) -> bool:
        kept.append(entry.size)
        return True

    async with bench(archive) as at:
        fill = at.start(keep=keep)
        got = bytearray()
        reader = fill.follow()
        with pytest.raises(Changed):
            async for piece in reader.chunks(0, None):
                got += piece
        reader.leave()
        assert len(got) < size
        await at.over(fill)
    assert kept == []


async def test_the_version_that_comes_back_is_looked_at() -> None:
    """An adapter that takes no heed of the version it was given."""
    archive = archive_of()
    archive.breaks = [(100 * KIB, LOST)]

    def heedless() -> None:
        archive.put("a", OTHER, "2")
        archive.heeds_versions = False

    archive.after_break = heedless
    async with bench(archive) as at:
        fill = at.start()
        with pytest.raises(Changed):
            await read(fill.follow())
        await at.over(fill)


@pytest.mark.parametrize("able", [ABLE, STABLE], ids=["resumed", "read again"])
async def test_the_digest_is_checked_though_the_spool_was_full_in_the_middle_of_the_mend(able: Capabilities) -> None:
    archive = archive_of(able=able, tells_digest=True)
    archive.breaks = [(100 * KIB, LOST)]
    true = hashlib.sha1(DATA).digest()

    def lies() -> None:
        archive.put("a", DATA[: 100 * KIB] + OTHER[100 * KIB :], tells_digest=True)
        archive.digest = true

    archive.after_break = lies
    async with bench(archive, budget=120 * KIB) as at:
        fill = at.start()
        got = bytearray()
        reader = fill.follow()
        with pytest.raises((Changed, Corrupt)):
            async for piece in reader.chunks(0, None):
                got += piece
        reader.leave()
        assert fill.tethered
        assert len(got) < len(DATA)
        await at.over(fill)


@pytest.mark.parametrize("able", [ABLE, MUTE, STABLE], ids=["able", "mute", "stable"])
@given(
    breaks=st.lists(st.integers(1, len(DATA) - 1), max_size=MENDS),
    tells_size=st.booleans(),
    tells_digest=st.booleans(),
    chunk=st.sampled_from([4 * KIB, 8 * KIB, 64 * KIB, 1 << 20]),
    budget=st.sampled_from([len(DATA), len(DATA) - 1, 100 * KIB, 0]),
    spans=st.lists(st.tuples(st.integers(0, len(DATA)), st.integers(0, len(DATA))), max_size=3),
)
async def test_readers_get_the_document_or_an_error(
    able: Capabilities,
    breaks: list[int],
    tells_size: bool,
    tells_digest: bool,
    chunk: int,
    budget: int,
    spans: list[tuple[int, int]],
) -> None:
    archive = archive_of(able=able, tells_size=tells_size, tells_digest=tells_digest)
    archive.chunk = chunk
    archive.breaks = [(at, LOST) for at in sorted(breaks)]
    async with bench(archive, memory=1000, budget=budget) as at:
        fill = at.start()
        asked: list[tuple[int, int | None]] = [(0, None), *((min(span), max(span)) for span in spans)]
        answers = await asyncio.gather(
            *(read(fill.follow(), start, stop) for start, stop in asked), return_exceptions=True
        )
        for (start, stop), answer in zip(asked, answers, strict=True):
            assert isinstance(answer, AdapterError) or answer == DATA[start:stop]
        if budget == len(DATA) and len(breaks) <= FRUITLESS:
            assert not any(isinstance(answer, BaseException) for answer in answers)
        await at.over(fill)


async def test_a_spool_that_cannot_be_read_is_no_fault_of_the_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    archive = archive_of(able=MUTE)
    archive.breaks = [(100 * KIB, LOST)]

    async def broken(*_: object) -> bytes:
        raise OSError(5, "Input/output error")

    async with bench(archive) as at:
        fill = at.start()
        reader = fill.follow()
        archive.after_break = lambda: monkeypatch.setattr(SpoolEntry, "read", broken)
        with pytest.raises(Unavailable, match="spool"):
            await read(reader)
        monkeypatch.undo()
        await at.over(fill)


# --- readers that come and go ----------------------------------------------------------------------------------------


async def test_nobody_waits_for_a_fill_whose_task_never_ran() -> None:
    async with bench(archive_of()) as at:
        fill = at.start()
        assert fill.task is not None
        fill.task.cancel()
        async with asyncio.timeout(1):
            with pytest.raises(Unavailable):
                await fill.told_or_failed()
        await at.over(fill)


async def test_a_fill_that_cannot_let_go_of_its_archive_does_not_keep_the_process_from_ending() -> None:
    archive = archive_of()
    archive.gated = 40 * KIB
    release = asyncio.Event()
    archive.on_close = release.wait
    async with bench(archive) as at:
        fill = at.start()
        await fill.told_or_failed()
        async with asyncio.timeout(4):
            await at.fills.close()
        release.set()
        await at.over(fill)


@pytest.mark.parametrize("steps", range(1, 12))
async def test_a_reader_may_be_cancelled_at_every_step(steps: int) -> None:
    """Whenever the only reader goes, nothing is left open, and the next one is served."""
    archive = archive_of(able=MUTE)
    async with bench(archive, memory=0) as at:
        fill = at.start()
        reading = asyncio.ensure_future(read(fill.follow()))
        for _ in range(steps):
            await asyncio.sleep(0)
        reading.cancel()
        await asyncio.wait({reading})
        await at.over(fill)
        again = at.start()
        assert await read(again.follow()) == DATA
        await at.over(again)


async def test_a_large_document_wakes_each_reader_once_for_each_piece() -> None:
    """With every reader waking all others, a few hundred of them would keep the loop busy for minutes."""
    readers, pieces = 100, 32
    archive = archive_of(random.Random(1).randbytes(pieces * 16 * KIB))
    archive.pause = 0.02
    async with bench(archive) as at:
        fill = at.start(max_document=1000)
        waits = 0
        real = fill._progress

        async def counted() -> None:
            nonlocal waits
            waits += 1
            await real()

        fill._progress = counted  # type: ignore[method-assign]
        chance = random.Random(1)

        async def slowly(reader: Reader) -> int:
            got = 0
            async for piece in reader.chunks(0, None):
                got += len(piece)
                for _ in range(chance.randrange(30)):
                    await asyncio.sleep(0)
            reader.leave()
            return got

        answers = await asyncio.gather(*(slowly(fill.follow()) for _ in range(readers)))
        assert set(answers) == {pieces * 16 * KIB}
        assert waits < 2 * readers * pieces
        await at.over(fill)


async def test_a_window_is_all_that_is_held_of_a_large_document() -> None:
    archive = archive_of(random.Random(1).randbytes(4 << 20))
    async with bench(archive) as at:
        fill = at.start(max_document=1000)
        slow, quick = fill.follow(), fill.follow()
        pieces = slow.chunks(0, None)
        got = await anext(pieces)
        reading = asyncio.ensure_future(read(quick))
        await asyncio.sleep(0.1)
        assert archive.sent <= WINDOW + 4 * archive.chunk
        async for piece in pieces:
            got += piece
        slow.leave()
        assert got == await reading == archive.papers["a"].data
        await at.over(fill)


async def test_a_full_window_is_filled_again_when_half_of_it_is_free() -> None:
    """Not piece by piece: for each of them the fill's task would be woken."""
    archive = Archive(capabilities=ABLE, chunk=32 * KIB)
    archive.put("a", random.Random(9).randbytes(4 << 20))
    async with bench(archive) as there:
        fill = there.start(max_document=100)
        reader = fill.follow()
        await fill.told_or_failed()
        sent, steps = 0, []
        async with aclosing(reader.chunks(0, None)) as chunks:
            async for _ in chunks:
                for _ in range(100):
                    await asyncio.sleep(0)
                if archive.sent > sent:
                    steps.append(archive.sent - sent)
                    sent = archive.sent
        reader.leave()
        await there.over(fill)
    assert min(steps[:-1]) >= WINDOW // 2, steps
    assert max(steps) <= WINDOW + 4 * archive.chunk


# --- what is told when it is over ------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [NotFound("none"), Deleted("gone"), LOST])
async def test_whoever_asked_for_it_hears_how_a_fill_failed(error: AdapterError) -> None:
    archive = archive_of()
    archive.away = error
    heard: list[AdapterError | None] = []

    async def over(failure: AdapterError | None) -> None:
        heard.append(failure)

    async with bench(archive) as at:
        fill = at.start(over=over)
        with pytest.raises(type(error)):
            await fill.told_or_failed()
        assert [type(one) for one in heard] == [type(error)], "heard before the readers did"
        await at.over(fill)
        archive.away = None
        again = at.start(over=over)
        assert await read(again.follow()) == DATA
        await at.over(again)
        assert heard[1:] == [None]


@pytest.mark.parametrize(("share", "finished"), [(0.2, False), (0.6, True)])
async def test_a_fill_that_nobody_waits_for_is_finished_when_half_of_it_is_there(share: float, finished: bool) -> None:
    data = random.Random(1).randbytes(4 << 20)
    archive = archive_of(data)
    archive.gated = int(len(data) * share)
    kept = []

    async def keep(descriptor: Descriptor, sniffed: str, entry: SpoolEntry) -> bool:
        kept.append(await entry.read(0, entry.size))
        return True

    async with bench(archive) as at:
        fill = at.start(keep=keep, max_document=8 << 20)
        reader = fill.follow()
        async for _ in reader.chunks(0, archive.gated - 2 * archive.chunk):
            pass
        reader.leave()
        await asyncio.sleep(0.2)
        archive.gate.set()
        await at.over(fill)
    assert kept == ([data] if finished else [])
