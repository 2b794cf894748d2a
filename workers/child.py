"""
A worker process: loads the handlers and runs tasks. Started by its parent (`parent.py`), never by hand.

It is told what to do over a pipe (`frames.py`), and ignores the signals that ask to stop, because its parent, which
gets them too, decides the order in which things end. Exit status 3: the handlers cannot be loaded.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import random
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import uvloop

from service.declared import Declared
from service.egress import Egress
from service.errors import InvalidHandler, InvalidSetting, StoreFull, StoreUnavailable, TaskpostError
from service.logs import configure
from service.redaction import redaction_of
from service.served import is_served, served
from service.settings import Settings
from service.store import Store
from service.store.declarations import Application
from service.task import DEFAULT_NAMESPACE, DEFAULT_QUEUE, SHARED, stored_queue
from service.telemetry import tracer_of
from workers import frames
from workers.frames import Frames
from workers.held import SIZED, HeldTable, monotonic_ms
from workers.helm import Helm
from workers.lanes import Lanes, start_nursery
from workers.outcome import LOST
from workers.pools.nursery import Door, end
from workers.push.client import PushClient
from workers.push.credentials import Credentials
from workers.push.gate import Gate
from workers.push.resolve import Resolver
from workers.push.signing import Signing
from workers.recurring import declared_by
from workers.registry import Registry, load
from workers.resources import Lifespan
from workers.run import Pipeline
from workers.runtime import LeaseLoop
from workers.slots import Slots

log = logging.getLogger("taskpost.worker")

STOP_SECONDS = 1.5
LAST_CALL_SECONDS = 1.5
REFRESH_SECONDS = 60.0


class Child:
    """One worker process."""

    def __init__(
        self,
        settings: Settings,
        registry: Registry,
        table: HeldTable,
        pipe: tuple[int, int],
        worker: str,
        is_first: bool,
        nursery_door: Door | None = None,
    ) -> None:
        """*nursery_door*: the way to the nursery, from which executors are forked; None when no handler needs one."""
        self.settings, self.registry, self.table = settings, registry, table
        self.worker, self.is_first = worker, is_first
        (self.commands, self.answers), self.nursery_door = pipe, nursery_door
        wanted = table.wanted
        self.sizes = wanted.sizes if wanted else dict.fromkeys(SIZED, 0)
        self.loops: list[LeaseLoop] = []
        self.stopping = asyncio.Event()
        self.new_queue = asyncio.Event()
        self.is_forgotten = asyncio.Event()
        self.declared: list[Declared] = []
        self.is_declared = False

    async def run(self) -> None:
        """Until told to stop, and drained."""
        settings = self.settings
        self.store = await Store.open(settings, counts_as="worker", warns=False)
        lanes = Lanes(settings, self.sizes, self.nursery_door)
        push = PushClient(
            max_result_bytes=settings.max_result_bytes,
            signing=Signing(self.store.secrets, settings.signatures),
            credentials=Credentials(self.store.endpoint_settings, self.store.secrets, settings.public_url),
            egress=Egress.of_settings(settings),
            resolver=Resolver(self.store.servers),
            redaction=redaction_of(settings.redact_headers),
            keeps_all=settings.keep_attempts == "all",
            tracer=(tracer := tracer_of(settings, "worker")),
        )
        slots = Slots(lanes.capacity, lanes.busy, lanes.ahead, self.table)
        gate = Gate(self.store, settings, lambda: slots.capacity.get("url", 0))
        pipeline = Pipeline(self.registry, lanes.pools, push, settings, self.worker, self.store, gate, tracer)
        self.loops = [
            LeaseLoop(self.store, shard, pipeline, slots, self.table, settings, self.announce_idle)
            for shard in range(self.store.shards)
        ]
        for loop in self.loops:
            loop.siblings, loop.isolation, loop.rounds = self.loops, self.loops[0].isolation, self.loops[0].rounds
        self.loops[0].isolation.loops = self.loops
        self.helm = Helm(self.table, lanes, slots, self.loops)
        self.helm.turn()
        self.listen()
        await self.introduce()
        duties = (self.keep_queues(), self.keep_published(), self.keep_own_leases(), self.turn(), gate.keep(),
                  pipeline.slowness.keep_telling())  # fmt: skip
        background = [asyncio.create_task(duty) for duty in duties]
        ended = asyncio.gather(*(loop.run() for loop in self.loops))
        stopped = asyncio.create_task(self.stopping.wait())
        ours: list[asyncio.Future[Any]] = [ended, *background, *lanes.watch(self.look)]
        await asyncio.wait([stopped, *ours], return_when=asyncio.FIRST_COMPLETED)
        raise_faults(ours)
        await self.drain(ended)
        raise_faults(ours)
        await lanes.close()
        await push.aclose()
        with suppress(TaskpostError):
            await gate.tell()
            await pipeline.slowness.tell()
        await self.store.close()

    async def introduce(self) -> None:
        """Publish the handlers, learn the queues, and say that we are ready."""
        while True:
            try:
                await self.set_queues()
                await self.publish()
                break
            except StoreFull as exc:  # the more reason to begin: work that finishes makes room
                log.warning("the handlers are not published yet: %s", exc)
                break
            except StoreUnavailable as exc:
                log.warning("worker process cannot begin yet: %s", exc)
                await asyncio.sleep(0.5 + random.random())
        self.table.say_hello(sorted(handler.name for handler in self.registry))
        self.say(frames.READY)

    # ------------------------------------------------------------ the parent

    def say(self, kind: int, shard: int = 0, lanes: int = 0) -> None:
        with suppress(BlockingIOError, BrokenPipeError):  # it reads when it can; every rest ends after five seconds
            os.write(self.answers, frames.pack(kind, shard, lanes))

    def announce_idle(self, shard: int, lanes: int) -> None:
        self.say(frames.IDLE, shard, lanes)

    def listen(self) -> None:
        """Hear the parent; its end is ours."""
        heard = Frames()
        os.set_blocking(self.commands, False)
        os.set_blocking(self.answers, False)

        def receive() -> None:
            received = os.read(self.commands, 65536)
            if not received:
                os._exit(1)
            for kind, shard, _, id_, token in heard.feed(received):
                self.obey(kind, shard, id_, token)

        asyncio.get_running_loop().add_reader(self.commands, receive)

    def obey(self, kind: int, shard: int, id_: bytes, token: bytes) -> None:
        """One frame of the parent's."""
        if kind == frames.WAKE and shard < len(self.loops):
            self.loops[shard].look()
        elif kind == frames.QUEUES:
            self.new_queue.set()
        elif kind == frames.PUBLISH:
            self.is_declared = False
            self.is_forgotten.set()
        elif kind == frames.LOOK:
            self.helm.heed()
            self.helm.tell()
        elif kind == frames.RETIRE:  # its successor publishes from now on
            self.is_first = False
            for loop in self.loops:
                loop.drain()
        elif kind == frames.STOP:
            self.stopping.set()
        elif kind in (frames.CANCEL, frames.LOST):
            reason = "cancellation was asked for" if kind == frames.CANCEL else LOST
            for loop in self.loops:
                loop.stop(id_, token, reason)

    def look(self) -> None:
        """There may be room again."""
        for loop in self.loops:
            loop.event.set()

    # ------------------------------------------------------------ in the background

    async def set_queues(self) -> None:
        """Serve the queues of the settings, or all there are."""
        settings = self.settings
        queues = list(served(settings.queues, settings.queue_order, settings.namespace).names)
        if not queues:
            known = {name for name in await self.store.queues.names() if is_served(name, settings.namespace)}
            ours = {DEFAULT_QUEUE, *(handler.queue for handler in self.registry)}
            queues = sorted(known | {stored_queue(settings.namespace or DEFAULT_NAMESPACE, name) for name in ours})
        for loop in self.loops:
            if queues != loop.queues:
                loop.queues = queues
                loop.look()

    async def publish(self) -> None:
        """Make the handlers known, then the schedules; one process of a worker is enough."""
        if self.is_first:
            handlers = [handler.published() for handler in self.registry]
            settings, now_ms = self.settings, self.store.tasks.clock.now_ms()
            await self.store.workers.publish(settings.namespace or SHARED, handlers, now_ms)
            if not self.is_declared:
                await self.store.declarations.publish(Application.of(settings), self.declared)
                self.is_declared = True

    async def keep_queues(self) -> None:
        """Learn of new queues when the parent has, and every minute."""
        while True:
            await within(REFRESH_SECONDS, self.new_queue)
            try:
                await self.set_queues()
            except (StoreUnavailable, StoreFull):
                self.new_queue.set()  # the lease loops say so
                await asyncio.sleep(1)

    async def keep_published(self) -> None:
        """Publish the handlers every minute, and when Redis has lost them."""
        while True:
            await within(REFRESH_SECONDS, self.is_forgotten)
            try:
                await self.publish()
            except (StoreUnavailable, StoreFull):
                pass

    async def keep_own_leases(self) -> None:
        """Send our own heartbeats when our parent's do not reach Redis."""
        while True:
            await asyncio.sleep(min(1.0, self.settings.heartbeat_ms / 1000))
            if monotonic_ms() - self.table.beat_ms < self.settings.lease_ms * 7 // 15:
                continue
            for loop in self.loops:
                held = [(attempt.task.id, attempt.task.token) for attempt in list(loop.running.values())]
                try:
                    if held:
                        await self.store.tasks.extend(loop.shard, held, self.settings.lease_ms)
                except StoreUnavailable:
                    log.warning("heartbeat failed: Redis does not answer")

    async def turn(self) -> None:
        """Show that our loop turns, and how we are."""
        while True:
            self.helm.turn()
            await asyncio.sleep(0.25)

    # ------------------------------------------------------------ stopping

    async def drain(self, ended: asyncio.Future[list[None]]) -> None:
        """Let tasks run for the seconds that are wanted, then hand back the rest without an attempt spent."""
        wanted = self.table.wanted
        for loop in self.loops:
            loop.drain()
        await asyncio.wait([ended], timeout=wanted.drain_seconds if wanted else 0)
        if ended.done():
            return
        for loop in self.loops:
            loop.stop_all()
        await asyncio.wait([ended], timeout=STOP_SECONDS)
        if not ended.done():
            for loop in self.loops:
                loop.hand_back_rest()
            await asyncio.wait([ended], timeout=LAST_CALL_SECONDS)
        if not ended.done():
            log.warning("Redis did not take the last reports; the tasks come back when their leases end")
            ended.cancel()


