"""An archive whose answers end early, however they are framed: never a whole answer, never a copy."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Literal

import pytest

from gateway.demo.xds import Document, large, letter
from gateway.demo.xds.faults import Fault
from gateway.demo.xds.personality import Break
from tests.support.xds import fake_repository
from tests.support.xds_gateway import XdsGateway, options, xds_gateway

pytestmark = pytest.mark.blocking_allowed

KIB = 1024
LARGE = large(1500 * KIB)
DOCUMENTS = {"letter": letter(1), "scan": LARGE}


def ends_after(count: int | None, framing: str, how: Literal["close", "reset"]) -> Fault:
    return Fault("early", "ends early", {"breaks": Break(how, after=count), "framing": framing})


async def kept(gateway: XdsGateway) -> int:
    """How many copies there are, once nothing is read any more."""
    upkeep = gateway.service.upkeep
    assert upkeep is not None
    await gateway.service.idle()
    async with asyncio.timeout(10):
        while (state := await upkeep.state())["reading"]:  # noqa: ASYNC110 - nothing tells us
            await asyncio.sleep(0.01)
    return int(state["entries"])


async def whole(gateway: XdsGateway, document: Document) -> bool:
    answer = await gateway.ask("care", document)
    return answer.status == 200 and answer.complete and answer.body == document.data


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
@pytest.mark.parametrize("name", DOCUMENTS)
async def test_what_ends_early_is_not_kept(tmp_path: Path, name: str, framing: str, how: Any) -> None:
    document = DOCUMENTS[name]
    places = [None, 0, 1, 100] if name == "letter" else [None, *range(0, 1500 * KIB, 192 * KIB), 1500 * KIB - 1]
    async with fake_repository(*DOCUMENTS.values()) as fake:
        async with xds_gateway({"care": options(fake)}, tmp_path, cache={"backend": "memory"}) as gateway:
            for place in places:
                # As often as a fill asks again before it gives up.
                fake.next(ends_after(place, framing, how), times=20)
                answer = await gateway.ask("care", document)
                assert not (answer.complete and answer.status == 200), place
                fake.forget()
                assert await kept(gateway) == 0, place
            assert await whole(gateway, document)
            assert await kept(gateway) == 1
            assert await whole(gateway, document)


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
async def test_what_ends_early_once_is_read_again_and_kept_whole(tmp_path: Path, framing: str) -> None:
    async with fake_repository(LARGE) as fake:
        async with xds_gateway({"care": options(fake)}, tmp_path, cache={"backend": "memory"}) as gateway:
            fake.next(ends_after(700 * KIB, framing, "close"))
            assert await whole(gateway, LARGE)
            assert await kept(gateway) == 1
            asked = len(fake.exchanges)
            assert await whole(gateway, LARGE)
            assert len(fake.exchanges) == asked, "the copy was not used"
