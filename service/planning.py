"""
What a new definition makes of the schedule that there was: where it goes on, and when it is due.

Pure; for definitions that come over the API, in code and in files. The fact to know: a definition that says the same
times goes on where the schedule is, so that saving it again and again fires nothing twice and loses nothing.
"""

from __future__ import annotations

from typing import Any

from service.occurrences import due_ms_of, next_ms_after
from service.recurrence.timing import Timing
from service.schedule import ACTIVE, OVER, PAUSED, TIMING, Schedule
from service.submission import Fault

NOT_FOR_SCHEDULES = ("run_at", "delay_seconds", "debounce", "expires_at", "idempotency_key", "parent", "durability")
KEPT = ("owner", "also_declared_by")  # not for a definition to say


def plan(schedule: Schedule, before: Schedule | None, timing: Timing, now_ms: int, *, is_paused: bool) -> int | None:
    """
    Have *schedule*, which holds the new definition, go on from *before*: when it is due, 0 for never; None for as it
    stands.

    Raises:
        ValueError: it never fires; all its times lie in the past.
    """
    wanted = PAUSED if is_paused else ACTIVE
    says_the_same = before is not None and times_of(before.definition) == times_of(schedule.definition)
    if before is not None:
        schedule.version, schedule.runs = before.version, before.runs
        schedule.definition |= {name: before.definition[name] for name in KEPT if name in before.definition}
    is_over = bool(schedule.max_runs) and schedule.runs >= schedule.max_runs
    if before is not None and says_the_same and not is_over and before.state == wanted:
        schedule.state, schedule.next_ms = before.state, before.next_ms
        return None
    schedule.next_ms = next_ms_after(timing, now_ms)
    if not schedule.next_ms and not says_the_same:
        raise ValueError("never fires: all its times lie in the past")
    if is_over or not schedule.next_ms:
        schedule.state, schedule.next_ms = OVER, 0
        return 0
    schedule.state = wanted
    return due_ms_of(timing, schedule.next_ms)


def misplaced(task: dict[str, Any]) -> list[Fault]:
    """Fields of a task that make no sense in a schedule."""
    detail = "does not go with a schedule; leave it out"
    return [{"pointer": f"/{name}", "detail": detail} for name in NOT_FOR_SCHEDULES if name in task]


def times_of(definition: dict[str, Any]) -> list[Any]:
    return [definition.get(name) for name in TIMING]
