"""The memory adapter obeys the contract."""

from __future__ import annotations

from collections.abc import Sequence

from adapters.contract import Capabilities
from adapters.memory import MemoryAdapter, MemoryOptions
from adapters.testing import AdapterConformance, Harness


class MemoryHarness(Harness):
    """The archive is what the test holds; every adapter made of it gets the documents, and later changes."""

    capabilities = Capabilities(
        local=False,
        spans=True,
        cheap_stat=True,
        strong_versions=True,
        immutable=False,
        per_caller=False,
        max_open=None,
    )
    missing: str = "letters/no-such-4711.pdf"
    hostile: Sequence[str] = ("../../etc/passwd", "/etc/passwd", "a" * 4096, "letters\\..\\..\\x4711")

    def __init__(self) -> None:
        self.documents: dict[str, tuple[bytes, str | None]] = {}
        self.adapters: list[MemoryAdapter] = []

    def adapter(self) -> MemoryAdapter:
        adapter = MemoryAdapter("memory", MemoryOptions(), self.services())
        for locator, (data, media_type) in self.documents.items():
            adapter.put(locator, data, media_type)
        self.adapters.append(adapter)
        return adapter

    def seed(self, data: bytes, *, media_type: str | None = None) -> str:
        locator = f"letters/letter-{len(self.documents):04}.pdf"
        self.documents[locator] = data, media_type
        for adapter in self.adapters:
            adapter.put(locator, data, media_type)
        return locator

    def replace(self, locator: str, data: bytes) -> None:
        self.documents[locator] = data, self.documents[locator][1]
        for adapter in self.adapters:
            adapter.put(locator, data, self.documents[locator][1])

    def withdraw(self, locator: str) -> None:
        del self.documents[locator]
        for adapter in self.adapters:
            adapter.withdraw(locator)


class TestMemory(AdapterConformance):
    harness_class = MemoryHarness
