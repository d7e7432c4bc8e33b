"""The harness of docs/adapters.md for servers, as it stands there, finds the mistakes that only a broken network shows.

The archive is a real TCP server on a thread of its own. A request is
"KEY START STOP\\n"; the answer is the size of the document on a line, "none" without it, then the bytes.
"""

from __future__ import annotations

import asyncio
import re
import socketserver
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import AbstractContextManager, aclosing, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field

from adapters import Adapter, Caller, Capabilities, Content, Descriptor, Span
from adapters.errors import AdapterError, Corrupt, NotFound, SpanNotSatisfiable, Unavailable, translate
from adapters.testing import CHECKS, Harness, Verdict, run_check
from adapters.testing.check import CUT, LIVE, OFFLINE

PAGE = Path(__file__).parents[2] / "docs" / "adapters.md"
END = 1 << 40
PIECE = 65_536
ERRORS: dict[type[BaseException], type[AdapterError]] = {OSError: Unavailable, EOFError: Corrupt}
CAPABILITIES = Capabilities(
    local=False, spans=True, cheap_stat=True, strong_versions=False, immutable=False, per_caller=False, max_open=None
)
FAULTS = [check for check in CHECKS if {CUT, OFFLINE, LIVE} & {*check.needs}]


class Answering(socketserver.StreamRequestHandler):
    server: Archive

    def handle(self) -> None:
        with suppress(OSError):
            for line in self.rfile:
                key, start, stop = line.decode().split()
                data = self.server.documents.get(key)
                head = b"none\n" if data is None else b"%d\n" % len(data)
                self.request.sendall(head + (data or b"")[int(start) : int(stop)])

    def finish(self) -> None:
        self.rfile.close()


class Archive(socketserver.ThreadingTCPServer):
    request_queue_size = 128  # with fewer, the kernel lets some wait a second for their connection

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        self.documents: dict[str, bytes] = {}


@pytest.fixture
def archive() -> Iterator[Archive]:
    with Archive() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield running
        finally:
            running.shutdown()
            thread.join()


