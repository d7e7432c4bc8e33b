"""A source over scripts, with an adapter that can break the contract in ways that a script cannot."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from adapters.contract import Caller, Capabilities, Content, Span
from gateway.admission import Admission
from gateway.source import Limits, Source, services
from gateway.telemetry import Telemetry
from gateway.workers import Workers
from tests.support.scripted import Script, ScriptedAdapter

SOON = Limits(max_open=2, queue_timeout=0.05, open_timeout=0.1, idle_timeout=0.1)

DATA = bytes(range(256)) * 4


class OddAdapter(ScriptedAdapter):
    """A scripted adapter with the faults that a script cannot have."""

    max_open: int | None = None
    reads_ahead = False
    answers: Span | None = None
    """The span it says that its chunks are, whatever was asked."""
    fails_leaving: BaseException | None = None
    """What leaving a document raises."""
    fails_ending: BaseException | None = None
    """What closing the chunks before their end raises."""
    fails_closing: BaseException | None = None
    """What leaving the adapter raises."""

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            local=False, spans=False, cheap_stat=False, strong_versions=False, immutable=False, per_caller=False,
            max_open=self.max_open, reads_ahead=self.reads_ahead,
        )  # fmt: skip

    @asynccontextmanager
    async def open(
        self, locator: str, span: Span | None = None, *, version: str | None = None, caller: Caller | None = None
    ) -> AsyncIterator[Content]:
        async with super().open(locator, span, version=version) as content:
            yield Content(content.descriptor, self.answers or content.span, content.chunks)
        if self.fails_leaving is not None:
            raise self.fails_leaving

    async def _chunks(self, script: Script) -> AsyncIterator[bytes]:
        try:
            async for chunk in super()._chunks(script):
                yield chunk
        finally:
            if self.fails_ending is not None:
                raise self.fails_ending

    async def __aexit__(self, *error: object) -> None:
        if self.fails_closing is not None:
            raise self.fails_closing

    async def resolve(self, stem: str, suffixes: tuple[str, ...] | None = None) -> str:
        raise LookupError(stem)

    async def probe(self) -> None:
        await asyncio.Event().wait()


class Bench:
    """A source over scripts, and what its adapter logged."""

    def __init__(
        self,
        scripts: dict[str, Script],
        limits: Limits,
        threads: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.log = io.StringIO()
        self.telemetry = Telemetry(form="json", stream=self.log, key=b"test")
        self.workers = Workers("letters", threads)
        self.admission = Admission("letters", limits, self.telemetry.log, clock=clock)
        lent = services(self.workers, self.telemetry.log, limits, self.admission)
        self.adapter = OddAdapter("letters", None, lent, scripts=scripts)
        self.source = Source("letters", self.adapter, limits=limits, workers=self.workers, admission=self.admission)

    async def read(self, locator: str = "a", span: Span | None = None) -> bytes:
        async with self.source.open(locator, span) as content:
            return b"".join([chunk async for chunk in content.chunks])

    def is_free(self) -> bool:
        """Whether all permits are there."""
        return self.source.open_count == 0 and all(script.open_now == 0 for script in self.adapter.scripts.values())


@asynccontextmanager
async def bench(
    scripts: dict[str, Script] | Script,
    *,
    limits: Limits = SOON,
    threads: int = 2,
    clock: Callable[[], float] = time.monotonic,
    **oddities: Any,
) -> AsyncIterator[Bench]:
    made = Bench(scripts if isinstance(scripts, dict) else {"a": scripts}, limits, threads, clock)
    for name, value in oddities.items():
        setattr(made.adapter, name, value)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(asyncio.to_thread, made.telemetry.close)
        await stack.enter_async_context(made.source)
        yield made


def in_chunks(data: bytes, *sizes: int) -> list[bytes]:
    """`data` in pieces of these sizes, the rest in one."""
    pieces, at = [], 0
    for size in sizes:
        pieces.append(data[at : at + size])
        at += size
    return [piece for piece in [*pieces, data[at:]] if piece]
