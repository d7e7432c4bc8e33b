"""The disk cache's directory: who may use it, what lies in it, what is left alone. Its contract is in tests/conformance."""

from __future__ import annotations

import asyncio
import os
import stat
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from adapters.testing.harness import RecordingLog
from gateway.cache import Key, Limits, Scope
from gateway.cache.disk import DiskCache
from gateway.cache.disk_directory import folder_of, path_of, source_of
from gateway.cache.sealing import CacheKey, Keyring
from gateway.cache.unusable import DirectoryUnusable
from tests.conformance.cache_kit import KEYS
from tests.conformance.cache_kit.checks.secrecy import spellings
from tests.conformance.cache_kit.documents import KEY, Blob, document, kept, look, put, record, ticket_for
from tests.support.folder import unprivileged

pytestmark = pytest.mark.blocking_allowed

MIB = 1 << 20


def opened(
    directory: Path, keys: Sequence[CacheKey] = KEYS, *, max_bytes: int = 64 * MIB, log: RecordingLog | None = None
) -> DiskCache:
    return DiskCache(Limits(), Keyring(keys), directory, max_bytes=max_bytes, log=log)


def files(directory: Path) -> list[Path]:
    return sorted(directory.glob("*/*/*"))


# --- who may use it ------------------------------------------------------------------------------------------------


async def test_everything_is_the_account_s_alone(tmp_path: Path) -> None:
    directory = tmp_path / "made" / "cache"
    umask = os.umask(0)
    try:
        async with opened(directory) as cache:
            await kept(cache, KEY, document(MIB))
            lying = [directory, *directory.rglob("*")]
            modes = {path: stat.S_IMODE(path.stat().st_mode) for path in lying}
    finally:
        os.umask(umask)
    assert len(lying) == 6
    assert all(mode == (0o700 if path.is_dir() else 0o600) for path, mode in modes.items()), modes


async def test_a_directory_that_was_open_to_others_is_closed_to_them(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    async with opened(tmp_path):
        assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700


async def test_a_second_cache_on_the_same_directory_is_refused(tmp_path: Path) -> None:
    async with opened(tmp_path) as cache:
        await kept(cache, KEY, document(1000))
        with pytest.raises(DirectoryUnusable, match=r"is used by another process\.") as raised:
            await opened(tmp_path).__aenter__()
        assert raised.value.cure == "Give each process a directory of its own."
        assert await look(cache, KEY) == document(1000)
    async with opened(tmp_path) as cache:
        assert await look(cache, KEY) == document(1000)


async def test_a_second_process_on_the_same_directory_is_refused(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.support.cache_killing", "steady", "sealed", str(tmp_path)]
    async with opened(tmp_path):
        process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        _, said = await process.communicate()
        assert process.returncode == 1
        assert f"Unusable: The cache directory {tmp_path} is used by another process." in said.decode()
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert await process.stdout.readline() == b"putting\n", "the directory was not let go"
    process.kill()
    await process.communicate()


async def test_a_directory_that_cannot_be_used_is_said_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for directory in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OSError, match=rf"The cache directory {directory} cannot be used: .*\."):
            await opened(directory).__aenter__()
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o555)
    tmp_path.chmod(0o755)
    with unprivileged(), pytest.raises(OSError, match="cannot be used: Permission denied"):
        await opened(closed).__aenter__()


# --- what lies in it -----------------------------------------------------------------------------------------------


async def test_one_file_for_each_entry_below_its_source(tmp_path: Path) -> None:
    keys = [KEY, replace(KEY, partition="other"), replace(KEY, source="Shared care/2"), replace(KEY, source=".lock")]
    async with opened(tmp_path) as cache:
        for key in keys:
            await kept(cache, key, document(1000, key))
        names = [str(path.relative_to(tmp_path)) for path in files(tmp_path)]
        assert names == sorted(path_of((folder_of(key.source), Keyring(KEYS).names(key)[0])) for key in keys)
        assert {name.partition("/")[0] for name in names} == {"letters", "Shared%20care%2F2", "%2Elock"}
        assert os.listdir(tmp_path / ".incoming") == []


