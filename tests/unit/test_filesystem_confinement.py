"""No locator leads out of the root or to anything but a regular file, whichever way the kernel is asked."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.errors import AccessDenied, InvalidLocator, NotFound
from adapters.filesystem import confinement
from adapters.filesystem.confinement import encode, openat2, walk
from tests.support.folder import archive, no_trace, outcomes, read, unprivileged

SECRET = b"a letter of another archive"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A root with one letter in a folder, and a secret beside the root."""
    (tmp_path / "secret.txt").write_bytes(SECRET)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret.txt").write_bytes(SECRET)
    root = tmp_path / "root"
    (root / "letters").mkdir(parents=True)
    (root / "letter.pdf").write_bytes(b"letter")
    (root / "letters" / "letter.pdf").write_bytes(b"inner letter")
    return root


@pytest.fixture(
    params=["openat2", pytest.param("walk", marks=pytest.mark.blocking_allowed)],
)
def opener(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> confinement.Opener:
    """Both ways of asking the kernel. The walk calls os.open on the loop, which is meant."""
    if request.param == "walk":
        monkeypatch.setattr(confinement, "opener", lambda root: walk)
        return walk
    here = os.open("/", os.O_PATH)
    try:
        assert confinement.opener(here) is openat2, "this kernel, or a filter around this process, refuses openat2(2)"
    finally:
        os.close(here)
    return openat2


async def test_plain_paths_are_read(tree: Path, opener: confinement.Opener) -> None:
    async with archive(tree) as adapter:
        assert await read(adapter, "letter.pdf") == b"letter"
        assert await read(adapter, "letters/letter.pdf") == b"inner letter"


@pytest.mark.requirement("SC-05")
async def test_no_symbolic_link_below_the_root_is_followed(tree: Path, opener: confinement.Opener) -> None:
    links = {
        "to-file": "letter.pdf",
        "to-secret": "../secret.txt",
        "to-absolute": str(tree.parent / "secret.txt"),
        "to-self": "to-self",
        "dangling": "nowhere",
        "letters/up": "../letter.pdf",
        "folder": "letters",
        "out": "../outside",
        "out-and-back": "../root",
        "absolute-back": str(tree),
        "here": ".",
        "proc": "/proc/self/root",
    }
    for name, target in links.items():
        (tree / name).symlink_to(target)
    refused = [*links, "folder/letter.pdf", "out/secret.txt", "out-and-back/letter.pdf", "absolute-back/letter.pdf"]
    refused += ["here/letter.pdf", "out-and-back/out/secret.txt", "letters/up", "proc/etc/passwd", "dangling/x"]
    async with archive(tree) as adapter:
        for locator in refused:
            for attempt in (read(adapter, locator), adapter.stat(locator), adapter.resolve(locator, ("",))):
                with pytest.raises(InvalidLocator):
                    await attempt


async def test_links_of_proc_are_refused(opener: confinement.Opener) -> None:
    async with archive("/proc") as adapter:
        for locator in ("self/environ", f"{os.getpid()}/root/etc/passwd", f"{os.getpid()}/cwd", f"{os.getpid()}/fd/0"):
            with pytest.raises(InvalidLocator):
                await read(adapter, locator)


@pytest.fixture
def strange(tree: Path) -> Iterator[list[str]]:
    """Names in the root that are no regular files."""
    os.mkfifo(tree / "fifo.pdf")
    os.mkfifo(tree / "letters" / "fifo")
    with socket.socket(socket.AF_UNIX) as listening:
        here = os.open(tree, os.O_PATH)
        listening.bind(f"/proc/self/fd/{here}/socket.pdf")
        os.close(here)
        yield ["fifo.pdf", "letters/fifo", "socket.pdf", "letters", "letter.pdf/letter.pdf"]


async def test_only_regular_files_are_documents(tree: Path, strange: list[str], opener: confinement.Opener) -> None:
    async with archive(tree) as adapter:
        for locator in strange:
            assert set(await outcomes(adapter, locator)) == {NotFound}, locator


async def test_a_fifo_with_a_writer_is_not_read(tree: Path, strange: list[str], opener: confinement.Opener) -> None:
    end = os.open(tree / "fifo.pdf", os.O_RDWR | os.O_NONBLOCK)
    try:
        os.write(end, b"not a document")
        async with archive(tree) as adapter:
            with pytest.raises(NotFound):
                await read(adapter, "fifo.pdf")
        assert os.read(end, 100) == b"not a document"
    finally:
        os.close(end)


async def test_devices_are_no_documents(opener: confinement.Opener) -> None:
    async with archive("/dev") as adapter:
        for locator in ("zero", "null", "full", "tty"):
            with pytest.raises((NotFound, AccessDenied)):
                await read(adapter, locator)
        with pytest.raises(NotFound):
            await read(adapter, "zero")


async def test_a_file_without_read_permission_is_denied(tree: Path, opener: confinement.Opener) -> None:
    os.chmod(tree, 0o755)
    os.chmod(tree / "letter.pdf", 0)
    os.chmod(tree / "letters", 0)
    async with archive(tree) as adapter:
        with unprivileged():
            for locator in ("letter.pdf", "letters/letter.pdf"):
                with pytest.raises(AccessDenied) as denied:
                    await read(adapter, locator)
                no_trace(denied.value, locator)
                with pytest.raises(AccessDenied):
                    await adapter.stat(locator)
            with pytest.raises(NotFound):
                await adapter.stat("absent.pdf")


async def test_a_name_longer_than_its_file_system_allows(tree: Path, opener: confinement.Opener) -> None:
    longest = "ä" * 127 + "b"
    (tree / longest).write_bytes(b"long")
    async with archive(tree) as adapter:
        assert await read(adapter, longest) == b"long"
        with pytest.raises(InvalidLocator):
            await read(adapter, longest + "b")


@pytest.fixture
def elsewhere() -> Iterator[str]:
    """A file below / on another mount than /, though one of this machine's own."""
    with tempfile.NamedTemporaryFile(dir="/dev/shm", prefix="folder-test-") as file:
        assert os.stat("/").st_dev != os.fstat(file.fileno()).st_dev, "/dev/shm is no mount of its own here"
        file.write(b"behind a mount point")
        file.flush()
        yield file.name.lstrip("/")


async def test_a_mount_below_the_root_is_read(elsewhere: str, opener: confinement.Opener) -> None:
    async with archive("/") as adapter:
        assert adapter.capabilities.local
        assert await read(adapter, elsewhere) == b"behind a mount point"
        assert (await adapter.stat(elsewhere)).size == 20
        assert await adapter.resolve(elsewhere, ("",)) == elsewhere
        async with adapter.open(elsewhere) as content:
            assert content.file is not None
        async with adapter.open("proc/version") as content:
            assert content.file is None, "/proc is not one of this machine's disks"


# --- both ways are one -----------------------------------------------------------------------------------------------

_PARTS = ["letter.pdf", "letters", "link", "back", "fifo", "nowhere", "deep", "ELOOP"]


@pytest.fixture(scope="module")
def playground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    root = tmp_path_factory.mktemp("playground")
    for folder in (root, root / "letters", root / "letters" / "deep", root / "deep"):
        folder.mkdir(exist_ok=True)
        (folder / "letter.pdf").write_text(str(folder.relative_to(root)))
        (folder / "link").symlink_to("letter.pdf")
        (folder / "back").symlink_to("..")
        (folder / "ELOOP").symlink_to("ELOOP")
        os.mkfifo(folder / "fifo")
    descriptor = os.open(root, os.O_PATH)
    yield descriptor
    os.close(descriptor)


@given(
    parts=st.lists(st.sampled_from(_PARTS), min_size=1, max_size=4),
    flags=st.sampled_from([confinement.READ, confinement.LOOK, confinement.ENTER, confinement.LIST]),
)
def test_the_walk_refuses_and_allows_what_openat2_does(playground: int, parts: list[str], flags: int) -> None:
    path = encode("/".join(parts))

    def outcome(opener: confinement.Opener) -> object:
        try:
            descriptor = opener(playground, path, flags, False)
        except OSError as error:
            return error.errno
        status = os.fstat(descriptor)
        os.close(descriptor)
        return status.st_dev, status.st_ino

    assert outcome(walk) == outcome(openat2)


def test_the_walk_stays_on_the_mount_by_taking_one_step(playground: int) -> None:
    with pytest.raises(OSError, match="cross-device"):
        walk(playground, b"letters/letter.pdf", confinement.READ, True)
    os.close(walk(playground, b"letter.pdf", confinement.READ, True))


@pytest.mark.parametrize("number", [1, 38], ids=["EPERM", "ENOSYS"])
def test_without_openat2_the_walk_is_taken(playground: int, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    assert confinement.opener(playground) is openat2
    monkeypatch.setattr(confinement, "openat2", refused)
    assert confinement.opener(playground) is walk
