"""
Fires schedules when they are due.

One APScheduler job over the index of due times, for all schedules: it runs when the next is due, when one is saved
that is due earlier, and once a second in any case. Any number of schedulers may do so: fire.lua lets each occurrence
through once.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta

from apscheduler.job import Job

from service.backfill import Backfill
from service.errors import TaskpostError
from service.occurrences import due_ms_of
from service.recurrence.timing import InvalidTiming, Timing
from service.schedule import Schedule
from service.scheduler.filler import Filler
from service.scheduler.firing import Builder, shot_of
from service.settings import Settings
from service.store import Store
from service.store.outside import cancel
from service.store.schedules import Shot

log = logging.getLogger("taskpost.scheduler")

LOOK_SECONDS = 1.0
MOST_TIMINGS = 20_000
AFTER_FAULT_SECONDS = 1.0
CANCEL_SECONDS = 0.1
STUCK_MS = 10_000


class Firer:
    """Fires what is due, in all shards."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self.store, self.settings = store, settings
        self.builder = Builder(store, settings)
        self.filler = Filler(store, settings, self.builder)
        self.timings: dict[tuple[str, int], Timing] = {}
        self.job: Job | None = None
        self.waiting: list[asyncio.Task[None]] = []
        self.is_running = self.is_asked = False

    # ------------------------------------------------------------ when

    async def run(self) -> None:
        """Fire all that is due; then have the job run again when the next is."""
        self.is_running, self.is_asked = True, False
        try:
            found = await asyncio.gather(*(self.attempt(shard) for shard in range(self.store.shards)))
        finally:
            self.is_running = False
        soonest = min((due for due in found if due is not None), default=None)
        wait_ms = LOOK_SECONDS * 1000
        if soonest is not None:
            wait_ms = min(wait_ms, soonest - self.store.tasks.clock.now_ms())
        self.again(0 if self.is_asked else wait_ms / 1000)

    def again(self, seconds: float = 0.0) -> None:
        """Have the job run in *seconds*; while it runs, once more when it is done, for it may have looked before."""
        if self.is_running:
            self.is_asked = True
        elif self.job is not None:
            self.job.modify(next_run_time=datetime.now(UTC) + timedelta(seconds=max(seconds, 0.001)))

    def listen(self) -> None:
        """Begin to wait for schedules that are saved; `close` ends it."""
        for shards in self.store.wakes.groups(self.store.shards):
            self.waiting.append(asyncio.create_task(self.wait_for(shards)))

    async def wait_for(self, shards: list[int]) -> None:
        markers = [self.store.wakes.of_schedules(shard) for shard in shards]
        while True:
            try:
                if await self.store.wakes.wait(markers):
                    self.again()
            except TaskpostError:
                await asyncio.sleep(AFTER_FAULT_SECONDS)

    async def close(self) -> None:
        """Wait for nothing any more; more than once, since a cancellation that comes while it connects is swallowed."""
        waiting = set(self.waiting)
        while waiting:
            for task in waiting:
                task.cancel()
            _, waiting = await asyncio.wait(waiting, timeout=CANCEL_SECONDS)

    # ------------------------------------------------------------ what

    async def attempt(self, shard: int) -> int | None:
        """Fire what is due in one shard; when the next is due there. What fails is said, and left to the next time."""
        try:
            return await self.fire_all(shard)
        except TaskpostError as exc:
            log.warning("schedules of shard %d: %s", shard, exc)
            return None

    async def fire_all(self, shard: int) -> int | None:
        """Fire until nothing is due. Raises TaskpostError."""
        while True:
            due = await self.store.schedules.due(shard)
            if not (due.schedules or due.backfills or due.unreadable):
                return due.next_ms
            if not self.store.handlers.is_fresh:
                await self.store.handlers.refresh()
            # What cannot be fired must not stand before what can.
            later = dict.fromkeys(due.unreadable, due.now_ms + STUCK_MS)
            shots = self.shots(due.schedules, shard, due.now_ms, later)
            statuses, put_off = await self.carry_out(shard, shots)
            if put_off:  # their own next occurrence may be due too
                await self.carry_out(shard, self.shots(put_off, shard, due.now_ms, {}, has_looked=True))
            for backfill in due.backfills:
                await self.fill(shard, backfill, due.now_ms, later)
            await self.store.schedules.put_off(shard, later)
            if not (due.backfills or later or statuses.strip(b"0")):  # others were faster
                return due.next_ms

    async def fill(self, shard: int, backfill: Backfill, now_ms: int, later: dict[str, int]) -> None:
        """Go on with a backfill. Raises TaskpostError."""
        try:
            await self.filler.advance(shard, backfill, now_ms)
        except (InvalidTiming, ValueError, KeyError) as exc:
            log.error("the backfill %s cannot be carried out: %s", backfill.place, exc)
            later[backfill.place] = now_ms + STUCK_MS

    def shots(
        self, due: list[Schedule], shard: int, now_ms: int, later: dict[str, int], *, has_looked: bool = False
    ) -> list[Shot]:
        """What is to be done for schedules that are due; those for which nothing can be go to *later*."""
        made: list[Shot] = []
        for schedule in due:
            try:
                timing = self.timing(schedule)
                shot = shot_of(schedule, timing, now_ms, has_looked=has_looked)
                if shot is None and has_looked:  # fire.lua has put it off
                    continue
                if shot is None:
                    later[schedule.member] = max(due_ms_of(timing, schedule.next_ms), now_ms + 1)
                    continue
                made.append(shot if shot.kind == b"m" else self.builder.load(shot, timing, shard, now_ms))
            except Exception as exc:  # whatever is wrong with one must not hold up the others
                log.error("the schedule %s cannot be fired: %s", schedule.member, exc)
                later[schedule.member] = now_ms + STUCK_MS
        return made

    def timing(self, schedule: Schedule) -> Timing:
        """The timing of a schedule, read once for each version of it."""
        key = schedule.member, schedule.version * 2**48 + schedule.definition["created_ms"]
        found = self.timings.get(key)
        if found is None:
            if len(self.timings) >= MOST_TIMINGS:
                self.timings.clear()
            found = self.timings[key] = schedule.timing(self.settings.timezone)
        return found

    async def carry_out(self, shard: int, shots: list[Shot]) -> tuple[bytes, list[Schedule]]:
        """
        Fire *shots*; where the last task is to be cancelled first, do so, and fire those again. Answers the statuses,
        and the schedules whose occurrence has to wait on.
        """
        if not shots:
            return b"", []
        statuses, blocking = await self.store.schedules.fire(shard, shots)
        answered = zip(shots, statuses, strict=True)
        put_off = [shot.schedule for shot, status in answered if shot.kind == b"p" and status == ord("Q")]
        if not blocking:
            return statuses, put_off
        for id_ in blocking:
            await cancel(self.store.tasks, self.store.handlers, self.settings, id_)
        held = [shot for shot, status in zip(shots, statuses, strict=True) if status == ord("C")]
        for shot in held:
            shot.overlap = b"a"
        again, _ = await self.store.schedules.fire(shard, held)
        return statuses + again, put_off
