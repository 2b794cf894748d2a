"""
Handlers for workers under chaos: each notes when a run begins and how it ends, in files that outlive it.

`CHAOS_FOLDER` says where. Every task has a *key*, by which client, handler and result are held together.
"""

from __future__ import annotations

import asyncio
import os
import select
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from tests.chaos.history import History, lineage
from workers import Context, Defer, task


@cache
def history_of(pid: int) -> tuple[History, tuple[int, ...]]:
    """The file of this process; a child that was forked makes one of its own."""
    return History(os.environ["CHAOS_FOLDER"]), lineage()


@contextmanager
def noted(ctx: Context, key: str) -> Iterator[None]:
    """Note this run: that it began, and that it ended in order or how it failed."""
    history, pids = history_of(os.getpid())
    run = f"{os.getpid()}-{time.monotonic_ns()}"
    history.note("began", key=key, task=ctx.id, run=run, pids=pids, more=ctx.attempt)
    how = "done"
    try:
        yield
    except BaseException as exc:
        how = type(exc).__name__
        raise
    finally:
        history.note("ended", key=key, task=ctx.id, run=run, how=how)


def rest(seconds: float) -> None:
    """Sleep, also under a clock that jumps, with which `time.sleep` fails."""
    select.select([], [], [], seconds)


@task("chaos.add")
async def add(key: str, ctx: Context, seconds: float = 0.0) -> str:
    """Run on the loop."""
    with noted(ctx, key):
        await asyncio.sleep(seconds)
    return key


@task("chaos.compute")
def compute(key: str, ctx: Context, seconds: float = 0.0) -> str:
    """Run in a child process."""
    with noted(ctx, key):
        rest(seconds)
    return key


@task("chaos.thread", pool="thread")
def thread(key: str, ctx: Context, seconds: float = 0.0) -> str:
    """Run on a thread."""
    with noted(ctx, key):
        rest(seconds)
    return key


@task("chaos.flaky")
async def flaky(key: str, fail_times: int, ctx: Context) -> str:
    """Fail in the first attempts."""
    with noted(ctx, key):
        if ctx.attempt <= fail_times:
            raise RuntimeError(f"attempt {ctx.attempt} fails, as asked")
    return key


@task("chaos.defer")
async def defer(key: str, ctx: Context) -> str:
    """Come back later, about every second time."""
    with noted(ctx, key):
        if time.monotonic_ns() % 2:
            raise Defer("not yet", after=0.1)
    return key


@task("chaos.poison")
async def poison(key: str, ctx: Context) -> str:
    """Kill the process that runs this, and what runs beside it."""
    with noted(ctx, key):
        history, _ = history_of(os.getpid())
        history.note("died", pids=[os.getpid()], name="poison")
        os.kill(os.getpid(), signal.SIGKILL)
    return key


@task("chaos.crash")
def crash(key: str, ctx: Context) -> str:
    """Kill the child process that runs this."""
    with noted(ctx, key):
        history, _ = history_of(os.getpid())
        history.note("died", pids=[os.getpid()], name="crash")
        os.kill(os.getpid(), signal.SIGKILL)
    return key
