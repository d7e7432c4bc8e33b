"""How key sets are read, on an event loop that may not be blocked."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gateway.security.fetching import FileFetch, Unreadable, UrlFetch
from tests.support.issuer import Fault, Issuer, publishing


async def test_a_file_is_read_anew_each_time(tmp_path: Path) -> None:
    path = tmp_path / "jwks.json"
    path.write_bytes(b"one")
    async with FileFetch(path, limit=3) as fetch:
        assert await fetch() == b"one"
        path.write_bytes(b"three")
        assert await fetch() == b"thre", "one byte past the limit, so that too much is told from just enough"
        path.unlink()
        with pytest.raises(Unreadable, match="No such file"):
            await fetch()


async def test_a_key_set_is_asked_for_without_blocking_the_loop() -> None:
    with publishing(Issuer()) as issuer:
        made = await asyncio.to_thread(UrlFetch, issuer.url)
        async with made as fetch:
            assert await fetch() == issuer.key_set()
            issuer.fault = Fault(delay=0.2)
            reading = asyncio.create_task(fetch())
            turns = 0
            while not reading.done():
                turns += 1
                await asyncio.sleep(0.005)
            assert turns > 10


async def test_an_answer_without_end_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.security.fetching.FETCH_SECONDS", 0.1)
    with publishing(Issuer()) as issuer:
        issuer.fault = Fault(delay=0.5)
        made = await asyncio.to_thread(UrlFetch, issuer.url)
        async with made as fetch:
            with pytest.raises(Unreadable, match="no answer within"):
                await fetch()


async def test_neither_a_proxy_nor_a_cookie_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with publishing(Issuer()) as issuer, publishing(Issuer()) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("http_proxy", proxy.url)
        issuer.fault = Fault(headers={"Set-Cookie": "a=b"})
        made = await asyncio.to_thread(UrlFetch, issuer.url)
        async with made as fetch:
            assert await fetch() == issuer.key_set()
        assert (issuer.asked, proxy.asked) == (1, 0)


async def test_an_answer_is_read_up_to_a_limit() -> None:
    with publishing(Issuer()) as issuer:
        issuer.fault = Fault(body=b" " * (512 * 1024 + 1))
        made = await asyncio.to_thread(UrlFetch, issuer.url)
        async with made as fetch:
            with pytest.raises(Unreadable, match="larger than 512 KiB"):
                await fetch()
