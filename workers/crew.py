"""
The processes of a worker: kept running, started anew when they die, drained when there are to be fewer or none.

What a process held when it died is handed back at once. Knows nothing of what processes say to each other.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable, Sequence
from itertools import count

from service.errors import TaskpostError
from service.ids import encode_id, shard_of
from service.settings import Settings
from service.store import Store
from service.store.outside import reap
from workers import frames
from workers.deaths import how_it_ended
from workers.held import Held, Wanted
from workers.overstay import end_overstayer
from workers.process import Heard, Process

log = logging.getLogger("taskpost.worker")

# Beyond `drain_seconds`: until a child is killed that does not end, and until its supervisor has handed back what it
# held. With the last words to Redis they end a worker in under 25 s.
CHILD_SECONDS, HAND_BACK_SECONDS = 3.5, 0.8
MOST_NAMED = 20  # tasks in a line of text


class Crew:
    """
    Keeps *processes* filled with as many as `resize` asks for, until `stop`.

    *stopping* is set here when handlers cannot be loaded or a fault of ours ends the worker: `is_failed` then.
    *forget* is told of each process that has ended or takes no more work.
    """

    def __init__(
        self,
        store: Store,
        settings: Settings,
        worker: str,
        processes: list[Process],
        stopping: asyncio.Event,
        heard: Heard,
        forget: Callable[[Process], None],
    ) -> None:
        self.store, self.settings, self.worker, self.processes = store, settings, worker, processes
        self.stopping, self.heard, self.forget = stopping, heard, forget
        self.tasks: dict[Process, asyncio.Task[None]] = {}
        self.retiring: set[asyncio.Task[None]] = set()
        sizes = {
            "url": settings.url_concurrency,
            "async": settings.concurrency,
            "thread": settings.threads,
            "process": settings.children,
        }
        self.wanted = Wanted(is_quiet=False, drain_seconds=settings.drain_seconds, sizes=sizes)
        self.many = 0  # how many processes are wanted
        self.is_failed = False

    # ------------------------------------------------------------ more, fewer, none

    @property
    def staying(self) -> list[Process]:
        """The processes that are not on their way out."""
        return [process for process in self.processes if not process.leaving.is_set()]

    def apply(self) -> None:
        """Let all processes be as is `wanted` now; those that start later will be, too."""
        for process in self.processes:
            process.apply()

    def resize(self, many: int) -> None:
        """Have *many* processes, at least one: start what is missing, drain those that came last."""
        self.many = max(many, 1)
        settled = [process for process in self.staying if not process.is_trial]
        staying = sorted(settled, key=lambda process: not process.publishes)  # somebody has to publish the handlers
        for _ in range(self.many - len(staying)):
            self.add()
        if fewer := staying[self.many :]:
            retiring = asyncio.create_task(self.drain(fewer))
            self.retiring.add(retiring)
            retiring.add_done_callback(self.retiring.discard)

    def add(self, in_place_of: Process | None = None) -> Process:
        """Start one more, or try to start one *in_place_of* another."""
        taken = {process.number for process in self.processes}
        number = next(number for number in count() if number not in taken)
        process = Process(number, self.worker, self.wanted, self.heard)
        if in_place_of is not None:
            process.is_trial, process.publishes = True, in_place_of.publishes
        self.processes.append(process)
        task = self.tasks[process] = asyncio.create_task(self.supervise(process))
        task.add_done_callback(lambda _: self.note_end(process))
        return process

    async def renew(self) -> bool:
        """
        Put a process that loads the handlers anew in the place of each; False when one does not get ready.

        An old one goes when the new one is ready: it takes no more work, and ends when all it runs has ended.
        """
        for old in self.staying:
            if old.leaving.is_set():  # there are to be fewer since
                continue
            new = self.add(in_place_of=old)
            ready = asyncio.create_task(new.readied.wait())
            try:
                await asyncio.wait([ready, self.tasks[new]], return_when=asyncio.FIRST_COMPLETED)
            finally:
                ready.cancel()
                new.is_trial = False
                if not new.is_ready:  # given up
                    new.leaving.set()
                    new.kill()
            if not new.is_ready:
                return False
            old.leaving.set()
            self.forget(old)
            if old.is_ready:
                old.tell(frames.RETIRE)
            else:  # it holds nothing
                old.kill()
            self.resize(self.many)
        return True

    async def drain(self, processes: Sequence[Process]) -> None:
        """Tell *processes* to drain, and end those that do not."""
        for process in processes:
            process.leaving.set()
            self.forget(process)
            if process.is_ready:
                process.tell(frames.STOP)
            else:  # it holds nothing, and does not listen yet
                process.kill()
        ends = [self.tasks[process] for process in processes if process in self.tasks]
        if not ends:
            return
        _, late = await asyncio.wait(ends, timeout=self.wanted.drain_seconds + CHILD_SECONDS)
        for process in processes:
            process.kill()
        if late:
            await asyncio.wait(late, timeout=HAND_BACK_SECONDS)

    async def stop(self) -> None:
        """Drain and end all of them."""
        about = {"worker": self.worker}
        log.info("worker %s: stopping; running tasks have %g s", self.worker, self.wanted.drain_seconds, extra=about)
        await self.drain(list(self.processes))

    def note_end(self, process: Process) -> None:
        """A process is looked after no longer: it was drained, or there was a fault."""
        task = self.tasks.pop(process)
        self.processes.remove(process)
        self.forget(process)
        if not task.cancelled() and (fault := task.exception()):
            log.critical("a fault of ours ends this worker", exc_info=fault)
            self.is_failed = True
            self.stopping.set()

    # ------------------------------------------------------------ one process

    def is_ending(self, process: Process) -> bool:
        return self.stopping.is_set() or process.leaving.is_set()

    async def supervise(self, process: Process) -> None:
        """Keep one process running; hand back what it held when it dies."""
        pause = 0.1
        while not self.is_ending(process):
            began = time.monotonic()
            said = await self.live(process)
            if said is None:
                return
            lost = process.take_held()
            self.forget(process)
            self.tell_death(process, said, [encode_id(held.id) for held in lost])
            await self.recover(process, lost, said)
            # A task that kills its process is counted, and so stopped; what dies without one would turn in circles.
            pause = 0.1 if lost or time.monotonic() - began > 10 else min(pause * 2, 10)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause * (0.5 + random.random() / 2)):
                    await process.leaving.wait()

    def tell_death(self, process: Process, said: str, ids: list[str]) -> None:
        """One line, with the tasks that it held; what becomes of each stands with its attempts."""
        named = f" ({', '.join(ids[:MOST_NAMED])}{' …' if len(ids) > MOST_NAMED else ''})" if ids else ""
        log.error(
            "worker process %d %s; tasks that it held: %d%s", process.number, said, len(ids), named,
            extra={"worker": self.worker, "number": process.number, "task_ids": ids},
        )  # fmt: skip

    async def live(self, process: Process) -> str | None:
        """One life of a process; how it ended, None when it was to."""
        try:
            await process.start()
        except OSError as exc:
            return f"cannot be started: {exc}"
        if self.is_ending(process):  # it was being made when it was told to stop
            process.kill()
        status = await process.wait()
        if self.is_ending(process) and (status == 0 or not process.table.held()):
            return None
        if process.is_trial and not process.readied.is_set():
            return None
        if status == frames.BAD_HANDLERS and not process.readied.is_set():
            self.is_failed = True
            self.stopping.set()
            return None
        return how_it_ended(status, (process.table.status() or {}).get("memory_bytes"))

    async def recover(self, process: Process, lost: list[Held], said: str) -> None:
        """Give back at once what a dead process held; if Redis is away, the leases end by themselves."""
        late = {(held.id, held.token) for held in process.overstayed}
        process.overstayed = []
        for held in lost:
            if (held.id, held.token) in late:
                try:
                    await end_overstayer(self.store, held)
                except TaskpostError as exc:
                    log.warning("%s: its time limit was not reported: %s", encode_id(held.id), exc)
        others = [(held.id, held.token) for held in lost if (held.id, held.token) not in late]
        if process.was_killed:  # by us, so nobody is to blame
            await self.hand_back(others, -1, "its worker ended the process in which it ran")
        else:
            beside = f"; it ran {len(lost)} tasks" if len(lost) > 1 else ""
            await self.hand_back(others, max(len(lost), 1), f"its worker process {said}{beside}")

    async def hand_back(self, lost: list[tuple[bytes, bytes]], together: int, reason: str) -> None:
        """Give *lost* back, of a process that held *together* tasks; -1: they are not to blame. *reason* is kept."""
        by_shard: dict[int, list[tuple[bytes, bytes]]] = {}
        for id_, token in lost:
            by_shard.setdefault(shard_of(id_), []).append((id_, token))
        for shard, some in by_shard.items():
            for start in range(0, len(some), 128):
                part = some[start : start + 128]
                try:
                    await reap(self.store.tasks, self.store.handlers, self.settings, shard, part, together, reason)
                except TaskpostError as exc:
                    log.warning("%d tasks come back when their leases end: %s", len(part), exc)
