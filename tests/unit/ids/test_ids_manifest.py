"""The manifest scheme at work: look-ups, the index on disk, reload, and that it leaves nothing behind."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from adapters.errors import Deleted, NotFound, Unavailable
from gateway.ids import Ids, ManifestError, open_scheme
from gateway.ids.manifest import ManifestScheme
from gateway.ids.manifest_import import FileVersion
from tests.unit.ids.manifests import LogLines, problems, settings, write

SMALL = "id,path,status\n1,a.pdf,\n2,b.pdf,withdrawn\n3,c.pdf,current\n"


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch) -> Path:
    """The folder for temporary files, empty at first."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


class Reports:
    """A progress callback that keeps what it is told."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, int, int]] = []

    def __call__(self, rows: int, done: int, total: int) -> None:
        self.seen.append((rows, done, total))


def scheme(directory: Path, log: LogLines | None = None, **options: Any) -> ManifestScheme:
    arguments = {name: options.pop(name) for name in ("prefix", "progress") if name in options}
    return ManifestScheme("letters", settings(directory, **options), log or LogLines(), **arguments)


def many(count: int, folder: str = "f") -> str:
    return "id,path,title,date\n" + "".join(
        f"d{n:06d},{folder}/{n % 97}/{n}.pdf,Letter {n},2011-05-17\n" for n in range(count)
    )


def replace(directory: Path, text: str) -> None:
    """A new file of that name in one step, as an exporter should do it."""
    new = directory / "index.csv.new"
    new.write_text(text)
    new.replace(directory / "index.csv")


# --- look-ups ------------------------------------------------------------------------------------------------------


async def test_look_ups(tmp_path):
    write(tmp_path, SMALL)
    async with scheme(tmp_path) as letters:
        assert letters.rows == 3
        for _ in range(2):  # the second answer may come from memory
            assert (await letters.locate("1")).locator == "a.pdf"
            with pytest.raises(Deleted):
                await letters.locate("2")
            for unknown in ("4", "", "1 ", "A", "1' OR '1'='1", "x" * 64):
                with pytest.raises(NotFound) as failure:
                    await letters.locate(unknown)
                assert not isinstance(failure.value, Deleted)


async def test_it_is_opened_from_its_settings(tmp_path):
    write(tmp_path, SMALL)
    of = TypeAdapter(Ids).validate_python({"scheme": "manifest", "file": str(tmp_path / "index.csv"), "refresh": "5s"})
    seen: list[tuple[str, int, int, int]] = []
    report = lambda *facts: seen.append(facts)  # noqa: E731
    async with open_scheme("letters", of, prefix="l.", resolve=None, log=LogLines(), progress=report) as letters:
        assert (await letters.locate("3")).source == "letters"
        assert [id for id, _, _ in await letters.sample(5)] == ["l.1", "l.3"]
    size = (tmp_path / "index.csv").stat().st_size
    assert seen == [("letters", 3, size, size)]


async def test_outside_its_context_it_knows_nothing(tmp_path):
    write(tmp_path, SMALL)
    letters = scheme(tmp_path)
    with pytest.raises(Unavailable):
        await letters.locate("1")
    await letters.__aexit__(None, None, None)
    async with letters:
        await letters.locate("1")
    await letters.__aexit__(None, None, None)
    with pytest.raises(Unavailable):
        await letters.locate("1")


async def test_only_the_last_look_ups_are_kept_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("gateway.ids.manifest.RECENT", 10)
    write(tmp_path, many(100))
    async with scheme(tmp_path) as letters:
        for n in [*range(50), 0, *range(50)]:
            assert (await letters.locate(f"d{n:06d}")).title == f"Letter {n}"
        assert len(letters._index.recent) == 10
        assert "d000049" in letters._index.recent


async def test_nothing_runs_in_the_default_pool_of_the_loop(tmp_path):
    class Closed(ThreadPoolExecutor):
        def submit(self, *arguments: Any, **named: Any) -> Any:
            raise AssertionError("the default pool was used")

    asyncio.get_running_loop().set_default_executor(Closed())
    write(tmp_path, SMALL)
    async with scheme(tmp_path, refresh="10ms") as letters:
        assert (await letters.locate("1")).locator == "a.pdf"
        replace(tmp_path, SMALL.replace("a.pdf", "z.pdf"))
        assert await letters.refresh()
        assert len(await letters.sample(1)) == 1


async def test_an_index_that_cannot_be_read_is_unavailable_not_not_found(tmp_path):
    write(tmp_path, SMALL)
    async with scheme(tmp_path) as letters:
        await letters._on(letters._look_ups, letters._index._connection.close)
        with pytest.raises(Unavailable) as failure:
            await letters.locate("1")
        assert str(tmp_path) not in failure.value.detail


async def test_a_sample_is_spread_over_the_file(tmp_path):
    write(tmp_path, many(1000))
    async with scheme(tmp_path, prefix="s.") as letters:
        sample = await letters.sample(10)
        lines = [line for _, line, _ in sample]
        assert (len(lines), lines[0], lines[-1]) == (10, 2, 1001)
        assert {later - line for line, later in pairwise(lines)} == {111}
        assert all(id == f"s.d{line - 2:06d}" for id, line, _ in sample)
        assert sample[1][2].locator == "f/14/111.pdf"
        assert [line for _, line, _ in await letters.sample(1)] == [2]
        assert [line for _, line, _ in await letters.sample(5000)] == list(range(2, 1002))
        assert await letters.sample(0) == []


async def test_a_sample_passes_over_what_was_withdrawn(tmp_path):
    rows = [f"{n},{n}.pdf,{'withdrawn' if 3 <= n < 90 or n > 95 else ''}\n" for n in range(100)]
    write(tmp_path, "id,path,status\n" + "".join(rows))
    async with scheme(tmp_path) as letters:
        assert [id for id, _, _ in await letters.sample(100)] == ["0", "1", "2", *map(str, range(90, 96))]
        assert [id for id, _, _ in await letters.sample(4)] == ["0", "90", "91"]


# --- start ---------------------------------------------------------------------------------------------------------


async def test_progress_grows_to_the_size_of_the_file(tmp_path):
    size = write(tmp_path, many(50_000)).stat().st_size
    reports = Reports()
    async with scheme(tmp_path, progress=reports):
        pass
    assert [rows for rows, _, _ in reports.seen] == [10_000, 20_000, 30_000, 40_000, 50_000, 50_000]
    done = [done for _, done, _ in reports.seen]
    assert done == sorted(done)
    assert done[0] < size // 2
    assert done[-1] == size
    assert {total for _, _, total in reports.seen} == {size}


def test_a_repeated_id_far_away_is_found(tmp_path):
    lines = problems(tmp_path, many(50_000) + "d000000,x.pdf,,\nd049999,y.pdf,,\n")
    assert lines == [
        "line 50002: column id repeats the id of line 2",
        "line 50003: column id repeats the id of line 50001",
    ]


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a moment inside the scheme that it announces to nobody."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.001)


async def refused(letters: ManifestScheme) -> str:
    with pytest.raises(ManifestError) as error:
        await letters.__aenter__()
    return str(error.value)


async def test_files_that_cannot_be_opened_are_explained(tmp_path):
    assert "cannot be opened: No such file or directory" in await refused(scheme(tmp_path))
    (tmp_path / "index.csv").mkdir()
    assert "not a regular file" in await refused(scheme(tmp_path))
    (tmp_path / "index.csv").rmdir()
    os.mkfifo(tmp_path / "index.csv")
    assert "not a regular file" in await refused(scheme(tmp_path))


async def test_a_place_for_the_index_that_cannot_be_used_is_explained(tmp_path, temporary):
    write(tmp_path, SMALL)
    said = await refused(scheme(tmp_path, index=tmp_path / "nowhere" / "kept"))
    assert "writing its index failed: No such file or directory" in said
    assert "TMPDIR" in said
    temporary.rmdir()
    assert "writing its index failed" in await refused(scheme(tmp_path))


async def test_a_full_disk_is_explained(tmp_path):
    """SQLite says the same of a full disk as of a database that reached the size it may have."""
    write(tmp_path, SMALL)
    letters = scheme(tmp_path)
    real = sqlite3.connect

    def small(*arguments: Any, **named: Any) -> sqlite3.Connection:
        connection = real(*arguments, **named)
        if "mode=rw" in arguments[0]:
            connection.execute("PRAGMA max_page_count = 3")
        return connection

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite3, "connect", small)
        said = await refused(letters)
    assert "the index cannot be written: database or disk is full" in said
    assert "TMPDIR" in said


async def test_a_file_that_changes_while_it_is_read_is_not_used(tmp_path):
    path = write(tmp_path, many(20_000))

    def grow(rows: int, done: int, total: int) -> None:
        with path.open("a") as file:
            file.write(f"late{rows},x.pdf,,\n")

    assert await refused(scheme(tmp_path, progress=grow)) == "the file changed while it was read"


# --- the index on disk ---------------------------------------------------------------------------------------------


def open_files(folder: Path) -> list[tuple[str, int]]:
    """(name, mode) of the files of this process that are or were in `folder`."""
    found = []
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{descriptor}")
            mode = stat.S_IMODE(os.stat(f"/proc/self/fd/{descriptor}").st_mode)
        except OSError:
            continue
        if target.startswith(str(folder)):
            found.append((target, mode))
    return found


@pytest.mark.blocking_allowed
async def test_a_temporary_index_never_has_a_name_while_it_holds_rows(tmp_path, temporary):
    write(tmp_path, many(20_000))
    listings: list[list[Path]] = []
    async with scheme(tmp_path, progress=lambda *_: listings.append([*temporary.rglob("*")])) as letters:
        assert listings == [[], [], []]
        assert [*temporary.rglob("*")] == []
        ((name, mode),) = open_files(temporary)
        assert name.endswith(" (deleted)")
        assert mode == 0o600
        assert letters.rows == 20_000
    assert open_files(temporary) == []


@pytest.mark.blocking_allowed
async def test_nothing_is_left_of_an_import_that_failed(tmp_path, temporary):
    write(tmp_path, SMALL + "1,again.pdf,\n")
    await refused(scheme(tmp_path))
    kept = tmp_path / "kept"
    kept.mkdir()
    await refused(scheme(tmp_path, index=kept / "index"))
    assert [*temporary.rglob("*"), *kept.iterdir(), *open_files(tmp_path)] == []


async def start(directory: Path, **options: Any) -> tuple[bool, str]:
    """Whether starting had to read the CSV file, and where id 1 leads."""
    reports = Reports()
    async with scheme(directory, progress=reports, index=directory / "kept.index", **options) as letters:
        return bool(reports.seen), (await letters.locate("1")).locator


@pytest.mark.blocking_allowed
async def test_a_kept_index_is_made_once(tmp_path):
    write(tmp_path, SMALL)
    old = os.umask(0)
    try:
        assert await start(tmp_path) == (True, "a.pdf")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "kept.index").stat().st_mode) == 0o600
    before = (tmp_path / "kept.index").read_bytes()
    assert await start(tmp_path) == (False, "a.pdf")
    assert (tmp_path / "kept.index").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index.csv", "kept.index", "temporary"]


@pytest.mark.blocking_allowed
async def test_a_kept_index_is_made_again_when_the_file_is_another(tmp_path):
    path = write(tmp_path, SMALL)
    await start(tmp_path)
    facts = path.stat()
    write(tmp_path, SMALL.replace("a.pdf", "z.pdf"))
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns + 1))
    assert await start(tmp_path) == (True, "z.pdf")
    assert await start(tmp_path) == (False, "z.pdf")
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns + 2))
    assert await start(tmp_path) == (True, "z.pdf")
    write(tmp_path, SMALL.replace("a.pdf", "zz.pdf"))
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns + 2))
    assert await start(tmp_path) == (True, "zz.pdf")


@pytest.mark.parametrize(
    "options", [{"strip": "a"}, {"separator": "\\"}, {"encoding": "windows-1252"}, {"prefix": "x."}], ids=str
)
@pytest.mark.blocking_allowed
async def test_a_kept_index_is_made_again_when_the_settings_are_others(tmp_path, options):
    write(tmp_path, SMALL)
    await start(tmp_path)
    assert await start(tmp_path, **options) == (True, "a.pdf")
    assert await start(tmp_path, **options, refresh="7s") == (False, "a.pdf")


@pytest.mark.blocking_allowed
async def test_a_kept_index_that_was_damaged_is_made_again(tmp_path):
    write(tmp_path, many(300) + "1,a.pdf,,\n")
    await start(tmp_path)
    kept = tmp_path / "kept.index"
    good = kept.read_bytes()
    assert b"Letter 299" in good
    damaged = [
        good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :] for at in (0, 18, 5000, good.index(b"Letter 7"), -33, -1)
    ]
    for content in [*damaged, b"", good[:-1], good[:-32], good + b"x", b"x" * 64, good[:4096]]:
        kept.write_bytes(content)
        assert await start(tmp_path) == (True, "a.pdf")
        assert kept.read_bytes() == good


@pytest.mark.blocking_allowed
async def test_a_kept_index_that_others_could_have_written_or_read_is_made_again(tmp_path):
    write(tmp_path, SMALL)
    await start(tmp_path)
    kept = tmp_path / "kept.index"
    kept.chmod(0o644)
    assert await start(tmp_path) == (True, "a.pdf")
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    other = tmp_path / "other"
    kept.rename(other)
    content = other.read_bytes()
    kept.symlink_to(other)
    assert await start(tmp_path) == (True, "a.pdf")
    assert not kept.is_symlink()
    assert other.read_bytes() == content


@pytest.mark.blocking_allowed
async def test_a_bad_file_leaves_the_kept_index_alone(tmp_path):
    write(tmp_path, SMALL)
    await start(tmp_path)
    content = (tmp_path / "kept.index").read_bytes()
    write(tmp_path, SMALL + "4,/x,\n")
    await refused(scheme(tmp_path, index=tmp_path / "kept.index"))
    assert (tmp_path / "kept.index").read_bytes() == content


# --- reload --------------------------------------------------------------------------------------------------------


async def test_a_changed_file_takes_the_place_of_the_old_one(tmp_path):
    write(tmp_path, SMALL)
    log = LogLines()
    async with scheme(tmp_path, log) as letters:
        assert (await letters.locate("1")).locator == "a.pdf"
        assert not await letters.refresh()
        replace(tmp_path, "id,path,status\n1,new.pdf,\n3,c.pdf,withdrawn\n4,d.pdf,\n")
        assert await letters.refresh()
        assert (await letters.locate("1")).locator == "new.pdf"
        assert (await letters.locate("4")).locator == "d.pdf"
        with pytest.raises(Deleted):
            await letters.locate("3")
        with pytest.raises(NotFound):
            await letters.locate("2")
        assert not await letters.refresh()
        assert [(level, event, fields["rows"]) for level, event, fields in log.lines] == [
            ("info", "manifest read again", 3)
        ]


@pytest.mark.parametrize("index", [None, "kept.index"])
async def test_another_file_of_the_same_size_and_time_is_noticed(tmp_path, index):
    path = write(tmp_path, SMALL)
    facts = path.stat()
    async with scheme(tmp_path, index=index and tmp_path / index) as letters:
        replace(tmp_path, SMALL.replace("a.pdf", "z.pdf"))
        os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
        assert await letters.refresh()
        assert (await letters.locate("1")).locator == "z.pdf"


@pytest.mark.parametrize("index", [None, "kept.index"])
async def test_a_bad_new_file_changes_nothing_and_is_logged_once(tmp_path, index):
    write(tmp_path, SMALL)
    log = LogLines()
    async with scheme(tmp_path, log, index=index and tmp_path / index) as letters:
        replace(tmp_path, SMALL + "Smith_1,smith.pdf,\n5,/smith.pdf,\n")
        assert not await letters.refresh()
        reading = letters._importing
        assert not await letters.refresh()
        assert letters._importing is reading, "the same bad file was read twice"
        assert (await letters.locate("3")).locator == "c.pdf"
        ((level, event, fields),) = log.lines
        assert (level, event) == ("warning", "manifest refused, the old one stays")
        assert (fields["problems"], fields["line"]) == (2, 5)
        assert fields["detail"] == "column id has a character other than letters, digits, hyphen and dot"
        assert "smith" not in repr(log.lines).lower()
        assert str(tmp_path) not in repr(log.lines)
        replace(tmp_path, "broken")
        assert not await letters.refresh()
        assert len(log.lines) == 2
        replace(tmp_path, SMALL.replace("c.pdf", "z.pdf"))
        assert await letters.refresh()
        assert (await letters.locate("3")).locator == "z.pdf"


async def test_a_file_that_vanished_changes_nothing_and_is_logged_once(tmp_path):
    path = write(tmp_path, SMALL)
    log = LogLines()
    async with scheme(tmp_path, log) as letters:
        path.rename(tmp_path / "aside")
        for _ in range(3):
            assert not await letters.refresh()
        assert (await letters.locate("1")).locator == "a.pdf"
        assert [fields["detail"] for _, _, fields in log.lines] == [
            "the file cannot be opened: No such file or directory"
        ]
        (tmp_path / "aside").rename(path)
        assert not await letters.refresh()
        replace(tmp_path, SMALL.replace("a.pdf", "z.pdf"))
        assert await letters.refresh()


async def test_what_failed_for_a_passing_reason_is_tried_again(tmp_path):
    write(tmp_path, SMALL)
    place = tmp_path / "place"
    place.mkdir()
    log = LogLines()
    async with scheme(tmp_path, log, index=place / "kept") as letters:
        place.rename(tmp_path / "away")
        replace(tmp_path, SMALL.replace("a.pdf", "z.pdf"))
        assert not await letters.refresh()
        assert not await letters.refresh()
        assert len(log.lines) == 1
        (tmp_path / "away").rename(place)
        assert await letters.refresh()
        assert (await letters.locate("1")).locator == "z.pdf"


async def test_look_ups_that_began_with_the_old_index_end_with_it(tmp_path):
    write(tmp_path, SMALL)
    async with scheme(tmp_path) as letters:
        go_on = threading.Event()
        held = letters._on(letters._look_ups, go_on.wait)
        early = [asyncio.ensure_future(letters.locate("1")) for _ in range(5)]
        await asyncio.sleep(0)
        replace(tmp_path, "id,path\n1,new.pdf\n")
        refresh = asyncio.ensure_future(letters.refresh())
        await until(lambda: letters.rows == 1)
        late = asyncio.ensure_future(letters.locate("1"))
        go_on.set()
        assert [location.locator for location in await asyncio.gather(*early)] == ["a.pdf"] * 5
        assert (await late).locator == "new.pdf"
        assert await refresh
        assert await held


async def test_readers_never_see_two_manifests_mixed_while_it_is_reloaded(tmp_path):
    """Every row of generation n leads to folder n: a reader that saw n must not see anything older later."""
    ids = [f"d{n:06d}" for n in range(0, 2000, 7)]
    write(tmp_path, many(2000, "0"))
    async with scheme(tmp_path) as letters:
        generations: set[int] = set()
        done = asyncio.Event()

        async def read(offset: int) -> int:
            newest = count = 0
            while not done.is_set():
                id = ids[(offset + count * 31) % len(ids)]
                location = await letters.locate(id)
                generation, _, name = location.locator.split("/")
                assert name == f"{int(id[1:])}.pdf"
                assert location.title == f"Letter {int(id[1:])}"
                assert int(generation) >= newest
                newest = int(generation)
                generations.add(newest)
                count += 1
                await asyncio.sleep(0)
            return count

        readers = [asyncio.ensure_future(read(offset)) for offset in range(8)]
        for generation in range(1, 9):
            replace(tmp_path, many(2000, str(generation)))
            assert await letters.refresh()
        done.set()
        assert min(await asyncio.gather(*readers)) > 20
        assert generations >= {0, 1, 7}


class Told(LogLines):
    """Log lines that can be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.more = asyncio.Event()

    def info(self, event: str, **fields: Any) -> None:
        super().info(event, **fields)
        self.more.set()

    def warning(self, event: str, **fields: Any) -> None:
        super().warning(event, **fields)
        self.more.set()

    async def next(self) -> tuple[str, str, dict[str, Any]]:
        async with asyncio.timeout(10):
            await self.more.wait()
        self.more.clear()
        return self.lines[-1]


