"""An archive whose every open a test can spoil: where it breaks, what it has by then, how long it takes, what it can do."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from adapters.contract import Adapter, Caller, Capabilities, Content, Descriptor, Digest, Services, Span
from adapters.errors import AdapterError, Changed, Corrupt, NotFound, SpanNotSatisfiable
from tests.support.service import MakeAdapter

ABLE = Capabilities(
    local=False, spans=True, cheap_stat=True, strong_versions=True, immutable=False, per_caller=False, max_open=None
)
"""What a share can do."""

MUTE = replace(ABLE, spans=False, cheap_stat=False, strong_versions=False)
"""An archive that tells nothing about its documents but their bytes."""

STABLE = replace(ABLE, spans=False, cheap_stat=False, immutable=True)
"""A repository whose documents never change."""


@dataclass
class Paper:
    """A document by now. `tells_size`, `tells_digest`: what its archive states."""

    data: bytes
    version: str = "1"
    tells_size: bool = True
    tells_digest: bool = False


@dataclass
class Archive:
    """What there is and how it behaves.

    `breaks` holds (offset, error) for the opens to come, one for each; without an error the bytes just end there.
    """

    papers: dict[str, Paper] = field(default_factory=dict)
    capabilities: Capabilities = ABLE
    chunk: int = 64 * 1024
    breaks: list[tuple[int, AdapterError | None]] = field(default_factory=list)
    after_break: Callable[[], None] | None = None
    """Called when it broke: puts what it has by then."""
    heeds_versions: bool = True
    """Whether an open of another version than there is by then is refused."""
    digest: bytes | None = None
    """Stated in place of the true one."""
    on_close: Callable[[], Awaitable[object]] | None = None
    """Waited for before a document is let go of."""
    refuses: list[AdapterError] = field(default_factory=list)
    """Raised by the opens to come, one each, before anything else."""
    away: AdapterError | None = None
    """Raised by everything, as long as it is set."""
    hangs: bool = False
    """Whether everything waits for ever."""
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    """Chunks from `gated` on wait for this."""
    gated: int | None = None
    held_back: asyncio.Event | None = None
    """Every answer is decided at once, and arrives when this is set."""
    facts_pause: float = 0.0
    """Seconds before it answers when it is asked for facts alone."""
    pause: float = 0.0
    """Seconds before each chunk."""
    opened: int = 0
    asked: int = 0
    """How often it was asked for facts alone."""
    open_now: int = 0
    spans: list[Span | None] = field(default_factory=list)
    sent: int = 0
    """Bytes that left it."""
    answers: dict[str, deque[tuple[float, str]]] = field(default_factory=dict)
    """The last answers of each document, with the moment (monotonic clock) at which they were decided."""

    def put(self, locator: str, data: bytes, version: str = "1", **more: Any) -> None:
        self.papers[locator] = Paper(data, version, **more)

    def make(self) -> MakeAdapter:
        return lambda name, lent: _Fragile(name, lent, self)


class _Fragile(Adapter):
    def __init__(self, name: str, services: Services, archive: Archive) -> None:
        super().__init__(name, None, services)
        self._archive = archive

    @property
    def capabilities(self) -> Capabilities:
        return self._archive.capabilities

    async def _paper(self, act: str, locator: str) -> Paper:
        """The document as it is at this moment, once the archive's answer has arrived."""
        try:
            return await self._decided(act, locator)
        finally:
            if self._archive.held_back is not None:
                await self._archive.held_back.wait()

    async def _decided(self, act: str, locator: str) -> Paper:
        if self._archive.hangs:
            self._answers(locator, f"{act}: nothing, it hangs")
            await asyncio.Event().wait()
        if self._archive.away is not None:
            self._answers(locator, f"{act}: {type(self._archive.away).__name__}")
            raise type(self._archive.away)(self._archive.away.detail)
        paper = self._archive.papers.get(locator)
        if paper is None:
            self._answers(locator, f"{act}: NotFound")
            raise NotFound("no such paper")
        self._answers(locator, f"{act}: version {paper.version}")
        return paper

    def _answers(self, locator: str, words: str) -> None:
        self._archive.answers.setdefault(locator, deque(maxlen=50)).append((time.monotonic(), words))

    def _facts(self, paper: Paper) -> Descriptor:
        digest = self._archive.digest or hashlib.sha1(paper.data).digest()
        return Descriptor(
            size=len(paper.data) if paper.tells_size else None,
            version=paper.version if self.capabilities.strong_versions else None,
            digest=Digest("sha1", digest) if paper.tells_digest else None,
            title="Jane Doe",
        )

    async def stat(self, locator: str, *, caller: Caller | None = None) -> Descriptor:
        self._archive.asked += 1
        if self._archive.facts_pause:
            await asyncio.sleep(self._archive.facts_pause)
        return self._facts(await self._paper("stat", locator))

    @asynccontextmanager
    async def open(
        self, locator: str, span: Span | None = None, *, version: str | None = None, caller: Caller | None = None
    ) -> AsyncIterator[Content]:
        archive = self._archive
        archive.opened += 1
        archive.spans.append(span)
        if archive.refuses:
            raise archive.refuses.pop(0)
        paper = await self._paper("open", locator)
        if version is not None and version != paper.version and archive.heeds_versions:
            raise Changed("another version")
        if not self.capabilities.spans:
            span = None
        size = len(paper.data)
        if span is not None and span.start >= size:
            raise SpanNotSatisfiable(size)
        start = span.start if span else 0
        stop = size if span is None or span.stop is None else min(span.stop, size)
        broken = archive.breaks.pop(0) if archive.breaks else None
        if broken is not None and broken[1] is None and not paper.tells_size:
            broken = broken[0], Corrupt("short")  # of a quiet end nobody could tell
        archive.open_now += 1
        try:
            known = Span(start, stop) if paper.tells_size or span else Span(0)
            yield Content(self._facts(paper), known, self._chunks(paper.data, start, stop, broken))
        finally:
            if archive.on_close is not None:
                await archive.on_close()
            archive.open_now -= 1

    async def _chunks(
        self, data: bytes, start: int, stop: int, broken: tuple[int, AdapterError | None] | None
    ) -> AsyncIterator[bytes]:
        archive = self._archive
        while start < stop:
            end = min(start + archive.chunk, stop)
            if archive.gated is not None and end > archive.gated:
                await archive.gate.wait()
            if archive.pause:
                await asyncio.sleep(archive.pause)
            if archive.hangs:
                await asyncio.Event().wait()
            if broken is not None and end > broken[0]:
                end = broken[0]
            if end > start:
                archive.sent += end - start
                yield data[start:end]
            if broken is not None and end == broken[0]:
                if archive.after_break is not None:
                    archive.after_break()
                if broken[1] is None:
                    return
                raise broken[1]
            start = end

    async def probe(self) -> None:
        return None
