"""
`/v1/schedules`: saved, read, paused, resumed, run by hand, looked ahead.

Owns versions: a change takes effect on what it was decided on, or not at all.
"""

from __future__ import annotations

import secrets
from typing import Any

import orjson
from starlette.responses import Response

from service.api.answers import json_answer, listed
from service.api.definitions import WHAT, defined, read_timing, refuse, visible
from service.api.given import body_of, faults_of, merge_patch
from service.api.receipts import conflict
from service.api.runtime import Asked, Runtime
from service.api.versions import check_version
from service.errors import AlreadyExists, InvalidQuery, PreconditionFailed, ScheduleNotFound
from service.ids import encode_id
from service.occurrences import due_ms_of
from service.recurrence.timing import Timing
from service.schedule import NO_TASK, PAUSED, Happened, Schedule, local_text, moment, ms_of, shown
from service.scheduler.firing import Builder
from service.showing import without_secrets
from service.store.outside import cancel
from service.store.schedules import NEW, Shot
from service.task import Snapshot, rfc3339

MOST_TRIES = 8
DEFINITION = "ScheduleDefinition"


# ---------------------------------------------------------------- endpoints


async def create_schedule(asked: Asked) -> Response:
    """`POST /v1/schedules`"""
    given = await body_of(asked, DEFINITION, WHAT)
    name = given.pop("name", None) or f"schedule-{secrets.token_hex(6)}"
    saved, _ = await save(asked, name, given, must_be_new=True)
    return await answer(asked, saved, 201)


async def put_schedule(asked: Asked) -> Response:
    """`PUT /v1/schedules/{name}`"""
    given = await body_of(asked, DEFINITION, WHAT)
    name = asked.path["name"]
    if faults := [fault for fault in faults_of({**given, "name": name}, DEFINITION, ()) if fault["pointer"] == "/name"]:
        refuse(faults)
    if given.pop("name", name) != name:
        refuse([{"pointer": "/name", "detail": f"is another than that of the path, {name}; leave it out"}])
    saved, is_new = await save(asked, name, given)
    return await answer(asked, saved, 201 if is_new else 200)


async def update_schedule(asked: Asked) -> Response:
    """`PATCH /v1/schedules/{name}` (RFC 7396)"""
    patch = await body_of(asked, "SchedulePatch", "the change")
    for _ in range(MOST_TRIES):
        before = await known(asked)
        merged = merge_patch({**visible(before), "paused": before.state == PAUSED}, patch)
        if merged.pop("name", before.name) != before.name:
            refuse([{"pointer": "/name", "detail": "cannot be changed; make another schedule, and delete this one"}])
        if faults := faults_of(merged, DEFINITION, ()):
            refuse(faults)
        saved = await save_once(asked, before.name, merged, before)
        if saved is not None:
            return await answer(asked, saved)
    raise busy(asked.path["name"])


async def get_schedule(asked: Asked) -> Response:
    """`GET /v1/schedules/{name}`"""
    return await answer(asked, await known(asked))


async def list_schedules(asked: Asked) -> Response:
    """`GET /v1/schedules`"""
    runtime, limit = asked.runtime, asked.query["limit"]
    cursor = asked.query.get("cursor", "")
    if cursor and not cursor.startswith("name:"):
        detail = "use next_cursor of a page of this list"
        raise InvalidQuery("the cursor is not of this list", errors=[{"parameter": "cursor", "detail": detail}])
    asking = runtime.require_store().schedules.page(runtime.namespace, limit + 1, cursor.removeprefix("name:"))
    found = await runtime.within(asking)
    items = await shown_all(runtime, found[:limit])
    return listed(items, f"name:{found[limit - 1].name}" if len(found) > limit else None)


async def delete_schedule(asked: Asked) -> Response:
    """`DELETE /v1/schedules/{name}`"""
    schedules = asked.runtime.require_store().schedules
    for _ in range(MOST_TRIES):
        before = await known(asked)
        dropped, found = await asked.runtime.within(schedules.drop(before.member, before.version))
        if dropped or found is None:  # by this very call, perhaps, when its answer was lost
            return Response(status_code=204)
    raise busy(asked.path["name"])


