"""One configured archive as the rest of the gateway sees it: the portable type around an adapter.

What must hold for every adapter and no author should have to write is here, in `admission` and in `opened`: the place held
for the life of a body (C8), the deadlines, the circuit, slicing for adapters without spans (C3), counting and digest checking
(C6), the last piece held back until they agree, and the archive's name on every error (C9). Nothing here knows HTTP.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar

from adapters.contract import (
    WHOLE,
    Adapter,
    Capabilities,
    Content,
    Descriptor,
    Services,
    Span,
)
from adapters.errors import AdapterError, CredentialsRejected, SpanNotSatisfiable, Unavailable
from gateway.admission import Admission, Limits
from gateway.blame import Blame, blamed
from gateway.endpoint import MANNER, Manner
from gateway.errors import Wedged
from gateway.metrics.tallies import SourceMeter
from gateway.opened import Checked, Opened
from gateway.source_status import LastError, Latency, SourceStatus, State
from gateway.timeline import stage, traceparent
from gateway.workers import Workers

__all__ = ["Limits", "Source", "services"]

Answer = TypeVar("Answer")


class Source:
    """A named adapter with its places, its circuit, its threads and its deadlines.

    Used as an asynchronous context manager for the adapter's life. Every method raises `AdapterError` and nothing else.
    """

    def __init__(
        self,
        name: str,
        adapter: Adapter,
        *,
        limits: Limits,
        workers: Workers,
        admission: Admission | None = None,
        meter: SourceMeter | None = None,
    ) -> None:
        """`admission` is the one that the adapter's `services` were made with."""
        self.name = name
        self.meter = meter or SourceMeter()
        self.adapter = adapter
        self.limits = limits
        self.admission = admission or Admission(name, limits, adapter.services.log)
        self._workers = workers
        self.open_count = 0
        self.entered = False
        self._rejected = False
        self._never_entered: LastError | None = None
        """Why entering the adapter failed; None once it went well."""

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
        except AdapterError as error:
            self._rejected = isinstance(error, CredentialsRejected)
            self._never_entered = LastError.of(error)
            raise
        self.entered, self._never_entered = True, None
        declared = self.adapter.capabilities.max_open
        if declared is not None and declared < self.limits.max_open:
            self.admission.reads.places = self.admission.looks.places = declared
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

        Entering raises what `Adapter.open` raises; `Busy` when no place came free in `queue_timeout` seconds, too many wait
        for one, or every thread of the archive hangs; `Unavailable` while it is given a rest; `TimedOut` after `open_timeout`,
        or when the request's own time is over. Pulling raises `Corrupt`, `Changed`, `Unavailable` or `TimedOut`; a stream that
        ends is whole.
        """
        return _Opening(self, locator, span, version)

    def refuse(self) -> None:
        """Raise what `open` would raise at once, if it would. Nothing is taken, and the archive is not asked."""
        self._refuse_when_away()
        self.admission.refuse(self.admission.reads)

    async def stat(self, locator: str, *, patience: float | None = None) -> Descriptor:
        """The facts of a document, under the open deadline. Raises as `open` does on entering.

        `patience`: seconds after which being cancelled means that the archive did not answer in time.
        """
        if patience is None:
            return await self._look("stat", partial(self.adapter.stat, locator))
        before = MANNER.set(Manner(patience=patience))
        try:
            return await self._look("stat", partial(self.adapter.stat, locator))
        finally:
            MANNER.reset(before)

    async def resolve(self, stem: str, suffixes: tuple[str, ...] | None = None) -> str:
        """The one locator that begins with `stem`, under the open deadline. Raises as `open` does on entering."""
        return await self._look("resolve", partial(self.adapter.resolve, stem, suffixes))

    async def probe(self) -> None:
        """Whether the archive would answer now, under the open deadline. One that does is asked again, if it was not."""
        self._refuse_when_away()
        with self.meter.timed("probe"):
            await self.admission.probe(self.adapter.probe)

    async def rested(self, most: float) -> None:
        """Wait until `probe` should be called: for `most` seconds, or until an archive that was given a rest may be back."""
        await self.admission.rested(most)

    async def _look(self, operation: str, question: Callable[[], Awaitable[Answer]]) -> Answer:
        self._refuse_when_away()
        admission = self.admission
        looks = admission.looks
        if admission.resting or not looks.enter():
            await admission.queue(looks)
        try:
            with self.meter.timed(operation):
                return await admission.reach(question)
        finally:
            admission.leave(looks)

    @property
    def wanted(self) -> int:
        """How many readers wait for one of the documents that are open to be closed."""
        return self.admission.reads.queued

    def status(self) -> SourceStatus:
        """How the source stands now. Cheap enough to be asked once a second."""
        workers, limits, admission = self._workers, self.limits, self.admission
        return SourceStatus(
            name=self.name,
            state=self._state(),
            open=self.open_count,
            max_open=admission.reads.places,
            queued=admission.reads.queued + admission.looks.queued,
            max_queued=limits.max_queued,
            threads=workers.threads,
            threads_busy=workers.busy,
            threads_hung=workers.hung(limits.open_timeout),
            calls=admission.calls,
            failures=admission.failures,
            retries=admission.retries,
            rejected=dict(admission.rejected),
            endpoints=admission.endpoints,
            latency=Latency.of(admission.recent),
            error=self._never_entered or admission.error,
        )

    def _state(self) -> State:
        if not self.entered:
            return "refused" if self._rejected else "away"
        if self._workers.wedged(self.limits.open_timeout):
            return "wedged"
        circuits = {one.circuit for one in self.admission.endpoints}
        if circuits == {"closed"}:
            return "ok"
        if "closed" in circuits:
            return "partly away"
        if "half-open" in circuits:
            return "probing"
        error = self.admission.error
        return "refused" if error is not None and error.kind == CredentialsRejected.__name__ else "away"

    def not_released(self, failure: Exception) -> None:
        """Log that the adapter failed to let go of something: whoever read it got what it was promised."""
        self.adapter.services.log.warning("not released", error=type(failure).__name__)

    def _refuse_when_away(self) -> None:
        if self.entered and not self._workers.busy:
            return
        error: AdapterError
        if not self.entered:
            since = "since the gateway started"
            error = (
                CredentialsRejected(f"the archive has refused the gateway's account {since}")
                if self._rejected
                else Unavailable(f"the source has been away {since}")
            )
            self.admission.rejected["away"] += 1
        elif self._workers.wedged(self.limits.open_timeout):
            error = Wedged("every thread of this archive has hung for longer than its deadline")
            self.admission.rejected["wedged"] += 1
        else:
            return
        error.source = self.name
        raise error


class _Opening:
    """The context of one open document. A class, not a generator: this runs for every request."""

    __slots__ = ("_context", "_holds", "_locator", "_source", "_span", "_version")

    def __init__(self, source: Source, locator: str, span: Span | None, version: str | None) -> None:
        self._source = source
        self._locator = locator
        self._span = span
        self._version = version
        self._holds = False
        self._context: AbstractAsyncContextManager[Content] | None = None

    async def __aenter__(self) -> Opened:
        source = self._source
        source._refuse_when_away()
        admission = source.admission
        if admission.resting or not admission.reads.enter():
            await admission.queue(admission.reads)
        self._holds = True
        source.open_count += 1
        began = time.perf_counter()
        try:
            with stage("open"):
                content = await admission.reach(self._enter)
        except BaseException as error:
            self._context = None
            source.meter.ended("open", began, error)
            await self._release(None, None, None)
            raise
        try:
            opened = self._checked(content)
        except Exception as error:
            await self._release(type(error), error, error.__traceback__)
            failure = blamed(error, source.name)
            source.meter.ended("open", began, failure)
            raise failure from failure.__cause__
        source.meter.answered("open", time.perf_counter() - began)
        return opened

    def _enter(self) -> Awaitable[Content]:
        self._context = self._source.adapter.open(self._locator, self._span, version=self._version)
        return self._context.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._release(kind, error, trace)

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
            if self._holds:
                self._holds = False
                self._source.open_count -= 1
                self._source.admission.leave(self._source.admission.reads)

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


def services(workers: Workers, log: Any, limits: Limits | None = None, admission: Admission | None = None) -> Services:
    """What an adapter of this gateway is lent; `limits` and `admission` are those of its source."""
    open_timeout = None if limits is None else limits.open_timeout
    lent = Services(workers, log, time.monotonic, open_timeout, traceparent=traceparent)
    return lent if admission is None else replace(lent, endpoint=admission.endpoint)
