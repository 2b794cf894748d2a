"""
`GET /v1/tasks/{id}/explain`: gathers what is known around a task; what it means is `explaining`'s business.
"""

from __future__ import annotations

from starlette.responses import Response

from service.api.answers import json_answer
from service.api.runtime import Asked, Runtime
from service.endpoint import endpoint_of
from service.explaining import Facts, QueueFacts, explained
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
    workers = await runtime.within(store.workers.live(task.now_ms))
    ahead = await runtime.within(store.queues.ahead_of(task)) if task.state == "queued" else None
    history = await runtime.within(store.attempts.history(task.id)) if task.run is not None else None
    url = task.record.submission.get("url")
    gone = store.gone.reason(task.record.namespace, url, task.now_ms) if url else None
    off = store.endpoint_book.why_not(task.record.namespace, url) if url else None
    circuit = await circuit_of(runtime, task) if url else None
    return Facts(workers, ahead, gone, last_error(history), off, circuit, await queue_around(runtime, task))


async def queue_around(runtime: Runtime, task: Snapshot) -> QueueFacts:
    """What the queue of *task* allows."""
    store, record = runtime.require_store(), task.record
    stored = stored_queue(record.namespace, record.queue)
    settings = await runtime.within(store.queue_settings.read(record.namespace, record.queue))
    counts = await runtime.within(store.queues.counts()) if "concurrency" in settings else {}
    starts_ms = await runtime.within(store.limits.next_start_ms(stored)) if "rate" in settings else None
    running = counts.get(stored, {}).get("running", 0)
    return QueueFacts(settings.get("paused"), settings.get("concurrency"), running, starts_ms)


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
