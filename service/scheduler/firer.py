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

from service.errors import TaskpostError
from service.recurrence.timing import InvalidTiming, Timing
from service.schedule import Schedule
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


class Firer:
    """Fires what is due, in all shards."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self.store, self.settings = store, settings
        self.builder = Builder(store.handlers, settings)
        self.timings: dict[tuple[str, int], Timing] = {}
        self.job: Job | None = None
        self.waiting: list[asyncio.Task[None]] = []

    # ------------------------------------------------------------ when

    async def run(self) -> None:
        """Fire all that is due; then have the job run again when the next is."""
        found = await asyncio.gather(*(self.attempt(shard) for shard in range(self.store.shards)))
        soonest = min((due for due in found if due is not None), default=None)
        wait_ms = LOOK_SECONDS * 1000
        if soonest is not None:
            wait_ms = min(wait_ms, soonest - self.store.tasks.clock.now_ms())
        self.again(wait_ms / 1000)

    def again(self, seconds: float = 0.0) -> None:
        """Have the job run in *seconds*."""
        if self.job is not None:
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
            now_ms, next_ms, due = await self.store.schedules.due(shard)
            if not due:
                return next_ms
            statuses, put_off = await self.carry_out(shard, self.shots(due, shard, now_ms))
            if put_off:  # their own next occurrence may be due too
                more, _ = await self.carry_out(shard, self.shots(put_off, shard, now_ms, has_looked=True))
                statuses += more
            if not statuses.strip(b"0Q"):  # others were faster, or tasks are waited for
                return next_ms

    def shots(self, due: list[Schedule], shard: int, now_ms: int, *, has_looked: bool = False) -> list[Shot]:
        """What is to be done for schedules that are due."""
        made = [self.shot(one, shard, now_ms, has_looked) for one in due]
        return [shot for shot in made if shot is not None]

    def shot(self, schedule: Schedule, shard: int, now_ms: int, has_looked: bool) -> Shot | None:
        """What is to be done for one schedule; None for nothing, or for nothing that can be done."""
        try:
            timing = self.timing(schedule)
            shot = shot_of(schedule, timing, now_ms, has_looked=has_looked)
            return shot if shot is None or shot.kind == b"m" else self.builder.load(shot, timing, shard, now_ms)
        except (InvalidTiming, ValueError, KeyError) as exc:
            log.error("the schedule %s cannot be fired: %s", schedule.member, exc)
            return None

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
        return statuses.replace(b"C", b"") + again, put_off
