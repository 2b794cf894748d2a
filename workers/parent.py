"""
A worker: has its processes looked after (`crew.py`), sends their heartbeats, wakes them, reaps.

Runs no code of the user's, so that nothing a handler does can stop the heartbeats. Blocks on Redis only while one of
its processes waits for work.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import re
import secrets
import signal
import socket
from typing import Any

import uvloop

from service import __version__
from service.errors import InvalidSetting, StoreFull, StoreUnavailable, TaskpostError
from service.logs import configure
from service.settings import Settings
from service.store import Store
from service.store.outside import reap
from service.task import DEFAULT_NAMESPACE
from workers import frames
from workers.beats import Beats
from workers.blocked import BlockWatch
from workers.crew import Crew
from workers.process import Process
from workers.wakes import Wakes

log = logging.getLogger("taskpost.worker")

REAP_SECONDS = 0.7
ANNOUNCE_SECONDS = 3.0
STOPPED = 0
FAILED = 1
LAST_WORDS_SECONDS = 0.4


def worker_id() -> str:
    """Host, process id and chance, at most 40 plain characters: it is stored with each running task."""
    host = re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname())[:20]
    return f"{host}-{os.getpid()}-{secrets.token_hex(3)}"


class Parent:
    """The worker as the API shows it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.id = worker_id()
        self.started_ms = 0
        self.stopping = asyncio.Event()
        self.is_failed = False
        self.processes: list[Process] = []
        self.blocks = BlockWatch(self.processes)

    async def run(self) -> int:
        """Until SIGTERM or SIGINT; the exit status."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stopping.set)
        opening = asyncio.create_task(Store.open(self.settings))
        stopped = asyncio.create_task(self.stopping.wait())
        await asyncio.wait([opening, stopped], return_when=asyncio.FIRST_COMPLETED)
        if not opening.done():
            opening.cancel()
            return STOPPED
        self.store = opening.result()
        self.started_ms = self.store.tasks.clock.now_ms()
        self.beats = Beats(self.store, self.settings, self.processes)
        self.wakes = Wakes(self.store, self.settings, self.id, self.processes, self.beats)
        self.crew = Crew(self.store, self.settings, self.id, self.processes, self.stopping, self.heard, self.forget)
        self.crew.resize(self.settings.processes)
        duties = (self.beats.run(), self.blocks.run(), self.keep_reaping(), self.keep_announcing())
        background = [asyncio.create_task(duty) for duty in (*self.wakes.watches(), *duties)]
        await asyncio.wait([stopped, *background], return_when=asyncio.FIRST_COMPLETED)
        self.note_faults(background)
        self.stopping.set()
        await self.crew.stop()
        for task in background:
            task.cancel()
        await asyncio.wait(background, timeout=LAST_WORDS_SECONDS / 4)
        self.note_faults(background)
        await self.say_goodbye()
        return FAILED if self.is_failed or self.crew.is_failed else STOPPED

    def note_faults(self, tasks: list[asyncio.Task[None]]) -> None:
        """None of *tasks* may raise: whatever did ends this worker, and says why once."""
        for task in tasks:
            if task.done() and not task.cancelled() and (fault := task.exception()):
                if not self.is_failed:
                    log.critical("a fault of ours ends this worker", exc_info=fault)
                self.is_failed = True

    async def say_goodbye(self) -> None:
        """Leave the list of workers, if Redis answers soon."""
        with contextlib.suppress(StoreUnavailable, TimeoutError):
            async with asyncio.timeout(LAST_WORDS_SECONDS):
                await self.store.workers.leave(self.id)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS_SECONDS):
                await self.store.close()

    # ------------------------------------------------------------ processes

    def heard(self, process: Process, kind: int, shard: int, lanes: int) -> None:
        """What a process said."""
        if kind == frames.IDLE:
            self.wakes.note_idle(process, shard, lanes)
        elif kind == frames.READY:
            log.info("worker %s: process %d is ready", self.id, process.number)

    def forget(self, process: Process) -> None:
        """A process has ended."""
        self.wakes.forget(process)
        self.blocks.forget(process)

    # ------------------------------------------------------------ in the background

    async def keep_reaping(self) -> None:
        """Give back tasks of workers that fell silent, about once a second. So does every worker."""
        while True:
            await asyncio.sleep(REAP_SECONDS * (0.7 + 0.6 * random.random()))
            # All at once: a shard that does not answer must not keep the others from being reaped.
            await asyncio.gather(*map(self.reap_shard, range(self.store.shards)))

    async def reap_shard(self, shard: int) -> None:
        try:
            await reap(self.store.tasks, self.store.handlers, self.settings, shard)
        except (StoreUnavailable, StoreFull):
            pass  # the lease loops say so
        except TaskpostError as exc:
            log.error("shard %d was not reaped: %s", shard, exc)

    async def keep_announcing(self) -> None:
        """Say what this worker is; have its handlers published anew when Redis has lost them."""
        while True:
            is_ready = any(process.is_ready for process in self.processes)
            try:
                if not self.store.handlers.is_fresh:
                    await self.store.handlers.refresh()
                if is_ready:
                    worker = self.description(self.store.tasks.clock.now_ms())
                    await self.store.workers.announce(worker, worker["seen_ms"])
                    known = self.store.handlers
                    if not all(known.known(DEFAULT_NAMESPACE, name) for name in worker["handlers"]):
                        for process in self.processes[:1]:
                            process.tell(frames.PUBLISH)
            except (StoreUnavailable, StoreFull):
                pass  # the lease loops say so
            except TaskpostError as exc:
                log.error("this worker could not be announced: %s", exc)
            await asyncio.sleep(ANNOUNCE_SECONDS if is_ready else 0.3)

    def description(self, now_ms: int) -> dict[str, Any]:
        """This worker as the API shows it, times in ms."""
        settings = self.settings
        many = settings.processes
        return {
            "id": self.id,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "version": __version__,
            "started_ms": self.started_ms,
            "seen_ms": now_ms,
            "queues": list(self.wakes.served.names),
            "handlers": next((names for process in self.processes if (names := process.table.handlers)), []),
            "processes": many,
            "slots": {
                "url": settings.url_concurrency * many,
                "async": settings.concurrency * many,
                "thread": settings.threads * many,
                "process": settings.children * many,
            },
            "blocked_seconds": round(self.blocks.blocked_seconds, 3),
            "running": sum(len(process.table.held()) for process in self.processes),
        }


def run(settings: Settings) -> int:
    """Run a worker until it is told to stop; the exit status."""
    configure(settings.log_level, settings.log_format)
    try:
        return uvloop.run(until_over(settings))
    except InvalidSetting as exc:
        log.error("%s", exc)
        return 2


async def until_over(settings: Settings) -> int:
    try:
        return await Parent(settings).run()
    finally:
        # The loop's handlers go with the loop; one more SIGTERM must not turn an orderly end into another.
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT))
