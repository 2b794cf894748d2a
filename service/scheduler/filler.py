"""
Carries out backfills: a slice at a time, at the rate that was asked for.

Refuses to remember how far one has come: that stands in Redis, moved by the script that creates the tasks, so that any
scheduler goes on where another was killed.
"""

from __future__ import annotations

import logging

from service.backfill import Backfill
from service.flow import Flow
from service.occurrences import next_ms_after, previous_of
from service.packing import Packed
from service.recurrence.timing import Timing
from service.schedule import Schedule, moment, ms_of
from service.scheduler.firing import Builder, id_of
from service.settings import Settings
from service.store import Store
from service.store.schedules import MOST_BYTES

log = logging.getLogger("taskpost.scheduler")

MOST_A_SLICE = 100
SLICES_PER_SECOND = 4
Made = tuple[int, bytes, bytes]


class Filler:
    """Carries out backfills that are due."""

    def __init__(self, store: Store, settings: Settings, builder: Builder) -> None:
        self.store, self.settings, self.builder = store, settings, builder

    async def advance(self, shard: int, backfill: Backfill, now_ms: int) -> None:
        """
        Fire the next slice.

        Raises:
            InvalidTiming, ValueError, KeyError: it cannot be carried out, as it stands.
            StoreUnavailable, StoreFull: as `Backfills.fill`.
        """
        waits = backfill.asked["overlap"] == "one_by_one"
        rate = backfill.rate_per_second
        most = 1 if waits else max(1, min(MOST_A_SLICE, int(rate / SLICES_PER_SECOND)))
        made, flows, is_last = self.slice(shard, backfill, now_ms, most)
        await self.store.tasks.flows.declare(shard, flows)
        next_due_ms = now_ms + int(1000 * max(1, len(made)) / rate)
        await self.store.backfills.fill(backfill, made, next_due_ms, waits=waits, is_last=is_last)

    def slice(self, shard: int, backfill: Backfill, now_ms: int, most: int) -> tuple[list[Made], list[Flow], bool]:
        """Up to *most* of its next tasks, the flow keys that they name, and whether these are the last."""
        schedule = backfill.schedule
        if schedule is None:
            raise ValueError(f"{backfill.place} says not what it goes by")
        timing = schedule.timing(self.settings.timezone)
        end_ms = backfill.asked["end_ms"]
        occurrence = next_ms_after(timing, backfill.last_ms or backfill.asked["start_ms"] - 1)
        previous_ms = backfill.last_ms or before(timing, occurrence)
        made: list[Made] = []
        flows: list[Flow] = []
        size = 0
        while occurrence and occurrence <= end_ms and len(made) < most and size < MOST_BYTES:
            packed = self.packed(schedule, timing, occurrence, previous_ms, now_ms)
            made.append((occurrence, id_of(backfill.place, occurrence, now_ms, shard), packed.record))
            flows += [packed.flow] if packed.flow else []
            size += len(packed.record)
            previous_ms, occurrence = occurrence, next_ms_after(timing, occurrence)
        return made, flows, not occurrence or occurrence > end_ms

    def packed(self, schedule: Schedule, timing: Timing, occurrence: int, previous_ms: int, now_ms: int) -> Packed:
        previous = moment(previous_ms) if previous_ms else None
        return self.builder.packed(schedule, timing, occurrence, previous, now_ms)


def before(timing: Timing, occurrence: int) -> int:
    """The occurrence before; 0 for none."""
    found = previous_of(timing, occurrence) if occurrence else None
    return ms_of(found) if found is not None else 0