async def pause_schedule(asked: Asked) -> Response:
    """`POST /v1/schedules/{name}/pause`"""
    return await set_paused(asked, True)


async def resume_schedule(asked: Asked) -> Response:
    """`POST /v1/schedules/{name}/resume`"""
    return await set_paused(asked, False)


async def run_schedule(asked: Asked) -> Response:
    """`POST /v1/schedules/{name}/run`"""
    runtime = asked.runtime
    store, builder = runtime.require_store(), Builder(runtime.store, runtime.settings)
    for _ in range(MOST_TRIES):
        schedule = await known(asked)
        timing, now_ms = timing_of(runtime, schedule), store.tasks.clock.now_ms()
        if not store.handlers.is_fresh:
            await runtime.within(store.handlers.refresh())
        shard = store.schedules.shard_of(schedule.member)
        due_ms = due_ms_of(timing, schedule.next_ms)
        shot = builder.load(Shot(schedule, b"r", now_ms, schedule.next_ms, due_ms), timing, shard, now_ms)
        statuses, ids = await runtime.within(store.schedules.fire(shard, [shot]))
        if statuses == b"C":  # its task is to take the place of another, which ends for it
            await runtime.within(cancel(store.tasks, store.handlers, runtime.settings, ids[0]))
        if statuses == b"S":
            raise conflict(encode_id(ids[0]), await runtime.read(ids[0]))
        if statuses == b"F":
            task = await runtime.task(encode_id(shot.id))
            headers = {"Location": f"/v1/tasks/{encode_id(shot.id)}"}
            return Response(orjson.dumps(runtime.show(task)), 201, headers, "application/json")
    raise busy(asked.path["name"])


async def preview_schedule(asked: Asked) -> Response:
    """`GET /v1/schedules/{name}/preview`"""
    schedule = await known(asked)
    return previewed(timing_of(asked.runtime, schedule), asked, asked.query["count"])


async def preview_new_schedule(asked: Asked) -> Response:
    """`POST /v1/schedules/preview`"""
    given = await body_of(asked, "SchedulePreview", "the preview")
    now_ms = asked.runtime.require_store().tasks.clock.now_ms()
    timing = read_timing(asked.runtime, given.get("name", "preview"), given, now_ms)
    return previewed(timing, asked, given.get("count", 10))


async def list_schedule_runs(asked: Asked) -> Response:
    """`GET /v1/schedules/{name}/runs`"""
    runtime, schedule = asked.runtime, await known(asked)
    rows = await runtime.within(runtime.require_store().schedules.history(schedule.member))
    states = await states_of(runtime, [row.task_id for row in rows if row.task_id])
    return listed([shown_row(row, states) for row in rows])


# ---------------------------------------------------------------- saving


async def save(asked: Asked, name: str, given: dict[str, Any], *, must_be_new: bool = False) -> tuple[Schedule, bool]:
    """
    Put the definition *given* in the place of what *name* stands for: the schedule then, and whether it is new.

    Raises:
        AlreadyExists, PreconditionFailed: there is one; it is of another version than the request asks for.
        InvalidSubmission and the like: with every fault.
    """
    store = asked.runtime.require_store()
    for _ in range(MOST_TRIES):
        before = await asked.runtime.within(store.schedules.read(f"{asked.runtime.namespace}/{name}"))
        if before is not None and must_be_new:
            raise AlreadyExists(f"there is a schedule {name}; PUT /v1/schedules/{name} replaces it")
        check_version(asked, before.version if before else None, WHAT)
        saved = await save_once(asked, name, given, before)
        if saved is not None:
            return saved, before is None
    raise busy(name)


