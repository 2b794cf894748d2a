"""Metrics as Prometheus reads them, and what a process counts of itself."""

from __future__ import annotations

import pytest

from service.exposition import exposition
from service.meter import COUNTER, HISTOGRAM, METRICS, Meter


def test_counters_and_gauges_are_lines_with_labels() -> None:
    """With what they are in words, once; whatever stands in a label is escaped."""
    text = exposition({
        "taskpost_queue_tasks": {("default", 'a"b\\c\n', "queued"): 3, ("default", "mail", "queued"): 0.5},
        "taskpost_redis_up": {(): 1},
    })  # fmt: skip
    assert text == (
        "# HELP taskpost_queue_tasks Tasks that have not ended.\n"
        "# TYPE taskpost_queue_tasks gauge\n"
        'taskpost_queue_tasks{namespace="default",queue="a\\"b\\\\c\\n",state="queued"} 3\n'
        'taskpost_queue_tasks{namespace="default",queue="mail",state="queued"} 0.5\n'
        "# HELP taskpost_redis_up 1 when Redis answers; without it only the process that is asked is told of.\n"
        "# TYPE taskpost_redis_up gauge\n"
        "taskpost_redis_up 1\n"
    )


def test_buckets_of_a_histogram_add_up() -> None:
    """Each holds those before it; the last is the count."""
    meter = Meter()
    for tasks in (1, 2, 2, 100, 500):
        meter.observe("taskpost_commit_tasks", "submit", value=tasks)
    told = meter.told()["taskpost_commit_tasks"]
    text = exposition({"taskpost_commit_tasks": {("web:a:1", *labels): values for labels, values in told}})
    lines = [line.partition("} ") for line in text.splitlines() if not line.startswith("#")]
    assert ["1", "3", "3", "3", "3", "3", "3", "4", "5", "605", "5"] == [value for _, _, value in lines]
    assert 'taskpost_commit_tasks_bucket{process="web:a:1",kind="submit",le="+Inf"' == lines[8][0]


def test_only_metrics_that_are_known_are_told() -> None:
    """A name that no documentation has is a fault of ours."""
    with pytest.raises(KeyError, match="taskpost_wrong"):
        exposition({"taskpost_wrong": {(): 1}})


@pytest.mark.parametrize("name", METRICS)
def test_names_are_as_prometheus_wants_them(name: str) -> None:
    """Counters end in _total, units are seconds and bytes, histograms have buckets."""
    metric = METRICS[name]
    assert name.startswith("taskpost_")
    assert name.endswith("_total") == (metric.kind == COUNTER)
    assert bool(metric.ends) == (metric.kind == HISTOGRAM)
    assert metric.about.endswith(".")
    assert list(metric.ends) == sorted(metric.ends)
