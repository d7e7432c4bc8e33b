"""How a running gateway is, in plain values: what `GET /status` shows and `fhir-gateway status` lays out.

Everything that an operator asks in the first minutes of an incident: which archive is away and what to do about it, whether
the cache helps, whether the trail is written, what expires. Holds no id, no locator and nothing of a request; the details of
errors are those of log lines (C12).
"""

from __future__ import annotations

import asyncio
import platform
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from gateway import __version__
from gateway.errors import TABLE
from gateway.metrics.readings import PATIENCE
from gateway.metrics.tallies import Meters
from gateway.source_status import EndpointStatus, LastError

if TYPE_CHECKING:
    from gateway.cache import Cache
    from gateway.observed import ConfigState, Observed
    from gateway.source import Source

USED = ("hit", "stale")
ASKED = ("miss", "collapsed", "outdated")
"""The words of the cache for documents that it had, and for those that an archive was asked for."""


async def status(observed: Observed) -> dict[str, Any]:
    """All of it, as plain values."""
    word = "draining" if observed.draining else "ready" if observed.started else "starting"
    now = time.time()
    states = observed.states()
    sources = {name: _source(source, observed, states[name]) for name, source in observed.sources.items()}
    return {
        "status": word,
        "version": __version__,
        "python": platform.python_version(),
        "started": moment(observed.began),
        "uptime_seconds": round(now - observed.began, 1),
        "event_loop_lag_ms": round(observed.heartbeat.lag * 1000, 1),
        "requests": _requests(observed),
        "sources": sources,
        "cache": await _cache(observed),
        "audit": await _audit(observed),
        "keys": [*_keys(observed, now)],
        "certificates": [*_certificates(observed, now)],
        "config": _config(observed.config),
        "log": observed.telemetry.levels(),
    }


def moment(seconds: float) -> str:
    """A moment, given in seconds since 1970, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


# --- requests and sources --------------------------------------------------------------------------------------------


def _requests(observed: Observed) -> dict[str, Any]:
    counts = observed.meters.requests.counts
    pipeline, listener = observed.pipeline, observed.listener
    return {
        "in_flight": 0 if pipeline is None else pipeline.in_flight,
        "connections": 0 if listener is None else listener.open,
        "answered": sum(counts.values()),
        "failed": sum(count for (_, _, _, status), count in counts.items() if status >= 500),
        "aborted": observed.meters.requests.aborted.total(),
    }


def _source(source: Source, observed: Observed, state: str) -> dict[str, Any]:
    standing, meter = source.status(), observed.meters.of(source.name)
    failure, latency = observed.failures.get(source.name), standing.latency
    now = standing.error if failure is None else LastError.of(failure)
    return {
        "state": state,
        "error": None if state == "ok" or now is None else _explained(now),
        "last_error": None
        if standing.error is None
        else _explained(standing.error) | {"at": moment(standing.error.at)},
        "in_flight": standing.open,
        "limit": standing.max_open,
        "queued": standing.queued,
        "queue_limit": standing.max_queued,
        "threads": {"all": standing.threads, "busy": standing.threads_busy, "hung": standing.threads_hung},
        "latency_ms": {"p50": _ms(latency.median), "p99": _ms(latency.p99)} if latency.samples else None,
        "failed": meter.errors.total(),
        "rejected": {reason: count for reason, count in standing.rejected.items() if count},
        "retries": standing.retries,
        "endpoints": [_endpoint(endpoint) for endpoint in standing.endpoints],
        **_found(observed.meters, source.name),
    }


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 2)


def _endpoint(endpoint: EndpointStatus) -> dict[str, Any]:
    return {
        "name": endpoint.name,
        "circuit": endpoint.circuit,
        "failures": endpoint.failures,
        "opened": endpoint.opened,
        "retry_in_seconds": None if endpoint.retry_in is None else round(endpoint.retry_in, 1),
        "error": None if endpoint.error is None else _explained(endpoint.error),
    }


def _explained(error: LastError) -> dict[str, str]:
    """An archive's error with its code and its cure."""
    row = TABLE[error.code]
    return {"code": row.code, "title": row.title, "detail": error.detail, "cure": error.cure}


def _found(meters: Meters, source: str) -> dict[str, Any]:
    """How many documents came out of the cache, for how many the archive was asked, and the part of the first.

    None where the cache had nothing to do with any.
    """
    answers = meters.requests.answers
    hits, misses = (
        sum(found.documents for word in words if (found := answers.get((source, word))) is not None)
        for words in (USED, ASKED)
    )
    ratio = round(hits / (hits + misses), 4) if hits + misses else None
    return {"cache_hits": hits, "cache_misses": misses, "cache_hit_ratio": ratio}


# --- what requests depend on -----------------------------------------------------------------------------------------


async def _cache(observed: Observed) -> dict[str, Any]:
    cache = observed.cache
    if cache is None:
        return {"backend": "none"}
    facts = {"backend": cache.backend, "state": "away" if cache.away else "ok", **_counts(cache)}
    try:
        async with asyncio.timeout(PATIENCE):
            stats = await cache.stats()
    except TimeoutError:
        return facts
    return facts | {"entries": stats.entries, "bytes": stats.bytes, "limit": stats.limit}


def _counts(cache: Cache) -> dict[str, Any]:
    counts = cache.counts
    looked = counts.hits + counts.misses
    return {
        "hits": counts.hits,
        "misses": counts.misses,
        "hit_ratio": round(counts.hits / looked, 4) if looked else None,
        "stored": counts.stored,
        "damaged": counts.damaged,
        "faults": dict(counts.faults),
    }


async def _audit(observed: Observed) -> Mapping[str, Any]:
    if observed.audit is None:
        return {"state": "none"}
    try:
        async with asyncio.timeout(PATIENCE):
            return await observed.audit.state()
    except (TimeoutError, OSError):
        return {"state": "unknown", "detail": "its directory does not answer"}


def _keys(observed: Observed, now: float) -> Iterator[dict[str, Any]]:
    if observed.authentication is None:
        return
    for issuer, keys in observed.authentication.key_sets():
        known = keys.keys is not None and not keys.stale
        yield {
            "issuer": issuer,
            "state": "none" if not known else "ok" if keys.failure is None else "old",
            "keys": len(keys.keys.keys) if keys.keys is not None and known else 0,
            "believed_until": moment(now + keys.believed) if known else None,
            "detail": keys.failure,
        }


def _certificates(observed: Observed, now: float) -> Iterator[dict[str, Any]]:
    if observed.certificates is None:
        return
    for key, ends in observed.certificates.ends.items():
        days = None if ends is None else int((ends.timestamp() - now) // 86_400)
        yield {"key": key, "expires": None if ends is None else moment(ends.timestamp()), "days": days}


def _config(config: ConfigState) -> dict[str, Any]:
    return {
        "file": config.file,
        "loaded": moment(config.loaded),
        "reloads": config.reloads,
        "state": "ok" if config.refused is None else "refused",
        "refused": None if config.refused is None else moment(config.refused),
        "detail": config.detail or None,
    }
