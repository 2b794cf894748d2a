"""
`/v1/schedules/{name}/backfill` and `backfills`: occurrences of a past range, counted, begun, watched, aborted.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import Any

from starlette.responses import Response

from service.api.answers import json_answer, listed
from service.api.definitions import refuse
from service.api.given import body_of
from service.api.runtime import Asked
from service.api.schedules import known, timing_of
from service.backfill import Backfill, shown
from service.due import due_of
from service.errors import BackfillNotFound, TooManyBackfills
from service.occurrences import next_ms_after
from service.recurrence.timing import Timing
from service.schedule import Schedule, moment, ms_of
from service.store.backfills import MOST_RUNNING
from service.task import rfc3339

MOST_OCCURRENCES = 100_000
COUNTED_AT_ONCE = 100
RATE_PER_SECOND = 10


async def backfill_schedule(asked: Asked) -> Response:
    """`POST /v1/schedules/{name}/backfill`"""
    given = await body_of(asked, "BackfillRequest", "the backfill")
    store, schedule = asked.runtime.require_store(), await known(asked)
    now_ms = store.tasks.clock.now_ms()
    start_ms, end_ms = range_of(given, now_ms)
    total, first_ms, last_ms = await count(timing_of(asked.runtime, schedule), start_ms, end_ms)
    if given.get("dry_run"):
        return json_answer(counted(min(total, MOST_OCCURRENCES), total <= MOST_OCCURRENCES, first_ms, last_ms))
    if not total:
        refuse([{"pointer": "/start_at", "detail": nothing_between(schedule, start_ms, end_ms)}])
    if total > MOST_OCCURRENCES:
        detail = f"has more than {MOST_OCCURRENCES:,} occurrences up to end_at; backfill it in parts"
        refuse([{"pointer": "/start_at", "detail": detail}])
    wanted = {
        "start_ms": start_ms,
        "end_ms": end_ms,
        "rate_per_second": given.get("rate_per_second", RATE_PER_SECOND),
        "overlap": given.get("overlap", "allow"),
        "total": total,
        "created_ms": now_ms,
    }
    backfill = Backfill(schedule.member, secrets.token_hex(8), wanted, schedule=schedule)
    began = await asked.runtime.within(store.backfills.begin(backfill))
    if began is False:
        raise TooManyBackfills(f"{MOST_RUNNING} backfills of {schedule.name} are under way; wait for one, or abort one")
    if began is None:
        await known(asked)  # it was deleted meanwhile, and this says so
    response = json_answer(shown(backfill), 202)
    response.headers["Location"] = f"/v1/schedules/{schedule.name}/backfills/{backfill.id}"
    return response


async def list_backfills(asked: Asked) -> Response:
    """`GET /v1/schedules/{name}/backfills`"""
    schedule = await known(asked)
    found = await asked.runtime.within(asked.runtime.require_store().backfills.list(schedule.member))
    return listed([shown(one) for one in found])


async def get_backfill(asked: Asked) -> Response:
    """`GET /v1/schedules/{name}/backfills/{id}`"""
    schedule, id_ = await known(asked), asked.path["id"]
    return answer(await asked.runtime.within(asked.runtime.require_store().backfills.read(schedule.member, id_)), id_)


async def abort_backfill(asked: Asked) -> Response:
    """`DELETE /v1/schedules/{name}/backfills/{id}`"""
    schedule, id_ = await known(asked), asked.path["id"]
    return answer(await asked.runtime.within(asked.runtime.require_store().backfills.abort(schedule.member, id_)), id_)


def answer(found: Backfill | None, id_: str) -> Response:
    if found is None:
        raise BackfillNotFound(
            f"there is no backfill {id_[:40]} of this schedule; the last 20 that have ended are kept"
        )
    return json_answer(shown(found))


def range_of(given: dict[str, Any], now_ms: int) -> tuple[int, int]:
    """First and last moment, in ms. Raises InvalidSubmission unless they lie in order, and in the past."""
    start_ms = due_of(given["start_at"])[0]
    end_ms = due_of(given["end_at"])[0] if "end_at" in given else now_ms
    if end_ms > now_ms:
        refuse([{"pointer": "/end_at", "detail": "lies in the future: what is to come, the schedule fires itself"}])
    if end_ms < start_ms:
        refuse([{"pointer": "/start_at", "detail": f"lies after end_at, {rfc3339(end_ms)}"}])
    return start_ms, end_ms


async def count(timing: Timing, start_ms: int, end_ms: int) -> tuple[int, int, int]:
    """
    (how many occurrences there are, the first, the last), 0 for none; one more than a backfill may have stands for
    more. Others are served meanwhile.
    """
    number, first_ms, last_ms = 0, 0, 0
    occurrence = next_ms_after(timing, start_ms - 1)
    while occurrence and occurrence <= end_ms:
        number, first_ms, last_ms = number + 1, first_ms or occurrence, occurrence
        if number > MOST_OCCURRENCES:
            last = timing.latest_until(moment(end_ms), moment(start_ms))
            return number, first_ms, ms_of(last) if last else last_ms
        if number % COUNTED_AT_ONCE == 0:
            await asyncio.sleep(0)
        occurrence = next_ms_after(timing, occurrence)
    return number, first_ms, last_ms


def counted(total: int, is_exact: bool, first_ms: int, last_ms: int) -> dict[str, Any]:
    """The contract's `BackfillCount`."""
    return {
        "total": total,
        "is_exact": is_exact,
        "first_fire_time": rfc3339(first_ms) if first_ms else None,
        "last_fire_time": rfc3339(last_ms) if last_ms else None,
    }


def nothing_between(schedule: Schedule, start_ms: int, end_ms: int) -> str:
    needs = "anchor_at" if "every_seconds" in schedule.definition and "anchor_at" not in schedule.definition else ""
    hint = f"; an interval without {needs} counts from {rfc3339(schedule.definition['created_ms'])}" if needs else ""
    return f"there is no occurrence from {rfc3339(start_ms)} to {rfc3339(end_ms)}{hint}"