@pytest.mark.parametrize("source", ["letters", ".", "..", ".lock", "a/b", "ä", "%2E", "caf\udce9", " "])
def test_a_folder_tells_its_source(source: str) -> None:
    folder = folder_of(source)
    assert source_of(folder) == source
    assert "/" not in folder
    assert not folder.startswith(".")


@pytest.mark.parametrize("source", ["", "x" * 256, "ä" * 50])
async def test_a_source_that_can_have_no_folder_is_never_stored(tmp_path: Path, source: str) -> None:
    with pytest.raises(ValueError):
        folder_of(source)
    async with opened(tmp_path) as cache:
        assert not await put(cache, replace(KEY, source=source), document(10))
        assert cache.counts.faults["ValueError"] > 0


async def test_nothing_that_names_a_patient_is_in_the_directory_at_any_moment(tmp_path: Path) -> None:
    text = b"canary text of a letter. " * 40_000
    key = Key("letters", "canary-epoch", "canary-locator/NHS-9434765919/file-name.pdf", "canary-partition")
    said = [text[:25], key.locator, "9434765919", "file-name", key.partition, key.epoch, "Canary-Title", "canary-valid"]
    words = spellings(said)
    seen = 0

    async def searched(_: int = 0) -> None:
        nonlocal seen
        for path in tmp_path.rglob("*"):
            lying = str(path.relative_to(tmp_path)).encode() + b"\0" + (path.read_bytes() if path.is_file() else b"")
            seen += len(lying)
            assert not [word for word in words if word in lying], path

    async with opened(tmp_path) as cache:
        failures: list[BaseException] = []

        async def watched(offset: int) -> None:
            try:
                await searched(offset)
            except AssertionError as error:
                failures.append(error)

        body = Blob(text, before=watched)
        assert await cache.put(key, await ticket_for(cache, key), record(len(text)), body)
        assert failures == []
        await searched()
        assert await look(cache, key) == text
        await put(cache, replace(key, locator=key.locator + "2"), text[:-1])
        await cache.purge(Scope(key.source, key.locator))
        await searched()
    await searched()
    assert seen > 3 * len(text), "too little was looked at"


async def test_in_the_open_the_document_lies_as_it_is_and_its_locator_nowhere(tmp_path: Path) -> None:
    data = document(MIB)
    async with opened(tmp_path, ()) as cache:
        await kept(cache, KEY, data)
        (path,) = files(tmp_path)
        assert path.read_bytes()[:MIB] == data
        hit = (await cache.look(KEY)).hit
        assert hit is not None
        assert hit.file is not None
        assert os.pread(hit.file.fd, 100, 5) == data[5:105]
        hit.close()
        words = spellings([KEY.locator, "smith-4711", "Canary-Title"])
        lying = path.read_bytes() + str(path).encode()
        assert not [word for word in words if word in lying]


# --- what is left alone, and what is not ---------------------------------------------------------------------------


async def test_foreign_files_are_left_alone_and_reported_once(tmp_path: Path) -> None:
    log = RecordingLog()
    async with opened(tmp_path) as cache:
        await kept(cache, KEY, document(1000))
    (path,) = files(tmp_path)
    foreign = [
        tmp_path / "README",
        tmp_path / "letters" / "notes.txt",
        path.parent / "letter.pdf",
        path.parent / path.name.upper(),
        path.parent / f"{'f' if path.name[0] != 'f' else 'e'}{path.name[1:]}",
    ]
    for one in foreign:
        one.write_bytes(b"theirs")
    (path.parent / ("0" * 48)).mkdir()
    (tmp_path / "link").symlink_to("/etc")
    async with opened(tmp_path, log=log) as cache:
        assert (await cache.stats()).entries == 1
        assert await look(cache, KEY) == document(1000)
        await cache.purge(Scope())
    assert log.lines == ["foreign files in the cache directory are left alone {'count': 7}"]
    assert [one.read_bytes() for one in foreign] == [b"theirs"] * 5
    assert not path.exists()


