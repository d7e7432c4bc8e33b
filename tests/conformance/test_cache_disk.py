"""The disk cache obeys the contract, encrypted and in the open."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from gateway.cache import Limits
from gateway.cache.disk import DiskCache
from gateway.cache.sealing import CacheKey, Keyring
from tests.conformance.cache_kit import BUDGET, KEYS, CacheConformance, CacheHarness


class DiskHarness(CacheHarness):
    """A folder of the test's own. Entries are damaged with plain file operations."""

    persistent = at_rest = encrypted = vanishes = True
    overhead = 3 * 4096

    def __init__(self, folder: Path) -> None:
        self.directory = folder / "cache"

    def cache(
        self, *, limits: Limits | None = None, budget: int = BUDGET, keys: Sequence[CacheKey] = KEYS
    ) -> DiskCache:
        return DiskCache(limits or Limits(), Keyring(keys), self.directory, max_bytes=budget)

    async def entries(self) -> Mapping[str, Mapping[str, bytes]]:
        return {str(path): {"": path.read_bytes()} for path in self.directory.glob("*/*/*")}

    async def lay(self, entry: str, part: str, data: bytes | None) -> None:
        if data is None:
            Path(entry).unlink()
        else:
            Path(entry).write_bytes(data)

    async def everything(self) -> Sequence[bytes]:
        found = []
        for path in self.directory.rglob("*"):
            found.append(str(path.relative_to(self.directory)).encode())
            if path.is_file():
                found.append(path.read_bytes())
        return found

    @asynccontextmanager
    async def away(self) -> AsyncIterator[None]:
        """Files lie where folders were."""
        folders = [path for path in self.directory.iterdir() if path.is_dir()]
        for folder in folders:
            folder.rename(folder.parent.parent / folder.name)
            folder.touch()
        try:
            yield
        finally:
            for folder in folders:
                folder.unlink()
                (folder.parent.parent / folder.name).rename(folder)


class PlainHarness(DiskHarness):
    encrypted = False

    def cache(
        self, *, limits: Limits | None = None, budget: int = BUDGET, keys: Sequence[CacheKey] = KEYS
    ) -> DiskCache:
        return DiskCache(limits or Limits(), Keyring(), self.directory, max_bytes=budget)


class TestEncrypted(CacheConformance):
    harness_class = DiskHarness


class TestInTheOpen(CacheConformance):
    harness_class = PlainHarness