async def test_changes_are_noticed_without_being_told(tmp_path):
    write(tmp_path, SMALL)
    log = Told()
    async with scheme(tmp_path, log, refresh="10ms") as letters:
        replace(tmp_path, SMALL.replace("a.pdf", "z.pdf"))
        assert (await log.next())[1] == "manifest read again"
        assert (await letters.locate("1")).locator == "z.pdf"
        replace(tmp_path, "broken\n")
        assert (await log.next())[1] == "manifest refused, the old one stays"
        (tmp_path / "index.csv").unlink()
        assert "cannot be opened" in (await log.next())[2]["detail"]
        replace(tmp_path, SMALL)
        assert (await log.next())[1] == "manifest read again"
        assert len(log.lines) == 4


async def test_the_watch_survives_a_defect(tmp_path, monkeypatch):
    write(tmp_path, SMALL)
    log = Told()
    real, calls = FileVersion.of, []

    def fail_once(facts: os.stat_result) -> FileVersion:
        calls.append(1)
        if len(calls) == 2:
            raise RuntimeError("smith.pdf")
        return real(facts)

    async with scheme(tmp_path, log, refresh="10ms"):
        monkeypatch.setattr(FileVersion, "of", fail_once)
        assert await log.next() == ("warning", "manifest could not be looked at", {"error": "RuntimeError"})
        replace(tmp_path, SMALL.replace("a.pdf", "z.pdf"))
        assert (await log.next())[1] == "manifest read again"


