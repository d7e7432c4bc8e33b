"""A receiver of traces over OTLP/HTTP on a loopback port, as a collector is one: it takes protobuf and keeps every span."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass
class Span:
    """One span as it came."""

    name: str
    trace_id: str
    id: str
    parent: str
    kind: int
    attributes: dict[str, Any]
    links: list[str]
    began: int
    ended: int
    failed: bool


@dataclass
class Receiver:
    """What came so far. `raw` is every body as it was sent; with `status` others than 200 nothing is taken."""

    port: int
    status: int = 200
    spans: list[Span] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)
    resources: list[dict[str, Any]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1/traces"

    def wait(self, found: Callable[[Span], bool], seconds: float = 15.0) -> Span:
        """The first span that is looked for."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for span in self.spans:
                if found(span):
                    return span
            time.sleep(0.02)
        raise AssertionError(f"no such span among {[(span.name, span.attributes) for span in self.spans]}")

    def below(self, parent: Span) -> dict[str, Span]:
        """The spans of a server span, by their names."""
        return {span.name: span for span in self.spans if span.parent == parent.id}

    def take(self, body: bytes) -> None:
        message = ExportTraceServiceRequest.FromString(body)
        self.raw.append(body)
        for resource in message.resource_spans:
            self.resources.append({one.key: _value(one.value) for one in resource.resource.attributes})
            for scope in resource.scope_spans:
                self.spans += [_span(one) for one in scope.spans]


def _value(value: Any) -> Any:
    return getattr(value, value.WhichOneof("value"))


def _span(one: Any) -> Span:
    return Span(
        one.name,
        one.trace_id.hex(),
        one.span_id.hex(),
        one.parent_span_id.hex(),
        one.kind,
        {attribute.key: _value(attribute.value) for attribute in one.attributes},
        [link.trace_id.hex() for link in one.links],
        one.start_time_unix_nano,
        one.end_time_unix_nano,
        one.status.code == 2,
    )


@contextmanager
def receiving(port: int = 0) -> Iterator[Receiver]:
    """A receiver that listens until the context is left; then the port is closed."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if receiver.status == 200:
                receiver.take(body)
            self.send_response(receiver.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        receiver = Receiver(server.server_port)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()
