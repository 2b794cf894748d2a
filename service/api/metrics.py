"""
`GET /metrics`: everything about a deployment, as Prometheus reads it.

Every API process answers the same, of all processes: what is counted in Redis has no process in its labels, what a
process counted of itself has. So one address is asked, and asking another beside it tells nothing more. While Redis is
away the process that is asked tells of itself.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from starlette.responses import Response

from service.api.runtime import Asked
from service.api.workers import seen_from
from service.errors import TaskpostError
from service.exposition import CONTENT_TYPE, exposition
from service.figures import AGAIN, ENDINGS, LEASED, RAN_US, SLOW, SUBMITTED, WAITED_US
from service.histogram import STEPS
from service.meter import METRICS, TASK_SECONDS, Labels
from service.store import Store, keys
from service.store.condition import Condition
from service.store.tallies import OTHER, Tally
from service.task import DEFAULT_NAMESPACE, SHARED, split_queue

Families = dict[str, dict[Labels, Any]]
MOST_QUEUES, MOST_NAMES, MOST_WORKERS = 200, 200, 200


async def get_metrics(asked: Asked) -> Response:
    runtime, store = asked.runtime, asked.runtime.require_store()
    families: Families = defaultdict(dict)
    try:
        await runtime.within(gather(store, families, None if asked.caller.is_operator else runtime.namespace))
        families["taskpost_redis_up"][()] = 1
    except TaskpostError:
        families.clear()
        families["taskpost_redis_up"][()] = 0
        note_processes(families, store.meters.mine())
    if not asked.caller.is_operator:
        families = of_namespace(families, asked.caller.namespace)
    return Response(exposition(families), media_type=CONTENT_TYPE)


def of_namespace(families: Families, namespace: str) -> Families:
    """*families* without what belongs to other namespaces."""
    return {
        name: {labels: value for labels, value in of.items() if namespace == labels[0]}
        if METRICS[name].labels[:1] == ("namespace",)
        else of
        for name, of in families.items()
    }


async def gather(store: Store, families: Families, namespace: str | None) -> None:
    """Everything that is known into *families*, of workers those that serve *namespace*. Raises StoreUnavailable."""
    command, shards = store.scripts.command, range(store.shards)
    counts, workers, circuits, processes, condition = await asyncio.gather(
        store.queues.counts(),
        store.workers.live(store.tasks.clock.now_ms()),
        store.traffic.circuits(),
        store.meters.all(),
        store.condition(),
    )
    oldest, totals, dead = await asyncio.gather(
        store.queues.oldest_seconds(queue for queue, counted in counts.items() if counted["queued"]),
        asyncio.gather(*map(store.statistics.total, shards)),
        asyncio.gather(*(command("ZCARD", keys.ended(shard, True)) for shard in shards)),
    )
    note_queues(families, counts, oldest)
    note_totals(families, sum(totals, Counter[Tally]()))
    serving = [one for one in workers if namespace is None or seen_from(namespace, one) is not None]
    if namespace is not None:
        serving = [without_others(one) for one in serving]
    note_workers(families, serving[:MOST_WORKERS])
    note_processes(families, processes)
    note_redis(families, condition)
    if namespace is None:  # they are counted over all namespaces
        families["taskpost_dead_letters"][()] = sum(map(int, dead))
    open_circuits = Counter(split_queue(name)[0] for name in circuits)
    families["taskpost_circuits_open"] = {(name,): open_circuits[name] for name in {DEFAULT_NAMESPACE, *open_circuits}}


def without_others(worker: Mapping[str, Any]) -> Mapping[str, Any]:
    """*worker* as a tenant may know it: how much a shared one runs would tell how busy the others are."""
    if worker.get("namespace", SHARED) != SHARED:
        return worker
    return {name: value for name, value in worker.items() if name != "running"}


def note_redis(families: Families, condition: Condition) -> None:
    """Memory and settings of the servers, and the time they spent in scripts."""
    for name, value in (
        ("taskpost_redis_used_bytes", condition.used_bytes),
        ("taskpost_redis_most_bytes", condition.most_bytes),
        ("taskpost_redis_warnings", len(condition.warnings)),
        ("taskpost_redis_script_calls_total", condition.script_calls),
        ("taskpost_redis_script_seconds_total", condition.script_seconds),
    ):
        if value is not None:
            families[name][()] = value


def kept(sizes: Mapping[Labels, float], most: int) -> set[Labels]:
    """The labels that are told by name: those of the *most* largest."""
    return set(sorted(sizes, key=lambda labels: (-sizes[labels], labels))[:most])


def note_queues(families: Families, counts: Mapping[str, Mapping[str, int]], oldest: Mapping[str, float]) -> None:
    """How many tasks each queue holds, and since when; those that are not told by name together, by namespace."""
    sizes: dict[Labels, float] = {split_queue(queue): float(sum(counted.values())) for queue, counted in counts.items()}
    named = kept(sizes, MOST_QUEUES)
    tasks, ages = families["taskpost_queue_tasks"], families["taskpost_queue_oldest_seconds"]
    for stored, counted in sorted(counts.items()):
        namespace, queue = split_queue(stored)
        if (namespace, queue) not in named:
            queue = OTHER
        for state, many in counted.items():
            labels = (namespace, queue, state)
            tasks[labels] = tasks.get(labels, 0) + many
        ages[namespace, queue] = max(ages.get((namespace, queue), 0.0), oldest.get(stored, 0.0))


def note_totals(families: Families, totals: Counter[Tally]) -> None:
    """What was counted of tasks since the counters began."""
    by_queue: Counter[Labels] = Counter()
    by_name: Counter[Labels] = Counter()
    for tally, many in totals.items():
        if tally.letter in (WAITED_US, RAN_US):
            continue
        by_queue[tally.namespace, tally.queue] += many
        if tally.name is not None:
            by_name[tally.namespace, tally.name] += many
    queues, names = kept(by_queue, MOST_QUEUES), kept(by_name, MOST_NAMES)
    waits, runs = families["taskpost_schedule_to_start_seconds"], families["taskpost_run_seconds"]
    for tally, many in sorted(totals.items(), key=lambda one: repr(one[0])):
        queue = tally.queue if (tally.namespace, tally.queue) in queues else OTHER
        name = "" if tally.name is None else tally.name if (tally.namespace, tally.name) in names else OTHER
        labels = (tally.namespace, queue, name)
        if tally.letter == SUBMITTED:
            add(families, "taskpost_tasks_submitted_total", (tally.namespace, queue), many)
        elif tally.letter == LEASED:
            add(families, "taskpost_attempts_started_total", (tally.namespace, queue), many)
            note_time(waits, labels, tally, many)
        elif tally.letter in (WAITED_US, RAN_US):
            buckets_of(waits if tally.letter == WAITED_US else runs, labels)[-1] += many / 1e6
        else:
            if tally.letter in ENDINGS:
                add(families, "taskpost_tasks_ended_total", (*labels, ENDINGS[tally.letter]), many)
            elif tally.letter in AGAIN:
                add(families, "taskpost_attempts_again_total", (*labels, AGAIN[tally.letter]), many)
            elif tally.letter == SLOW:
                add(families, "taskpost_attempts_slow_total", labels, many)
            if tally.step is not None:
                note_time(runs, labels, tally, many)


def note_time(times: dict[Labels, Any], labels: Labels, tally: Tally, many: int) -> None:
    buckets_of(times, labels)[min((tally.step or 0) // STEPS, len(TASK_SECONDS))] += many


def buckets_of(times: dict[Labels, Any], labels: Labels) -> list[float]:
    """A number for each bucket, one beyond, and the sum of all times."""
    buckets: list[float] = times.setdefault(labels, [0.0] * (len(TASK_SECONDS) + 2))
    return buckets


def add(families: Families, name: str, labels: Labels, many: float) -> None:
    families[name][labels] = families[name].get(labels, 0) + many


def note_workers(families: Families, workers: Iterable[Mapping[str, Any]]) -> None:
    """How many there are, what they can and what they do."""
    families["taskpost_workers"] = dict.fromkeys([("running",), ("quiet",), ("stopping",)], 0)
    for worker in workers:
        add(families, "taskpost_workers", (worker.get("state", "running"),), 1)
        for lane, slots in worker.get("slots", {}).items():
            families["taskpost_worker_slots"][worker["id"], lane] = slots
        if "running" in worker:
            families["taskpost_worker_running"][(worker["id"],)] = worker["running"]
        families["taskpost_worker_blocked_seconds"][(worker["id"],)] = worker.get("blocked_seconds", 0)


def note_processes(families: Families, processes: Mapping[str, Mapping[str, Any]]) -> None:
    """What each process counted of itself; what a newer version counts is left out."""
    for process, told in sorted(processes.items()):
        families["taskpost_version"][process, str(told["version"])] = 1
        families["taskpost_process_cpu_seconds_total"][(process,)] = told["cpu_seconds"]
        families["taskpost_process_resident_bytes"][(process,)] = told["resident_bytes"]
        families["taskpost_process_started_seconds"][(process,)] = told["started"]
        for name, counted in told["counted"].items():
            metric = METRICS.get(name)
            if metric is None:
                continue
            for labels, value in counted:
                if len(labels) + 1 == len(metric.labels) and fits(value, metric.ends):
                    families[name][process, *labels] = value


def fits(value: Any, ends: tuple[float, ...]) -> bool:
    """Whether *value* is one of a metric with these *ends* of buckets, of this version."""
    return len(value) == len(ends) + 2 if ends and isinstance(value, list) else not ends and not isinstance(value, list)