async def test_a_file_that_is_being_written_is_left_alone(tmp_path):
    """Each state of the half-written file would load; none may."""
    path = write(tmp_path, SMALL)
    log = Told()
    async with scheme(tmp_path, log, refresh="50ms") as letters:
        with path.open("w") as file:
            file.write("id,path\n")
            for n in range(100):
                file.write(f"{n},{n}.pdf\n")
                file.flush()
                await asyncio.sleep(0.003)
            assert log.lines == []
            assert letters.rows == 3
        assert (await log.next())[2]["rows"] == 100


# --- ends ----------------------------------------------------------------------------------------------------------


async def test_leaving_while_it_is_reading_again(tmp_path, temporary):
    write(tmp_path, SMALL)
    async with scheme(tmp_path, refresh="5ms") as letters:
        replace(tmp_path, many(50_000))
        await until(lambda: not letters._importing.done())
    assert letters._importing.done()
    assert os.listdir(temporary) == []


@pytest.mark.parametrize("rows", [50_000, 5], ids=["while reading", "at the last moment"])
async def test_a_start_that_is_cancelled_leaves_nothing(tmp_path, temporary, rows):
    write(tmp_path, many(rows))
    loop, begun, seen = asyncio.get_running_loop(), asyncio.Event(), Reports()

    def report(*facts: int) -> None:
        seen(*facts)
        loop.call_soon_threadsafe(begun.set)
        cancelled.wait(5)

    cancelled = threading.Event()
    start = asyncio.ensure_future(scheme(tmp_path, progress=report).__aenter__())
    await begun.wait()
    start.cancel()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    cancelled.set()
    with pytest.raises(asyncio.CancelledError):
        await start
    assert len(seen.seen) == 1
    assert os.listdir(temporary) == []


