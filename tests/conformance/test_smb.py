"""The smb adapter obeys the contract, over a real smbd: with both engines, signed and encrypted.

All connections pass a proxy, which breaks them off where a check asks for it. The server is really stopped where it is to
be away.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from adapters.contract import Capabilities
from adapters.smb import SmbAdapter, SmbOptions
from adapters.testing import AdapterConformance, Harness
from adapters.testing.proxy import LoopbackProxy
from tests.support.samba import Samba, samba

PASSWORD = "a-password-of-0815"

SECOND = 1_000_000_000
"""In nanoseconds. A change that follows another within a tick of the clock leaves no trace; these never do."""


class ShareHarness(Harness):
    """A folder in a share of the test's own. Documents are written into it with plain file operations."""

    capabilities = Capabilities(
        local=False,
        spans=True,
        cheap_stat=True,
        strong_versions=True,
        immutable=False,
        per_caller=False,
        max_open=None,
        reads_ahead=True,
    )
    secrets = (PASSWORD,)
    missing: str = "letters/no-such-4711.pdf"
    hostile: Sequence[str] = (
        "../../etc/passwd",
        "/etc/passwd",
        "letters/../../secret-4711",
        "letters\\..\\..\\secret-4711",
        "letters/letter-4711.pdf:stream",
        "letters/*4711*",
        "letters/LETTER~1.PDF",
        "@GMT-2024.01.01-00.00.00/letters/x4711",
        "link-4711",
        "con",
        "a" * 300,
        "b/" * 3000,
        "nul\0byte-4711.pdf",
        "half-\ud800-4711.pdf",
    )
    options: ClassVar[dict[str, Any]] = {}

    def __init__(self, server: Samba, proxy: LoopbackProxy, archive: Path) -> None:
        self.server = server
        self.proxy = proxy
        self.archive = archive
        (archive / "letters").mkdir(exist_ok=True)
        if not (archive / "link-4711").is_symlink():
            (archive / "link-4711").symlink_to("/etc/passwd")

    def adapter(self) -> SmbAdapter:
        given = self.server.options(port=self.proxy.port, path=self.archive.name, **self.options)
        return SmbAdapter("share", SmbOptions.model_validate(given), self.services())

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
        return self.server.open_files()

    def cut_after(self, count: int) -> AbstractContextManager[None]:
        return self.proxy.cut_after(count)

    @contextmanager
    def offline(self) -> Iterator[None]:
        self.server.stop()
        try:
            yield
        finally:
            self.server.start()


class NativeSealed(ShareHarness):
    options: ClassVar[dict[str, Any]] = {}


class NativeSigned(ShareHarness):
    options: ClassVar[dict[str, Any]] = {"require_encryption": False}


class LibrarySealed(ShareHarness):
    capabilities = replace(ShareHarness.capabilities, reads_ahead=False)
    options: ClassVar[dict[str, Any]] = {"engine": "library"}


class LibrarySigned(ShareHarness):
    capabilities = replace(ShareHarness.capabilities, reads_ahead=False)
    options: ClassVar[dict[str, Any]] = {"engine": "library", "require_encryption": False}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Samba]:
    with samba(tmp_path_factory.mktemp("samba"), encryption="offered") as running:
        running.change_password(PASSWORD)
        yield running


@pytest.fixture(scope="module")
def proxy(server: Samba) -> Iterator[LoopbackProxy]:
    with LoopbackProxy(server.host, server.port) as relay:
        yield relay


class OverSamba(AdapterConformance):
    @pytest.fixture
    def harness(self, server: Samba, proxy: LoopbackProxy, request: pytest.FixtureRequest) -> ShareHarness:
        archive = server.folder() / f"archive-{len(os.listdir(server.folder()))}"
        archive.mkdir()
        return self.harness_class(server, proxy, archive)  # type: ignore[arg-type, return-value, call-arg]


class TestNativeSealed(OverSamba):
    harness_class = NativeSealed


class TestNativeSigned(OverSamba):
    harness_class = NativeSigned


class TestLibrarySealed(OverSamba):
    harness_class = LibrarySealed


class TestLibrarySigned(OverSamba):
    harness_class = LibrarySigned
