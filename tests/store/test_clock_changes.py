"""What becomes of schedules on the days when clocks change: fired for real, in five zones, in both directions."""

from __future__ import annotations

from datetime import datetime

import pytest

from service.schedule import ms_of
from service.store import Store
from tests.recurrence.test_clock_changes import BACK, FORWARD
from tests.store.scheduling import fire, made, move, rows, tasks


@pytest.mark.parametrize(("zone", "before", "cron", "expected"), FORWARD + BACK)
async def test_each_day_fires_once(store: Store, zone: str, before: str, cron: str, expected: list[str]) -> None:
    """The day of the change and the day after it, made up for now: one task each, at the times that the zone has."""
    task = {"name": "demo.add", "args": {"at": "{{ fire_time | local }}"}}
    ends = {"misfire": "all", "end_at": expected[-1]}
    saved = await made(store, cron=cron, timezone=zone, task=task)
    first = ms_of(datetime.fromisoformat(expected[0]))
    await move(store, next_ms=first, definition=saved.definition | ends)
    await fire(store)
    assert expected == sorted(one.record.submission["args"]["at"] for one in await tasks(store))
    assert ["fired"] * len(expected) == [row.kind for row in await rows(store)]