async def test_a_cancelled_refresh_leaves_the_old_index_and_can_be_repeated(tmp_path):
    write(tmp_path, SMALL)
    async with scheme(tmp_path) as letters:
        replace(tmp_path, many(50_000))
        first = letters._importing
        refresh = asyncio.ensure_future(letters.refresh())
        await until(lambda: letters._importing is not first)
        refresh.cancel()
        with pytest.raises(asyncio.CancelledError):
            await refresh
        assert (await letters.locate("1")).locator == "a.pdf"
        assert await letters.refresh()
        assert letters.rows == 50_000


# --- settings ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "key", "says"),
    [
        ({"encoding": "klingon"}, "encoding", "not known"),
        ({"encoding": "base64"}, "encoding", "not known"),
        ({"delimiter": ""}, "delimiter", "at least 1 character"),
        ({"delimiter": "||"}, "delimiter", "at most 1 character"),
        ({"delimiter": '"'}, "delimiter", "cannot separate"),
        ({"delimiter": "a"}, "delimiter", "cannot separate"),
        ({"delimiter": "\n"}, "delimiter", "cannot separate"),
        ({"separator": "x"}, "separator", "'/' or '\\\\'"),
        ({"refresh": 30}, "refresh", "no unit"),
        ({"refresh": "0s"}, "refresh", "greater than 0"),
        ({"indx": "x"}, "indx", "not permitted"),
    ],
)
def test_settings_that_cannot_work(tmp_path, options, key, says):
    with pytest.raises(ValidationError) as refused:
        settings(tmp_path, **options)
    (error,) = refused.value.errors()
    assert error["loc"][-1] == key
    assert says in error["msg"]


def test_the_index_cannot_be_the_file(tmp_path):
    with pytest.raises(ValidationError, match="are the same file"):
        settings(tmp_path, index=tmp_path / "index.csv")
