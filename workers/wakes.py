"""
Wakes the processes of a worker: one blocking read for all of them (on a cluster one a shard).

Waits for work only on behalf of processes that said they are idle, and only in lanes where they have room; what
wakes one of them counts as taken until it says again that it is idle, so a busy worker costs Redis nothing here.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine

from service.errors import StoreFull, StoreUnavailable
from service.served import is_served, served
from service.settings import Settings
from service.store import Store
from service.store.wakes import COMMAND, NUDGE
from service.task import DEFAULT_NAMESPACE, DEFAULT_QUEUE, stored_queue
from workers import frames
from workers.beats import Beats
from workers.frames import LANE_BITS
from workers.process import Process

log = logging.getLogger("taskpost.worker")

LEARN_SECONDS = 5.0
PATIENCE_SECONDS = 0.02  # a process that was woken for one short task is idle again this soon


class Wakes:
    """Hears markers and passes them on."""

    def __init__(self, store: Store, settings: Settings, worker: str, processes: list[Process], beats: Beats) -> None:
        self.store, self.settings, self.worker, self.processes, self.beats = store, settings, worker, processes, beats
        self.served = served(settings.queues, settings.queue_order, settings.namespace)
        self.idle: dict[tuple[Process, int], int] = {}  # lanes in which a process has room, by shard
        self.changed = asyncio.Event()
        self.on_command: Callable[[], None] = lambda: None  # there is a command for this worker
        self.watched: dict[int, int] = {}  # shard -> lanes that the read under way waits for
        self.queues: list[str] = []
        self.learned_at = 0.0
        self.nudges: set[asyncio.Task[None]] = set()

    # ------------------------------------------------------------ what processes say

    def note_idle(self, process: Process, shard: int, lanes: int) -> None:
        """A process waits for work of *shard* in *lanes* (bits of `LANE_BITS`)."""
        self.idle[process, shard] = lanes
        self.changed.set()
        watched = self.watched.get(shard)
        if watched is not None and lanes & ~watched:
            nudge = asyncio.create_task(self.nudge(shard))
            self.nudges.add(nudge)
            nudge.add_done_callback(self.nudges.discard)

    def forget(self, process: Process) -> None:
        """A process has ended."""
        for key in [key for key in self.idle if key[0] is process]:
            del self.idle[key]

    async def nudge(self, shard: int) -> None:
        """Let the read under way start anew, with what it waits for now."""
        try:
            await self.store.wakes.nudge(shard, self.worker)
        except (StoreUnavailable, StoreFull):
            pass  # the read ends by itself

    # ------------------------------------------------------------ what Redis says

    def watches(self) -> list[Coroutine[None, None, None]]:
        """One endless watch for each connection."""
        return [self.watch(shards) for shards in self.store.wakes.groups(self.store.shards)]

    async def watch(self, shards: list[int]) -> None:
        """Wait for markers of *shards*, and pass each on."""
        while True:
            try:
                await self.learn_queues()
                await self.hear(shards)
            except (StoreUnavailable, StoreFull):
                await asyncio.sleep(0.2 + 0.8 * random.random())
                for process in self.processes:  # markers may have been lost
                    for shard in shards:
                        process.tell(frames.WAKE, shard)

    async def hear(self, shards: list[int]) -> None:
        """Hear markers until it is time to look for new queues."""
        wakes = self.store.wakes
        while asyncio.get_running_loop().time() < self.learned_at + LEARN_SECONDS:
            meanings: dict[str, tuple[int, str, str]] = {}
            for shard in shards:
                meanings[wakes.of_worker(shard, self.worker)] = (shard, "worker", "")
                if not self.served.names:  # those who serve chosen queues leave news of others to others
                    meanings[wakes.of_queues(shard)] = (shard, "queues", "")
                lanes = self.lanes(shard)
                self.watched[shard] = lanes
                for lane, bit in LANE_BITS.items():
                    if lanes & bit:
                        meanings.update(
                            {wakes.of_work(shard, queue, lane): (shard, "work", lane) for queue in self.queues}
                        )
            self.changed.clear()
            heard = await wakes.wait(list(meanings))
            if heard is None:
                return
            marker, raised_with = heard
            shard, kind, lane = meanings[marker]
            self.store.meters.meter.count("taskpost_wakeups_total", kind)
            if kind == "work":
                await self.pass_on(shard, lane, marker)
            elif kind == "queues":
                self.learned_at = 0.0
                return
            elif raised_with == COMMAND:
                self.on_command()
            elif raised_with != NUDGE:
                self.beats.now()

    def lanes(self, shard: int) -> int:
        """The lanes in which some idle process has room."""
        lanes = 0
        for (_, of), bits in self.idle.items():
            if of == shard:
                lanes |= bits
        return lanes

    async def pass_on(self, shard: int, lane: str, marker: str) -> None:
        """Wake one idle process with room in *lane*; without one the marker is raised again for others."""
        for process, of in list(self.idle):
            if of == shard and self.idle[process, of] & LANE_BITS[lane]:
                del self.idle[process, of]
                process.tell(frames.WAKE, shard)
                break
        else:
            await self.store.wakes.hoist(marker)
        if not self.lanes(shard):
            self.changed.clear()
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    await self.changed.wait()
            except TimeoutError:
                pass

    async def learn_queues(self) -> None:
        """The queues to wait for: those of the settings, or all that there are; processes are told of new ones."""
        now = asyncio.get_running_loop().time()
        if now < self.learned_at + LEARN_SECONDS:
            return  # another watch has just done so
        self.learned_at = now
        if self.served.names:
            names = set(self.served.names)
        else:
            try:
                namespace = self.settings.namespace
                known = await self.store.queues.names() | {stored_queue(namespace or DEFAULT_NAMESPACE, DEFAULT_QUEUE)}
                names = {name for name in known if is_served(name, namespace)}
            except BaseException:
                self.learned_at = 0.0
                raise
        if sorted(names) != self.queues:
            self.queues = sorted(names)
            for process in self.processes:
                process.tell(frames.QUEUES)
