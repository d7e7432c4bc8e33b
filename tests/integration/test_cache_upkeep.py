"""What an operator does with the cache of a running gateway: by its admin listener, by command, and what is refused."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from click.testing import CliRunner, Result

from adapters.errors import Unavailable
from gateway.admin import LONGEST_BODY, Admin
from gateway.cache import Limits, PurgePending, Scope
from gateway.cache.memory import MemoryCache
from gateway.cli import main
from gateway.http_server import HttpServer
from gateway.observed import Observed
from gateway.shared import Sharing
from gateway.source import Limits as SourceLimits
from gateway.upkeep import Upkeep
from tests.support.fragile import STABLE, Archive
from tests.support.raw_http import Answer, exchange, request
from tests.support.service import Service, service

KIB = 1024
DATA = random.Random(5).randbytes(300 * KIB + 7)
JSON = ("Content-Type", "application/json")


class Cache(MemoryCache):
    """Notes what was purged; cannot be sure of it when `pending` is set."""

    def __init__(self) -> None:
        super().__init__(Limits(max_document=1 << 20), max_bytes=64 << 20)
        self.purged: list[Scope] = []
        self.pending = False

    async def purge(self, scope: Scope) -> None:
        await super().purge(scope)
        self.purged.append(scope)
        if self.pending:
            raise PurgePending("A replica did not answer.")


@dataclass
class Running:
    service: Service
    archive: Archive
    cache: Cache
    admin: Admin
    port: int

    async def send(self, path: str, body: bytes, *fields: tuple[str, str], method: str = "POST") -> Answer:
        fields = (*(fields or (JSON,)), ("Content-Length", str(len(body))))
        sent = request(path, method=method, fields=fields, body=body)
        (answer,) = await exchange("127.0.0.1", self.port, sent, methods=(method,))
        return answer

    async def act(self, path: str, **asked: Any) -> tuple[int, str]:
        answer = await self.send(path, json.dumps(asked).encode())
        return answer.status, str(json.loads(answer.body)["status"])

    async def command(self, *arguments: str) -> Result:
        return await asyncio.to_thread(CliRunner().invoke, main, ["cache", *arguments], env=self.environment)

    @property
    def environment(self) -> dict[str, str]:
        return {
            "GATEWAY__ADMIN__PORT": str(self.port),
            "GATEWAY__AUTH__MODE": "none",
            "GATEWAY__SOURCES__LETTERS__ADAPTER": "filesystem",
            "GATEWAY__SOURCES__LETTERS__OPTIONS__ROOT": "/",
            "GATEWAY__SOURCES__LETTERS__IDS__SCHEME": "template",
            "GATEWAY__SOURCES__LETTERS__IDS__PATTERN": "{id}.*",
        }


@asynccontextmanager
async def operated() -> AsyncIterator[Running]:
    archive = Archive(capabilities=STABLE)
    archive.put("a", DATA)
    async with (
        Cache() as cache,
        service(
            {"letters": archive.make()},
            sharing=Sharing(max_document=1 << 20),
            cache=cache,
            spool_bytes=64 << 20,
            limits=SourceLimits(queue_timeout=0.2, open_timeout=2, idle_timeout=2, repair_timeout=0.2),
        ) as running,
    ):
        handlers = running.pipeline.epoch.handlers
        assert running.fills is not None
        admin = Admin(Observed(running.telemetry))
        admin.upkeep = Upkeep(handlers.router, handlers.documents, cache, running.fills, running.sources)
        server = HttpServer(admin, keepalive=5)
        listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
        try:
            yield Running(running, archive, cache, admin, listener.sockets[0].getsockname()[1])
        finally:
            listener.close()
            await server.shutdown(0.5)


async def test_warming_and_purging_by_id() -> None:
    async with operated() as at:
        assert await at.act("/cache/warm", id="a") == (200, "stored")
        assert await at.act("/cache/warm", id="a") == (200, "kept")
        assert json.loads((await at.send("/cache", b"", method="GET")).body)["entries"] == 1
        assert await at.act("/cache/purge", id="a") == (200, "purged")
        assert at.cache.purged == [Scope("letters", "a")]
        assert json.loads((await at.send("/cache", b"", method="GET")).body)["entries"] == 0


async def test_warming_says_why_it_failed() -> None:
    async with operated() as at:
        at.archive.breaks = [(200 * KIB, Unavailable("lost"))] * 20
        assert await at.act("/cache/warm", id="a") == (502, "the archive failed")
        assert await at.act("/cache/warm", id="b") == (404, "no such document")


async def test_a_document_too_large_to_be_kept_is_said_to_be() -> None:
    async with operated() as at:
        at.archive.put("a", bytes(2 << 20))
        assert await at.act("/cache/warm", id="a") == (200, "not kept")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"[" * 4000,
        b"null",
        b'"id"',
        b"{}",
        b'{"id": 5}',
        b'{"id": null}',
        b'{"source": ["letters"]}',
        b'{"all": false}',
        b'{"all": 1}',
        b'{"id": "a", "all": true}',
        b'{"everything": true}',
        b'{"id": "' + b"a" * LONGEST_BODY + b'"}',
        b"\xff\xfe",
    ],
    ids=lambda body: body[:20].decode("latin-1"),
)
@pytest.mark.parametrize("path", ["/cache/purge", "/cache/warm"])
async def test_what_is_not_understood_does_nothing(path: str, body: bytes) -> None:
    async with operated() as at:
        answer = await at.send(path, body)
        assert (answer.status, json.loads(answer.body)["status"]) == (400, "not understood")
        assert (at.cache.purged, at.archive.opened) == ([], 0)


async def test_one_id_at_a_time_is_warmed() -> None:
    async with operated() as at:
        for asked in ({"all": True}, {"source": "letters"}):
            assert await at.act("/cache/warm", **asked) == (400, "not understood")


@pytest.mark.parametrize(
    "fields",
    [
        [("Content-Type", "text/plain")],
        [("Content-Type", "application/x-www-form-urlencoded")],
        [JSON, ("Origin", "http://127.0.0.1:8081")],
        [JSON, ("Origin", "null")],
        [JSON, ("Origin", "https://evil.example"), ("Host", "evil.example")],
    ],
    ids=str,
)
async def test_a_page_in_a_browser_can_do_nothing(fields: list[tuple[str, str]]) -> None:
    async with operated() as at:
        answer = await at.send("/cache/purge", b'{"all": true}', *fields)
        assert answer.status in (400, 403)
        assert at.cache.purged == []


@pytest.mark.parametrize("id", ["..", "\ud800", "a/b", "x" * 3000, ""])
async def test_what_is_no_id_leads_nowhere(id: str) -> None:
    async with operated() as at:
        assert await at.act("/cache/purge", id=id) == (404, "no such document")
        assert at.cache.purged == []


async def test_a_purge_that_is_not_sure_says_so() -> None:
    async with operated() as at:
        at.cache.pending = True
        assert await at.act("/cache/purge", all=True) == (503, "pending")
        assert (await at.command("purge", "--all")).exit_code == 1


async def test_commands_say_what_came_of_it() -> None:
    async with operated() as at:
        assert (await at.command("purge", "--source", "letters")).output == "purged\n"
        assert (await at.command("purge", "--id", "a")).output == "purged\n"
        assert at.cache.purged == [Scope("letters"), Scope("letters", "a")]
        for wrong in ("--source", "--id"):
            assert (await at.command("purge", wrong, "none")).exit_code == (1 if wrong == "--source" else 0)
        stat = await at.command("stat", "--json")
        assert json.loads(stat.output)["backend"] == "memory"


@pytest.mark.parametrize("option", ["--source", "--id"])
async def test_an_empty_name_is_not_everything(option: str) -> None:
    """As a script writes it whose variable is not set."""
    async with operated() as at:
        result = await at.command("purge", option, "")
        assert result.exit_code != 0
        assert at.cache.purged == []


async def test_a_gateway_that_starts_has_no_figures_yet() -> None:
    async with operated() as at:
        at.admin.upkeep = None
        result = await at.command("stat")
        assert result.exit_code == 1
        assert "starting" in result.output
        assert result.exception is None or isinstance(result.exception, SystemExit)


@pytest.mark.parametrize("answer", [b"[1, 2]", b'"hello"', b"7", b"<html>"])
async def test_something_else_on_the_port_is_a_sentence(answer: bytes) -> None:
    async def other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(answer), answer))
        await writer.drain()
        writer.close()

    async with operated() as at, await asyncio.start_server(other, "127.0.0.1", 0) as listener:
        at.port = listener.sockets[0].getsockname()[1]
        for command in (["stat"], ["purge", "--all"]):
            result = await at.command(*command)
            assert result.exit_code == 1
            assert "did not answer" in result.output
