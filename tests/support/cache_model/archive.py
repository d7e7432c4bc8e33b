"""The archives of a model as a server of their own, so that a gateway may be another process: what they do stays with the test.

One question a connection: a line of JSON asks; a line of JSON answers, then the bytes in pieces, each with its length in four
bytes, ended by a length of zero. A connection that ends before that was lost.
"""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from adapters import errors
from adapters.contract import Adapter, Caller, Capabilities, Content, Descriptor, Services, Span
from adapters.errors import AdapterError, SpanNotSatisfiable, Unavailable
from tests.support.fragile import ABLE, MUTE, STABLE

KINDS = {"able": ABLE, "stable": STABLE, "mute": MUTE}

# --- the archive's side ----------------------------------------------------------------------------------------------


@asynccontextmanager
async def archive_server(adapters: Mapping[str, Adapter]) -> AsyncIterator[int]:
    """Answers for these adapters by source; the port."""
    open_now: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        open_now.add(task)
        try:
            await _serve(reader, writer, adapters)
        except (OSError, ValueError):  # the network failed, or a question came in part
            writer.transport.abort()
        finally:
            open_now.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in list(open_now):
            task.cancel()
        await asyncio.gather(*open_now, return_exceptions=True)


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, adapters: Mapping[str, Adapter]) -> None:
    asked = json.loads(await reader.readline())
    answering = asyncio.ensure_future(_answer(writer, adapters[asked["source"]], asked))
    leaving = asyncio.ensure_future(reader.read(1))
    try:
        # Whoever asked has deadlines and leaves: a hung archive must not pile up answers for nobody.
        await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        whole = answering.done() and not answering.cancelled() and answering.exception() is None
        answering.cancel()
        leaving.cancel()
        await asyncio.gather(answering, leaving, return_exceptions=True)
        writer.close() if whole else writer.transport.abort()


async def _answer(writer: asyncio.StreamWriter, adapter: Adapter, asked: Mapping[str, Any]) -> None:
    try:
        if asked["act"] == "stat":
            writer.write(_line(_facts(await adapter.stat(asked["locator"]))))
            return
        span = Span(*asked["span"]) if asked["span"] else None
        async with adapter.open(asked["locator"], span, version=asked["version"]) as content:
            begun = [content.span.start, content.span.stop]
            writer.write(_line({**_facts(content.descriptor), "span": begun}))
            async for chunk in content.chunks:
                writer.write(struct.pack(">I", len(chunk)) + chunk)
                await writer.drain()
            writer.write(bytes(4))
    except SpanNotSatisfiable as error:
        writer.write(_line({"error": "SpanNotSatisfiable", "detail": error.size}))
    except AdapterError as error:
        writer.write(_line({"error": type(error).__name__, "detail": error.detail}))


def _line(value: Any) -> bytes:
    return json.dumps(value).encode() + b"\n"


def _facts(descriptor: Descriptor) -> dict[str, Any]:
    return {"size": descriptor.size, "version": descriptor.version}


# --- the gateway's side ----------------------------------------------------------------------------------------------


class ModelOptions(BaseModel):
    """Where the archive is, and what it can do."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    port: int
    kind: str


class ModelAdapter(Adapter):
    """Asks an `archive_server`."""

    Options = ModelOptions

    def __init__(self, name: str, options: ModelOptions, services: Services) -> None:
        super().__init__(name, options, services)
        self._port = options.port
        self._kind = KINDS[options.kind]

    @property
    def capabilities(self) -> Capabilities:
        return self._kind

    async def stat(self, locator: str, *, caller: Caller | None = None) -> Descriptor:
        if not self._kind.cheap_stat:
            return await super().stat(locator)
        async with self._asked({"act": "stat", "locator": locator}) as (said, _):
            return Descriptor(size=said["size"], version=said["version"])

    @asynccontextmanager
    async def open(
        self, locator: str, span: Span | None = None, *, version: str | None = None, caller: Caller | None = None
    ) -> AsyncIterator[Content]:
        part = [span.start, span.stop] if span else None
        question = {"act": "open", "locator": locator, "span": part, "version": version}
        async with self._asked(question) as (said, reader), aclosing(_chunks(reader)) as chunks:
            yield Content(Descriptor(size=said["size"], version=said["version"]), Span(*said["span"]), chunks)

    async def probe(self) -> None:
        return None

    @asynccontextmanager
    async def _asked(self, question: dict[str, Any]) -> AsyncIterator[tuple[dict[str, Any], asyncio.StreamReader]]:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        except OSError as error:
            raise Unavailable("no connection") from error
        try:
            writer.write(_line({"source": self.name, **question}))
            try:
                said = json.loads(await reader.readuntil(b"\n"))
            except (OSError, EOFError) as error:
                raise Unavailable("the connection was lost") from error
            if "error" in said:
                raise getattr(errors, said["error"])(said["detail"])
            yield said, reader
        finally:
            writer.transport.abort()


async def _chunks(reader: asyncio.StreamReader) -> AsyncGenerator[bytes, None]:
    while True:
        try:
            (size,) = struct.unpack(">I", await reader.readexactly(4))
            chunk = await reader.readexactly(size)
        except (OSError, EOFError) as error:
            raise Unavailable("the connection was lost") from error
        if not chunk:
            return
        yield chunk


def lay_out(folder: Path) -> Path:
    """What an installer would leave of this adapter: a folder for PYTHONPATH, where it is called `model`."""
    facts = folder / "model_archive-1.0.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: model-archive\nVersion: 1.0\n")
    target = f"model = {__name__}:{ModelAdapter.__name__}"
    (facts / "entry_points.txt").write_text(f"[fhir_gateway.adapters]\n{target}\n")
    return folder
