"""
A worker: supervises its processes, sends their heartbeats, wakes them, reaps.

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
import time
from typing import Any

import uvloop

from service import __version__
from service.errors import InvalidSetting, StoreFull, StoreUnavailable
from service.settings import Settings
from service.store import Store
from service.store.outside import reap
from service.task import shard_of
from workers import frames
from workers.beats import Beats
from workers.logs import configure
from workers.process import Process
from workers.wakes import Wakes

log = logging.getLogger("taskpost.worker")

REAP_SECONDS = 0.7
STOPPED = 0
FAILED = 1


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

    async def run(self) -> int:
        """Until SIGTERM or SIGINT; the exit status."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stopping.set)
        opening = asyncio.create_task(Store.open(self.settings))
        await self.either(opening)
        if not opening.done():
            opening.cancel()
            return STOPPED
        self.store = opening.result()
        self.started_ms = self.store.tasks.clock.now_ms()
        self.beats = Beats(self.store, self.settings, self.processes)
        self.wakes = Wakes(self.store, self.settings, self.id, self.processes, self.beats)
        many = self.settings.processes
        self.processes += [Process(n, self.id, self.settings, self.heard) for n in range(many)]
        supervised = [asyncio.create_task(self.supervise(process)) for process in self.processes]
        background = [
            asyncio.create_task(one)
            for one in (*self.wakes.watches(), self.beats.run(), self.keep_reaping(), self.keep_announcing())
        ]
        stopped = asyncio.create_task(self.stopping.wait())
        await asyncio.wait([stopped, *background], return_when=asyncio.FIRST_COMPLETED)
        for task in background:
            if task.done() and (fault := task.exception()):
                log.critical("a fault of ours ends this worker", exc_info=fault)
                self.is_failed = True
        self.stopping.set()
        await self.stop(supervised)
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)
        with contextlib.suppress(StoreUnavailable):
            await self.store.workers.leave(self.id)
        await self.store.close()
        return FAILED if self.is_failed else STOPPED

    async def either(self, task: asyncio.Task[Any]) -> None:
        stopping = asyncio.create_task(self.stopping.wait())
        await asyncio.wait([task, stopping], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()

    # ------------------------------------------------------------ processes

    def heard(self, process: Process, kind: int, shard: int, lanes: int) -> None:
        """What a process said."""
        if kind == frames.IDLE:
            self.wakes.note_idle(process, shard, lanes)
        elif kind == frames.READY:
            log.info("worker %s: process %d is ready", self.id, process.number)

    async def supervise(self, process: Process) -> None:
        """Keep one process running; hand back what it held when it dies."""
        pause = 0.1
        while not self.stopping.is_set():
            began = time.monotonic()
            await process.start()
            status = await process.wait()
            lost = process.take_held()
            self.wakes.forget(process)
            if self.stopping.is_set() and status == 0:
                return
            if status == 3 and not process.was_ready:
                self.is_failed = True
                self.stopping.set()
                return
            log.error("worker process %d %s; it held %d tasks", process.number, said_of(status), len(lost))
            await self.hand_back([(held.id, held.token) for held in lost])
            pause = 0.1 if time.monotonic() - began > 10 else min(pause * 2, 10)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause * (0.5 + random.random() / 2)):
                    await self.stopping.wait()

    async def hand_back(self, lost: list[tuple[bytes, bytes]]) -> None:
        """Give tasks of a dead process back at once; if Redis is away, their leases end by themselves."""
        by_shard: dict[int, list[tuple[bytes, bytes]]] = {}
        for id_, token in lost:
            by_shard.setdefault(shard_of(id_), []).append((id_, token))
        for shard, some in by_shard.items():
            for start in range(0, len(some), 128):
                with contextlib.suppress(StoreUnavailable, StoreFull):
                    part = some[start : start + 128]
                    await reap(self.store.tasks, self.store.handlers, self.settings, shard, part)

    async def stop(self, supervised: list[asyncio.Task[None]]) -> None:
        """Tell all processes to drain, and end those that do not."""
        log.info("worker %s: stopping; running tasks have %g s", self.id, self.settings.drain_seconds)
        for process in self.processes:
            process.tell(frames.STOP)
        _, late = await asyncio.wait(supervised, timeout=self.settings.drain_seconds + 4.5)
        for process in self.processes:
            process.kill()
        if late:
            await asyncio.wait(late, timeout=1)
        lost = [(held.id, held.token) for process in self.processes for held in process.take_held()]
        if lost:
            await self.hand_back(lost)

    # ------------------------------------------------------------ in the background

    async def keep_reaping(self) -> None:
        """Give back tasks of workers that fell silent, about once a second. So does every worker."""
        while True:
            await asyncio.sleep(REAP_SECONDS * (0.7 + 0.6 * random.random()))
            for shard in range(self.store.shards):
                with contextlib.suppress(StoreUnavailable, StoreFull):
                    await reap(self.store.tasks, self.store.handlers, self.settings, shard)

    async def keep_announcing(self) -> None:
        """Say what this worker is, with every heartbeat."""
        while True:
            now_ms = self.store.tasks.clock.now_ms()
            with contextlib.suppress(StoreUnavailable, StoreFull):
                if not self.store.handlers.is_fresh:
                    await self.store.handlers.refresh()
                if any(process.was_ready for process in self.processes):
                    await self.store.workers.announce(self.description(now_ms), now_ms)
            await asyncio.sleep(0.3 if not any(process.was_ready for process in self.processes) else 3)

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
            "queues": [name for name in settings.queues.split(",") if name],
            "handlers": next((names for process in self.processes if (names := process.table.handlers)), []),
            "processes": many,
            "slots": {
                "url": settings.url_concurrency * many,
                "async": settings.concurrency * many,
                "thread": settings.threads * many,
            },
            "running": sum(len(process.table.held()) for process in self.processes),
        }


def said_of(status: int) -> str:
    """How a process ended, in words."""
    if status < 0:
        return f"was ended by {signal.Signals(-status).name}"
    return f"ended with status {status}"


def run(settings: Settings) -> int:
    """Run a worker until it is told to stop; the exit status."""
    configure(settings.log_level)
    try:
        return uvloop.run(Parent(settings).run())
    except InvalidSetting as exc:
        log.error("%s", exc)
        return 2
