"""Traces of a running gateway, as a receiver gets them over OTLP/HTTP: what is in them, whose traces go on, and that nobody
waits for a receiver that is away.
"""

from __future__ import annotations

import http.server
import re
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from gateway.demo.xds import REPOSITORY, letter
from gateway.ids.sealed import Address, Place, Seal
from tests.support.gateway import Gateway, serving
from tests.support.otlp import Receiver, Span, receiving
from tests.support.ports import free_port

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
GIVEN = f"00-{TRACE}-{PARENT}-01"
TRUSTED, STRANGER = "127.0.0.1", "127.0.0.2"
CANARY = "Jabberwocky"
KEY = bytes(range(32))
DOCUMENT = letter(1)


@dataclass
class Running:
    gateway: Gateway
    receiver: Receiver
    soap: list[dict[str, str]]
    """The headers of every request that the archive got."""

    def read(self, id: str, *, source: str = TRUSTED, **headers: str) -> int:
        connection = HTTPConnection("127.0.0.1", self.gateway.port, timeout=20, source_address=(source, 0))
        try:
            connection.request("GET", f"/R4/Binary/{id}?{CANARY}={CANARY}", headers=headers)
            answer = connection.getresponse()
            answer.read()
            return answer.status
        finally:
            connection.close()

    def traced(self, id: str, **headers: str) -> Span:
        """The server span of a request for this id, which is told by its request id's trace in the log."""
        marked = f"r{time.monotonic_ns()}"
        headers |= {"X-Request-Id": marked}
        self.read(id, **headers)
        line = self.line(marked)
        return self.receiver.wait(lambda span: span.kind == 2 and span.trace_id == line["trace_id"])

    def line(self, request_id: str) -> dict[str, Any]:
        end = time.monotonic() + 5
        while time.monotonic() < end:
            for line in self.gateway.lines():
                if line.get("request_id") == request_id:
                    return line
            time.sleep(0.02)
        raise AssertionError(f"no line of {request_id}")


