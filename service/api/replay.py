"""
`POST /v1/tasks/{id}/replay`: what has ended is done once more, as a new task that names the old one.

The fact to know: with edits it is checked as every submission is; as it was, it is as good as it was.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import Any

from starlette.responses import Response

from service.api.answers import json_answer
from service.api.given import body_of
from service.api.intake import Intake
from service.api.receipts import Receipt, stands_for
from service.api.runtime import Asked, not_found
from service.api.submit import answer_headers, merge_key
from service.errors import InvalidSubmission, StateConflict
from service.ids import encode_id
from service.packing import canonical, pack, with_whole_numbers
from service.replaying import can_have, replayed, with_origin
from service.store.tasks import New, idempotency_of
from service.submission import counted
from service.task import Snapshot


async def replay_task(asked: Asked) -> Response:
    """`POST /v1/tasks/{id}/replay`"""
    runtime = asked.runtime
    edits = await body_of(asked, "ReplayEdits", "the replay", is_optional=True)
    before = await runtime.task(asked.path["id"])
    if not before.record.has_ended:
        raise StateConflict(f"the task is {before.state}; only ended tasks can be replayed", state=before.state)
    if before.record.unreadable is not None:
        raise before.record.unreadable
    submission = replayed(before, edits)
    lane = await checked(asked, before, edits, submission) if edits else before.record.lane
    with_origin(submission, before)
    if key := asked.headers.get(b"idempotency-key"):
        merge_key(submission, [(b"idempotency-key", key)])
    store, hashed = runtime.require_store(), b""
    if name := submission.get("idempotency_key"):
        hashed = idempotency_of(runtime.namespace, name, canonical(submission), store.tasks.keyring)
    packed = pack(
        submission,
        runtime.namespace,
        queue=before.record.queue,
        lane=lane,
        max_crashes=before.record.max_crashes,
        now_ms=store.tasks.clock.now_ms(),
    )
    flow = replace(packed.flow, only_if_unknown=True) if packed.flow else None
    new = New(packed.record, hashed, flow, packed.ties.unique)
    (taken,) = await runtime.within(store.admission.submit([new]))
    if taken.refusal is not None:
        raise taken.refusal
    snapshot = await runtime.read(taken.id)
    if taken.is_earlier:
        receipt = stands_for(runtime, taken, snapshot, str(name))
    elif snapshot is None:
        raise not_found(encode_id(taken.id))
    else:
        receipt = Receipt(201, runtime.show(snapshot), taken.id)
    answer = json_answer(receipt.task, receipt.status)
    for field, value in answer_headers(receipt)[1:]:
        answer.headers[field.decode()] = value.decode()
    return answer


async def checked(asked: Asked, task: Snapshot, edits: dict[str, Any], submission: dict[str, Any]) -> str:
    """The lane of the edited *submission*. Raises InvalidSubmission and the like, as a submission of it would."""
    if not can_have(task, edits):
        is_call = "url" in task.record.submission
        kind = "calls a URL, and has no args" if is_call else "is for a handler, and has args only"
        faults = [{"pointer": f"/{name}", "detail": f"the task {kind}"} for name in edits]
        raise InvalidSubmission(counted(faults, "the replay"), errors=faults)
    with_whole_numbers(submission)
    ready = await Intake(asked.runtime).prepare_one(deepcopy(submission))
    return ready.packed.lane
