"""What disks do to a cache: full, hung, read-only, gone, changed behind its back. A request never notices."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path

import pytest

from adapters.contract import Span
from adapters.errors import Changed, Corrupt
from gateway.cache import Broken, Key, Limits, PurgePending, Scope
from gateway.cache.disk import HUNG, LOOK_SECONDS, REST, DiskCache
from gateway.cache.sealing import CHUNK, Keyring
from tests.conformance.cache_kit import KEYS
from tests.conformance.cache_kit.documents import KEY, Blob, document, kept, look, put, record, ticket_for
from tests.support.folder import evict
from tests.support.stalling_fuse import StallingMount

pytestmark = pytest.mark.blocking_allowed

SIZE = 900_000
DATA = document(SIZE)


def sealed(directory: Path, keep: float = 3900.0) -> DiskCache:
    return DiskCache(Limits(keep=keep), Keyring(KEYS), directory, max_bytes=64 << 20)


def plain(directory: Path) -> DiskCache:
    return DiskCache(Limits(), Keyring(), directory, max_bytes=64 << 20)


def only_file(directory: Path) -> Path:
    (found,) = directory.glob("*/*/*")
    return found


async def vanished(path: Path) -> None:
    """A file is removed by a thread that nobody waits for."""
    until = time.monotonic() + 5.0
    while path.exists():
        assert time.monotonic() < until, "a damaged file stays"
        await asyncio.sleep(0.01)


def forget_pages(path: Path) -> None:
    """Put a file that cannot be written to out of the page cache."""
    descriptor = os.open(path, os.O_RDONLY)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)


def overwrite(path: Path, at: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


# --- full ----------------------------------------------------------------------------------------------------------


def test_a_full_disk_is_not_stored_and_counted(tmp_path: Path) -> None:
    rights = "-m" if os.geteuid() == 0 else "-rm"
    command = ["unshare", rights, sys.executable, "-m", "tests.support.small_disk", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["stored"] == said["found"] == [True, True, True, False, False]
    assert said["faults"] == {"ENOSPC": 2}
    assert said["damaged"] == 0
    assert said["left"] == [], "what could not be written takes the room of what could"
    assert said["again"] == [True] * 5, "it stays full for good"
    assert said["state"] == "ok"


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_a_file_that_ends_in_the_middle_of_a_write_is_not_stored(tmp_path: Path) -> None:
    async with sealed(tmp_path) as cache:
        for size in (1, CHUNK, CHUNK + 100, SIZE - 1, SIZE + 30):
            with largest_file(size):
                assert not await put(cache, KEY, DATA)
            assert await look(cache, KEY) is None
        assert cache.counts.faults == {"EFBIG": 5}
        await kept(cache, KEY, DATA)
        assert os.listdir(tmp_path / ".incoming") == []


async def test_no_descriptors_is_a_miss_and_the_entry_stays(tmp_path: Path) -> None:
    async with sealed(tmp_path) as cache:
        await kept(cache, KEY, DATA)
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
            assert await look(cache, KEY) is None
            assert not await put(cache, KEY, DATA)  # looks first
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
        assert cache.counts.faults == {"EMFILE": 3}, "two look-ups and what they were for"
        assert await look(cache, KEY) == DATA


# --- gone, foreign, read-only --------------------------------------------------------------------------------------


async def test_a_directory_that_is_removed_is_a_miss(tmp_path: Path) -> None:
    directory = tmp_path / "cache"
    async with sealed(directory) as cache:
        await kept(cache, KEY, DATA)
        shutil.rmtree(directory)
        assert await look(cache, KEY) is None
        assert not await put(cache, KEY, DATA)
        await cache.drop(KEY)
        await cache.purge(Scope())
        assert cache.counts.faults["ENOENT"] == 1
        assert not directory.exists(), "another process may have made it anew"


async def test_what_the_operator_empties_is_used_again(tmp_path: Path) -> None:
    async with sealed(tmp_path) as cache:
        await kept(cache, KEY, DATA)
        shutil.rmtree(tmp_path / KEY.source)
        assert await look(cache, KEY) is None
        assert (await cache.stats()).bytes == 0
        await kept(cache, KEY, DATA)


async def test_a_folder_or_device_in_an_entry_s_place_is_a_miss(tmp_path: Path) -> None:
    async with sealed(tmp_path) as cache:
        for made in (os.mkdir, os.mkfifo, lambda path: os.symlink("/etc/passwd", path)):
            await kept(cache, KEY, document(1000))
            path = only_file(tmp_path)
            path.unlink()
            made(path)
            assert await look(cache, KEY) is None
            path.rmdir() if path.is_dir() else path.unlink(missing_ok=True)
        await kept(cache, KEY, DATA)


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[StallingMount]:
    """A read-only mirror of `stored` where the cache has the folder of its source."""
    (tmp_path / "stored").mkdir()
    (tmp_path / "cache" / KEY.source).mkdir(parents=True)
    with StallingMount(tmp_path / "stored", tmp_path / "cache" / KEY.source) as mounted:
        yield mounted


async def stored_in(mirror: Path, data: bytes = DATA) -> None:
    """An entry, as a cache of another time left it."""
    async with sealed(mirror.parent / "before") as cache:
        await kept(cache, KEY, data)
    for folder in (mirror.parent / "before" / KEY.source).iterdir():
        folder.rename(mirror / folder.name)


async def test_a_read_only_disk_serves_what_it_has_and_purges_say_that_they_are_pending(
    tmp_path: Path, mount: StallingMount
) -> None:
    await stored_in(mount.source)
    async with sealed(tmp_path / "cache") as cache:
        assert await look(cache, KEY) == DATA
        assert not await put(cache, KEY, DATA)
        with pytest.raises(PurgePending, match="1 files of the cache directory could not be removed"):
            await cache.purge(Scope(KEY.source, KEY.locator))
        assert await look(cache, KEY) is None, "found after a purge, if only by this process"
        for scope in (Scope(KEY.source, KEY.locator), Scope(None, KEY.locator), Scope(KEY.source), Scope()):
            with pytest.raises(PurgePending):
                await cache.purge(scope)
        await cache.purge(Scope(KEY.source, "another"))


async def test_a_disk_that_hangs_is_a_miss_in_time_and_then_left_alone(tmp_path: Path, mount: StallingMount) -> None:
    await stored_in(mount.source)
    async with sealed(tmp_path / "cache") as cache:
        with mount.hanging("open"):
            for _ in range(HUNG):
                begun = time.monotonic()
                assert await look(cache, KEY) is None
                assert time.monotonic() - begun < LOOK_SECONDS + 0.5
            assert cache.counts.faults == {"TimeoutError": HUNG}
            assert (await cache.stats()).state == "away"
            assert (await cache.look(KEY)).ticket is None, "what is fetched meanwhile could not be stored either"
            assert cache.counts.faults == {"TimeoutError": HUNG}, "the disk was asked again at once"
        until = time.monotonic() + REST + 3.0
        while await look(cache, KEY) != DATA:
            assert time.monotonic() < until, "not used again"
            await asyncio.sleep(0.1)
        await asyncio.to_thread(mount.wait_closed)
    assert cache.counts.damaged == 0


async def test_a_disk_that_fails_in_mid_body_breaks_the_hit(tmp_path: Path, mount: StallingMount) -> None:
    await stored_in(mount.source)
    async with sealed(tmp_path / "cache") as cache:
        hit = (await cache.look(KEY)).hit
        assert hit is not None
        with mount.failing("read"):
            forget_pages(only_file(tmp_path / "cache"))
            with pytest.raises(Broken):
                await whole(hit, SIZE)
        hit.close()
        assert cache.counts.damaged == 1
        assert await look(cache, KEY) is None, "an entry that broke is served again"


async def whole(hit: object, size: int) -> bytes:
    async with aclosing(hit.chunks(Span(0, size))) as chunks:  # type: ignore[attr-defined]
        return b"".join([piece async for piece in chunks])


# --- changed behind its back ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [sealed, plain])
@pytest.mark.parametrize("change", ["flip", "cut", "empty"])
async def test_an_entry_that_changes_in_mid_body_breaks(tmp_path: Path, make: type, change: str) -> None:
    async with make(tmp_path) as cache:
        await kept(cache, KEY, DATA)
        path = only_file(tmp_path)
        hit = (await cache.look(KEY)).hit
        assert hit is not None
        got = []
        with pytest.raises(Broken):
            async with aclosing(hit.chunks(Span(0, SIZE))) as chunks:
                async for piece in chunks:
                    if not got:
                        if change == "flip":
                            overwrite(path, SIZE - 100_000, b"\xff\x00\xff")
                        else:
                            os.truncate(path, 400_000 if change == "cut" else 0)
                    got.append(piece)
        hit.close()
        assert len(b"".join(got)) < SIZE, "all of it was given before anybody noticed"
        assert cache.counts.damaged == 1
        assert await look(cache, KEY) is None
        await vanished(path)
        await kept(cache, KEY, DATA)


@pytest.mark.parametrize("make", [sealed, plain])
@pytest.mark.parametrize("size", [0, 1000, SIZE])
async def test_bytes_that_were_put_between_or_taken_out_are_found(tmp_path: Path, make: type, size: int) -> None:
    data = document(size)
    async with make(tmp_path) as cache:
        await kept(cache, KEY, data)
        path = only_file(tmp_path)
        end_of_document = size + 16 * -(-size // CHUNK)
        for place in (0, size // 2, size, end_of_document, -9, -8, -1):
            for grown in (True, False):
                lying = path.read_bytes()
                at = place % len(lying)
                path.write_bytes(lying[:at] + b"\0" + lying[at:] if grown else lying[:at] + lying[at + 1 :])
                before = cache.counts.damaged
                hit = (await cache.look(KEY)).hit
                assert hit is None, f"a byte more ({grown}) at {at} of {len(lying)} was not noticed at once"
                assert cache.counts.damaged == before + 1
                await kept(cache, KEY, data)


async def test_a_local_file_that_changes_says_so_and_the_entry_goes(tmp_path: Path) -> None:
    async with plain(tmp_path) as cache:
        for change, error in ((overwrite, Changed), (lambda path, *_: os.truncate(path, 10), Corrupt)):
            await kept(cache, KEY, DATA)
            hit = (await cache.look(KEY)).hit
            assert hit is not None
            assert hit.file is not None
            assert await hit.file.read(0, 1000) == DATA[:1000]
            assert os.pread(hit.file.fd, 10, SIZE - 10) == DATA[-10:]
            hit.file.check()
            before = cache.counts.damaged
            change(only_file(tmp_path), SIZE - 50, b"x")
            with pytest.raises(error):
                await hit.file.read(SIZE - 100, 100)
                hit.file.check()
            with pytest.raises(Changed):
                hit.file.check()
            assert cache.counts.damaged == before + 1, "counted once"
            hit.close()
            assert hit.file.fd == -1
            assert await look(cache, KEY) is None


async def test_a_document_in_the_open_is_verified_again_only_when_its_file_changed(tmp_path: Path) -> None:
    async with plain(tmp_path) as cache:
        await kept(cache, KEY, DATA)
        path = only_file(tmp_path)
        assert path.read_bytes()[:SIZE] == DATA, "it does not lie in the open as it is"
        status = path.stat()
        overwrite(path, 300_000, b"other")
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert await look(cache, KEY) is None, "a writer that sets the time back was believed"
        assert cache.counts.damaged == 1


async def test_a_document_in_the_open_that_was_changed_while_nobody_ran_is_found(tmp_path: Path) -> None:
    async with plain(tmp_path) as cache:
        await kept(cache, KEY, DATA)
    path = only_file(tmp_path)
    status = path.stat()
    overwrite(path, SIZE // 2, b"other")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    async with plain(tmp_path) as cache:
        assert await look(cache, KEY) is None
        assert cache.counts.damaged == 1


@pytest.mark.parametrize("make", [sealed, plain])
async def test_what_the_page_cache_has_not_is_read_from_the_disk(tmp_path: Path, make: type) -> None:
    async with make(tmp_path) as cache:
        await kept(cache, KEY, DATA)
        for _ in range(3):
            hit = (await cache.look(KEY)).hit
            assert hit is not None
            evict(only_file(tmp_path))
            assert await whole(hit, SIZE) == DATA
            hit.close()
        assert cache.counts.damaged == 0


@pytest.mark.parametrize("make", [sealed, plain])
async def test_closing_while_a_thread_reads_lets_it_finish(tmp_path: Path, make: type) -> None:
    async with make(tmp_path) as cache:
        await kept(cache, KEY, DATA)
        for _ in range(20):
            hit = (await cache.look(KEY)).hit
            assert hit is not None
            evict(only_file(tmp_path))
            reading = asyncio.ensure_future(whole(hit, SIZE))
            await asyncio.sleep(0)
            hit.close()
            with pytest.raises((Broken, asyncio.CancelledError)):
                await reading
        assert cache.counts.damaged == 0, "a reader that leaves is no damage"
        assert await look(cache, KEY) == DATA


async def test_an_entry_of_a_key_ring_without_its_key_goes_in_its_time(tmp_path: Path) -> None:
    async with sealed(tmp_path) as cache:
        await kept(cache, KEY, DATA)
    ring = Keyring([type(KEYS[0])("k9", b"\x01" * 32)])
    async with DiskCache(Limits(keep=0.3), ring, tmp_path, max_bytes=64 << 20) as cache:
        assert await look(cache, KEY) is None
        await asyncio.sleep(0.6)
        assert list(tmp_path.glob("*/*/*")) == []


async def test_a_put_that_waits_for_its_body_holds_up_nobody(tmp_path: Path) -> None:
    async with sealed(tmp_path) as cache:
        going_on = asyncio.Event()

        async def waits(_: int) -> None:
            await going_on.wait()

        slow = Key("letters", "1", "slow")
        body = Blob(DATA, before=waits)
        putting = asyncio.ensure_future(cache.put(slow, await ticket_for(cache, slow), record(SIZE), body))
        for number in range(10):
            await kept(cache, Key("letters", "1", f"quick-{number}"), document(1000, number))
        await cache.purge(Scope("letters", "quick-1"))
        going_on.set()
        assert await putting
        assert await look(cache, slow) == DATA
