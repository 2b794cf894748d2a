"""
Reading, cancelling and deleting tasks: everything under /v1/tasks but submitting.
"""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from service.api.answers import json_answer, listed, with_times
from service.api.given import body_of
from service.api.runtime import Asked, not_found, task_id
from service.api.waits import until_ended
from service.attempts import log_of
from service.called import CallsOfTask
from service.due import start_ms_of, time_faults
from service.errors import InvalidSubmission, StateConflict
from service.ids import shard_of
from service.search import Query
from service.store.amendments import CHANGED, RUNS, TOO_OFTEN, UNKNOWN, Amendment, amend
from service.store.attempts import History
from service.store.outside import cancel
from service.submission import counted, together_faults
from service.task import Snapshot, rfc3339

PAGING = ("limit", "cursor")


async def list_tasks(asked: Asked) -> Response:
    """`GET /v1/tasks`"""
    runtime, given = asked.runtime, asked.query
    query = Query.of(runtime.namespace, {name: value for name, value in given.items() if name not in PAGING})
    paging = runtime.require_store().pages.page(query, given["limit"], given.get("cursor"))
    found, cursor = await runtime.within(paging)
    return listed([runtime.show(one) for one in found], cursor)


async def get_task(asked: Asked) -> Response:
    """`GET /v1/tasks/{id}`"""
    return json_answer(asked.runtime.show(await waited(asked)))


async def waited(asked: Asked) -> Snapshot:
    """The task of a request, after waiting for its end as long as the request says. Raises TaskNotFound."""
    text, seconds = asked.path["id"], asked.query["wait"]
    if seconds <= 0:
        return await asked.runtime.task(text)
    snapshot = await until_ended(asked.runtime, task_id(text), seconds, asked.receive)
    if snapshot is None:
        raise not_found(text)
    return snapshot


async def list_attempts(asked: Asked) -> Response:
    """`GET /v1/tasks/{id}/attempts`"""
    text = asked.path["id"]
    history = await asked.runtime.within(asked.runtime.require_store().attempts.history(task_id(text)))
    if history is None or history.snapshot.record.namespace != asked.runtime.namespace:
        raise not_found(text)
    calls = asked.runtime.calls_of(history.snapshot)
    rows = [*history.rows, *unnoted_attempts(history)]
    outcome = history.snapshot.record.outcome or {}
    if rows and rows[-1].get("outcome") == "succeeded" and "http" in outcome:
        rows[-1].setdefault("http", outcome["http"])  # that of a first attempt is kept there, even if its log has a row
    return listed([shown_attempt(row, calls) for row in rows])


def shown_attempt(row: dict[str, Any], calls: CallsOfTask) -> dict[str, Any]:
    """The contract's `Attempt` of a row as it is kept."""
    http = calls.shown(row)
    log = log_of(row.pop("log_said", 0), row.pop("log", ()))
    row.pop("http", None)
    shown = {"outcome": None, "finished_at": None, "retry_at": None, **with_times(row), "log": log}
    return shown if http is None else {**shown, "http": http}


def unnoted_attempts(history: History) -> list[dict[str, Any]]:
    """The attempts that have no row: one that runs now, and a first one that succeeded and logged nothing."""
    snapshot, rows = history.snapshot, history.rows
    run, outcome = snapshot.run, snapshot.record.outcome
    if run is not None and run.is_held:
        running = {"attempt": run.attempt, "started_ms": run.started_ms, "worker": run.worker}
        return [{**running, "log_said": history.said, "log": history.lines}]
    if snapshot.state != "succeeded" or not outcome or (rows and rows[-1].get("outcome") == "succeeded"):
        return []
    return [
        {
            "attempt": outcome["attempt"],
            "started_ms": outcome.get("started_ms", snapshot.record.time_ms),
            "finished_ms": snapshot.record.time_ms,
            "worker": outcome.get("worker", ""),
            "outcome": "succeeded",
        }
    ]


async def cancel_task(asked: Asked) -> Response:
    """`POST /v1/tasks/{id}/cancel`"""
    text = asked.path["id"]
    before = await asked.runtime.task(text)
    store = asked.runtime.require_store()
    done = await asked.runtime.within(cancel(store.tasks, store.handlers, asked.runtime.settings, before.id))
    snapshot = await asked.runtime.task(text)
    if done == "over" and snapshot.state != "cancelled":
        raise StateConflict(
            f"the task has {ended_words(snapshot.state)}; only scheduled, queued and running tasks can be cancelled",
            state=snapshot.state,
        )
    return json_answer(asked.runtime.show(snapshot), 200 if snapshot.record.has_ended else 202)


async def run_task(asked: Asked) -> Response:
    """`POST /v1/tasks/{id}/run`"""
    return await amended(asked, due_ms=0)


async def reschedule_task(asked: Asked) -> Response:
    """`POST /v1/tasks/{id}/reschedule`"""
    given = await body_of(asked, "Rescheduling", "the change")
    now_ms = asked.runtime.require_store().tasks.clock.now_ms()
    if not given:
        detail = "needs at least one of run_at, delay_seconds and priority"
        raise InvalidSubmission(detail, errors=[{"pointer": "", "detail": detail}])
    if faults := [*together_faults({"name": "", **given}), *time_faults(given, now_ms)]:
        raise InvalidSubmission(counted(faults, "the change"), errors=faults)
    names_time = "run_at" in given or "delay_seconds" in given
    due_ms = start_ms_of(given, now_ms) if names_time else None
    priority = given.get("priority")
    return await amended(asked, due_ms, None if priority is None else int(priority))


async def amended(asked: Asked, due_ms: int | None, priority: int | None = None) -> Response:
    """The task, changed while it waits. Raises StateConflict when it does not."""
    runtime, text = asked.runtime, asked.path["id"]
    before = await runtime.task(text)
    tasks = runtime.require_store().tasks
    if due_ms and 0 < (expires_ms := before.record.ties.expires_ms) <= due_ms:
        fault = {"pointer": "", "detail": f"the task expires at {rfc3339(expires_ms)}, before it would start"}
        raise InvalidSubmission(counted([fault], "the change"), errors=[fault])
    change = Amendment(before.id, due_ms, priority)
    status = await runtime.within(amend(tasks, shard_of(before.id), [change]))
    if status == UNKNOWN:
        raise not_found(text)
    snapshot = await runtime.task(text)
    if status != CHANGED:
        told = {RUNS: "is running", TOO_OFTEN: "has been changed 255 times"}.get(status)
        told = told or f"has {ended_words(snapshot.state)}"
        raise StateConflict(f"the task {told}; only one that waits can be changed", state=snapshot.state)
    return json_answer(runtime.show(snapshot))


def ended_words(state: str) -> str:
    return {"succeeded": "succeeded", "failed": "failed", "expired": "expired"}.get(state, f"ended as {state}")


async def delete_task(asked: Asked) -> Response:
    """`DELETE /v1/tasks/{id}`"""
    text = asked.path["id"]
    snapshot = await asked.runtime.task(text)
    tasks = asked.runtime.require_store().tasks
    done = await asked.runtime.within(tasks.forget(snapshot.id, snapshot.record))
    if done == 0:
        raise not_found(text)
    if done < 0:
        raise StateConflict(
            f"the task is {snapshot.state}; only ended tasks can be deleted: cancel it first",
            state=snapshot.state,
        )
    return Response(status_code=204)
