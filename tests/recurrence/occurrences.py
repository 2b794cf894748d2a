"""Occurrences of timing fields, as the local times that a user would read."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from service.recurrence.timing import InvalidTiming, Timing, timing_of

CREATED = datetime(2026, 1, 31, 9, tzinfo=UTC)


def timing(seed: str = "daily", **fields: Any) -> Timing:
    """The timing of a schedule created at CREATED, in UTC when it names no zone."""
    return timing_of(fields, seed=seed, created_at=CREATED, zone="UTC")


def occurrences(after: str, number: int, **fields: Any) -> list[str]:
    """The next *number* occurrences after the instant *after*, as local times of the zone with their offsets."""
    read = timing(**fields)
    found: list[str] = []
    moment: datetime | None = datetime.fromisoformat(after)
    while len(found) < number and (moment := read.next_after(moment)) is not None:
        found.append(moment.astimezone(read.zone).isoformat())
    return found


def faults(**fields: Any) -> list[tuple[str, str]]:
    """(pointer, detail) of everything that is wrong with *fields*."""
    try:
        timing(**fields)
    except InvalidTiming as exc:
        return [(error["pointer"], error["detail"]) for error in exc.errors]
    return []