async def save_once(asked: Asked, name: str, given: dict[str, Any], before: Schedule | None) -> Schedule | None:
    """The schedule as saved; None when somebody else was faster."""
    runtime = asked.runtime
    now_ms = runtime.require_store().tasks.clock.now_ms()
    schedule, due_ms = await defined(runtime, name, given, before, now_ms)
    read_version = before.version if before else NEW
    saved, found = await runtime.within(runtime.store.schedules.save(schedule, read_version, due_ms))
    return found if saved else None


async def set_paused(asked: Asked, is_paused: bool) -> Response:
    """Pause or resume; occurrences that lay in between are not made up for."""
    for _ in range(MOST_TRIES):
        before = await known(asked)
        if (before.state == PAUSED) == is_paused:
            return await answer(asked, before)
        saved = await save_once(asked, before.name, {**visible(before), "paused": is_paused}, before)
        if saved is not None:
            return await answer(asked, saved)
    raise busy(asked.path["name"])


# ---------------------------------------------------------------- reading


def timing_of(runtime: Runtime, schedule: Schedule) -> Timing:
    """When it fires. Raises InvalidSubmission for a zone that this machine does not know any more."""
    return read_timing(runtime, schedule.name, schedule.definition, schedule.definition["created_ms"])


async def known(asked: Asked) -> Schedule:
    """The schedule of the request, of the version that it asks for. Raises ScheduleNotFound, PreconditionFailed."""
    runtime, name = asked.runtime, asked.path["name"]
    found = await runtime.within(runtime.require_store().schedules.read(f"{runtime.namespace}/{name}"))
    if found is None:
        raise ScheduleNotFound(f"there is no schedule {name[:140]}; GET /v1/schedules lists them")
    check_version(asked, found.version, WHAT)
    return found


async def answer(asked: Asked, schedule: Schedule, status: int = 200) -> Response:
    """The schedule, with its version as its ETag."""
    (item,) = await shown_all(asked.runtime, [schedule])
    response = json_answer(item, status)
    response.headers["ETag"] = f'"{schedule.version}"'
    if status == 201:
        response.headers["Location"] = f"/v1/schedules/{schedule.name}"
    return response


async def shown_all(runtime: Runtime, found: list[Schedule]) -> list[dict[str, Any]]:
    """Schedules as the contract shows them."""
    states = await states_of(runtime, [one.last_id for one in found if one.last_id != NO_TASK])
    views = [shown(one, runtime.settings.timezone, states.get(one.last_id)) for one in found]
    return [{**view, "task": without_secrets(view["task"], runtime.redaction)} for view in views]


async def states_of(runtime: Runtime, ids: list[bytes]) -> dict[bytes, str]:
    """The states of tasks that are still kept, by id."""
    if not ids:
        return {}
    found: list[Snapshot | None] = await runtime.within(runtime.store.tasks.read(ids))
    return {one.id: one.state for one in found if one is not None}


def shown_row(row: Happened, states: dict[bytes, str]) -> dict[str, Any]:
    """The contract's `ScheduleRun`."""
    told: dict[str, Any] = {"outcome": row.kind, "fire_time": rfc3339(row.fire_ms), "at": rfc3339(row.at_ms)}
    if row.kind == "missed":
        return {**told, "missed": row.missed}
    if row.task_id is not None:
        told["task_id"] = encode_id(row.task_id)
        told |= {"task_state": states[row.task_id]} if row.task_id in states else {}
    return told


def previewed(timing: Timing, asked: Asked, count: int) -> Response:
    """The next *count* occurrences from now on."""
    after = moment(asked.runtime.require_store().tasks.clock.now_ms())
    items: list[dict[str, str]] = []
    while len(items) < count and (found := timing.next_after(after)) is not None:
        due, after = timing.due_at(found), found
        local = local_text(due, timing)
        items.append({"fire_time": rfc3339(ms_of(found)), "run_at": rfc3339(ms_of(due)), "local_time": local})
    return json_answer({"explanation": timing.explain(), "items": items})


def busy(name: str) -> PreconditionFailed:
    return PreconditionFailed(f"the schedule {name} is changed by others all the time; try again")
