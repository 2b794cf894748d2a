"""
`GET /v1/tasks/{id}/explain`: gathers what is known around a task; what it means is `explaining`'s business.
"""

from __future__ import annotations

from starlette.responses import Response

from service.api.answers import json_answer
from service.api.runtime import Asked, Runtime
from service.api.workers import live_workers
from service.endpoint import endpoint_of
from service.explaining import Facts, FlowFacts, QueueFacts, explained
from service.ids import encode_id, shard_of
from service.store.ahead import ahead_of
from service.store.attempts import History
from service.task import Snapshot, rfc3339, stored_queue


async def explain_task(asked: Asked) -> Response:
    """`GET /v1/tasks/{id}/explain`"""
    runtime = asked.runtime
    task = await runtime.task(asked.path["id"])
    return json_answer(explained(task, await facts_around(runtime, task)))


async def facts_around(runtime: Runtime, task: Snapshot) -> Facts:
    """What there is to know of a task that waits; nothing of others."""
    store = runtime.require_store()
    if task.record.has_ended or (task.run is not None and task.run.is_held):
        return Facts([])
    workers = await live_workers(runtime)
    ahead = await runtime.within(ahead_of(store.tasks.scripts, task)) if task.state == "queued" else None
    history = await runtime.within(store.attempts.history(task.id)) if task.run is not None else None
    url = task.record.submission.get("url")
    gone = store.gone.reason(task.record.namespace, url, task.now_ms) if url else None
    off = store.endpoint_book.why_not(task.record.namespace, url) if url else None
    circuit = await circuit_of(runtime, task) if url else None
    queue, flow = await queue_around(runtime, task), await flow_around(runtime, task)
    groups = await groups_around(runtime, task)
    return Facts(workers, ahead, gone, last_error(history), off, circuit, queue, flow, groups)


async def queue_around(runtime: Runtime, task: Snapshot) -> QueueFacts:
    """What the queue of *task* allows."""
    store, record = runtime.require_store(), task.record
    stored = stored_queue(record.namespace, record.queue)
    settings = await runtime.within(store.queue_settings.read(record.namespace, record.queue))
    counts = await runtime.within(store.queues.counts()) if "concurrency" in settings else {}
    starts_ms = await runtime.within(store.limits.next_start_ms(stored)) if "rate" in settings else None
    running = counts.get(stored, {}).get("running", 0)
    return QueueFacts(settings.get("paused"), settings.get("concurrency"), running, starts_ms)


async def flow_around(runtime: Runtime, task: Snapshot) -> FlowFacts | None:
    """How the flow key of a *task* that is due stands; None when it has none."""
    hashed, flows = task.record.ties.flow, runtime.require_store().tasks.flows
    found = await runtime.within(flows.state(shard_of(task.id), hashed)) if hashed and task.state == "queued" else None
    if found is None:
        return None
    ids = await runtime.within(flows.holders(shard_of(task.id), hashed)) if found.is_full else []
    next_ms = found.next_ms(task.now_ms)
    holders = [encode_id(id_) for id_ in ids]
    return FlowFacts(found.key, found.is_paused, found.concurrency, found.running, next_ms, holders)


async def groups_around(runtime: Runtime, task: Snapshot) -> int:
    """How many other groups have tasks in the queue of *task*, if it belongs to one itself."""
    record, store = task.record, runtime.require_store()
    if not record.ties.group or task.state != "queued":
        return 0
    stored = stored_queue(record.namespace, record.queue)
    found = await runtime.within(store.tasks.flows.groups(store.shards, stored))
    return sum(tasks > 0 for group, (tasks, _) in found.items() if group != record.ties.group)


async def circuit_of(runtime: Runtime, task: Snapshot) -> str | None:
    """Why, and until when, the endpoint of a URL task is not called; None when it is."""
    record = task.record
    try:
        endpoint = endpoint_of(record.submission["url"])
    except ValueError:
        return None
    _, circuit = await runtime.within(runtime.require_store().traffic.one(record.namespace, endpoint))
    if circuit is None:
        return None
    probe_ms = max(circuit.until_ms, circuit.probe_ms)
    return f"{endpoint}, since {rfc3339(circuit.opened_ms)}, {circuit.reason}; it is probed at {rfc3339(probe_ms)}"


def last_error(history: History | None) -> str | None:
    """What the last attempt failed with, in a line."""
    error = history.rows[-1].get("error") if history is not None and history.rows else None
    return f"{error['type']}: {error['message']}"[:200] if error else None
