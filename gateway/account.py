"""What is told of every request when it is over: its line in the log, its numbers, its trace.

Nothing here decides anything, and nothing of it may fail a request.
"""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import web

from gateway import errors
from gateway.calls import Call
from gateway.metrics.tallies import Requests
from gateway.protocol.interactions import Kind
from gateway.telemetry import Telemetry
from gateway.timeline import Timeline, Tracing, current

_NAMES_A_DOCUMENT = (Kind.READ, Kind.VREAD)


class Account:
    """Tells of the requests of one listener. `adapters` are the kinds of the sources, for the log."""

    def __init__(
        self, telemetry: Telemetry, requests: Requests, tracing: Tracing | None, adapters: Mapping[str, str]
    ) -> None:
        self._telemetry = telemetry
        self._requests = requests
        self._tracing = tracing
        self.adapters = adapters
        """Set anew when sources change."""

    def begin(self, request: web.BaseRequest, call: Call) -> Timeline | None:
        """A request has come; whatever works for it finds its timeline, where traces are made."""
        if self._tracing is None:
            return None
        transport = request.transport
        peer = None if transport is None else transport.get_extra_info("peername")
        timeline = self._tracing.begin(request.headers, peer)
        call.trace_id = timeline.trace_id
        current.set(timeline)
        return timeline

    def end(self, call: Call, timeline: Timeline | None) -> None:
        """It is over. `timeline` is what `begin` gave."""
        self._requests.ended(call)
        self._log(call)
        if self._tracing is not None and timeline is not None:
            current.set(None)
            self._tracing.end(call, timeline)

    def unparsed(self, entry: errors.Entry, request_id: str) -> None:
        """Bytes that are no request were answered."""
        line = {"request_id": request_id, "status": entry.status, "code": entry.code, "outcome": "refused"}
        self._telemetry.request("info", line)
        self._requests.unparsed(entry.status)

    def _log(self, call: Call) -> None:
        entry = call.entry
        telemetry = self._telemetry
        hashed = telemetry.document(call.interaction.id) if call.interaction.kind in _NAMES_A_DOCUMENT else None
        if entry is None or entry is errors.ENDED_BY_READER or (isinstance(entry, errors.Entry) and entry.status < 500):
            level = "info"
        else:
            level = "error" if entry.alert else "warning"
        caller = telemetry.caller(call.identity.client) if call.identity.method != "none" else None
        telemetry.request(level, call.fields(hashed, caller, self.adapters))
