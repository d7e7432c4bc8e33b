"""The adapter's life: its options, the root it finds, what it says it can do, and a root that moves."""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from adapters.contract import MAX_CHUNK
from adapters.errors import AccessDenied, NotFound, OptionError, Unavailable
from adapters.filesystem import FilesystemAdapter, FilesystemOptions
from tests.support.folder import archive, lent, read, unprivileged


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder whose parents everybody may enter; pytest's own are closed to other accounts."""
    path = Path(tempfile.mkdtemp(prefix="folder-test-"))
    path.chmod(0o755)
    yield path
    for folder in path.iterdir():
        folder.chmod(0o700)
    shutil.rmtree(path)


# --- options ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "name", "value"),
    [
        ({"settle": "5s"}, "settle", 5.0),
        ({"settle": "250ms"}, "settle", 0.25),
        ({"settle": "1.5m"}, "settle", 90.0),
        ({"chunk_size": "192KiB"}, "chunk_size", 196_608),
        ({"chunk_size": 3}, "chunk_size", 3),
        ({"local": None}, "local", None),
        ({"local": "true"}, "local", True),
        ({}, "case_insensitive", False),
        ({}, "require_mount", False),
    ],
)
def test_options_as_people_write_them(given: dict[str, Any], name: str, value: object) -> None:
    assert getattr(FilesystemOptions.model_validate({"root": "/archive", **given}), name) == value


@pytest.mark.parametrize(
    "given",
    [
        {"rot": "/archive"},
        {"chunk_size": 0},
        {"chunk_size": 100},
        {"chunk_size": MAX_CHUNK + 2},
        {"chunk_size": -3},
        {"settle": 5},
        {"settle": "5"},
        {"settle": "-5s"},
        {"settle": -5.0},
        {"settle": float("nan")},
        {"settle": "soon"},
        {"local": "perhaps"},
    ],
)
def test_options_that_mean_nothing_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        FilesystemOptions.model_validate({"root": "/archive", **given})


def test_every_option_is_described() -> None:
    assert all(field.description for field in FilesystemOptions.model_fields.values())


# --- entering --------------------------------------------------------------------------------------------------------


async def refusal(root: Path, **options: Any) -> OptionError:
    with pytest.raises(OptionError) as refused:
        async with archive(root, **options):
            pytest.fail("entered")
    assert refused.value.option == "root"
    assert refused.value.cure
    assert str(root) not in f"{refused.value} {refused.value.cure}"
    assert refused.value.__cause__ is None
    assert refused.value.__context__ is None
    return refused.value


async def test_a_root_that_is_none_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "loop").symlink_to("loop")
    assert "exist" in (await refusal(tmp_path / "nowhere")).detail
    assert "folder" in (await refusal(tmp_path / "file")).detail
    assert "exist" in (await refusal(tmp_path / "nowhere" / "deeper")).detail
    assert "nowhere" in (await refusal(tmp_path / "loop")).detail


@pytest.mark.parametrize("mode", [0o000, 0o444, 0o311])
async def test_a_root_without_permission_is_explained(public: Path, mode: int) -> None:
    closed = public / "closed"
    closed.mkdir(mode=0o700)
    closed.chmod(mode)
    with unprivileged():
        assert "read" in (await refusal(closed)).detail


async def test_the_root_may_be_a_link_and_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "letter.pdf").write_bytes(b"letter")
    (tmp_path / "link").symlink_to("real")
    monkeypatch.chdir(tmp_path)
    for root in (tmp_path / "link", Path("link"), Path("real/../real"), tmp_path / "real"):
        async with archive(root) as adapter:
            assert await read(adapter, "letter.pdf") == b"letter"
            monkeypatch.chdir("/")
            await adapter.probe()
            assert await read(adapter, "letter.pdf") == b"letter"
            monkeypatch.chdir(tmp_path)


async def test_construction_touches_nothing(tmp_path: Path) -> None:
    with lent() as services:
        adapter = FilesystemAdapter("test", FilesystemOptions(root=tmp_path / "nowhere"), services)
        assert adapter.capabilities.spans
        await adapter.__aexit__(None, None, None)


async def test_entering_again_and_leaving_twice(tmp_path: Path) -> None:
    (tmp_path / "letter.pdf").write_bytes(b"letter")
    with lent() as services:
        adapter = FilesystemAdapter("test", FilesystemOptions(root=tmp_path), services)
        for _ in range(2):
            async with adapter:
                assert await read(adapter, "letter.pdf") == b"letter"
                assert await adapter.resolve("letter") == "letter.pdf"
            await adapter.__aexit__(None, None, None)


async def test_asked_after_leaving_it_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "letter.pdf").write_bytes(b"letter")
    async with archive(tmp_path) as adapter:
        pass
    for attempt in (read(adapter, "letter.pdf"), adapter.resolve("letter"), adapter.probe()):
        with pytest.raises(Unavailable):
            await attempt


# --- capabilities ----------------------------------------------------------------------------------------------------


