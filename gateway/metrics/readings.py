"""One reading of all numbers of a process, as a `Snapshot`: plain values that can be sent to another process and added up.

Reading is quick and waits for nothing but two threads: the audit trail looks at its directory, and the kernel is asked what
the process uses. A disk that hangs leaves their values out.
"""

from __future__ import annotations

import asyncio
import os
import platform
import resource
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway import __version__
from gateway.metrics.catalogue import CACHE_FAULTS, CODES, FAULTS, NONE, OTHER, UNPARSED, VALUES
from gateway.metrics.tallies import Answers, Histogram, Meters, SourceMeter

if TYPE_CHECKING:
    from gateway.cache import Cache
    from gateway.observed import Observed
    from gateway.source_status import SourceStatus

Value = float | list[float]
"""A number; of a histogram the counts of its buckets, each for itself, and the sum of what was observed."""

Snapshot = dict[str, dict[tuple[str, ...], Value]]
"""Values by the metric's name and the values of its labels, in the order of the catalogue."""

DOWN = ("away", "refused", "wedged")
"""States of a source that cannot be asked."""

PATIENCE = 1.0
"""Seconds that a disk is waited for."""


async def read(observed: Observed) -> Snapshot:
    """The numbers of this process."""
    snapshot: Snapshot = {}
    for readings in (_now(observed), await _audit(observed), await asyncio.to_thread(lambda: [*_process()])):
        for name, labels, value in readings:
            snapshot.setdefault(name, {})[labels] = value
    return snapshot


Reading = tuple[str, tuple[str, ...], Value]


def _now(observed: Observed) -> Iterator[Reading]:
    """What is known without waiting."""
    yield from _requests(observed.meters)
    states = observed.states()
    for name, source in observed.sources.items():
        yield "gateway_source_up", (name,), 0.0 if states[name] in DOWN else 1.0
        yield from _standing(source.status())
        yield from _operations(name, observed.meters.of(name))
    yield from _sharing(observed)
    if observed.cache is not None:
        yield from _cache(observed.cache)
    yield from _service(observed)
    yield from _secrets(observed)


# --- requests --------------------------------------------------------------------------------------------------------


def _requests(meters: Meters) -> Iterator[Reading]:
    counts: dict[tuple[str, ...], float] = {}
    for (source, method, kind, status), count in [*meters.requests.counts.items()]:
        code = str(status) if status else NONE
        interaction = UNPARSED if kind is None else kind.value
        key = (source or NONE, method or OTHER, interaction, code if code in CODES else NONE if not status else OTHER)
        counts[key] = counts.get(key, 0) + count
    yield from (("gateway_requests_total", key, count) for key, count in counts.items())
    for (source, reason), count in meters.requests.aborted.items():
        yield "gateway_requests_aborted_total", (source or NONE, reason), count
    sent: dict[str, int] = {}
    for (source, word), answers in meters.requests.answers.items():
        labels = (source or NONE, word or NONE)
        sent[labels[0]] = sent.get(labels[0], 0) + answers.bytes
        yield from _answers(labels, answers)
    yield from (("gateway_response_bytes_total", (source,), count) for source, count in sent.items())


def _answers(labels: tuple[str, str], answers: Answers) -> Iterator[Reading]:
    yield "gateway_request_duration_seconds", labels, _value(answers.duration)
    if any(answers.first_byte.counts):
        yield "gateway_ttfb_seconds", labels, _value(answers.first_byte)
    if labels[1] != NONE:
        yield "gateway_cache_requests_total", labels, answers.documents


def _value(histogram: Histogram) -> Value:
    return [*histogram.counts, histogram.total]


# --- sources ---------------------------------------------------------------------------------------------------------


def _standing(source: SourceStatus) -> Iterator[Reading]:
    name = source.name
    for endpoint in source.endpoints:
        for circuit in VALUES["state"]:
            yield "gateway_breaker_state", (name, endpoint.name or NONE, circuit), float(circuit == endpoint.circuit)
    yield "gateway_bulkhead_in_use", (name,), source.open
    yield "gateway_bulkhead_limit", (name,), source.max_open
    yield "gateway_bulkhead_queue", (name,), source.queued
    yield "gateway_bulkhead_queue_limit", (name,), source.max_queued
    for reason, count in source.rejected.items():
        yield "gateway_bulkhead_rejected_total", (name, reason.replace(" ", "_")), count
    yield "gateway_retries_total", (name,), source.retries
    yield "gateway_threads", (name,), source.threads
    yield "gateway_threads_busy", (name,), source.threads_busy
    yield "gateway_abandoned_threads", (name,), source.threads_hung


def _operations(name: str, meter: SourceMeter) -> Iterator[Reading]:
    for operation, histogram in meter.operations.items():
        yield "gateway_backend_duration_seconds", (name, operation), _value(histogram)
    errors: dict[str, float] = {}
    for kind, count in meter.errors.items():
        reason = FAULTS.get(kind.__name__, OTHER)
        errors[reason] = errors.get(reason, 0) + count
    yield from (("gateway_backend_errors_total", (name, reason), count) for reason, count in errors.items())
    yield "gateway_cache_fill_bytes_total", (name,), meter.filled