@contextmanager
def recording() -> Iterator[tuple[int, list[dict[str, str]]]]:
    """An archive that takes no request, and keeps the headers of each; yields its port."""
    seen: list[dict[str, str]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            seen.append({name.lower(): value for name, value in self.headers.items()})
            self.send_response(503)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server.server_port, seen
        finally:
            server.shutdown()
            thread.join()


def configuration(directory: Path, endpoint: str, soap: int) -> dict[str, Any]:
    folder = directory / "archive"
    folder.mkdir(exist_ok=True)
    (folder / f"{CANARY}.pdf").write_bytes(b"%PDF-1.7 a letter")
    (directory / "seal.key").write_bytes(KEY)
    letters = {
        "adapter": "filesystem",
        "read": "fill",
        "ids": {"scheme": "template", "pattern": "{id}.*"},
        "options": {"root": str(folder)},
    }
    place = {"alias": "a", "url": f"http://127.0.0.1:{soap}/repository", "repository_unique_ids": [REPOSITORY]}
    care = {
        "adapter": "xds",
        "prefix": "x.",
        "ids": {"scheme": "sealed", "key_file": str(directory / "seal.key")},
        "options": {"endpoints": [place]},
        "limits": {"breaker_failures": 1000},
    }
    tracing = {
        "endpoint": endpoint,
        "trusted_peers": [f"{TRUSTED}/32"],
        "service_name": "trust-gateway",
        "timeout": "1s",
    }
    return {"tracing": tracing, "cache": {"backend": "memory"}, "sources": {"letters": letters, "care": care}}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    directory = tmp_path_factory.mktemp("tracing")
    with receiving() as receiver, recording() as (soap, seen):
        with serving(configuration(directory, receiver.url, soap), directory) as gateway:
            yield Running(gateway, receiver, seen)


def shared_care_id() -> str:
    id = Seal("x.", [KEY], {"a": [Place(None, REPOSITORY)]}).encode(Address.of(None, REPOSITORY, DOCUMENT.unique_id))
    assert id is not None
    return id


# --- what is in a trace ----------------------------------------------------------------------------------------------


def test_one_request_is_one_server_span_with_its_stages_below(running: Running) -> None:
    first, again = running.traced(CANARY), running.traced(CANARY)
    assert (first.name, first.parent) == ("GET /R4/Binary/{id}", "")
    assert first.attributes["http.request.method"] == "GET"
    assert first.attributes["http.route"] == "/R4/Binary/{id}"
    assert first.attributes["http.response.status_code"] == 200
    assert first.attributes["url.scheme"] == "http"
    assert first.attributes["fhir_gateway.source"] == "letters"
    assert (first.attributes["fhir_gateway.cache"], again.attributes["fhir_gateway.cache"]) == ("miss", "hit")
    assert not first.failed
    running.receiver.wait(lambda span: span.parent == again.id and span.name == "last byte")
    assert running.receiver.below(first).keys() == {"authorise", "route", "cache", "open", "first byte", "last byte"}
    assert running.receiver.below(again).keys() == {"authorise", "route", "cache", "first byte", "last byte"}
    for span in running.receiver.below(first).values():
        assert first.began <= span.began <= span.ended <= first.ended
    assert abs(first.ended / 1e9 - time.time()) < 60
    assert running.receiver.resources[0]["service.name"] == "trust-gateway"


def test_failures_are_marked_and_answers_are_not(running: Running) -> None:
    missing = running.traced("unknown")
    assert (missing.attributes["http.response.status_code"], missing.failed) == (404, False)
    away = running.traced(shared_care_id())
    assert (away.attributes["http.response.status_code"], away.failed) == (503, True)
    assert away.attributes["error.type"].startswith("GW-SRC-")
    opened = running.receiver.wait(lambda span: span.parent == away.id and span.name == "open")
    assert opened.failed


def test_nothing_of_what_was_asked_is_in_any_span(running: Running) -> None:
    running.traced(CANARY, baggage=f"patient={CANARY}", tracestate=f"x={CANARY}", **{"User-Agent": CANARY})
    running.traced(f"no-{CANARY}", traceparent=f"00-{CANARY}")
    assert running.receiver.raw
    assert not any(CANARY.encode() in body or b"127.0.0.1" in body for body in running.receiver.raw)


# --- whose traces go on ----------------------------------------------------------------------------------------------


def test_a_trusted_peers_trace_goes_on(running: Running) -> None:
    trace = secrets.token_hex(16)
    span = running.traced(CANARY, traceparent=f"00-{trace}-{PARENT}-01")
    assert (span.trace_id, span.parent, span.links) == (trace, PARENT, [])


def test_a_strangers_trace_is_a_link(running: Running) -> None:
    span = running.traced(CANARY, source=STRANGER, traceparent=GIVEN)
    assert span.trace_id != TRACE
    assert (span.parent, span.links) == ("", [TRACE])


def test_what_is_no_traceparent_begins_a_trace(running: Running) -> None:
    span = running.traced(CANARY, traceparent=GIVEN + "-more")
    assert span.trace_id != TRACE
    assert (span.parent, span.links) == ("", [])


def test_a_caller_that_does_not_sample_is_obeyed(running: Running) -> None:
    trace = secrets.token_hex(16)
    running.read(CANARY, traceparent=f"00-{trace}-{PARENT}-00", **{"X-Request-Id": "unsampled"})
    assert running.line("unsampled")["trace_id"] == trace, "the log can be joined with the caller's all the same"
    running.traced(CANARY)  # what came before it was delivered with it
    assert not [span for span in running.receiver.spans if span.trace_id == trace]


def test_an_archive_is_told_of_the_trace_in_a_header_alone(running: Running) -> None:
    running.soap.clear()
    given = f"00-{secrets.token_hex(16)}-{PARENT}-01"
    span = running.traced(shared_care_id(), traceparent=given, baggage=f"patient={CANARY}", tracestate="x=y")
    asked = [headers for headers in running.soap if "traceparent" in headers]  # a probe is no request of anybody's
    assert {headers["traceparent"] for headers in asked} == {f"00-{span.trace_id}-{span.id}-01"}
    assert not any({"baggage", "tracestate"} & headers.keys() for headers in running.soap)


# --- a receiver that is away -----------------------------------------------------------------------------------------


def test_a_receiver_that_is_away_is_noticed_once_and_by_no_reader(tmp_path: Path) -> None:
    port, soap = free_port(), free_port()
    admin = free_port()
    settings = configuration(tmp_path, f"http://127.0.0.1:{port}/v1/traces", soap) | {"admin": {"port": admin}}
    with serving(settings, tmp_path) as gateway:
        running = Running(gateway, Receiver(port), [])
        assert {running.read(CANARY) for _ in range(60)} == {200}
        said = _events(gateway, "trace receiver is away")
        assert len(said) == 1
        assert {running.read(CANARY) for _ in range(10)} == {200}
        with receiving(port) as receiver:
            running.receiver = receiver
            running.traced(CANARY)
            assert _events(gateway, "trace receiver is back")
        assert {running.read(CANARY) for _ in range(10)} == {200}
        connection = HTTPConnection("127.0.0.1", admin, timeout=10)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        connection.close()
        dropped = re.search(r"^gateway_trace_spans_dropped_total (\S+)$", text, re.MULTILINE)
        assert dropped
        assert float(dropped[1]) > 0
        began = time.monotonic()
        assert gateway.terminate() == 0
        assert time.monotonic() - began < 8, "the end waits a moment for what is left, and no longer"
        assert not [line for line in gateway.lines() if "unstructured" in line], "nothing of the library's own"


def _events(gateway: Gateway, event: str) -> list[dict[str, Any]]:
    end = time.monotonic() + 15
    while time.monotonic() < end:
        found = [line for line in gateway.lines() if line.get("event") == event]
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"{event!r} was not logged")
