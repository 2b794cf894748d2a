"""
`GET /v1/workers` and `GET /v1/handlers`: who runs the tasks, and what they know to do; and what workers are told.

The fact to know: a command is accepted when it stands in the worker's list; the worker's own word says when it is true.
"""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from starlette.responses import Response

from service.api.answers import json_answer, listed, with_times
from service.api.given import body_of
from service.api.runtime import Asked, Runtime
from service.errors import Forbidden, InvalidSubmission, WorkerNotFound, WorkerStopping
from service.store.workers import all_for
from service.submission import shortened
from service.task import DEFAULT_NAMESPACE, SHARED, rfc3339, split_queue

QUEUE_AT = 2
TASK_FIELDS = ("id", "name", "queue", "lane", "attempt", "started_ms", "process", "overdue_ms")


async def live_workers(runtime: Runtime) -> list[dict[str, Any]]:
    """The live workers that serve the namespace, as it sees them."""
    store = runtime.require_store()
    found = await runtime.within(store.workers.live(store.tasks.clock.now_ms()))
    return [seen for one in found if (seen := seen_from(runtime.namespace, one)) is not None]


def seen_from(namespace: str, worker: dict[str, Any]) -> dict[str, Any] | None:
    """*worker* as *namespace* sees it, its queues and tasks only; None when it serves another."""
    owner = worker.get("namespace", SHARED)
    if owner not in (SHARED, namespace):
        return None
    named = [split_queue(stored) for stored in worker.get("queues", ())]
    queues = [queue for space, queue in named if space == namespace]
    if named and not queues:
        return None
    seen = {**worker, "namespace": owner} | ({"queues": queues} if named else {})
    if "tasks" in worker:
        places = [(split_queue(row[QUEUE_AT]), row) for row in worker["tasks"]]
        seen["tasks"] = [
            [*row[:QUEUE_AT], queue, *row[QUEUE_AT + 1 :]] for (space, queue), row in places if space == namespace
        ]
    return seen


async def list_workers(asked: Asked) -> Response:
    return listed([with_times(one) for one in await live_workers(asked.runtime)])


async def known_worker(asked: Asked) -> dict[str, Any]:
    """The worker that the path names, with all that it tells. Raises WorkerNotFound."""
    store = asked.runtime.require_store()
    found = await asked.runtime.within(store.workers.read(asked.path["id"]))
    seen = found and seen_from(asked.runtime.namespace, found)
    if not seen:
        raise no_worker(asked.path["id"])
    return seen


def no_worker(id_: str) -> WorkerNotFound:
    return WorkerNotFound(f'there is no live worker "{shortened(id_)}"; GET /v1/workers lists those that there are')


async def get_worker(asked: Asked) -> Response:
    """`GET /v1/workers/{id}`"""
    return json_answer(shown(await known_worker(asked)))


def shown(worker: dict[str, Any]) -> dict[str, Any]:
    """The contract's `WorkerDetail`."""
    processes = worker.get("process_list", [])
    ages = {process["number"]: process["heartbeat_age_seconds"] for process in processes}
    told = {name: value for name, value in worker.items() if name != "last_command"}
    if command := worker.get("last_command"):
        told["last_command"] = shown_command(command, worker["id"])
    tasks = [
        shown_task(dict(zip(TASK_FIELDS, row, strict=True)), worker["seen_ms"], ages) for row in worker.get("tasks", [])
    ]
    return with_times({"state": "running", "versions": {}, "process_list": [], **told, "tasks": tasks})


def shown_task(task: dict[str, Any], seen_ms: int, ages: dict[int, float | None]) -> dict[str, Any]:
    """The contract's `WorkerTask`. A beat that came before the task began was none of its lease."""
    age, ran_seconds = ages.get(task["process"]), (seen_ms - task["started_ms"]) / 1000
    overdue_ms = task.pop("overdue_ms")
    beat = None if age is None or age > ran_seconds else age
    return {**with_times(task), "overdue_seconds": overdue_ms / 1000, "heartbeat_age_seconds": beat}


# ---------------------------------------------------------------- commands


async def quiet_worker(asked: Asked) -> Response:
    """`POST /v1/workers/{id}/quiet`"""
    return await told(asked, "quiet", {})


async def resume_worker(asked: Asked) -> Response:
    """`POST /v1/workers/{id}/resume`"""
    return await told(asked, "resume", {})


async def stop_worker(asked: Asked) -> Response:
    """`POST /v1/workers/{id}/stop`"""
    return await told(asked, "stop", await body_of(asked, "WorkerStop", "the stop", is_optional=True))


async def resize_worker(asked: Asked) -> Response:
    """`POST /v1/workers/{id}/resize`"""
    sizes = await body_of(asked, "WorkerSizes", "the resize")
    if not sizes:
        need = "needs at least one of `processes`, `concurrency`, `threads`, `children`, `url_concurrency`"
        raise InvalidSubmission(f"the resize has 1 fault: {need}", errors=[{"pointer": "", "detail": need}])
    return await told(asked, "resize", {name: int(size) for name, size in sizes.items()})


async def told(asked: Asked, kind: str, given: dict[str, Any]) -> Response:
    """Tell the worker that the path names. Raises WorkerNotFound, or WorkerStopping."""
    runtime, id_ = asked.runtime, asked.path["id"]
    worker = await known_worker(asked)
    if worker["namespace"] == SHARED and runtime.namespace != DEFAULT_NAMESPACE:
        raise Forbidden("this worker serves other namespaces too: only keys of the namespace default command it")
    if worker.get("state") == "stopping" and kind != "stop":
        raise WorkerStopping(f"the worker is stopping, so it cannot be told to {kind}; start another")
    store = runtime.require_store()
    command = {"id": uuid4().hex[:16], "kind": kind, "sent_ms": store.tasks.clock.now_ms(), **given}
    if not await runtime.within(store.workers.command(id_, command)):
        raise no_worker(id_)
    answer = json_answer(shown_command(command, id_), 202)
    answer.headers["location"] = f"/v1/workers/{id_}"
    return answer


def shown_command(command: dict[str, Any], worker: str) -> dict[str, Any]:
    """The contract's `WorkerCommand`."""
    given = {name: value for name, value in command.items() if name not in ("id", "kind", "sent_ms")}
    known = {"id": command["id"], "worker": worker, "command": command["kind"]}
    return {**known, **given, "sent_at": rfc3339(command["sent_ms"])}


# ---------------------------------------------------------------- handlers


async def list_handlers(asked: Asked) -> Response:
    published = await asked.runtime.within(asked.runtime.require_store().workers.published())
    named = [name for worker in await live_workers(asked.runtime) for name in set(worker["handlers"])]
    return listed(
        [
            {"workers": named.count(name), **with_times(handler)}
            for name, handler in sorted(all_for(published, asked.runtime.namespace).items())
        ]
    )
