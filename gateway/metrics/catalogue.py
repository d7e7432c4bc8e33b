"""Every metric that a gateway exposes: its type, its labels and all their values, and what it tells.

The one declaration: the exposition, `docs/metrics.md` and the check of dashboards and alerts (`NAMES`) are made from it.
Names and units follow https://prometheus.io/docs/practices/naming/. Plain values; nothing is counted here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from gateway import errors, source_status
from gateway.protocol.interactions import Kind

OTHER = "other"
"""What stands for a value that is in none of the sets below."""

NONE = "(none)"
"""What stands for no value: a request that led to no source, an answer that no cache had to do with."""

BUCKETS = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 30.0, 60.0,
)  # fmt: skip
"""Upper bounds in seconds: those that OpenTelemetry advises for HTTP, with finer ones below and two for large documents."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. `merge` is how the values of several worker processes become one."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    merge: Literal["sum", "max", "min"] = "sum"
    alert: str = ""
    """When a person should be told, in words; the rules themselves are below `deploy/`."""


CODES = tuple(str(status) for status in sorted({200, 204, 206, 304} | {row.status for row in errors.TABLE.values()}))
"""Every status that is ever answered."""

ABORTS = tuple(errors.ABORTS)
"""Why a body ended early."""

FAULTS = {
    "AccessDenied": "access_denied",
    "CredentialsRejected": "credentials_rejected",
    "Unavailable": "unavailable",
    "Busy": "busy",
    "Wedged": "wedged",
    "Resting": "resting",
    "TimedOut": "timed_out",
    "Changed": "changed",
    "Ambiguous": "ambiguous",
    "Corrupt": "corrupt",
    "Unsupported": "unsupported",
}
"""Errors of archives that are no answers, by their class. That a document is not there is an answer."""

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

CACHE_WORDS = ("hit", "stale", "miss", "collapsed", "outdated", "bypass")

CACHE_FAULTS = (
    "open", "full", "timeout", "no-script", "wrong-type", "moved", "read-only", "denied", "lost", "refused", "garbage", "busy",
    "closed", "cluster-down", "no-primary", "loading", "body", "ENOSPC", "EDQUOT", "EACCES", "EROFS", "EIO", "EMFILE", "ESTALE",
)  # fmt: skip
"""What goes wrong with Redis (the words of `gateway.cache.redis_faults`) and with a disk (names of errno(3))."""

UNPARSED = "unparsed"
"""The interaction of bytes that were no HTTP request, and of connections too many."""

VALUES: Mapping[str, Sequence[str] | str] = {
    "source": f"the names below `sources` in the configuration; `{NONE}` for requests that led to no source",
    "method": (*METHODS, OTHER),
    "interaction": (*(kind.value for kind in Kind), UNPARSED),
    "code": (*CODES, NONE),
    "cache": (*CACHE_WORDS, NONE),
    "operation": ("open", "stat", "resolve", "probe"),
    "state": get_args(source_status.Circuit),
    "issuer": "the issuers below `auth.issuers` in the configuration",
    "certificate": "the keys of the configuration that name certificates",
    "receiver": "the names of `audit.sinks` in the configuration",
    "endpoint": "the endpoints of the source's options; `(none)` where the source has but one",
    "result": ("hit", "miss"),
    "fault": (*CACHE_FAULTS, OTHER),
    "version": "that of the gateway",
    "python": "that of the interpreter",
}
"""The values of each label."""

REASONS: Mapping[str, Sequence[str]] = {
    "gateway_requests_aborted_total": (*ABORTS, OTHER),
    "gateway_backend_errors_total": (*FAULTS.values(), OTHER),
    "gateway_connections_refused_total": ("connections", "connections_per_peer", "handshake", "not_accepted"),
    "gateway_bulkhead_rejected_total": tuple(name.replace(" ", "_") for name in source_status.REASONS),
}
"""The values of the label `reason`, which differ from metric to metric."""

