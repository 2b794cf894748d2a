"""
`POST /v1/tasks/{id}/replay`: what has ended is done once more, as a new task that names the old one.

The fact to know: a callback that is delivered again keeps its `webhook-id`, so that a receiver knows the event.
"""

from __future__ import annotations

from starlette.responses import Response

from service.api.answers import json_answer
from service.api.runtime import Asked, not_found
from service.api.submit import merge_key
from service.errors import IdempotencyMismatch, StateConflict
from service.store.tasks import New, idempotency_of
from service.submission import canonical, pack
from service.task import encode_id

ONCE = ("run_at", "delay_seconds", "idempotency_key", "schedule", "replay_of")  # what belongs to the old task alone


async def replay_task(asked: Asked) -> Response:
    """`POST /v1/tasks/{id}/replay`"""
    runtime = asked.runtime
    before = await runtime.task(asked.path["id"])
    record, old = before.record, encode_id(before.id)
    if not record.has_ended:
        raise StateConflict(f"the task is {before.state}; only ended tasks can be replayed", state=before.state)
    submission = {name: value for name, value in record.submission.items() if name not in ONCE}
    submission |= {"replay_of": old, "queue": record.queue, "priority": record.priority}
    if "callback_of" in submission:
        submission.setdefault("webhook_id", old)
    if key := asked.headers.get(b"idempotency-key"):
        merge_key(submission, [(b"idempotency-key", key)])
    store, hashed = runtime.require_store(), b""
    if name := submission.get("idempotency_key"):
        hashed = idempotency_of(runtime.namespace, name, canonical(submission))
    packed = pack(
        submission,
        runtime.namespace,
        queue=record.queue,
        lane=record.lane,
        max_crashes=record.max_crashes,
        now_ms=store.tasks.clock.now_ms(),
    )
    (taken,) = await runtime.within(store.tasks.submit([New(packed.record, hashed)]))
    if taken.is_mismatch:
        raise IdempotencyMismatch(f'the key "{name}" belongs to another submission; give each its own key')
    snapshot = await runtime.read(taken.id)
    if snapshot is None:
        raise not_found(encode_id(taken.id))
    answer = json_answer(runtime.show(snapshot), 200 if taken.is_earlier else 201)
    answer.headers["location"] = f"/v1/tasks/{encode_id(taken.id)}"
    if taken.is_earlier:
        answer.headers["idempotent-replayed"] = "true"
    return answer
