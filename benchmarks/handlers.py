"""
The handlers that are measured: they do nothing, or note when they were started.
"""

from __future__ import annotations

import asyncio
import os
import time
from functools import cache

from workers import task

SLEEP_SECONDS = 0.05
HELD_SECONDS = 600
WORK_SECONDS = 0.0002


@task("bench.nothing")
async def nothing(a: int, b: int) -> int:
    """The work of a task that costs nothing."""
    return a + b


@task("bench.thread", pool="thread")
def on_thread(a: int, b: int) -> int:
    """The same on a thread."""
    return a + b


@task("bench.started")
async def started() -> int:
    """When this handler was started: ns since the epoch, by this machine's clock."""
    return time.time_ns()


@task("bench.process")
def in_process(a: int, b: int) -> int:
    """The same in a child process that can be killed."""
    return a + b


@task("bench.sleep")
async def sleep() -> None:
    """Waits, as a handler does that calls another service."""
    await asyncio.sleep(SLEEP_SECONDS)


@task("bench.sleep.thread", pool="thread")
def sleep_on_thread() -> None:
    """The same on a thread."""
    time.sleep(SLEEP_SECONDS)


@task("bench.held", max_crashes=100)
async def held() -> None:
    """Notes that it runs, and does not end in a time that anybody waits."""
    note()
    await asyncio.sleep(HELD_SECONDS)


@task("bench.held.process", max_crashes=100)
def held_in_process() -> None:
    """The same in a child process."""
    note()
    time.sleep(HELD_SECONDS)


@task("bench.due")
async def due(due_ms: int) -> None:
    """Notes how late it is."""
    os.write(notes(), b"%.3f\n" % (time.time_ns() / 1e6 - due_ms))


@task("bench.work")
async def work() -> None:
    """Computes."""
    until = time.thread_time() + WORK_SECONDS
    while time.thread_time() < until:
        pass


def note() -> None:
    """When, and in which process."""
    os.write(notes(), b"%d %d\n" % (time.time_ns(), os.getpid()))


@cache
def notes() -> int:
    """The file of all notes; one write appends one line, from any number of processes."""
    return os.open(os.environ["BENCH_NOTES"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
