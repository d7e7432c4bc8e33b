"""Traces of requests for OpenTelemetry, handed to a receiver over OTLP/HTTP. Loaded only where they are configured.

One server span for each request, and below it its stages: authorise, route, cache, open (of an archive), first byte, last
byte.
Attributes follow the semantic conventions for HTTP servers (https://opentelemetry.io/docs/specs/semconv/http/http-spans/):
the route's template stands where others put the URL. No id, no query, no locator and no address of a client is ever one.

A `traceparent` counts only from peers that are trusted; anybody else's begins no trace of ours, and is a link at most. State
and baggage of strangers go nowhere. A receiver that is away costs a bounded queue, and nothing else.
"""

from __future__ import annotations

import asyncio
import logging
import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from gateway import __version__, errors
from gateway.protocol.interactions import Kind
from gateway.security.peers import TrustedPeers
from gateway.settings.tracing import TracingSettings
from gateway.timeline import Timeline

if TYPE_CHECKING:
    from gateway.calls import Call
    from gateway.telemetry import Logger

QUEUE = 4096
"""Spans that wait to be delivered, some MiB; those of about 700 requests."""

AT_ONCE = 512

LAST_SECONDS = 2.0
"""How long the last spans get to be delivered when the gateway ends."""

_PARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")

_ROUTES = {
    Kind.READ: "/Binary/{id}",
    Kind.VREAD: "/Binary/{id}/_history/{vid}",
    Kind.CAPABILITIES: "/metadata",
    Kind.SMART_CONFIGURATION: "/.well-known/smart-configuration",
}


class Traces:
    """Makes the traces of one process. Making one reads files, and is not for a loop."""

    def __init__(self, settings: TracingSettings, log: Logger) -> None:
        assert settings.endpoint is not None
        _quiet()
        ca = None if settings.ca_file is None else str(settings.ca_file)
        exporter = OTLPSpanExporter(settings.endpoint, certificate_file=ca, timeout=settings.timeout)
        self._delivery = _Delivery(exporter, log.bind(component="tracing"))
        self._queue = _Queue(self._delivery, settings.delay)
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(settings.sample)),
            resource=Resource.create({"service.name": settings.service_name, "service.version": __version__}),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(self._queue)
        self._tracer = self._provider.get_tracer("fhir-document-gateway", __version__)
        self._trusted = TrustedPeers(settings.trusted_peers)

    @property
    def dropped(self) -> int:
        """Spans that were not delivered."""
        return self._queue.dropped + self._delivery.failed

    def begin(self, headers: Mapping[str, str], peer: object) -> Timeline:
        parent = _parent(headers.get("traceparent"))
        context, links = None, []
        if parent is not None:
            if peer in self._trusted:
                context = set_span_in_context(NonRecordingSpan(parent))
            else:
                links = [Link(parent)]
        now = time.time_ns()
        span = self._tracer.start_span("request", context, SpanKind.SERVER, links=links, start_time=now)
        return _Traced(span, now)

    def end(self, call: Call, timeline: Timeline) -> None:
        assert isinstance(timeline, _Traced)
        span = timeline.span
        if span.is_recording():
            self._describe(span, call)
            self._stages(call, timeline)
        span.end(timeline.wall(call, call.ended_at))

    async def close(self) -> None:
        """Deliver what waits, for a moment."""
        ending = threading.Thread(target=self._end, name="traces-end", daemon=True)
        ending.start()
        deadline = time.monotonic() + LAST_SECONDS
        while ending.is_alive() and time.monotonic() < deadline:  # noqa: ASYNC110 # once in a process's life
            await asyncio.sleep(0.02)

    def _end(self) -> None:
        threading.Timer(LAST_SECONDS / 2, self._delivery.shutdown).start()
        self._provider.shutdown()

    def _describe(self, span: Span, call: Call) -> None:
        """What the server span says."""
        method = call.known_method
        route = _ROUTES.get(call.interaction.kind)
        attributes: dict[str, Any] = {
            "http.request.method": "_OTHER" if method == "other" else method,
            "url.scheme": "https" if call.secure else "http",
            "fhir_gateway.outcome": call.outcome,
            "fhir_gateway.bytes": call.sent,
        }
        if route is not None:
            attributes["http.route"] = route = call.interaction.base + route
        if call.status:
            attributes["http.response.status_code"] = call.status
        for name in ("source", "cache"):
            value = getattr(call, name)
            if value is not None:
                attributes[f"fhir_gateway.{name}"] = value
        if call.entry is not None:
            attributes["fhir_gateway.code"] = call.entry.code
            if isinstance(call.entry, errors.Abort) or call.entry.status >= 500:
                attributes["error.type"] = call.entry.code
                span.set_status(Status(StatusCode.ERROR))
        span.set_attributes(attributes)
        span.update_name(f"{attributes['http.request.method']} {route}" if route else attributes["http.request.method"])

    def _stages(self, call: Call, timeline: _Traced) -> None:
        context = set_span_in_context(timeline.span)
        for name, began, ended, error in _parts(call, timeline):
            span = self._tracer.start_span(name, context, start_time=timeline.wall(call, began))
            if error is not None:
                span.set_attribute("error.type", error)
                span.set_status(Status(StatusCode.ERROR))
            span.end(timeline.wall(call, ended))