def raise_faults(tasks: Sequence[asyncio.Future[Any]]) -> None:
    """None of *tasks* may raise: what does ends this process, and the parent starts another."""
    for task in tasks:
        if task.done() and not task.cancelled():
            task.result()


async def within(seconds: float, event: asyncio.Event) -> None:
    """Wait for *event*, at most so long, and clear it."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass
    event.clear()


def overhear(_number: int, _frame: object) -> None:
    """Signals to stop are the parent's to heed. Not SIG_IGN, which programs that handlers start would inherit."""


async def live(child: Child) -> None:
    """Run *child* and end this process with it: threads that a handler never gives back must not hold up the end."""
    status = 0
    try:
        async with Lifespan(child.registry, ("async", "thread")):
            await child.run()
    except BaseException:
        log.critical("a fault of ours ends this worker process", exc_info=True)
        status = 1
    end(status)


def main() -> int:
    """`python -m workers.child TABLE ROWS COMMANDS ANSWERS WORKER FIRST`: descriptors and names from the parent."""
    table, rows, commands, answers, worker, first = sys.argv[1:]
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, overhear)
    for descriptor in (table, commands, answers):
        os.set_inheritable(int(descriptor), False)
    settings = Settings.from_env()
    configure(settings.log_level, settings.log_format)
    # What was compiled within the second of a change may be taken for newer than it is.
    sys.dont_write_bytecode = sys.dont_write_bytecode or settings.reload
    try:
        registry = load(settings.handlers) if settings.handlers else Registry()
        declared = declared_by(registry, settings)
    except (InvalidHandler, InvalidSetting) as exc:
        log.error("%s", exc)
        return frames.BAD_HANDLERS
    pipe = (int(commands), int(answers))
    door = start_nursery(settings, registry, (int(table), *pipe))
    held = HeldTable(int(rows), int(table))
    held.answer_with_stack()
    gc.collect()
    gc.freeze()  # what the imports made stays, and need not be looked at again
    child = Child(settings, registry, held, pipe, worker, first == "1", door)
    child.declared = declared
    uvloop.run(live(child))
    return 1


if __name__ == "__main__":
    sys.exit(main())
