"""The xds adapter obeys the contract, over the fake repository: alone, with its registry, with documents that wait until they
are whole, and with documents that are made when they are asked for.

All connections pass a proxy, which breaks them off where a check asks for it, in both ways that connections break.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar

import pytest

from adapters.contract import Capabilities
from adapters.testing import AdapterConformance, Harness
from adapters.testing.proxy import LoopbackProxy
from adapters.xds import XdsAdapter, XdsOptions
from gateway.demo.xds import (
    PERSONALITIES,
    REPOSITORY,
    STANDARD,
    Document,
    Ending,
    FakeRepository,
    Personality,
    Stored,
    letter,
)
from gateway.demo.xds.documents import ON_DEMAND, STABLE
from tests.support.xds import fake_repository

ROOT = f"{REPOSITORY}.4711"
"""The arc of the documents' ids: checks look for it in texts."""


class RepositoryHarness(Harness):
    """A repository without a registry, asked by MTOM."""

    capabilities: ClassVar[Capabilities] = Capabilities(
        local=False,
        spans=False,
        cheap_stat=False,
        strong_versions=True,
        immutable=True,
        per_caller=False,
        max_open=None,
        reads_ahead=True,
    )
    missing: str = f"^{REPOSITORY}^{ROOT}.999999"
    hostile: Sequence[str] = (
        "../../etc/passwd",
        "no-such-4711",
        f"^{REPOSITORY}^",
        f"^1.2.3.4711^{ROOT}.1",
        f"1.2.3.4711^{REPOSITORY}^{ROOT}.1",
        f"^{REPOSITORY}^4711\r\nX-Injected: yes",
        f"^{REPOSITORY}^4711</x><y>&z;",
        f"^{REPOSITORY}^half-\ud800-4711",
        f"^{REPOSITORY}^{'a4711' * 1000}",
    )
    personality: ClassVar[Personality] = STANDARD
    endpoint: ClassVar[dict[str, Any]] = {}
    registry: ClassVar[dict[str, Any] | None] = None
    object_type: ClassVar[str] = STABLE
    orderly: ClassVar[bool] = False

    def __init__(self, fake: FakeRepository, proxy: LoopbackProxy) -> None:
        self.fake = fake
        self.proxy = proxy
        self.count = 0

    def adapter(self) -> XdsAdapter:
        base = f"http://{self.proxy.host}:{self.proxy.port}"
        endpoint = {"alias": "a", "url": f"{base}/repository", "repository_unique_ids": [REPOSITORY]} | self.endpoint
        given: dict[str, Any] = {"endpoints": [endpoint]}
        if self.registry is not None:
            given["registry"] = {"url": f"{base}/registry"} | self.registry
        return XdsAdapter("repository", XdsOptions.model_validate(given), self.services())

    def seed(self, data: bytes, *, media_type: str | None = None) -> str:
        self.count += 1
        self._put(f"{ROOT}.{self.count}", data, media_type or "application/pdf")
        return f"^{REPOSITORY}^{ROOT}.{self.count}"

    def replace(self, locator: str, data: bytes) -> None:
        self._put(locator.rpartition("^")[2], data, "application/pdf")

    def withdraw(self, locator: str) -> None:
        self.fake.shelf.remove(locator.rpartition("^")[2])

    def live(self) -> int:
        return sum(exchange.ending is Ending.OPEN for exchange in self.fake.exchanges)

    def cut_after(self, count: int) -> AbstractContextManager[None]:
        return self.proxy.cut_after(count, orderly=self.orderly)

    def offline(self) -> AbstractContextManager[None]:
        return self.proxy.offline()

    def _put(self, unique_id: str, data: bytes, media_type: str) -> None:
        self.fake.shelf.put(
            Document(unique_id=unique_id, content=Stored(data), media_type=media_type, object_type=self.object_type)
        )


class PlainHarness(RepositoryHarness):
    """Documents as base64 within the envelope, and an HTTP body that ends with its connection."""

    personality = PERSONALITIES["closing"]
    endpoint: ClassVar[dict[str, Any]] = {"request_encoding": "soap12"}
    orderly = True


class RegistryHarness(RepositoryHarness):
    """A registry that answers HEAD and states what documents must be."""

    capabilities = Capabilities(
        local=False,
        spans=False,
        cheap_stat=True,
        strong_versions=True,
        immutable=True,
        per_caller=False,
        max_open=None,
        reads_ahead=True,
    )
    registry: ClassVar[dict[str, Any] | None] = {"use_for": ["stat", "verify", "availability"]}


class SpoolHarness(RepositoryHarness):
    """Nothing is handed on before it is whole."""

    endpoint: ClassVar[dict[str, Any]] = {"verification": "spool"}


class OnDemandHarness(RepositoryHarness):
    """Documents whose bytes are others each time."""

    capabilities = Capabilities(
        local=False,
        spans=False,
        cheap_stat=False,
        strong_versions=False,
        immutable=False,
        per_caller=False,
        max_open=None,
        reads_ahead=True,
    )
    endpoint: ClassVar[dict[str, Any]] = {"on_demand": True}
    object_type = ON_DEMAND


class OverFake(AdapterConformance):
    @pytest.fixture
    async def harness(self) -> AsyncIterator[RepositoryHarness]:  # type: ignore[override]
        made: Any = self.harness_class
        # A repository knows its own id by the documents that it has.
        async with fake_repository(letter(1), personality=made.personality) as fake:
            with LoopbackProxy(fake.host, fake.port) as proxy:
                yield made(fake, proxy)


class TestRepository(OverFake):
    harness_class = RepositoryHarness


class TestPlain(OverFake):
    harness_class = PlainHarness


class TestRegistry(OverFake):
    harness_class = RegistryHarness


class TestSpool(OverFake):
    harness_class = SpoolHarness


class TestOnDemand(OverFake):
    harness_class = OnDemandHarness