async def test_this_machines_own_disks_are_local_and_nothing_else(tmp_path: Path) -> None:
    for root, local in ((tmp_path, True), (Path("/dev/shm"), True), (Path("/proc"), False), (Path("/sys"), False)):
        async with archive(root) as adapter:
            assert adapter.capabilities.local is local, root
        async with archive(root, local=not local) as adapter:
            assert adapter.capabilities.local is not local, root


@pytest.mark.parametrize(("soft", "expected"), [(1000, 250), (3, 1), (resource.RLIM_INFINITY, None)])
async def test_it_opens_no_more_than_its_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, soft: int, expected: int | None
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, soft))
    async with archive(tmp_path) as adapter:
        assert adapter.capabilities.max_open == expected


@pytest.mark.requirement("SC-06")
async def test_nothing_needs_to_be_writable(public: Path) -> None:
    root = public / "root"
    (root / "folder").mkdir(parents=True)
    (root / "folder" / "letter.pdf").write_bytes(b"letter")
    for path in (root / "folder" / "letter.pdf", root / "folder", root):
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = {path: path.stat() for path in (root, root / "folder")}
    with unprivileged():
        async with archive(root) as adapter:
            await adapter.probe()
            assert await adapter.resolve("folder/letter") == "folder/letter.pdf"
            assert await read(adapter, "folder/letter.pdf") == b"letter"
    assert all(path.stat().st_mtime_ns == status.st_mtime_ns for path, status in before.items())
    (root / "folder").chmod(0o755)


# --- probing ---------------------------------------------------------------------------------------------------------


async def test_a_root_that_was_replaced_is_followed_by_the_probe(tmp_path: Path) -> None:
    root, other, old = tmp_path / "root", tmp_path / "other", tmp_path / "old"
    for folder, text in ((root, b"old"), (other, b"new")):
        folder.mkdir()
        (folder / "letter.pdf").write_bytes(text)
    async with archive(root) as adapter:
        assert await adapter.resolve("letter") == "letter.pdf"
        async with adapter.open("letter.pdf") as open_before:
            root.rename(old)
            other.rename(root)
            assert await read(adapter, "letter.pdf") == b"old"
            await adapter.probe()
            assert await read(adapter, "letter.pdf") == b"new"
            assert await anext(open_before.chunks) == b"old"
        (old / "late.pdf").write_bytes(b"")
        with pytest.raises(NotFound):
            await adapter.resolve("late")


async def test_a_root_that_went_away_and_came_back(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "letter.pdf").write_bytes(b"letter")
    async with archive(root) as adapter:
        root.rename(tmp_path / "gone")
        with pytest.raises(Unavailable, match="mount its share") as away:
            await adapter.probe()
        assert str(root) not in str(away.value)
        (tmp_path / "gone").rename(root)
        await adapter.probe()
        assert await read(adapter, "letter.pdf") == b"letter"


async def test_a_root_that_is_closed_later(public: Path) -> None:
    root = public / "root"
    root.mkdir(mode=0o755)
    async with archive(root) as adapter:
        root.chmod(0)
        with unprivileged(), pytest.raises((Unavailable, AccessDenied), match="rights"):
            await adapter.probe()


async def test_whether_a_root_is_local_is_found_anew_when_it_moves(tmp_path: Path) -> None:
    (tmp_path / "version").write_bytes(b"")
    root = tmp_path / "root"
    root.symlink_to(tmp_path)
    async with archive(root) as adapter:
        for target, local in ((tmp_path, True), (Path("/proc"), False), (tmp_path, True)):
            root.unlink()
            root.symlink_to(target)
            await adapter.probe()
            assert adapter.capabilities.local is local
            async with adapter.open("version") as content:
                assert (content.file is not None) is local


async def test_probing_a_folder_leaves_no_descriptor(tmp_path: Path) -> None:
    async with archive(tmp_path, threads=1) as adapter:
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(100):
            await adapter.probe()
        assert len(os.listdir("/proc/self/fd")) == before


async def test_a_share_that_is_not_mounted_is_unavailable_and_not_empty(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="mount the share"):
        async with archive(tmp_path, require_mount=True):
            pytest.fail("entered")
    root = tmp_path / "root"
    root.symlink_to("/dev/shm")
    async with archive(root, require_mount=True) as adapter:
        await adapter.probe()
        root.unlink()
        root.mkdir()
        with pytest.raises(Unavailable, match="mount the share"):
            await adapter.probe()


async def test_a_root_that_does_not_answer_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> int:
        raise OSError(107, "Transport endpoint is not connected", str(tmp_path))

    async with archive(tmp_path) as adapter:
        monkeypatch.setattr(os, "open", broken)
        with pytest.raises(Unavailable, match="ENOTCONN") as away:
            await adapter.probe()
        assert str(tmp_path) not in str(away.value)
        monkeypatch.undo()
        await adapter.probe()


async def test_entering_that_is_cancelled_leaves_nothing(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with lent(threads=1) as services:
        for turns in range(20):
            adapter = FilesystemAdapter("test", FilesystemOptions(root=tmp_path), services)
            entering = asyncio.create_task(adapter.__aenter__())
            for _ in range(turns):
                await asyncio.sleep(0)
            entering.cancel()
            await asyncio.wait([entering])
            await adapter.__aexit__(None, None, None)
    assert len(os.listdir("/proc/self/fd")) == before
