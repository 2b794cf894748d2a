"""Handlers for tests of logs: the same words in every lane."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from typing import Any

from workers import Context, Failed, Retry, task


class Hostile:
    def __str__(self) -> str:
        raise ValueError("no")


def speak(ctx: Context) -> str:
    """One line of each kind."""
    ctx.log.debug("nobody asked for this")
    ctx.log.info("row %d of %d", 1, 2)
    ctx.log.warning({"no": "text"})
    ctx.log.error("%d", "no number")
    ctx.log.info(Hostile())
    try:
        raise LookupError("row 7")
    except LookupError:
        ctx.log.exception("cannot go on with %s", "it")
    return "said"


@task("log.async")
async def speak_async(ctx: Context) -> str:
    return speak(ctx)


@task("log.async.waits")
async def speak_and_wait(ctx: Context) -> str:
    """Some of it from a thread, and after a wait."""
    await asyncio.sleep(0.01)
    return await asyncio.to_thread(speak, ctx)


@task("log.process")
def speak_in_process(ctx: Context) -> str:
    return speak(ctx)


@task("log.thread", pool="thread")
def speak_on_thread(ctx: Context) -> str:
    return speak(ctx)


@task("log.many")
def many(ctx: Context, lines: int, text: str = "line") -> None:
    for number in range(lines):
        ctx.log.info("%s %d", text, number)


@task("log.hold")
async def hold(ctx: Context) -> None:
    ctx.log.info("before the crash")
    await asyncio.sleep(600)


@task("log.die")
def die(ctx: Context) -> None:
    """Kill the process that runs this, right after the word."""
    ctx.log.error("last words")
    os.kill(os.getpid(), signal.SIGKILL)


@task("log.again", retries=1, backoff=[0])
def again(ctx: Context) -> None:
    ctx.log.info("attempt %d", ctx.attempt)
    if ctx.attempt == 1:
        raise Retry("once more")


def after(ctx: Context, outcome: Failed) -> None:
    ctx.log.error("hook: %s", outcome.error["message"])


@task("log.hook", retries=0, on_failure=after)
async def hooked(ctx: Context) -> Any:
    raise RuntimeError("gone wrong")


def speak_in_fork(ctx: Context) -> int:
    """The exit status of a forked process that logs."""
    ctx.log.info("mine")
    pid = os.fork()
    if not pid:
        status = 1
        try:
            ctx.log.info("from a fork")
            status = 0
        finally:
            os._exit(status)
    return os.waitpid(pid, 0)[1]


@task("log.fork")
def fork(ctx: Context) -> int:
    return speak_in_fork(ctx)


@task("log.fork.async")
async def fork_async(ctx: Context) -> int:
    return speak_in_fork(ctx)


LEFT: list[threading.Thread] = []


@task("log.leave")
def leave(ctx: Context) -> None:
    """Leave a thread behind that goes on logging."""

    def go_on() -> None:
        for _ in range(200):
            ctx.log.info("from the grave")
            time.sleep(0.005)

    ctx.log.info("mine")
    LEFT.append(threading.Thread(target=go_on, daemon=True))
    LEFT[-1].start()
