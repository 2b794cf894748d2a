"""
Heartbeats: the tasks that a worker's processes hold keep their leases; and hard limits that a process overstays.

A process that has held a task beyond its hard limit, with some grace, blocks its own loop: it is killed, and that
task fails by its time limit, as if the limit had been kept.
"""

from __future__ import annotations

import asyncio
import logging
import random

from service.errors import StoreFull, StoreUnavailable
from service.settings import Settings
from service.store import Store
from service.task import shard_of
from workers import frames
from workers.process import Process
from workers.runtime import monotonic_ms

log = logging.getLogger("taskpost.worker")

LOST, CANCELLING = ord("0"), ord("2")
WATCH_SECONDS = 1.0


class Beats:
    """Sends the heartbeats of all processes."""

    def __init__(self, store: Store, settings: Settings, processes: list[Process]) -> None:
        self.store, self.settings, self.processes = store, settings, processes
        self.wanted = asyncio.Event()

    async def run(self) -> None:
        """A beat every `heartbeat_ms`, and whenever one is asked for by `now`."""
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
            except (StoreUnavailable, StoreFull) as exc:
                log.warning("heartbeat failed: %s", exc)

    def now(self) -> None:
        """Beat at once: something about our leases has changed."""
        self.wanted.set()

    async def beat(self) -> None:
        """
        Extend every lease that the processes hold, and tell them which are lost or to be cancelled.

        Raises:
            StoreUnavailable: Redis did not answer; the processes beat for themselves before it is too late.
        """
        for process in self.processes:
            by_shard: dict[int, list[tuple[bytes, bytes]]] = {}
            for held in process.table.held():
                by_shard.setdefault(shard_of(held.id), []).append((held.id, held.token))
            for shard, some in by_shard.items():
                statuses = await self.store.tasks.extend(shard, some, self.settings.lease_ms)
                for (id_, token), status in zip(some, statuses, strict=True):
                    if status in (LOST, CANCELLING):
                        kind = frames.LOST if status == LOST else frames.CANCEL
                        process.tell(kind, shard, id_, token)
            process.table.note_beat(monotonic_ms())

    def end_overstayers(self) -> None:
        """Kill processes that hold a task beyond its hard limit: nothing else stops what blocks an event loop."""
        now_ms = monotonic_ms()
        for process in self.processes:
            late = [held for held in process.table.held() if held.deadline_ms < now_ms]
            if late:
                log.error("worker process %d holds a task beyond its time limit; it is ended", process.number)
                process.kill()
