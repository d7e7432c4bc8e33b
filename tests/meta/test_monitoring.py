"""deploy/monitoring: alarms and a dashboard whose queries Prometheus takes, and whose metrics and labels the gateway has."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from gateway.metrics.catalogue import METRICS, REASONS, VALUES, Metric
from tests.meta.doc_blocks import Page
from tests.support.kustomize import RULE, prometheus_rule

PROJECT = Path(__file__).parents[2]
MONITORING = PROJECT / "deploy" / "monitoring"
RULES = [
    rule for group in yaml.safe_load((MONITORING / "alerts.yaml").read_text())["groups"] for rule in group["rules"]
]
DASHBOARD = json.loads((MONITORING / "dashboard.json").read_text())
RUNBOOK = Page.of(PROJECT / "docs" / "alerts.md", PROJECT)

SERIES = {
    metric.name + ending: metric
    for metric in METRICS
    for ending in (("_bucket", "_sum", "_count") if metric.kind == "histogram" else ("",))
}
"""Every name that a query may ask for."""

ADDED = {"instance", "job", "le"}
"""Labels that Prometheus adds to each series, and the one of histograms."""

# --- reading queries -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Asked:
    """What a query asks for: names of series with the labels that must fit, and labels by which it sums up."""

    selectors: tuple[tuple[str, tuple[tuple[str, str, str], ...]], ...]
    grouped: frozenset[str]


def asked(query: str) -> Asked:
    """Parse a query as Prometheus does. Raises `ValueError`."""
    tree = promql_parser.parse(query)
    parts = list(walk(tree))
    selectors = tuple(
        (part.name, tuple((one.name, str(one.op), one.value) for one in part.matchers.matchers))
        for part in parts
        if isinstance(part, promql_parser.VectorSelector)
    )
    grouped = [
        part.modifier.labels for part in parts if isinstance(part, promql_parser.AggregateExpr) and part.modifier
    ]
    return Asked(selectors, frozenset(label for labels in grouped for label in labels))


def walk(node: Any) -> Iterator[Any]:
    yield node
    for name in ("lhs", "rhs", "expr", "vector_selector", "param"):
        child = getattr(node, name, None)
        if child is not None:
            yield from walk(child)
    for child in getattr(node, "args", ()):
        yield from walk(child)


def wrong(query: str) -> list[str]:
    """What a query asks for that the gateway does not have."""
    try:
        found = asked(query)
    except ValueError as error:
        return [f"{query}: {error}"]
    labels = {label for name, _ in found.selectors if name in SERIES for label in SERIES[name].labels} | ADDED
    faults = [f"no metric {name}" for name, _ in found.selectors if name not in SERIES]
    faults += [f"no label {label} to sum up by" for label in found.grouped - labels]
    for name, matchers in found.selectors:
        if name in SERIES:
            faults += [fault for label, _, value in matchers for fault in misfit(SERIES[name], label, value)]
    return faults


def misfit(metric: Metric, label: str, value: str) -> Iterator[str]:
    """Whether a label that is asked for can have such a value at all."""
    if label in ADDED:
        return
    if label not in metric.labels:
        yield f"{metric.name} has no label {label}"
        return
    known = REASONS.get(metric.name, ()) if label == "reason" else VALUES[label]
    if isinstance(known, str) or value.startswith("$"):
        return
    if not any(re.fullmatch(value, one) for one in known):
        yield f"{label} is never {value}"
    # Each alternative of a pattern must be able to fit, or it is a name that was mistyped.
    yield from (
        f"{label} is never {one}" for one in value.split("|") if not any(re.fullmatch(one, other) for other in known)
    )


def panels() -> list[dict[str, Any]]:
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def filled(query: str) -> str:
    """A query of the dashboard with what Grafana puts in for its intervals."""
    return query.replace("$__rate_interval", "5m")


# --- what is shipped -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alarm_asks_for_what_there_is(rule: dict[str, Any]):
    assert wrong(rule["expr"]) == []


@pytest.mark.parametrize("panel", panels(), ids=lambda panel: panel["title"])
def test_a_panel_asks_for_what_there_is(panel: dict[str, Any]):
    for target in panel["targets"]:
        assert wrong(filled(target["expr"])) == []
        shown = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
        assert shown <= asked(filled(target["expr"])).grouped, "a legend that stays empty"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alarm_says_what_it_is_about_and_where_to_read_on(rule: dict[str, Any]):
    notes = rule["annotations"]
    grouped = asked(rule["expr"]).grouped
    for text in (notes["summary"], notes["description"]):
        assert text[0].isupper() or text.startswith("{{")
        assert set(re.findall(r"\$labels\.(\w+)", text)) <= grouped, "a label that the alarm does not have"
    assert rule["labels"]["severity"] in ("warning", "critical")
    page, _, anchor = notes["runbook"].partition("#")
    assert page == RUNBOOK.name
    assert anchor in RUNBOOK.anchors


def test_the_page_of_alarms_tells_of_no_others():
    told = re.findall(r"^### (\w+)$", RUNBOOK.text, re.MULTILINE)
    assert sorted(told) == sorted(rule["alert"] for rule in RULES)


def test_every_metric_that_is_worth_an_alarm_has_one():
    used = {SERIES[name].name for rule in RULES for name, _ in asked(rule["expr"]).selectors}
    assert {metric.name for metric in METRICS if metric.alert} - used == set()


def test_every_metric_is_looked_at_somewhere():
    queries = [rule["expr"] for rule in RULES] + [filled(one["expr"]) for panel in panels() for one in panel["targets"]]
    used = {SERIES[name].name for query in queries for name, _ in asked(query).selectors}
    # What these say is of use beside others alone: how many there are, since when, how often.
    beside = {
        "gateway_bulkhead_queue_limit", "gateway_retries_total", "gateway_cache_lookups_total", "gateway_cache_stored_total",
        "gateway_cache_dropped_total", "gateway_start_time_seconds", "gateway_workers", "gateway_audit_spool_bytes",
        "gateway_config_last_reload_success_timestamp_seconds", "gateway_trace_spans_dropped_total",
    }  # fmt: skip
    assert {metric.name for metric in METRICS} - used <= beside


def test_panels_do_not_cover_each_other():
    taken: dict[tuple[int, int], str] = {}
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert taken.setdefault((x, y), panel["title"]) == panel["title"]
    numbers = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(numbers)) == len(numbers)


def test_what_the_dashboard_lets_choose_exists():
    names = {one["name"] for one in DASHBOARD["templating"]["list"]}
    text = json.dumps(DASHBOARD["panels"])
    assert set(re.findall(r"\$\{?(\w+)", text)) - {"__rate_interval"} == names
    for one in DASHBOARD["templating"]["list"]:
        if one["type"] == "query":
            metric, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", one["definition"]).groups()  # type: ignore[union-attr]
            assert label in {*SERIES[metric].labels, *ADDED}


def test_the_prometheus_operator_is_given_the_same_rules():
    assert RULE.read_text() == prometheus_rule(), "run python -m tests.support.kustomize"
    assert [rule for group in yaml.safe_load(RULE.read_text())["spec"]["groups"] for rule in group["rules"]] == RULES


# --- the checks catch what they are for ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "fault"),
    [
        ("gateway_source_upp == 0", "no metric gateway_source_upp"),
        ("rate(gateway_ttfb_seconds[5m])", "no metric gateway_ttfb_seconds"),
        ("gateway_source_up{sources='x'} == 0", "gateway_source_up has no label sources"),
        ("sum by (sauce) (gateway_source_up)", "no label sauce"),
        ('gateway_requests_total{code=~"6.."}', "code is never 6.."),
        ('gateway_requests_aborted_total{reason=~"GW-END-001|GW-END-999"}', "reason is never GW-END-999"),
        ('gateway_breaker_state{state="opened"}', "state is never opened"),
        ("sum by (source (gateway_source_up)", "sum by (source (gateway_source_up)"),
    ],
)
def test_a_wrong_query_is_noticed(query: str, fault: str):
    assert any(said.startswith(fault) for said in wrong(query))