async def test_a_directory_of_ours_alone_is_no_news(tmp_path: Path) -> None:
    log = RecordingLog()
    for _ in range(2):
        async with opened(tmp_path, log=log) as cache:
            await kept(cache, KEY, document(1000))
    assert log.lines == []


async def test_what_a_killed_process_left_is_removed_at_the_start(tmp_path: Path) -> None:
    async with opened(tmp_path) as cache:
        await kept(cache, KEY, document(1000))
    (tmp_path / ".incoming" / "0123456789abcdef").write_bytes(bytes(100_000))
    async with opened(tmp_path) as cache:
        assert os.listdir(tmp_path / ".incoming") == []
        assert await look(cache, KEY) == document(1000)


async def test_the_order_of_use_outlives_the_process(tmp_path: Path) -> None:
    keys = [replace(KEY, locator=f"letter-{number}") for number in range(6)]
    async with opened(tmp_path) as cache:
        for number, key in enumerate(keys):
            await kept(cache, key, document(100_000, number))
            await asyncio.sleep(0.01)
        for number in (0, 2):
            assert await look(cache, keys[number]) is not None
            await asyncio.sleep(0.01)
    async with opened(tmp_path, max_bytes=2 * 120_000) as cache:
        found = [number for number, key in enumerate(keys) if await look(cache, key) is not None]
        assert found == [0, 2], "others than the ones that were read last are kept"
        assert len(files(tmp_path)) == 2


async def test_many_entries_are_found_again(tmp_path: Path) -> None:
    keys = [replace(KEY, locator=f"letter-{number}", source=f"source-{number % 3}") for number in range(300)]
    async with opened(tmp_path) as cache:
        for number, key in enumerate(keys):
            assert await put(cache, key, document(50, number))
    async with opened(tmp_path) as cache:
        assert (await cache.stats()).entries == 300
        for number, key in enumerate(keys):
            assert await look(cache, key) == document(50, number)
        await cache.purge(Scope("source-1"))
        assert (await cache.stats()).entries == len(files(tmp_path)) == 200


async def test_purging_a_document_finds_what_was_put_under_every_key(tmp_path: Path) -> None:
    new = CacheKey("k2", b"\x05" * 32)
    other = replace(KEY, partition="other")
    async with opened(tmp_path) as cache:
        await kept(cache, KEY, document(1000))
    async with opened(tmp_path, [new, *KEYS]) as cache:
        await kept(cache, other, document(1000))
        assert len(files(tmp_path)) == 2
        await cache.purge(Scope(KEY.source, KEY.locator))
        assert files(tmp_path) == []
        assert await look(cache, KEY) is None


async def test_a_document_of_any_source_can_be_purged(tmp_path: Path) -> None:
    async with opened(tmp_path) as cache:
        for source in ("letters", "scans", "a/b"):
            await kept(cache, replace(KEY, source=source), document(1000))
        await kept(cache, replace(KEY, locator="other"), document(1000))
        await cache.purge(Scope(None, KEY.locator))
        assert len(files(tmp_path)) == 1


async def test_an_entry_from_the_future_does_not_stay_longer(tmp_path: Path) -> None:
    async with opened(tmp_path) as cache:
        await kept(cache, KEY, document(1000))
    (path,) = files(tmp_path)
    os.utime(path, (path.stat().st_atime + 1e6, path.stat().st_mtime + 1e6))
    cache = DiskCache(Limits(keep=0.4), Keyring(KEYS), tmp_path, max_bytes=MIB)
    async with cache:
        assert await look(cache, KEY) == document(1000)
        await asyncio.sleep(0.6)
        assert await look(cache, KEY) is None


async def test_what_is_overdue_is_gone_when_a_process_starts(tmp_path: Path) -> None:
    async with opened(tmp_path) as cache:
        await kept(cache, KEY, document(1000))
    (path,) = files(tmp_path)
    os.utime(path, (path.stat().st_atime, path.stat().st_mtime - Limits().keep - 1))
    async with opened(tmp_path) as cache:
        assert files(tmp_path) == []
        assert (await cache.stats()).entries == 0
