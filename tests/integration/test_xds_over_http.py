"""A repository behind the gateway over HTTP, where what the adapter knows and what HTTP promises meet."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from adapters.xds import arrival
from gateway.demo.xds import FakeRepository, large, letter, unassembled
from tests.support.xds import fake_repository
from tests.support.xds_gateway import XdsGateway, options, xds_gateway

pytestmark = pytest.mark.blocking_allowed

LONG = large(1_000_000)
"""More than is looked at before the first byte, so that only a registry can tell its size then."""


@pytest.fixture
async def fake() -> AsyncIterator[FakeRepository]:
    async with fake_repository(letter(1), letter(2), LONG) as running:
        yield running


@pytest.fixture
async def gateway(fake: FakeRepository, tmp_path: Path) -> AsyncIterator[XdsGateway]:
    sources = {
        "alone": options(fake),
        "asked-first": options(fake, use_for=("stat",)),
        "verified": options(fake, use_for=("stat", "verify")),
    }
    async with xds_gateway(sources, tmp_path) as running:
        yield running


@pytest.mark.parametrize("source", ["alone", "asked-first"])
async def test_a_range_of_a_document_whose_size_is_not_sure_is_answered_with_the_whole(
    gateway: XdsGateway, source: str
) -> None:
    """A registry's word on the size is not checked here: a reader who fetches parts up to it could lack the end."""
    answer = await gateway.ask(source, LONG, range="bytes=1000-1999")
    assert (answer.status, answer.framing, answer.complete) == (200, "chunked", True)
    assert answer.field("Content-Range") is None
    assert answer.body == LONG.data


async def test_a_range_of_a_document_that_is_verified_is_the_part(gateway: XdsGateway) -> None:
    answer = await gateway.ask("verified", LONG, range="bytes=1000-1999")
    assert (answer.status, answer.field("Content-Range")) == (206, "bytes 1000-1999/1000000")
    assert answer.body == LONG.data[1000:2000]


async def test_a_range_beyond_what_the_registry_states_gives_the_whole_when_there_is_more(
    fake: FakeRepository, gateway: XdsGateway
) -> None:
    fake.next("wrong-size", at="registry")  # it states one byte
    answer = await gateway.ask("asked-first", LONG, range="bytes=0-99")
    assert (answer.status, answer.body == LONG.data) == (200, True)


async def test_a_range_of_a_document_whose_size_shows_only_when_it_is_read(
    fake: FakeRepository, gateway: XdsGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The registry calls it not assembled yet, and so does not know its size; the repository then brings it at once."""
    monkeypatch.setattr(arrival, "PATIENCE", 10.0)
    document = fake.shelf.put(unassembled(3))
    answer = await gateway.ask("verified", document, range="bytes=100-199")
    assert (answer.status, answer.body == document.data[100:200]) == (206, True)