class Options(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    host: str = Field(description="The server.")
    port: int = Field(description="Its port.")


class ServerAdapter(Adapter):
    """Right in every way that a fault can show, with a connection for each document; those below are each wrong in one."""

    Options = Options
    capabilities = CAPABILITIES  # type: ignore[assignment]

    async def probe(self) -> None:
        with suppress(NotFound):
            async with self.asked("nothing", 0, 0):
                pass

    @asynccontextmanager
    async def asked(self, key: str, start: int, stop: int) -> AsyncIterator[tuple[int, asyncio.StreamReader]]:
        """The size of the document, and a connection that the bytes come from."""
        with translate(ERRORS, doing="connect"):
            reader, writer = await asyncio.open_connection(self.options.host, self.options.port)
        try:
            with translate(ERRORS, doing="ask"):
                writer.write(f"{key} {start} {stop}\n".encode())
                size = await reader.readuntil()
            if size == b"none\n":
                raise NotFound("no such document")
            yield int(size), reader
        finally:
            self.leave(writer)

    def leave(self, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    @asynccontextmanager
    async def open(
        self, locator: str, span: Span | None = None, *, version: str | None = None, caller: Caller | None = None
    ) -> AsyncIterator[Content]:
        asked = span or Span(0)
        stop = END if asked.stop is None else asked.stop
        async with self.asked(locator, asked.start, stop) as (size, reader):
            if span is not None and span.start >= size:
                raise SpanNotSatisfiable(size)
            carried = asked.within(size)
            async with aclosing(self.chunks(reader, locator, carried)) as chunks:
                yield Content(Descriptor(size=size), carried, chunks)

    async def chunks(self, reader: asyncio.StreamReader, locator: str, carried: Span) -> AsyncGenerator[bytes, None]:
        left = carried.length() or 0
        while left:
            with translate(ERRORS, doing="read the document"):
                chunk = await reader.read(min(PIECE, left))
            if not chunk:
                raise Corrupt("the document ended early")
            yield chunk
            left -= len(chunk)


class Hoarding(ServerAdapter):
    """Keeps every connection for later."""

    def leave(self, writer: asyncio.StreamWriter) -> None:
        self.__dict__.setdefault("kept", []).append(writer)

    async def __aexit__(self, *_: object) -> None:
        for writer in self.__dict__.pop("kept", []):
            writer.transport.abort()


class Believing(ServerAdapter):
    """Takes the end of the connection for the end of the document."""

    async def chunks(self, reader: asyncio.StreamReader, locator: str, carried: Span) -> AsyncGenerator[bytes, None]:
        with suppress(Corrupt):
            async for chunk in super().chunks(reader, locator, carried):
                yield chunk


class Untranslated(ServerAdapter):
    """Lets the library's errors out of a body."""

    async def chunks(self, reader: asyncio.StreamReader, locator: str, carried: Span) -> AsyncGenerator[bytes, None]:
        left = carried.length() or 0
        while left:
            chunk = await reader.readexactly(min(PIECE, left))
            yield chunk
            left -= len(chunk)


class Mistaken(ServerAdapter):
    """Calls a server that does not answer a missing document."""

    @asynccontextmanager
    async def asked(self, key: str, start: int, stop: int) -> AsyncIterator[tuple[int, asyncio.StreamReader]]:
        try:
            async with super().asked(key, start, stop) as found:
                yield found
        except Unavailable as error:
            raise NotFound("no such document") from error


class Persistent(ServerAdapter):
    """Reads on from where it broke."""

    async def chunks(self, reader: asyncio.StreamReader, locator: str, carried: Span) -> AsyncGenerator[bytes, None]:
        at, stop = carried.start, carried.stop or 0
        with suppress(AdapterError):
            async for chunk in super().chunks(reader, locator, carried):
                yield chunk
                at += len(chunk)
        if at < stop:
            async with self.asked(locator, at, stop) as (_, again):
                async for chunk in super().chunks(again, locator, Span(at, stop)):
                    yield chunk


class Optimistic(ServerAdapter):
    """Says that all is well without asking."""

    async def probe(self) -> None:
        return None


def harness(archive: Archive, adapter: type[Adapter], *, orderly: bool) -> Harness:
    """The harness of the page, with what every harness needs besides."""
    (source,) = (
        text for text in re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.M | re.S) if "faults.py" in text
    )
    shown: dict[str, Any] = {}
    exec(compile(source, "faults.py", "exec"), shown)
    base: Any = shown["ServerHarness"]

    class Complete(base):  # type: ignore[misc]
        capabilities = CAPABILITIES
        missing = "no-such-4711"
        hostile: Sequence[str] = ("../../etc/passwd",)

        def adapter(self) -> Adapter:
            options = {"host": self.proxy.host, "port": self.proxy.port}
            return adapter("server", adapter.Options.model_validate(options), self.services())

        def seed(self, data: bytes, *, media_type: str | None = None) -> str:
            locator = f"letter-{len(archive.documents):04}"
            archive.documents[locator] = data
            return locator

        def live(self) -> int:
            return int(self.proxy.connections)

        def cut_after(self, count: int) -> AbstractContextManager[None]:
            return self.proxy.cut_after(count, orderly=True) if orderly else super().cut_after(count)  # type: ignore[no-any-return]

    made: Harness = Complete(*archive.server_address)
    return made


async def broken(archive: Archive, adapter: type[Adapter], *, orderly: bool = False) -> set[str]:
    """The numbers of the rules that `adapter` breaks, of those that need a fault."""
    results = [await run_check(check, harness(archive, adapter, orderly=orderly)) for check in FAULTS]
    assert all(result.verdict is not Verdict.EXCLUDED for result in results)
    return {result.check.number for result in results if result.verdict is Verdict.FAILED}


def test_every_rule_that_needs_a_fault_is_tried() -> None:
    assert {check.number for check in FAULTS} >= {"C6.3", "C7.11", "C9.1", "C9.2", "C9.3", "C11.1", "L.7"}


@pytest.mark.parametrize("orderly", [False, True])
async def test_a_right_adapter_keeps_every_rule(archive: Archive, orderly: bool) -> None:
    assert await broken(archive, ServerAdapter, orderly=orderly) == set()


@pytest.mark.parametrize(
    ("adapter", "orderly", "rule"),
    [
        (Believing, True, "C6.3"),
        (Untranslated, False, "C9.3"),
        (Mistaken, False, "C9.2"),
        (Persistent, False, "C11.1"),
        (Optimistic, False, "L.7"),
        (Hoarding, False, "C7.2"),
    ],
)
async def test_a_wrong_adapter_is_caught(archive: Archive, adapter: type[Adapter], orderly: bool, rule: str) -> None:
    assert rule in await broken(archive, adapter, orderly=orderly)


async def test_only_an_orderly_break_catches_who_believes_an_end(archive: Archive) -> None:
    assert "C6.3" not in await broken(archive, Believing)
