"""A gateway in front of a share that hangs, dies and comes back: what its readers get, with a copy kept and without one."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from adapters.testing.proxy import LoopbackProxy
from tests.support.cached_gateway import read
from tests.support.gateway import Gateway, serving
from tests.support.raw_http import Answer, Ending, connect, request
from tests.support.samba import Samba, samba

pytestmark = [pytest.mark.blocking_allowed, pytest.mark.timeout(90)]

SIZE = 10 << 20
READERS = 20


@dataclass
class Front:
    server: Samba
    proxy: LoopbackProxy
    gateway: Gateway

    def put(self, name: str, data: bytes) -> None:
        (self.server.folder() / name).write_bytes(data)


@contextlib.contextmanager
def front(folder: Path, cache: dict[str, Any], *, repair: str = "10s") -> Iterator[Front]:
    """A gateway in front of a share; between the two a network that can be slowed down."""
    with samba(folder / "smb") as server, LoopbackProxy(server.host, server.port) as proxy:
        source = {
            "adapter": "smb",
            "ids": {"scheme": "template", "pattern": "{id}.pdf"},
            "options": server.options(port=proxy.port, require_encryption=False),
            # How long an archive is given a rest is not what is looked at here.
            "limits": {"repair_timeout": repair, "open_timeout": "5s", "breaker_pause": "100ms"},
        }
        with serving({"cache": cache, "sources": {"letters": source}}, folder / "gateway") as gateway:
            yield Front(server, proxy, gateway)


MEMORY = {"backend": "memory"}


def test_a_copy_comes_within_a_second_when_the_share_hangs(tmp_path: Path) -> None:
    data = random.Random(1).randbytes(1 << 20)
    with front(tmp_path, MEMORY) as there:
        there.put("a.pdf", data)
        while not read(there.gateway.url, "a").cached:
            time.sleep(0.05)
        there.server.pause()
        try:
            took = []
            for headers in ({}, {"Range": "bytes=0-99"}, {"Accept": "application/fhir+json"}):
                began = time.monotonic()
                answer = read(there.gateway.url, "a", **headers)
                took.append(time.monotonic() - began)
                assert answer.status in (200, 206)
                assert "detail=archive-away" in answer.headers["cache-status"]
                if not headers:
                    assert answer.body == data
            # `patience` is 0.8 s; a busy machine may be late, but hardly at each of them.
            assert min(took) < 1, took
        finally:
            there.server.resume()
        for _ in range(200):
            answer = read(there.gateway.url, "a")
            assert answer.body == data
            if "archive-away" not in answer.headers["cache-status"]:
                break
            time.sleep(0.05)
        else:
            raise AssertionError("the share came back, and nobody noticed")


# --- killed at half, with readers ------------------------------------------------------------------------------------


async def killed_at_half(there: Front, data: bytes, back: bytes | None) -> list[Answer]:
    """What twenty readers get of `data` when smbd dies at half and comes back with the document `back`, or not at all."""
    there.put("a.pdf", data)
    target = request("/R4/Binary/a")
    with there.proxy.latency(0.15):
        readers = [asyncio.ensure_future(_received(there.gateway, target)) for _ in range(READERS)]
        async with asyncio.timeout(20):
            while _sent(there.proxy) < len(data) // 2:  # noqa: ASYNC110 - nothing tells us
                await asyncio.sleep(0.005)
        assert not any(reader.done() for reader in readers)
        await asyncio.to_thread(there.server.stop)
        there.proxy.reset()
    assert _sent(there.proxy) < len(data), "everything had been read before the server died"
    if back is not None:
        # A document that is replaced as archives do it: another file under the old name.
        there.put("new", back)
        if back != data:
            (there.server.folder() / "new").replace(there.server.folder() / "a.pdf")
        await asyncio.to_thread(there.server.start)
    async with asyncio.timeout(60):
        return await asyncio.gather(*readers)


async def _received(gateway: Gateway, target: bytes) -> Answer:
    async with connect(gateway.host, gateway.port) as connection:
        await connection.send(target)
        return await connection.answer()


def _sent(proxy: LoopbackProxy) -> int:
    """Bytes that the server has sent so far."""
    return sum(turn.size for turn in proxy.turns if turn.sender == "server")


async def test_twenty_readers_notice_nothing_when_the_share_comes_back(tmp_path: Path) -> None:
    data = random.Random(2).randbytes(SIZE)
    with front(tmp_path, MEMORY) as there:
        answers = await killed_at_half(there, data, data)
        assert [answer.complete and answer.body == data for answer in answers] == [True] * READERS
        assert read(there.gateway.url, "a").body == data


@pytest.mark.parametrize("back", [random.Random(3).randbytes(SIZE), None], ids=["another document", "nothing"])
async def test_twenty_readers_are_told_when_the_rest_cannot_be_had(tmp_path: Path, back: bytes | None) -> None:
    data = random.Random(2).randbytes(SIZE)
    with front(tmp_path, MEMORY, repair="3s" if back else "300ms") as there:
        answers = await killed_at_half(there, data, back)
        assert [(answer.complete, answer.ending) for answer in answers] == [(False, Ending.RESET)] * READERS
        if back is None:
            assert read(there.gateway.url, "a").status in (503, 504)
            there.server.start()
            await asyncio.sleep(0.1)
        again = read(there.gateway.url, "a")
        assert again.body == (data if back is None else back)
