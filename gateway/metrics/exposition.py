"""The numbers as Prometheus reads them; those of several worker processes added up.

prometheus-client lives here and nowhere else, and is loaded with the first scrape: it knows the text formats and their
rules, and that is all it is needed for. Writing runs on a thread, for it takes longer than a request may wait.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from gateway.metrics.catalogue import BUCKETS, METRICS, Metric
from gateway.metrics.readings import Snapshot, Value

if TYPE_CHECKING:
    from prometheus_client.core import Metric as Family

_MERGED = {"max": max, "min": min}

_BOUNDS = [*(str(float(bound)) for bound in BUCKETS), "+Inf"]


def packed(snapshot: Snapshot) -> bytes:
    """A snapshot as JSON, for another process."""
    return json.dumps(
        {name: [[*labels, value] for labels, value in of.items()] for name, of in snapshot.items()}
    ).encode()


def unpacked(data: bytes) -> Snapshot:
    """The snapshot that `packed` made."""
    return {name: {tuple(row[:-1]): row[-1] for row in rows} for name, rows in json.loads(data).items()}


def merged(snapshots: Iterable[Snapshot]) -> Snapshot:
    """The numbers of several processes as if they were one. Counters add up; a gauge says in the catalogue what it does."""
    whole: Snapshot = {}
    for snapshot in snapshots:
        for metric in METRICS:
            values = whole.setdefault(metric.name, {})
            for labels, value in snapshot.get(metric.name, {}).items():
                values[labels] = _joined(metric, values[labels], value) if labels in values else value
    return whole


def _joined(metric: Metric, one: Value, other: Value) -> Value:
    if isinstance(one, list) or isinstance(other, list):
        assert isinstance(one, list)
        assert isinstance(other, list)
        return [mine + its for mine, its in zip(one, other, strict=True)]
    return one + other if metric.merge == "sum" else _MERGED[metric.merge](one, other)


async def rendered(snapshot: Snapshot, accept: str = "") -> tuple[bytes, str]:
    """The text and its content type, in the format of those that `accept` names that Prometheus likes best."""
    return await asyncio.to_thread(_rendered, snapshot, accept)


def _rendered(snapshot: Snapshot, accept: str) -> tuple[bytes, str]:
    from prometheus_client import CollectorRegistry
    from prometheus_client.exposition import choose_encoder

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected(snapshot))
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


class _Collected:
    """A snapshot as prometheus-client collects it."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def describe(self) -> Iterable[Family]:
        return ()

    def collect(self) -> Iterator[Family]:
        for metric in METRICS:
            yield _family(metric, self._snapshot.get(metric.name, {}))


def _family(metric: Metric, values: dict[tuple[str, ...], Value]) -> Family:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

    made: Any
    if metric.kind == "histogram":
        made = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
        for labels, value in values.items():
            assert isinstance(value, list)
            made.add_metric(labels, buckets=_cumulative(value[:-1]), sum_value=value[-1])
        return made  # type: ignore[no-any-return]
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    made = kind(metric.name, metric.help, labels=metric.labels)
    for labels, value in values.items():
        made.add_metric(labels, value)
    return made  # type: ignore[no-any-return]


def _cumulative(counts: list[float]) -> list[tuple[str, float]]:
    total, buckets = 0.0, []
    for bound, count in zip(_BOUNDS, counts, strict=True):
        total += count
        buckets.append((bound, total))
    return buckets
