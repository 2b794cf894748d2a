"""
Definitions of schedules: what they must be beyond their schema, and what they make of the schedule that there was.

The fact to know: a schedule's task is checked as every submission is, with its templates filled in for a sample
occurrence, so that nothing is found wrong only when it fires.
"""

from __future__ import annotations

from typing import Any, NoReturn

from service.api.intake import Intake
from service.api.runtime import Runtime
from service.errors import Invalid, InvalidSubmission
from service.planning import KEPT, misplaced, plan
from service.recurrence.timing import InvalidTiming, Timing
from service.schedule import HIDDEN, Schedule, moment, timing_for
from service.submission import Fault, counted
from service.templates import Firing, filled
from service.templates import faults_of as template_faults

WHAT = "the schedule"
NOT_WITH_SHARDS = (
    "with more than one shard a schedule's tasks live where the schedule does, and a key's limits elsewhere; have its "
    "task submit one with the key"
)


async def defined(
    runtime: Runtime, name: str, given: dict[str, Any], before: Schedule | None, now_ms: int
) -> tuple[Schedule, int | None]:
    """
    The schedule that the definition *given* makes of what there was *before*, and when it is due: None for as it
    stands. A definition that says the same times goes on where it is. Raises InvalidSubmission and the like.
    """
    definition = dict(given)
    is_paused = definition.pop("paused", False)
    created_ms = before.definition["created_ms"] if before else now_ms
    definition |= {"created_ms": created_ms, "updated_ms": now_ms}
    schedule = Schedule(runtime.namespace, name, definition)
    timing = read_timing(runtime, name, given, created_ms)
    await check_task(runtime, schedule, timing, now_ms)
    try:
        return schedule, plan(schedule, before, timing, now_ms, is_paused=is_paused)
    except ValueError as exc:
        refuse([{"pointer": pointer_of(given), "detail": str(exc)}])


async def check_task(runtime: Runtime, schedule: Schedule, timing: Timing, now_ms: int) -> None:
    """
    Raises InvalidSubmission, UnknownHandler or InvalidTaskArguments, pointing into `/task`. What the handler says now
    is noted, for a day on which nobody knows it.
    """
    task = schedule.definition["task"]
    faults = template_faults(task) + misplaced(task)
    if "flow" in task and runtime.require_store().shards > 1:
        faults.append({"pointer": "/flow", "detail": NOT_WITH_SHARDS})
    if faults:
        refuse([{**fault, "pointer": f"/task{fault['pointer']}"} for fault in faults])
    sample = filled(task, Firing(schedule.name, moment(now_ms), moment(now_ms), timing.zone))
    try:
        ready = await Intake(runtime).prepare_one(sample)
    except Invalid as problem:
        problem.errors = [{**fault, "pointer": f"/task{fault.get('pointer', '')}"} for fault in problem.errors]
        problem.detail = counted(problem.errors, WHAT) if problem.errors else problem.detail
        raise
    if ready.packed.flow and runtime.require_store().shards > 1:
        refuse([{"pointer": "/task/name", "detail": f"its handler has a flow key, and {NOT_WITH_SHARDS}"}])
    schedule.definition["target"] = {"queue": ready.known.queue, "lane": ready.packed.lane}


def read_timing(runtime: Runtime, name: str, given: dict[str, Any], created_ms: int) -> Timing:
    """The timing of a definition. Raises InvalidSubmission, with every fault."""
    try:
        return timing_for(f"{runtime.namespace}/{name}", given, created_ms, runtime.settings.timezone)
    except InvalidTiming as exc:
        raise InvalidSubmission(counted(exc.errors, WHAT), errors=list(exc.errors)) from exc


def visible(schedule: Schedule) -> dict[str, Any]:
    """The definition as its user gave it."""
    hidden = (*HIDDEN, *KEPT)
    return {name: value for name, value in schedule.definition.items() if name not in hidden}


def pointer_of(given: dict[str, Any]) -> str:
    return next((f"/{name}" for name in ("end_at", "at") if name in given), "")


def refuse(faults: list[Fault]) -> NoReturn:
    raise InvalidSubmission(counted(faults, WHAT), errors=faults)
