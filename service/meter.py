"""
What a process counts of itself, and the names of all metrics.

Pure: counts in memory, and knows neither Redis nor HTTP. `METRICS` is the one list of names; the exposition refuses
others, and tests hold the documentation, the dashboard and the alerts to it.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import Any

Labels = tuple[str, ...]
COUNTER, GAUGE, HISTOGRAM = "counter", "gauge", "histogram"
# Where the buckets of histograms end; those of tasks are every doubling, see total.lua.
REQUEST_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
COMMIT_TASKS = (1, 2, 4, 8, 16, 32, 64, 128)
TASK_SECONDS = tuple(2**n / 1000 for n in range(22))


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric: what it is, in words, and by what. *ends* are those of a histogram's buckets."""

    kind: str
    about: str
    labels: Labels = ()
    ends: tuple[float, ...] = ()


TASKS = ("namespace", "queue", "name")
METRICS = {
    # Of the deployment: the same whichever process is asked.
    "taskpost_queue_tasks": Metric(GAUGE, "Tasks that have not ended.", ("namespace", "queue", "state")),
    "taskpost_queue_oldest_seconds": Metric(
        GAUGE, "For how long the oldest queued task has been due; 0 without one.", ("namespace", "queue")
    ),
    "taskpost_tasks_submitted_total": Metric(COUNTER, "Tasks taken in.", ("namespace", "queue")),
    "taskpost_attempts_started_total": Metric(COUNTER, "Attempts that a worker leased.", ("namespace", "queue")),
    "taskpost_tasks_ended_total": Metric(COUNTER, "Tasks that ended, by how.", (*TASKS, "state")),
    "taskpost_attempts_again_total": Metric(
        COUNTER, "Attempts that another follows: retried, deferred, released or crashed.", (*TASKS, "outcome")
    ),
    "taskpost_schedule_to_start_seconds": Metric(
        HISTOGRAM, "How long attempts had been due when they were leased; the sum is exact to a tenth.",
        TASKS, TASK_SECONDS,
    ),
    "taskpost_run_seconds": Metric(
        HISTOGRAM, "How long attempts ran; the sum is exact to a tenth.", TASKS, TASK_SECONDS
    ),
    "taskpost_attempts_slow_total": Metric(
        COUNTER, "Attempts that ran longer than their threshold; see /v1/stats/slow.", TASKS
    ),
    "taskpost_dead_letters": Metric(GAUGE, "Failed tasks that are kept."),
    "taskpost_circuits_open": Metric(GAUGE, "Endpoints whose circuit is open.", ("namespace",)),
    "taskpost_workers": Metric(GAUGE, "Live workers.", ("state",)),
    "taskpost_worker_slots": Metric(GAUGE, "Tasks that a worker can run at once.", ("worker", "lane")),
    "taskpost_worker_running": Metric(GAUGE, "Tasks that a worker runs.", ("worker",)),
    "taskpost_worker_blocked_seconds": Metric(GAUGE, "For how long an event loop of it has been blocked.", ("worker",)),
    "taskpost_redis_up": Metric(GAUGE, "1 when Redis answers; without it only the process that is asked is told of."),
    "taskpost_redis_used_bytes": Metric(GAUGE, "Memory in use, of all servers that take writes."),
    "taskpost_redis_most_bytes": Metric(GAUGE, "Memory that they may use; absent without a bound."),
    "taskpost_redis_warnings": Metric(GAUGE, "What is wrong with their settings; /v1/overview says it in words."),
    "taskpost_redis_script_calls_total": Metric(COUNTER, "Script calls that the servers carried out."),
    "taskpost_redis_script_seconds_total": Metric(COUNTER, "Time that the servers spent in scripts."),
    # Of one process each, as it told last.
    "taskpost_request_seconds": Metric(
        HISTOGRAM, "Time to the head of an answer of the API, with the wait that was asked for.",
        ("process", "method", "route", "status"), REQUEST_SECONDS,
    ),
    "taskpost_commit_tasks": Metric(
        HISTOGRAM, "Tasks that shared a call to Redis: submissions, reports.", ("process", "kind"), COMMIT_TASKS
    ),
    "taskpost_script_calls_total": Metric(COUNTER, "Calls of a script.", ("process", "script")),
    "taskpost_script_failures_total": Metric(COUNTER, "Calls that got no answer.", ("process", "script")),
    "taskpost_script_seconds_total": Metric(COUNTER, "Time that calls took, there and back.", ("process", "script")),
    "taskpost_http_attempts_total": Metric(
        COUNTER, "Calls of URLs by answer: 2xx, 3xx, 4xx, 5xx, or none.", ("process", "answer")
    ),
    "taskpost_wakeups_total": Metric(COUNTER, "Markers that woke a worker.", ("process", "kind")),
    "taskpost_process_cpu_seconds_total": Metric(COUNTER, "Processor time of a process.", ("process",)),
    "taskpost_process_resident_bytes": Metric(GAUGE, "Resident memory of a process.", ("process",)),
    "taskpost_process_started_seconds": Metric(GAUGE, "When a process started, since the epoch.", ("process",)),
    "taskpost_version": Metric(GAUGE, "1, by the version of a process.", ("process", "version")),
}  # fmt: skip


class Meter:
    """Counts for one process. Labels are without the process, which whoever tells adds."""

    def __init__(self) -> None:
        self.counts: dict[str, dict[Labels, float]] = {}
        self.times: dict[str, dict[Labels, list[float]]] = {}  # a number for each bucket, one beyond, and the sum

    def count(self, name: str, *labels: str, by: float = 1) -> None:
        counted = self.counts.setdefault(name, {})
        counted[labels] = counted.get(labels, 0) + by

    def observe(self, name: str, *labels: str, value: float) -> None:
        """Note *value* in the histogram *name*."""
        ends = METRICS[name].ends
        of_name = self.times.setdefault(name, {})
        found = of_name.get(labels)
        if found is None:
            found = of_name[labels] = [0.0] * (len(ends) + 2)
        found[bisect_left(ends, value)] += 1
        found[-1] += value

    def told(self) -> dict[str, Any]:
        """All of it, as JSON has it: name -> [[labels, number or numbers], …]."""
        counted: dict[str, dict[Labels, Any]] = {**self.counts, **self.times}
        return {name: [[list(labels), value] for labels, value in of.items()] for name, of in counted.items()}
