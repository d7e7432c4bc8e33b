"""The filesystem adapter obeys the contract: on this machine's own disks, step by step, and on a mount that can fail.

The first two harnesses differ in how the kernel is asked (`adapters.filesystem.confinement`), the third in where the
documents are: on a FUSE mount, which is no disk of this machine, so everything runs on threads.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest

from adapters.contract import Capabilities
from adapters.filesystem import FilesystemAdapter, FilesystemOptions, confinement
from adapters.filesystem.adapter import SHARE_OF_DESCRIPTORS
from adapters.testing import AdapterConformance, Harness
from tests.support.stalling_fuse import StallingMount

LOCAL = Capabilities(
    local=True,
    spans=True,
    cheap_stat=True,
    strong_versions=True,
    immutable=False,
    per_caller=False,
    max_open=resource.getrlimit(resource.RLIMIT_NOFILE)[0] // SHARE_OF_DESCRIPTORS,
)

SECOND = 1_000_000_000
"""In nanoseconds. A change that follows another within a tick of the clock leaves no trace; these never do."""


class FolderHarness(Harness):
    """A folder of the test's own. Documents are written into it with plain file operations."""

    capabilities = LOCAL
    offers_file = True
    missing: str = "letters/no-such-4711.pdf"
    hostile: Sequence[str] = (
        "../../etc/passwd",
        "/etc/passwd",
        "letters/../../secret-4711",
        "letters\\..\\..\\secret-4711",
        "link-4711",
        "a" * 300,
        "b/" * 3000,
        "nul\0byte-4711.pdf",
    )

    def __init__(self, archive: Path) -> None:
        self.archive = archive
        self.root = archive
        (archive / "letters").mkdir(exist_ok=True)
        if not (archive / "link-4711").is_symlink():
            (archive / "link-4711").symlink_to("/etc/passwd")

    def adapter(self) -> FilesystemAdapter:
        return FilesystemAdapter("folder", FilesystemOptions(root=self.root), self.services())

    def seed(self, data: bytes, *, media_type: str | None = None) -> str:
        locator = f"letters/letter-{len(os.listdir(self.archive / 'letters')):04}.pdf"
        (self.archive / locator).write_bytes(data)
        return locator

    def replace(self, locator: str, data: bytes) -> None:
        path = self.archive / locator
        status = path.stat()
        path.write_bytes(data)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + SECOND))

    def withdraw(self, locator: str) -> None:
        (self.archive / locator).unlink()

    def live(self) -> int:
        return sum(self._holds(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd"))

    def _holds(self, descriptor: str) -> bool:
        try:
            target = os.readlink(descriptor)
        except FileNotFoundError:  # the listing's own
            return False
        return target.startswith(f"{self.root}/letters/") and target.endswith((".pdf", ".pdf (deleted)"))


class MountHarness(FolderHarness):
    """The same folder, read through a FUSE mount that can be told to fail."""

    capabilities = replace(LOCAL, local=False)
    offers_file = False

    def __init__(self, mount: StallingMount) -> None:
        super().__init__(mount.source)
        self.mount = mount
        self.root = mount.mountpoint

    def live(self) -> int:
        return self.mount.live

    def cut_after(self, count: int) -> AbstractContextManager[None]:
        return self.mount.cutting(count)

    def offline(self) -> AbstractContextManager[None]:
        return self.mount.failing("getattr", "open", "read", "opendir", "readdir")


@pytest.fixture(scope="module")
def mount(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StallingMount]:
    folder = tmp_path_factory.mktemp("mirrored")
    (folder / "source").mkdir()
    with StallingMount(folder / "source", folder / "mount") as mounted:
        yield mounted


class TestLocal(AdapterConformance):
    harness_class = FolderHarness

    @pytest.fixture
    def harness(self, tmp_path: Path) -> FolderHarness:
        return FolderHarness(tmp_path)


@pytest.mark.blocking_allowed
class TestLocalStepByStep(TestLocal):
    """Where openat2(2) is refused. The walk calls os.open on the loop, which is meant."""

    @pytest.fixture(autouse=True)
    def _walk(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(confinement, "opener", lambda root: confinement.walk)


class TestMount(AdapterConformance):
    harness_class = MountHarness

    @pytest.fixture
    def harness(self, mount: StallingMount) -> MountHarness:
        return MountHarness(mount)