# --- shared reads and the cache --------------------------------------------------------------------------------------


def _sharing(observed: Observed) -> Iterator[Reading]:
    if observed.fills is not None:
        yield "gateway_inflight_fills", (), observed.fills.running
        yield "gateway_coalesced_waiters", (), observed.fills.waiters
    if observed.spool is not None:
        yield "gateway_spool_bytes", (), observed.spool.used
        yield "gateway_spool_limit_bytes", (), observed.spool.max_bytes


def _cache(cache: Cache) -> Iterator[Reading]:
    counts = cache.counts
    yield "gateway_cache_lookups_total", ("hit",), counts.hits
    yield "gateway_cache_lookups_total", ("miss",), counts.misses
    yield "gateway_cache_stored_total", (), counts.stored
    yield "gateway_cache_dropped_total", (), counts.dropped
    yield "gateway_cache_integrity_failures_total", (), counts.damaged
    yield "gateway_cache_up", (), 0.0 if cache.away else 1.0
    faults: dict[str, float] = {}
    for word, count in [*counts.faults.items()]:
        fault = word if word in CACHE_FAULTS else OTHER
        faults[fault] = faults.get(fault, 0) + count
    yield from (("gateway_cache_faults_total", (fault,), count) for fault, count in faults.items())


# --- the process -----------------------------------------------------------------------------------------------------


def _service(observed: Observed) -> Iterator[Reading]:
    if observed.pipeline is not None:
        yield "gateway_requests_in_flight", (), observed.pipeline.in_flight
    if observed.listener is not None:
        yield "gateway_connections_open", (), observed.listener.open
        for reason, count in observed.listener.refused.items():
            yield "gateway_connections_refused_total", (reason,), count
    config = observed.config
    yield "gateway_config_last_reload_success", (), 1.0 if config.refused is None else 0.0
    yield "gateway_config_last_reload_success_timestamp_seconds", (), config.loaded
    yield "gateway_event_loop_lag_seconds", (), observed.heartbeat.lag
    yield "gateway_log_lines_dropped_total", (), observed.telemetry.writer.lost
    if observed.traces is not None:
        yield "gateway_trace_spans_dropped_total", (), observed.traces.dropped
    yield "gateway_ready", (), 1.0 if observed.ready else 0.0
    yield "gateway_build_info", (__version__, platform.python_version()), 1.0
    yield "gateway_start_time_seconds", (), observed.began
    yield "gateway_workers", (), 1.0


def _process() -> Iterator[Reading]:
    """What the kernel says of this process (proc(5)). Blocking."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    yield "gateway_process_cpu_seconds_total", (), used.ru_utime + used.ru_stime
    yield "gateway_process_max_fds", (), resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    with suppress(OSError, ValueError, IndexError):
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        yield "gateway_process_resident_memory_bytes", (), pages * os.sysconf("SC_PAGE_SIZE")
    with suppress(OSError):
        yield "gateway_process_open_fds", (), len(os.listdir("/proc/self/fd"))


def _secrets(observed: Observed) -> Iterator[Reading]:
    """When what has to be renewed ends."""
    if observed.certificates is not None:
        for key, ends in observed.certificates.ends.items():
            yield "gateway_certificate_expiry_timestamp_seconds", (key,), ends.timestamp() if ends else 0.0
    if observed.authentication is not None:
        for issuer, keys in observed.authentication.key_sets():
            known = keys.keys is not None and not keys.stale
            yield "gateway_jwks_keys", (issuer,), len(keys.keys.keys) if keys.keys is not None and known else 0
            yield "gateway_jwks_expiry_timestamp_seconds", (issuer,), time.time() + keys.believed if known else 0.0


# --- the audit trail -------------------------------------------------------------------------------------------------


async def _audit(observed: Observed) -> list[Reading]:
    if observed.audit is None:
        return []
    try:
        async with asyncio.timeout(PATIENCE):
            return [*_trail(await observed.audit.state())]
    except (TimeoutError, OSError):
        return [("gateway_audit_up", (), 0.0)]


def _trail(state: Mapping[str, Any]) -> Iterator[Reading]:
    yield "gateway_audit_up", (), 0.0 if state["state"] == "failing" else 1.0
    if state["state"] == "none":
        return
    yield "gateway_audit_records_total", (), state["records"]
    yield "gateway_audit_spool_records", (), state["waiting"]
    yield "gateway_audit_lost_total", (), state["lost_in_all"]
    for sink in state["sinks"]:
        labels = (sink["name"],)
        yield "gateway_audit_spool_age_seconds", labels, sink["waiting_seconds"]
        yield "gateway_audit_spool_bytes", labels, sink["waiting_bytes"]
        yield "gateway_audit_set_aside_total", labels, sink["set_aside"]
