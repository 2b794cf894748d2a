"""
The lease loop of one worker process: lease what there is room for, run it, record what became of it.

One round trip does all three (`step`), and carries what came together while the last was in flight. A call that got
no answer is sent again, unchanged, until it is answered: results are never dropped because Redis was away.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from service.errors import StoreFull, StoreUnavailable
from service.ids import encode_id
from service.served import served
from service.settings import Settings
from service.store import Store
from service.store.decisions import Again, Decision
from service.store.tasks import MOST_A_CALL, MOST_BYTES_A_CALL, Stepped
from service.task import ALONE, LETTERS, Leased, stored_queue
from workers.alone import Isolation
from workers.capture import error_of
from workers.checkpoints import CheckpointKeeper
from workers.ended import CANCELLED, about, tell_all
from workers.frames import LANE_BITS
from workers.held import HeldTable, label, monotonic_ms, name_of
from workers.log_sender import LogSender
from workers.outcome import LOST, SHUTDOWN, Cancelled, Failed
from workers.progress import ProgressReporter
from workers.run import Attempt, Ears, Pipeline, told_of
from workers.slots import Slots
from workers.turns import Rounds, turned, turns_of

log = logging.getLogger("taskpost.worker")

LOOK_SECONDS = 5.0


class LeaseLoop:
    """Leases from one shard, for one worker process."""

    def __init__(
        self,
        store: Store,
        shard: int,
        pipeline: Pipeline,
        slots: Slots,
        table: HeldTable,
        settings: Settings,
        announce_idle: Callable[[int, int], None],
    ) -> None:
        self.store, self.shard, self.pipeline, self.slots, self.table = store, shard, pipeline, slots, table
        self.settings, self.announce_idle = settings, announce_idle
        self.isolation = Isolation(slots)
        self.turns = turns_of(served(settings.queues, settings.queue_order, settings.namespace))
        self.session = os.urandom(8)
        self.number = 0
        self.queues: list[str] = []
        # By id and token: when Redis lost a lease, this process may be given the task anew while it still has the old
        # attempt, which is stopped when the next heartbeat hears that its token is worth nothing.
        self.running: dict[bytes, Attempt] = {}
        self.tasks: dict[bytes, asyncio.Task[None]] = {}
        self.finished: deque[tuple[Attempt, list[bytes]]] = deque()
        self.event = asyncio.Event()
        self.owed = set(slots.capacity)  # lanes in which there may be work that was not looked for yet
        self.fault: BaseException | None = None
        self.is_draining = False
        self.is_calling = self.is_asking = False  # a call is in flight; one that may bring tasks
        self.due_ms: int | None = None
        self.due_timer: asyncio.TimerHandle | None = None
        self.progress = ProgressReporter(store.tasks, shard)
        self.logs = LogSender(store, shard)
        self.checkpoints = CheckpointKeeper(store.tasks, shard, self.lose)
        self.ears = Ears(self.progress.of, self.logs.of, self.checkpoints.of)
        self.siblings: Sequence[LeaseLoop] = (self,)
        self.rounds = Rounds()  # shared with the siblings

    # ------------------------------------------------------------ the loop

    async def run(self) -> None:
        """Until told to drain, and everything is recorded. Raises what a fault of ours raised in an attempt."""
        while True:
            if self.fault is not None:
                raise self.fault
            finished = self.take_finished()
            rooms = self.rooms()
            if not finished and not rooms:
                if self.is_draining and not self.running:
                    return
                await self.rest()
                continue
            self.owed -= rooms.keys()
            self.isolation.begin(rooms)
            self.is_asking, self.is_calling = bool(rooms), True
            with self.slots.promised(rooms):
                stepped = await self.step([report for _, report in finished], self.wants(rooms))
            self.is_asking = self.is_calling = False
            if len(self.siblings) > 1:
                self.rounds.note(self.shard, stepped.leased)
            if len(stepped.leased) < sum(rooms.values()):
                self.wake_siblings(rooms)
            self.turns.hear(stepped.leased, is_cut_short=stepped.is_cut_short)
            self.isolation.hear(self.shard, rooms, stepped.has_suspects, stepped.leased)
            self.settle(finished, stepped.statuses)
            self.remember_due(stepped.next_due_ms, has_looked=bool(rooms))
            if stepped.is_work_left:
                self.owed |= rooms.keys() - ALONE.keys() or self.slots.capacity.keys()
            for task in stepped.leased:
                self.start(task)
            if stepped.leased:
                await asyncio.sleep(0)  # let them begin; what ends at once is recorded by the next call

    async def rest(self) -> None:
        """Wait for something to record, a wake-up, the next due time; at most five seconds."""
        self.event.clear()
        if not self.is_draining:
            is_held = self.slots.is_quiet or self.isolation.holds_back(self.shard)
            idle = [] if is_held else [lane for lane in self.slots.free_lanes if lane not in self.owed]
            if idle and self.isolation.is_empty:
                idle += self.isolation.lanes
            self.announce_idle(self.shard, sum(LANE_BITS[lane] for lane in idle))
        try:
            async with asyncio.timeout(LOOK_SECONDS * (0.8 + 0.2 * random.random())):
                await self.event.wait()
        except TimeoutError:
            self.look()

    def look(self) -> None:
        """There may be work."""
        self.owed |= self.slots.capacity.keys()
        self.isolation.look(self.shard)
        self.event.set()

    def rooms(self) -> dict[str, int]:
        """How many tasks this process can take now, of each lane in which there may be some."""
        # Results that one call cannot carry go first: large ones must not pile up behind new tasks.
        is_held = self.is_draining or self.slots.is_quiet
        if is_held or self.finished or not self.queues or self.isolation.holds_back(self.shard):
            return {}
        rooms: dict[str, int] = {}
        left = self.slots.free_rows
        for lane in self.slots.free_lanes:
            if lane in self.owed:
                looking = [loop for loop in self.siblings if lane in loop.owed]
                room = min(-(-self.slots.free(lane) // len(looking)), MOST_A_CALL, left)
                if room > 0 and self.has_turn(lane, looking):
                    rooms[lane] = room
                    left -= room
        return rooms | self.isolation.rooms(self.shard, bool(rooms))

    def has_turn(self, lane: str, looking: Sequence[LeaseLoop]) -> bool:
        """Whether this shard may take the next of few slots, or has to leave them to others that are *looking*."""
        if self.slots.free(lane) >= len(looking) or self.isolation.is_concerned:
            return True
        others = [loop for loop in looking if loop is not self and not loop.is_calling]
        before = self.rounds.before(lane, self.shard, [loop.shard for loop in others])
        for shard in before:
            self.siblings[shard].event.set()
        return not before

    def wake_siblings(self, lanes: Iterable[str]) -> None:
        """There is room in *lanes* again."""
        for loop in self.siblings:
            if loop is not self and not loop.owed.isdisjoint(lanes):
                loop.event.set()

    def wants(self, rooms: dict[str, int]) -> list[tuple[str, str, int]]:
        """(queue, lane, room): what to ask for, in this order."""
        ordinary = {lane: room for lane, room in rooms.items() if lane not in ALONE}
        wants = [
            (queue, LETTERS[lane].decode(), room)
            for queue, lane, room in self.turns.wants(self.queues, ordinary, self.number)
        ]
        queues = turned(self.queues, self.number)
        alone = [(queue, LETTERS[lane].decode(), rooms[lane]) for queue in queues for lane in rooms if lane in ALONE]
        return alone + wants if self.isolation.is_turn else wants + alone

    def take_finished(self) -> list[tuple[Attempt, list[bytes]]]:
        """What one call can carry of what has finished."""
        taken: list[tuple[Attempt, list[bytes]]] = []
        size = 0
        while self.finished and len(taken) < MOST_A_CALL and (size < MOST_BYTES_A_CALL or not taken):
            taken.append(self.finished.popleft())
            attempt, report = taken[-1]
            # What was noted of its log moves into its row: nothing on the wire, but work for Redis all the same.
            size += sum(map(len, report)) + (attempt.log.noted_bytes if attempt.log else 0)
        return taken

    async def step(self, finished: list[list[bytes]], wants: list[tuple[str, str, int]]) -> Stepped:
        """One call, repeated with the same number until it is answered."""
        self.number += 1
        token = self.session + (self.number & 0xFFFFFFFF).to_bytes(4, "big")
        pause, asked_ms = 0.1, monotonic_ms()
        while True:
            try:
                stepped = await self.store.tasks.step(
                    self.shard,
                    token,
                    self.pipeline.worker,
                    lease_ms=self.settings.lease_ms,
                    finished=finished,
                    wants=wants,
                )
                if stepped.leased and monotonic_ms() - asked_ms > self.settings.lease_ms // 3:
                    await self.keep_alive(stepped)
                return stepped
            except (StoreUnavailable, StoreFull) as exc:
                log.warning("shard %d: %s Trying again.", self.shard, exc)
                await asyncio.sleep(pause * (0.5 + random.random() / 2))
                pause = min(pause * 2, 2.0)

    async def keep_alive(self, stepped: Stepped) -> None:
        """Of tasks that were long on their way, those start whose leases still hold."""
        held = [(task.id, task.token) for task in stepped.leased]
        statuses = await self.store.tasks.extend(self.shard, held, self.settings.lease_ms)
        stepped.leased = [task for task, status in zip(stepped.leased, statuses, strict=True) if status != ord("0")]

    # ------------------------------------------------------------ attempts

    def remember_due(self, due_ms: int | None, *, has_looked: bool) -> None:
        """Look again when the next task becomes due; a call that did not look knows only of those it made itself."""
        if not has_looked and (due_ms is None or (self.due_ms is not None and self.due_ms <= due_ms)):
            return
        self.due_ms = due_ms
        if self.due_timer is not None:
            self.due_timer.cancel()
            self.due_timer = None
        if due_ms is not None:
            wait_ms = max(due_ms - self.store.tasks.clock.now_ms(), 0) + 1
            if wait_ms < LOOK_SECONDS * 1000:
                self.due_timer = asyncio.get_running_loop().call_later(wait_ms / 1000, self.look)

    def start(self, task: Leased) -> None:
        """Start an attempt. It is noted as held before anything of it runs."""
        try:
            attempt = self.pipeline.prepare(task, 0)
        except Exception:
            log.exception("%s: cannot be prepared; its lease will end", encode_id(task.id), extra=about(task))
            self.isolation.settle(task.id)
            return
        # Beyond its limit it has a while (10 s with a lease of 15) to end by itself; then the parent ends the process.
        limit_ms = int(attempt.options["timeout_seconds"] * 1000) + self.settings.lease_ms * 2 // 3
        queue = stored_queue(task.namespace, task.queue)
        labelled = label(name_of(task.submission), queue, task.lane, task.attempt, task.leased_ms)
        attempt.slot = self.table.hold(task.id, task.token, monotonic_ms() + limit_ms, labelled)
        held = task.id + task.token
        self.running[held] = attempt
        self.slots.used[task.lane] += 1
        self.tasks[held] = started = asyncio.create_task(self.attempt(attempt))
        started.add_done_callback(self.notice)

    def notice(self, task: asyncio.Task[None]) -> None:
        """An attempt's asyncio task is over; it raises only for a fault of ours, which ends this process."""
        if not task.cancelled() and (fault := task.exception()):
            self.fault = fault
            self.event.set()

    async def attempt(self, attempt: Attempt) -> None:
        """Run one attempt to its end and queue its report."""
        clock = self.store.tasks.clock.now_ms
        try:
            if attempt.stop_reason:
                raise asyncio.CancelledError
            decision = await self.pipeline.run_attempt(attempt, self.ears, clock)
        except asyncio.CancelledError:
            decision = self.stopped(attempt)
        except Exception as exc:
            named = encode_id(attempt.task.id)
            log.exception("%s: a fault of ours fails this attempt", named, extra=about(attempt.task))
            decision = self.pipeline.decide(attempt, Failed(error_of(exc)), clock())
        self.finish(attempt, decision)

    def stopped(self, attempt: Attempt) -> Decision:
        """How an attempt ends whose asyncio task was cancelled."""
        if attempt.stop_reason == SHUTDOWN:
            return Again(b"B")
        return self.pipeline.cancelled(attempt, self.store.tasks.clock.now_ms())

    def finish(self, attempt: Attempt, decision: Decision) -> None:
        """The slot is free; the lease is kept until the report is recorded."""
        if attempt.is_handed_back:
            return
        self.slots.used[attempt.task.lane] -= 1
        self.table.finish(attempt.slot)
        now_ms, slowness = self.store.tasks.clock.now_ms(), self.pipeline.slowness
        if now_ms - attempt.task.leased_ms >= slowness.least_ms:
            attempt.slow = slowness.judge(attempt, told_of(decision)[0], now_ms)
        attempt.ctx = None  # which knows the attempt, so only the garbage collector would free the two
        self.progress.forget(attempt.task)
        self.logs.close(attempt)
        del self.tasks[attempt.task.id + attempt.task.token]
        self.finished.append((attempt, self.pipeline.report(attempt, decision, now_ms)))
        self.event.set()
        self.wake_siblings((attempt.task.lane,))

    def settle(self, finished: list[tuple[Attempt, list[bytes]]], statuses: bytes) -> None:
        """What Redis said to the reports."""
        tell_all(finished, statuses)
        now_ms = self.store.tasks.clock.now_ms()
        for (attempt, _), status in zip(finished, statuses, strict=True):
            task = attempt.task
            if status == CANCELLED:  # it was to run again, but cancellation was asked for in the meantime
                ending = self.pipeline.cancelled(attempt, now_ms)
                self.finished.append((attempt, self.pipeline.report(attempt, ending, now_ms)))
                continue
            if attempt.slow is not None:
                self.pipeline.slowness.keep(task, attempt.slow, now_ms - attempt.slow.ended_ms)
            self.table.drop(attempt.slot)
            del self.running[task.id + task.token]
            self.isolation.settle(task.id)

    # ------------------------------------------------------------ stopping

    def stop(self, id_: bytes, token: bytes, reason: str) -> None:
        """Stop the attempt of this task and token, if it still runs."""
        attempt = self.running.get(id_ + token)
        if attempt is None or id_ + token not in self.tasks:
            return
        attempt.stop_reason = attempt.stop_reason or reason
        if attempt.ctx is not None:  # without one it has not begun, and looks at the reason first
            attempt.ctx.stop(Cancelled(reason))

    def lose(self, task: Leased) -> None:
        """The lease of *task* turned out to be lost: stop what still runs of it."""
        self.stop(task.id, task.token, LOST)

    def drain(self) -> None:
        """Take no more work."""
        self.is_draining = True
        self.event.set()

    def stop_all(self) -> None:
        """Stop every attempt; each is handed back without having spent anything."""
        for attempt in list(self.running.values()):
            self.stop(attempt.task.id, attempt.task.token, SHUTDOWN)

    def hand_back_rest(self) -> None:
        """Hand back attempts that did not stop; their handlers end with the process."""
        for held, task in list(self.tasks.items()):
            attempt = self.running[held]
            attempt.is_handed_back = True
            self.logs.close(attempt)
            task.cancel()
            self.finished.append((attempt, self.pipeline.report(attempt, Again(b"B"), 0)))
            del self.tasks[held]
        self.event.set()