METRICS = (
    # --- requests ----------------------------------------------------------------------------------------------------
    Metric(
        "gateway_requests_total",
        "counter",
        "Requests that ended, by what was asked and answered. `code` is the status, `(none)` when the reader left before one.",
        ("source", "method", "interaction", "code"),
        alert="the share of 5xx codes of a source grows",
    ),
    Metric(
        "gateway_requests_aborted_total",
        "counter",
        "Answers that were reset after their first byte, or whose reader left before; `reason` is a code of docs/errors.md.",
        ("source", "reason"),
        alert="`GW-END-001`, `GW-END-002` or `GW-END-006` repeats",
    ),
    Metric(
        "gateway_request_duration_seconds",
        "histogram",
        "From the request's headers to the last byte of its answer.",
        ("source", "cache"),
    ),
    Metric(
        "gateway_ttfb_seconds",
        "histogram",
        "From the request's headers to the first byte of its answer.",
        ("source", "cache"),
        alert="the 99th percentile of a source passes what its readers accept",
    ),
    Metric("gateway_response_bytes_total", "counter", "Bytes of bodies handed to connections.", ("source",)),
    Metric("gateway_requests_in_flight", "gauge", "Requests that are being answered."),
    Metric("gateway_connections_open", "gauge", "Connections that are open on the public listener."),
    Metric(
        "gateway_connections_refused_total",
        "counter",
        "Connections that were not served: too many of them, too many of one address, a failed TLS handshake, no descriptor "
        "left to accept one.",
        ("reason",),
        alert="`not_accepted` grows: raise `ulimit -n`",
    ),
    # --- sources -----------------------------------------------------------------------------------------------------
    Metric(
        "gateway_source_up",
        "gauge",
        "Whether the source can be asked: 1, or 0 while it is away, wedged or refuses the gateway's account.",
        ("source",),
        merge="min",
        alert="0 for longer than a restart of the archive takes",
    ),
    Metric(
        "gateway_backend_duration_seconds",
        "histogram",
        "How long an archive took for one operation that it answered; for `open`, until the facts of the document were there.",
        ("source", "operation"),
    ),
    Metric(
        "gateway_backend_errors_total",
        "counter",
        "Operations of an archive that failed. That a document is not there is an answer and not counted.",
        ("source", "reason"),
        alert="it grows by more than a few in a minute; `credentials_rejected` at all",
    ),
    Metric(
        "gateway_breaker_state",
        "gauge",
        "Whether calls of the source's endpoint are refused because it keeps failing: 1 for the state it is in, else 0.",
        ("source", "endpoint", "state"),
        merge="max",
        alert="`open` is 1 for longer than a restart of the archive takes",
    ),
    Metric("gateway_bulkhead_in_use", "gauge", "Documents that are open in the archive.", ("source",)),
    Metric(
        "gateway_bulkhead_limit",
        "gauge",
        "How many may be: `limits.max_open`, or less if the archive says so.",
        ("source",),
    ),
    Metric("gateway_bulkhead_queue", "gauge", "Requests that wait for one of these places.", ("source",)),
    Metric("gateway_bulkhead_queue_limit", "gauge", "How many may.", ("source",)),
    Metric(
        "gateway_bulkhead_rejected_total",
        "counter",
        "Requests that were told to come back without the archive being asked.",
        ("source", "reason"),
        alert="it grows for minutes: the archive is too slow, or `limits` are too small",
    ),
    Metric("gateway_retries_total", "counter", "Calls of the archive that were made a second time.", ("source",)),
    Metric("gateway_threads", "gauge", "Threads that the source may have.", ("source",)),
    Metric("gateway_threads_busy", "gauge", "Threads that are inside a call of the archive.", ("source",)),
    Metric(
        "gateway_abandoned_threads",
        "gauge",
        "Threads of the source that have hung in the archive for longer than its deadline.",
        ("source",),
        alert="above 0 for minutes: a mount hangs",
    ),
    # --- shared reads and the cache ----------------------------------------------------------------------------------
    Metric(
        "gateway_inflight_fills",
        "gauge",
        "Reads of archives that are under way for all who ask, or still have readers.",
    ),
    Metric("gateway_coalesced_waiters", "gauge", "Readers that follow a read which somebody else's request began."),
    Metric("gateway_cache_fill_bytes_total", "counter", "Bytes read from the archive for all who ask.", ("source",)),
    Metric(
        "gateway_cache_requests_total",
        "counter",
        "Documents by what the cache had to do with them; the words are those of docs/cache.md.",
        ("source", "cache"),
        alert="the share of `stale` grows: an archive is away and its copies are used",
    ),
    Metric(
        "gateway_cache_lookups_total", "counter", "Look-ups in the backend, whatever became of the copy.", ("result",)
    ),
    Metric("gateway_cache_stored_total", "counter", "Documents that the backend took."),
    Metric("gateway_cache_dropped_total", "counter", "Copies removed because the archive has another document by now."),
    Metric(
        "gateway_cache_integrity_failures_total",
        "counter",
        "Copies that were not what had been stored under their name: damaged, cut, swapped. They are never served.",
        alert="it grows at all: a disk fails, or somebody writes to the cache",
    ),
    Metric(
        "gateway_cache_faults_total",
        "counter",
        "What else went wrong with the backend; requests go on without it.",
        ("fault",),
        alert="it grows for minutes",
    ),
    Metric(
        "gateway_cache_up",
        "gauge",
        "Whether the backend answers: 0 while Redis is given up for a moment. 1 where nothing is kept.",
        merge="min",
        alert="0 for minutes: every request goes to the archives",
    ),
    Metric("gateway_spool_bytes", "gauge", "Bytes of documents that wait in the spool, in memory and files."),
    Metric("gateway_spool_limit_bytes", "gauge", "How many may: `spool.max_bytes`."),
    # --- the process -------------------------------------------------------------------------------------------------
    Metric(
        "gateway_event_loop_lag_seconds",
        "gauge",
        "How late the event loop was at worst in the last 15 seconds.",
        merge="max",
        alert="above 0.25 for minutes: the process has too much to do, or something blocks it",
    ),
    Metric(
        "gateway_log_lines_dropped_total",
        "counter",
        "Log lines that were dropped because nobody read standard error.",
        alert="it grows at all",
    ),
    Metric("gateway_ready", "gauge", "What `/readyz` says: 1 while requests are taken.", merge="min"),
    Metric("gateway_build_info", "gauge", "Always 1.", ("version", "python"), merge="max"),
    Metric("gateway_start_time_seconds", "gauge", "When the gateway was started, in seconds since 1970.", merge="min"),
    Metric("gateway_workers", "gauge", "Processes that these numbers are of."),
    Metric("gateway_process_resident_memory_bytes", "gauge", "Memory in use.", alert="it nears the container's limit"),
    Metric("gateway_process_cpu_seconds_total", "counter", "Processor time used."),
    Metric("gateway_process_open_fds", "gauge", "File descriptors in use.", alert="it nears `gateway_process_max_fds`"),
    Metric("gateway_process_max_fds", "gauge", "How many there may be."),
    # --- configuration, certificates, keys ---------------------------------------------------------------------------
    Metric(
        "gateway_config_last_reload_success",
        "gauge",
        "Whether the configuration that was read last is in use: 0 when it was refused and the one before stays.",
        merge="min",
        alert="0: `fhir-gateway check` says why",
    ),
    Metric(
        "gateway_config_last_reload_success_timestamp_seconds",
        "gauge",
        "When the configuration in use was read, in seconds since 1970.",
        merge="min",
    ),
    Metric(
        "gateway_certificate_expiry_timestamp_seconds",
        "gauge",
        "When the first certificate of the file that this key names expires, in seconds since 1970; 0 when it cannot be read.",
        ("certificate",),
        merge="min",
        alert="less than 14 days ahead",
    ),
    Metric(
        "gateway_jwks_expiry_timestamp_seconds",
        "gauge",
        "Until when the keys of this issuer are believed if they cannot be read again, in seconds since 1970; 0 when there "
        "are none.",
        ("issuer",),
        merge="min",
        alert="less than half of the issuer's `keep` ahead: its address does not answer",
    ),
    Metric("gateway_jwks_keys", "gauge", "Keys of this issuer that are in use.", ("issuer",), merge="min", alert="0"),
    # --- the audit trail ---------------------------------------------------------------------------------------------
    Metric(
        "gateway_audit_up",
        "gauge",
        "Whether the trail can be written; 1 where none is kept.",
        merge="min",
        alert="0: requests are refused, or with `audit.fail: open` answered unrecorded",
    ),
    Metric("gateway_audit_records_total", "counter", "Records that are durable."),
    Metric(
        "gateway_audit_spool_records", "gauge", "Records that wait to become durable.", alert="it grows for a minute"
    ),
    Metric(
        "gateway_audit_spool_age_seconds",
        "gauge",
        "How long the oldest record has waited to be delivered to this receiver.",
        ("receiver",),
        merge="max",
        alert="longer than you can accept a receiver to be away",
    ),
    Metric(
        "gateway_audit_spool_bytes",
        "gauge",
        "Bytes of the trail that wait to be delivered to this receiver.",
        ("receiver",),
        merge="max",
    ),
    Metric(
        "gateway_audit_set_aside_total",
        "counter",
        "Records that this receiver refused again and again.",
        ("receiver",),
        alert="it grows at all",
    ),
    Metric(
        "gateway_audit_lost_total",
        "counter",
        "Records that could be neither written nor kept in memory. Always 0 while `audit.fail` is `closed`.",
        alert="above 0",
    ),
    # --- traces ------------------------------------------------------------------------------------------------------
    Metric(
        "gateway_trace_spans_dropped_total",
        "counter",
        "Spans that were not delivered, because the receiver was away or too slow.",
    ),
)

NAMES = frozenset(
    name
    for metric in METRICS
    for name in (
        [metric.name]
        if metric.kind != "histogram"
        else [f"{metric.name}_{part}" for part in ("bucket", "count", "sum")]
    )
)
"""Every name that a query may use."""


def values(metric: Metric, label: str) -> Sequence[str] | str:
    """The values that this label of this metric has: all of them, or in words what they are taken from."""
    return REASONS[metric.name] if label == "reason" else VALUES[label]
