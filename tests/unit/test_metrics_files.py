"""The dashboard, the alerts and the page about metrics name what there is, with the labels that it has."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from service.meter import HISTOGRAM, METRICS

ROOT = Path(__file__).parents[2]
DASHBOARD: dict[str, Any] = orjson.loads((ROOT / "deploy/grafana/dashboard.json").read_bytes())
ALERTS: dict[str, Any] = yaml.safe_load((ROOT / "deploy/grafana/alerts.yaml").read_text())
RULES = [rule for group in ALERTS["groups"] for rule in group["rules"]]
EXPRESSIONS = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
EXPRESSIONS += [rule["expr"] for rule in RULES]
SERIES = {name for name, metric in METRICS.items() if metric.kind != HISTOGRAM}
SERIES |= {f"{name}_{part}" for name in METRICS.keys() - SERIES for part in ("bucket", "count", "sum")}
ADDED = {"le", "instance", "job"}


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_an_expression_names_what_there_is(expression: str) -> None:
    """Metrics that are told, and labels that one of them has."""
    named = set(re.findall(r"taskpost_\w+", expression))
    assert named
    assert set() == named - SERIES
    known = {label for name in named for label in METRICS[re.sub("_(bucket|count|sum)$", "", name)].labels} | ADDED
    grouped = re.findall(r"(?:by|without) \(([^)]*)\)", expression)
    labels = {label.strip() for group in grouped for label in group.split(",")} | set(re.findall(r"(\w+)=", expression))
    assert set() == labels - known - {""}
    assert expression.count("(") == expression.count(")")


def test_the_dashboard_shows_every_metric() -> None:
    """What is told and never shown is of no use to who has only the dashboard."""
    shown = " ".join(EXPRESSIONS)
    assert [] == [name for name in METRICS if name not in shown]
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len({*ids})


def test_alerts_say_what_is_wrong_and_what_to_do() -> None:
    """In the middle of the night."""
    for rule in RULES:
        assert {"alert", "expr", "labels", "annotations"} <= rule.keys()
        assert {"summary", "description"} == rule["annotations"].keys()
        assert rule["labels"]["severity"] in ("warning", "critical")


def test_the_page_about_metrics_lists_them_all() -> None:
    """With kind, labels and meaning, as they are told."""
    page = (ROOT / "docs/metrics.md").read_text()
    rows = [
        f"| `{name}` | {metric.kind} | {', '.join(f'`{label}`' for label in metric.labels)} | {metric.about} |"
        for name, metric in METRICS.items()
    ]
    assert [] == [row for row in rows if row not in page]
    assert len(rows) == page.count("\n| `taskpost_")
