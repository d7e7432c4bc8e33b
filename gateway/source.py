"""One configured archive as the rest of the gateway sees it: the portable type around an adapter.

What must hold for every adapter and no author should have to write is here and in `opened`: the permit held
for the life of a body (C8), the deadlines, slicing for adapters without spans (C3), counting and digest checking (C6),
the last piece held back until they agree, and the archive's name on every error (C9). Nothing here knows HTTP.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from adapters.contract import (
    WHOLE,
    Adapter,
    Capabilities,
    Content,
    Descriptor,
    Services,
    Span,
)
from adapters.errors import AdapterError, Busy, CredentialsRejected, SpanNotSatisfiable, Unavailable
from gateway.blame import Blame, blamed
from gateway.deadline import within
from gateway.errors import Wedged
from gateway.metrics.tallies import SourceMeter
from gateway.opened import Checked, Opened
from gateway.source_status import REASONS, EndpointStatus, SourceStatus, State
from gateway.workers import Workers


@dataclass(frozen=True, slots=True)
class Limits:
    """Deadlines in seconds and the number of documents open at once."""

    max_open: int = 64
    queue_timeout: float = 2.0
    open_timeout: float = 5.0
    idle_timeout: float = 10.0
    repair_timeout: float = 10.0


class Source:
    """A named adapter with its permits, its threads and its deadlines.

    Used as an asynchronous context manager for the adapter's life. Every method raises `AdapterError` and nothing else.
    """

    def __init__(
        self, name: str, adapter: Adapter, *, limits: Limits, workers: Workers, meter: SourceMeter | None = None
    ) -> None:
        self.name = name
        self.meter = meter or SourceMeter()
        self.adapter = adapter
        self.limits = limits
        self._workers = workers
        self._permits = asyncio.Semaphore(limits.max_open)
        self.open_count = 0
        self.entered = False
        self._rejected = False

    def __repr__(self) -> str:
        return f"<Source {self.name} open={self.open_count} {self._workers!r}>"

    @property
    def capabilities(self) -> Capabilities:
        return self.adapter.capabilities

    async def __aenter__(self) -> Self:
        self._rejected = False
        try:
            with Blame(self.name):
                async with asyncio.timeout(self.limits.open_timeout):
                    await self.adapter.__aenter__()
        except CredentialsRejected:
            self._rejected = True
            raise
        self.entered = True
        declared = self.adapter.capabilities.max_open
        if declared is not None and declared < self.limits.max_open:
            self._permits = asyncio.Semaphore(declared)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            async with asyncio.timeout(self.limits.open_timeout):
                await self.adapter.__aexit__(kind, error, trace)
        except Exception as failure:
            # A wedged archive cannot be waited for; its threads end with the process.
            self.not_released(failure)
        finally:
            # What is queued still runs: an adapter closes its descriptors there.
            self._workers.shutdown(wait=False)

    def open(
        self, locator: str, span: Span | None = None, *, version: str | None = None
    ) -> AbstractAsyncContextManager[Opened]:
        """The document, or exactly the part `span` of it, as content whose chunks are counted and checked.

        Entering raises what `Adapter.open` raises, `Busy` when no permit came free in `queue_timeout` seconds or every
        thread of the archive hangs, `TimedOut` after `open_timeout`. Pulling raises `Corrupt`, `Changed`,
        `Unavailable` or `TimedOut`; a stream that ends is whole.
        """
        return _Opening(self, locator, span, version)

    async def stat(self, locator: str) -> Descriptor:
        """The facts of a document, under the open deadline."""
        self._refuse_when_away()
        with self.meter.timed("stat"), Blame(self.name):
            return await within(self.limits.open_timeout, self.adapter.stat(locator))

    async def resolve(self, stem: str, suffixes: tuple[str, ...] | None = None) -> str:
        """The one locator that begins with `stem`, under the open deadline."""
        self._refuse_when_away()
        with self.meter.timed("resolve"), Blame(self.name):
            return await within(self.limits.open_timeout, self.adapter.resolve(stem, suffixes))

    async def probe(self) -> None:
        """Whether the archive would answer now, under the open deadline."""
        self._refuse_when_away()
        with self.meter.timed("probe"), Blame(self.name):
            async with asyncio.timeout(self.limits.open_timeout):
                await self.adapter.probe()

    def status(self) -> SourceStatus:
        """How the source stands now. Cheap enough to be asked once a second."""
        workers, limits = self._workers, self.limits
        state: State = "refused" if self._rejected else "ok" if self.entered else "away"
        if workers.wedged(limits.open_timeout):
            state = "wedged"
        return SourceStatus(
            name=self.name,
            state=state,
            open=self.open_count,
            max_open=limits.max_open,
            queued=0,
            max_queued=0,
            threads=workers.threads,
            threads_busy=workers.busy,
            threads_hung=workers.hung(limits.open_timeout),
            rejected=dict.fromkeys(REASONS, 0),
            endpoints=(EndpointStatus("", "closed"),),
        )

    def not_released(self, failure: Exception) -> None:
        """Log that the adapter failed to let go of something: whoever read it got what it was promised."""
        self.adapter.services.log.warning("not released", error=type(failure).__name__)

    def _refuse_when_away(self) -> None:
        if not self.entered:
            since = "since the gateway started"
            away: AdapterError = (
                CredentialsRejected(f"the archive has refused the gateway's account {since}")
                if self._rejected
                else Unavailable(f"the source has been away {since}")
            )
            away.source = self.name
            raise away
        if self._workers.wedged(self.limits.open_timeout):
            error = Wedged("every thread of this archive has hung for longer than its deadline")
            error.source = self.name
            raise error


class _Opening:
    """The context of one open document. A class, not a generator: this runs for every request."""

    __slots__ = ("_context", "_locator", "_permit", "_source", "_span", "_version")

    def __init__(self, source: Source, locator: str, span: Span | None, version: str | None) -> None:
        self._source = source
        self._locator = locator
        self._span = span
        self._version = version
        self._permit: asyncio.Semaphore | None = None
        self._context: AbstractAsyncContextManager[Content] | None = None

    async def __aenter__(self) -> Opened:
        source = self._source
        adapter = source.adapter
        if source._workers.busy or not source.entered:
            source._refuse_when_away()
        permits = source._permits
        if permits.locked():
            await self._queue(permits)
        else:
            await permits.acquire()
        self._permit = permits
        source.open_count += 1
        began = time.perf_counter()
        try:
            context = adapter.open(self._locator, self._span, version=self._version)
            content = await within(source.limits.open_timeout, context.__aenter__())
            self._context = context
            opened = self._checked(content)
            source.meter.answered("open", time.perf_counter() - began)
            return opened
        except asyncio.CancelledError:
            await self._release(None, None, None)
            raise
        except Exception as error:
            await self._release(type(error), error, error.__traceback__)
            failure = blamed(error, source.name)
            source.meter.ended("open", began, failure)
            raise failure

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._release(kind, error, trace)

    async def _queue(self, permits: asyncio.Semaphore) -> None:
        """Wait for a permit. Raises `Busy` after the queue deadline."""
        source = self._source
        try:
            async with asyncio.timeout(source.limits.queue_timeout):
                await permits.acquire()
        except TimeoutError:
            busy = Busy("as many documents as allowed are open in this archive", retry_after=2)
            busy.source = source.name
            raise busy from None

    async def _release(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._context is not None:
                context, self._context = self._context, None
                await context.__aexit__(kind, error, trace)
        except Exception as failure:
            # Raised here it would replace an answer that was sent, or the reason why it was not.
            if failure is not error:
                self._source.not_released(failure)
        finally:
            if self._permit is not None:
                permit, self._permit = self._permit, None
                self._source.open_count -= 1
                permit.release()

    def _checked(self, content: Content) -> Opened:
        """The adapter's content cut to the span that was asked, with its promises checked while they are pulled."""
        size, asked = content.descriptor.size, self._span
        if asked is None:
            asked = content.span if content.span.start == 0 and content.span.stop == size else WHOLE
        elif size is not None:
            if asked.start >= size:
                raise SpanNotSatisfiable(size)
            asked = asked.within(size)
        return Opened(content.descriptor, asked, Checked(content, asked, self._source), content.file)


def services(workers: Workers, log: object, limits: Limits | None = None) -> Services:
    """What an adapter of this gateway is lent; `limits` are those of its source."""
    open_timeout = None if limits is None else limits.open_timeout
    return Services(workers, log, time.monotonic, open_timeout)  # type: ignore[arg-type]
