"""docs/metrics.md is made from the catalogue, the catalogue is complete, and every name in it is one that Prometheus takes."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from adapters.errors import AdapterError, OptionError
from gateway import errors
from gateway.cache import redis_faults
from gateway.metrics import catalogue
from gateway.metrics.catalogue import METRICS, NAMES, Metric, values
from gateway.metrics.page import page
from gateway.metrics.tallies import ANSWERS

PROJECT = Path(__file__).parents[2]


def test_the_page_is_what_the_catalogue_says() -> None:
    assert (PROJECT / "docs" / "metrics.md").read_text(encoding="utf-8") == page(), "python -m gateway.metrics.page"


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_a_metric_is_named_as_prometheus_advises_and_its_labels_have_values(metric: Metric) -> None:
    assert re.fullmatch(r"gateway(_[a-z]+)+", metric.name)
    assert metric.name.endswith("_total") == (metric.kind == "counter")
    assert metric.help.endswith(".")
    assert "|" not in metric.help + metric.alert
    for label in metric.labels:
        assert values(metric, label)
        assert label not in ("id", "path", "client", "caller", "user", "patient", "locator")


def test_no_metric_is_declared_twice() -> None:
    assert Counter(metric.name for metric in METRICS).most_common(1)[0][1] == 1
    assert {"gateway_requests_total", "gateway_ttfb_seconds_bucket", "gateway_ttfb_seconds_count"} <= NAMES
    assert "gateway_ttfb_seconds" not in NAMES, "a query of a histogram names one of its parts"


def test_every_failure_of_an_archive_has_its_word() -> None:
    """All classes that may cross the border, but for answers and for what is said at the start alone."""
    kinds = {
        kind for kind in errors._BY_ERROR if not issubclass(kind, (*ANSWERS, OptionError)) and kind is not AdapterError
    }
    assert {kind.__name__ for kind in kinds} == catalogue.FAULTS.keys()


def test_every_fault_of_redis_has_its_word() -> None:
    words = {value for name, value in vars(redis_faults).items() if name.isupper() and isinstance(value, str)}
    assert words | set(redis_faults._WORDS.values()) <= set(catalogue.CACHE_FAULTS)
