"""The page `docs/metrics.md`, made from the catalogue. Write it anew with: python -m gateway.metrics.page"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path

from gateway.metrics.catalogue import BUCKETS, METRICS, REASONS, VALUES, Metric

WIDTH = 118

_INTRODUCTION = """\
# Metrics

<!-- Generated from gateway/metrics/catalogue.py; a test keeps it fresh. Write it anew with: python -m gateway.metrics.page -->

`GET /metrics` on the admin listener tells Prometheus how the gateway is; [observability.md](observability.md) says how to
scrape it and what to look at first, [alerts.md](alerts.md) which rules for alerts and which dashboard there are.

Labels take the values below and no others: names of the configuration, and words of the code. No id, no name of a document
and nothing that a request brought is ever one, and no request can make a new series. What is in none of the sets is `other`;
what has no value is `(none)`. Times are in seconds, sizes in bytes. Of several workers the numbers are added up, unless the
table says that the largest or the smallest counts.
"""

_TITLES = (
    ("gateway_requests_total", "Requests"),
    ("gateway_source_up", "Archives"),
    ("gateway_inflight_fills", "Shared reads and the cache"),
    ("gateway_event_loop_lag_seconds", "The process"),
    ("gateway_config_last_reload_success", "Configuration, certificates, keys"),
    ("gateway_audit_up", "The audit trail"),
    ("gateway_trace_spans_dropped_total", "Traces"),
)
"""The first metric of each part of the catalogue, and what the part is called."""


def page() -> str:
    """The whole page in Markdown."""
    titles = dict(_TITLES)
    lines = [_INTRODUCTION.rstrip()]
    for metric in METRICS:
        if metric.name in titles:
            lines += ["", f"## {titles[metric.name]}", "", "| metric | type | labels | meaning | alert when |"]
            lines.append("|---|---|---|---|---|")
        labels = ", ".join(f"`{label}`" for label in metric.labels) or "-"
        meaning = metric.help + _of_workers(metric)
        lines.append(f"| `{metric.name}` | {metric.kind} | {labels} | {meaning} | {metric.alert or '-'} |")
    lines += ["", "## Labels", "", *_labels(), "", "## Buckets", ""]
    bounds = ", ".join(f"{bound:g}" for bound in BUCKETS)
    lines += textwrap.wrap(f"Histograms have these upper bounds, in seconds: {bounds}, and one for all above.", WIDTH)
    return "\n".join(lines) + "\n"


def _of_workers(metric: Metric) -> str:
    return {"sum": "", "max": " (of several workers: the largest)", "min": " (of several workers: the smallest)"}[
        metric.merge
    ]


def _labels() -> Iterator[str]:
    yield "| label | values |"
    yield "|---|---|"
    for label, values in VALUES.items():
        yield f"| `{label}` | {_listed(values)} |"
    for name, reasons in REASONS.items():
        yield f"| `reason` of `{name}` | {_listed(reasons)} |"


def _listed(values: object) -> str:
    return values if isinstance(values, str) else ", ".join(f"`{value}`" for value in values)  # type: ignore[attr-defined]


if __name__ == "__main__":
    Path("docs/metrics.md").write_text(page(), encoding="utf-8")
