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
import threading

import uvloop

from service import __version__
from service.egress import described
from service.errors import InvalidSetting, StoreFull, StoreUnavailable, TaskpostError
from service.logs import configure
from service.redaction import without_password
from service.settings import Settings
from service.store import Store
from service.store.outside import reap
from service.task import SHARED
from workers import frames
from workers.beats import Beats
from workers.blocked import BlockWatch
from workers.control import LANE_OF_SIZE, Control
from workers.crew import Crew
from workers.portrait import Portrait
from workers.process import Process
from workers.reload import Reload
from workers.wakes import Wakes

log = logging.getLogger("taskpost.worker")

REAP_SECONDS = 0.7
ANNOUNCE_SECONDS, SOON_SECONDS = 3.0, 0.05
STOPPED = 0
FAILED = 1
LAST_WORDS_SECONDS = 0.4
END_SECONDS = 2.0
MOST_NAMED = 20  # handlers in a line of text


def worker_id() -> str:
    """Host, process id and chance, at most 40 plain characters: it is stored with each running task."""
    host = re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname())[:20]
    return f"{host}-{os.getpid()}-{secrets.token_hex(3)}"


class Parent:
    """The worker as the API shows it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.id = worker_id()
        self.stopping = asyncio.Event()
        self.news = asyncio.Event()  # something about this worker has changed that others should hear of
        self.is_failed = False
        self.processes: list[Process] = []
        self.blocks = BlockWatch(self.processes, self.news.set)

    async def run(self) -> int:
        """Until SIGTERM or SIGINT; the exit status."""
        self.say_hello()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stopping.set)
        opening = asyncio.create_task(Store.open(self.settings, counts_as="supervisor"))
        stopped = asyncio.create_task(self.stopping.wait())
        await asyncio.wait([opening, stopped], return_when=asyncio.FIRST_COMPLETED)
        if not opening.done():
            opening.cancel()
            return STOPPED
        self.store = opening.result()
        self.beats = Beats(self.store, self.settings, self.processes)
        self.wakes = Wakes(self.store, self.settings, self.id, self.processes, self.beats)
        self.crew = Crew(self.store, self.settings, self.id, self.processes, self.stopping, self.heard, self.forget)
        self.control = Control(self.store, self.settings, self.id, self.crew, self.stopping, self.news)
        self.wakes.on_command = self.control.now
        self.portrait = Portrait(self.settings, self.id, self.wakes.served.names, self.crew, self.blocks)
        duties = [self.beats.run(), self.blocks.run(), self.control.run(), self.keep_reaping(), self.keep_announcing()]
        if self.settings.reload:
            duties.append(Reload(self.crew, self.settings.handlers).run())
        self.crew.resize(self.settings.processes)
        background = [asyncio.create_task(duty) for duty in (*self.wakes.watches(), *duties)]
        await asyncio.wait([stopped, *background], return_when=asyncio.FIRST_COMPLETED)
        self.note_faults(background)
        self.stopping.set()
        self.news.set()
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

    def say_hello(self) -> None:
        """What matters of how this worker was started."""
        settings, redis = self.settings, without_password(self.settings.redis_url)
        slots = {lane: getattr(settings, name) for name, lane in LANE_OF_SIZE.items()}
        queues, shown = settings.queues or "all", ", ".join(f"{many} {lane}" for lane, many in slots.items())
        about: dict[str, object] = {"worker": self.id, "version": __version__, "redis": redis, "queues": queues}
        about |= {"processes": settings.processes, "slots": slots}
        log.info(
            "worker %s: starting; Taskpost %s, Redis %s, queues: %s, processes: %d, slots of each: %s",
            self.id, __version__, redis, queues, settings.processes, shown, extra=about,
        )  # fmt: skip
        log.info("URL tasks may call %s", described(settings))

    async def say_goodbye(self) -> None:
        """Leave the list of workers, if Redis answers soon."""
        with contextlib.suppress(StoreUnavailable, TimeoutError):
            async with asyncio.timeout(LAST_WORDS_SECONDS):
                await self.store.workers.leave(self.id)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS_SECONDS):
                await self.store.close()
        log.info("worker %s: stopped", self.id, extra={"worker": self.id})

    # ------------------------------------------------------------ processes

    def heard(self, process: Process, kind: int, shard: int, lanes: int) -> None:
        """What a process said."""
        if kind == frames.IDLE:
            self.wakes.note_idle(process, shard, lanes)
        elif kind == frames.READY:
            about = {"worker": self.id, "number": process.number, "handlers": (names := process.table.handlers)}
            named = ", ".join(names[:MOST_NAMED]) + (" …" if len(names) > MOST_NAMED else "") or "none"
            log.info("worker %s: process %d is ready; handlers: %s", self.id, process.number, named, extra=about)
            self.news.set()

    def forget(self, process: Process) -> None:
        """A process has ended."""
        self.wakes.forget(process)
        self.blocks.forget(process)
        self.news.set()

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
        pause = SOON_SECONDS
        while True:
            is_ready = any(process.is_ready for process in self.processes)
            self.portrait.look()
            try:
                if not self.store.handlers.is_fresh:
                    await self.store.handlers.refresh()
                if is_ready:
                    await self.announce()
            except (StoreUnavailable, StoreFull):
                pass  # the lease loops say so
            except TaskpostError as exc:
                log.error("this worker could not be announced: %s", exc)
            # While things change, soon again, but less and less soon.
            pause = ANNOUNCE_SECONDS if self.portrait.is_settled else min(pause * 2, ANNOUNCE_SECONDS)
            try:
                async with asyncio.timeout(pause if is_ready else 0.3):
                    await self.news.wait()
                pause = SOON_SECONDS
            except TimeoutError:
                pass
            self.news.clear()

    async def announce(self) -> None:
        """Say what this worker is, once. Raises TaskpostError."""
        if not self.portrait.server:
            self.portrait.server = await self.store.server_version()
        now_ms = self.store.tasks.clock.now_ms()
        worker = self.portrait.summary(now_ms)
        await self.store.workers.announce(worker, now_ms, self.portrait.detail(self.control.last))
        known, namespace = self.store.handlers, self.settings.namespace or SHARED
        if not all(known.handlers.get((namespace, name)) for name in worker["handlers"]):
            for process in self.processes:
                process.tell(frames.PUBLISH)


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
        status = await Parent(settings).run()
    finally:
        # The loop's handlers go with the loop; one more SIGTERM must not turn an orderly end into another.
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT))
    end_soon(asyncio.get_running_loop(), status)
    return status


def end_soon(loop: asyncio.AbstractEventLoop, status: int) -> None:
    """
    Everything is said and done: end with *status* also when the event loop does not. It waits for whatever is left on
    it without a limit, a connection to a cluster that does not close for example.
    """

    def end() -> None:
        left = ", ".join(sorted(str(task.get_coro()) for task in asyncio.all_tasks(loop)))
        log.error("the event loop did not end %g s after the worker; left on it: %s", END_SECONDS, left)
        logging.shutdown()
        os._exit(status)

    timer = threading.Timer(END_SECONDS, end)
    timer.daemon = True
    timer.start()
