"""
Heartbeats: the tasks that a worker's processes hold keep their leases; and hard limits that a process overstays.

A process that has held a task beyond its hard limit, with some grace, blocks its own loop: it is killed, and that
task fails by its time limit, as if the limit had been kept.
"""

from __future__ import annotations

import asyncio
import logging
import random

from service.errors import TaskpostError
from service.ids import encode_id, shard_of
from service.settings import Settings
from service.store import Store
from workers import frames
from workers.held import monotonic_ms
from workers.process import Process

log = logging.getLogger("taskpost.worker")

LOST, CANCELLING = ord("0"), ord("2")
WATCH_SECONDS = 1.0
STILL_MS = 2000  # a loop that has not turned for so long is blocked
AGAIN_MS = 1000


class Beats:
    """Sends the heartbeats of all processes."""

    def __init__(self, store: Store, settings: Settings, processes: list[Process]) -> None:
        self.store, self.settings, self.processes = store, settings, processes
        self.wanted = asyncio.Event()
        self.looked_ms = monotonic_ms()

    async def run(self) -> None:
        """A beat every `heartbeat_ms`, sooner after one that failed, and whenever one is asked for by `now`."""
        due_ms = 0
        while True:
            try:
                async with asyncio.timeout(min(WATCH_SECONDS, self.settings.heartbeat_ms / 1000)):
                    await self.wanted.wait()
            except TimeoutError:
                self.end_overstayers()
                if monotonic_ms() < due_ms:
                    continue
            self.wanted.clear()
            # Jitter keeps a fleet that was started together from beating together.
            due_ms = monotonic_ms() + int(self.settings.heartbeat_ms * (0.8 + 0.2 * random.random()))
            try:
                await self.beat()
            except TaskpostError as exc:
                log.warning("heartbeat failed: %s", exc)
                due_ms = monotonic_ms() + min(AGAIN_MS, self.settings.heartbeat_ms)

    def now(self) -> None:
        """Beat at once: something about our leases has changed."""
        self.wanted.set()

    async def beat(self) -> None:
        """
        Extend every lease that the processes hold, and tell them which are lost or to be cancelled.

        Raises:
            TaskpostError: Redis did not answer for some; the processes beat for themselves before it is too late.
        """
        answers = await asyncio.gather(*map(self.beat_for, self.processes), return_exceptions=True)
        for fault in answers:
            if fault is not None:
                raise fault

    async def beat_for(self, process: Process) -> None:
        """Beat for one process; a shard that does not answer keeps no other from being told."""
        table = process.table
        by_shard: dict[int, list[tuple[bytes, bytes]]] = {}
        for held in table.held():
            by_shard.setdefault(shard_of(held.id), []).append((held.id, held.token))
        answers = await asyncio.gather(
            *(self.extend(process, shard, some) for shard, some in by_shard.items()), return_exceptions=True
        )
        for fault in answers:
            if fault is not None:
                raise fault
        if table is process.table:
            table.note_beat(monotonic_ms())

    async def extend(self, process: Process, shard: int, some: list[tuple[bytes, bytes]]) -> None:
        """Extend *some* leases of *process* in one shard, and tell it what has changed."""
        statuses = await self.store.tasks.extend(shard, some, self.settings.lease_ms)
        for (id_, token), status in zip(some, statuses, strict=True):
            if status in (LOST, CANCELLING):
                kind = frames.LOST if status == LOST else frames.CANCEL
                process.tell(kind, shard, id_, token)

    def end_overstayers(self) -> None:
        """Kill processes that hold a task beyond its hard limit: nothing else stops what blocks an event loop."""
        now_ms = monotonic_ms()
        was_away = now_ms - self.looked_ms > WATCH_SECONDS * 1000 + STILL_MS
        self.looked_ms = now_ms
        if was_away:  # we were stopped, and so were they: let them turn first
            return
        for process in self.processes:
            if now_ms - process.table.turn_ms < STILL_MS:
                continue
            late = [held for held in process.table.held() if held.deadline_ms < now_ms]
            if late:
                log.error(
                    "worker process %d blocks its event loop, and %s is beyond its time limit: the process is ended",
                    process.number, ", ".join(encode_id(held.id) for held in late[:3]),
                )  # fmt: skip
                process.end_for(late)