class _Traced(Timeline):
    """A timeline with its span, which began `began_ns` after 1970."""

    __slots__ = ("began_ns", "span")

    def __init__(self, span: Span, began_ns: int) -> None:
        context = span.get_span_context()
        trace_id = f"{context.trace_id:032x}"
        super().__init__(trace_id, f"00-{trace_id}-{context.span_id:016x}-{context.trace_flags:02x}")
        self.span = span
        self.began_ns = began_ns

    def wall(self, call: Call, moment: float) -> int:
        """A moment of `time.perf_counter` as nanoseconds after 1970."""
        return self.began_ns + int((moment - call.began) * 1e9)


def _parts(call: Call, timeline: Timeline) -> Iterator[tuple[str, float, float, str | None]]:
    """The stages of a request, one after the other where they do not overlap by nature."""
    yield from timeline.stages
    first, ended = call.first_byte_at, call.ended_at
    if first:
        ready = max((stage.ended for stage in timeline.stages if stage.ended <= first), default=call.began)
        yield "first byte", ready, first, None
        yield "last byte", first, ended, None


def _parent(value: str | None) -> SpanContext | None:
    """The caller's span, as `traceparent` says it (https://www.w3.org/TR/trace-context/#traceparent-header)."""
    found = _PARENT.fullmatch(value) if value is not None and len(value) <= 200 else None
    if found is None or ((value or "").startswith("00") and found[4]):
        return None
    flags = TraceFlags(int(found[3], 16) & TraceFlags.SAMPLED)
    return SpanContext(int(found[1], 16), int(found[2], 16), is_remote=True, trace_flags=flags)


class _Queue(SpanProcessor):
    """Spans on their way to the thread that delivers them, never more than `QUEUE`."""

    def __init__(self, delivery: _Delivery, delay: float) -> None:
        self._delivery = delivery
        self._batches = BatchSpanProcessor(
            delivery, max_queue_size=QUEUE, max_export_batch_size=AT_ONCE, schedule_delay_millis=delay * 1000
        )
        self._put = 0
        self.dropped = 0

    def on_end(self, span: ReadableSpan) -> None:
        context = span.get_span_context()
        if context is None or not context.trace_flags.sampled:
            return
        if self._put - self._delivery.taken >= QUEUE:
            self.dropped += 1
            return
        self._put += 1
        self._batches.on_end(span)

    def shutdown(self) -> None:
        self._batches.shutdown()  # type: ignore[no-untyped-call]

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._batches.force_flush(timeout_millis)


class _Delivery(SpanExporter):
    """Hands spans to the receiver, on the thread of the queue, and says once when that begins and ends to fail."""

    def __init__(self, exporter: OTLPSpanExporter, log: Logger) -> None:
        self._exporter = exporter
        self._log = log
        self._away = False
        self._closed = False
        self.taken = self.failed = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.taken += len(spans)
        detail = "spans are dropped until it is back"
        try:
            result = self._exporter.export(spans)
        except Exception as error:
            # A file of authorities that is none, for example: the thread must go on, and the loss be counted.
            result, detail = SpanExportResult.FAILURE, f"{detail}; {type(error).__name__}"
        away = result is not SpanExportResult.SUCCESS
        if away:
            self.failed += len(spans)
        if away != self._away and not self._closed:
            self._away = away
            if away:
                self._log.warning("trace receiver is away", detail=detail)
            else:
                self._log.info("trace receiver is back")
        return result

    def shutdown(self) -> None:
        if not self._closed:
            self._closed = True
            self._exporter.shutdown()  # type: ignore[no-untyped-call]


def _quiet() -> None:
    """What the library would write to standard error is said by this module, once and in the log's own form."""
    logger = logging.getLogger("opentelemetry")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
