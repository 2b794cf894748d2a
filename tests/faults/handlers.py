"""Handlers for workers under test: they wait, block, refuse to stop, and kill what runs them."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import subprocess
import time
from pathlib import Path

from workers import Context, Defer, Fail, Retry, task
from workers.outcome import SoftTimeLimitExceeded
from workers.registry import default_registry


def note(path: str, word: str = "ran") -> None:
    """Leave a line in *path*, where the test counts them."""
    if path:
        with Path(path).open("a") as file:
            file.write(f"{word} {os.getpid()}\n")


@task("faults.add")
async def add(a: int, b: int, path: str = "") -> int:
    note(path)
    return a + b


@task("faults.sleep")
async def sleep(seconds: float, path: str = "") -> str:
    note(path)
    await asyncio.sleep(seconds)
    note(path, "done")
    return "slept"


@task("faults.block")
async def block(seconds: float, path: str = "") -> str:
    """Hold the event loop."""
    note(path)
    time.sleep(seconds)
    return "blocked"


@task("faults.block_once")
async def block_once(seconds: float, path: str) -> str:
    """Hold the event loop in the first run only."""
    first = not Path(path).exists()
    note(path)
    if first:
        time.sleep(seconds)
    return "done"


@task("faults.kill")
async def kill(path: str = "") -> None:
    """Kill the process that runs this."""
    note(path)
    os.kill(os.getpid(), signal.SIGKILL)


@task("faults.kill_worker")
async def kill_worker(path: str = "") -> None:
    """Kill the whole worker."""
    note(path)
    os.kill(os.getppid(), signal.SIGKILL)
    await asyncio.sleep(60)


@task("faults.stubborn")
async def stubborn(seconds: float, path: str = "") -> str:
    """Go on when cancelled."""
    note(path)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            await asyncio.sleep(0.05)
        except asyncio.CancelledError:
            note(path, "refused")
    return "went on"


@task("faults.thread", pool="thread")
def thread(seconds: float, path: str = "") -> str:
    """Hold a thread, deaf to everything."""
    note(path)
    time.sleep(seconds)
    return "slept"


@task("faults.thread_polite", pool="thread")
def thread_polite(ctx: Context, path: str = "") -> str:
    """Hold a thread until asked to stop."""
    note(path)
    while not ctx.is_cancelled:
        time.sleep(0.01)
    note(path, "stopped")
    return "stopped"


@task("faults.flaky")
async def flaky(fail_times: int, ctx: Context) -> str:
    if ctx.attempt <= fail_times:
        raise RuntimeError(f"attempt {ctx.attempt}")
    return f"attempt {ctx.attempt}"


@task("faults.defer")
async def defer(times: int, seconds: float, path: str) -> str:
    note(path)
    if len(Path(path).read_text().splitlines()) <= times:
        raise Defer("not yet", after=seconds)
    return "at last"


@task("faults.retry_after")
async def retry_after(seconds: float) -> None:
    raise Retry("again", after=seconds)


@task("faults.fail")
async def fail() -> None:
    raise Fail("never again")


@task("faults.soft")
async def soft(path: str = "") -> str:
    """Finish up when the soft limit passes."""
    note(path)
    try:
        await asyncio.sleep(60)
    except SoftTimeLimitExceeded:
        return "finished up"
    return "slept"


@task("faults.progress")
async def progress(steps: int, ctx: Context, path: str = "") -> int:
    """Report every step at once, then wait for *path* to appear, and end."""
    for step in range(1, steps + 1):
        await ctx.progress(step, steps, f"step {step}")
    while path and not Path(path).exists():
        await asyncio.sleep(0.02)
    return steps


@task("faults.large")
async def large(size: int) -> str:
    """Answer *size* characters."""
    return "x" * size


@task("faults.elsewhere", queue="elsewhere")
async def elsewhere() -> str:
    return "here"


@task("faults.program", pool="thread")
def program() -> int:
    """Start a program, ask it to stop, and tell how it ended."""
    started = subprocess.Popen(["sleep", "600"])
    started.terminate()
    return started.wait(30)


@task("faults.executor")
async def executor(seconds: float, path: str = "") -> None:
    """Wait for a thread of asyncio's own."""
    note(path)
    await asyncio.to_thread(time.sleep, seconds)


@task("faults.until")
async def until(go: str, path: str = "") -> str:
    """Wait until *go* exists."""
    note(path)
    while not Path(go).exists():
        await asyncio.sleep(0.01)
    note(path, "done")
    return "gone"


@task("faults.place")
async def place(folder: str, most: int, seconds: float) -> str:
    """Hold one of *most* locks, which the kernel opens when its holder dies; note when none was free."""
    note(f"{folder}/started")
    for n in range(most):
        with Path(folder, f"place-{n}").open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            await asyncio.sleep(seconds)
            fcntl.flock(file, fcntl.LOCK_UN)  # also for a child that was forked meanwhile
            return "had a place"
    note(f"{folder}/over", "over")
    return "had none"


@task("faults.thread_fails", pool="thread")
def thread_fails(seconds: float, path: str = "") -> None:
    """Fail after a while, deaf to everything."""
    note(path)
    time.sleep(seconds)
    raise RuntimeError("it did not go well")


@task("faults.kill_beside")
async def kill_beside(path: str, many: int) -> None:
    """Kill the process that runs this, once *many* others have begun beside it, or before."""
    note(path)
    for _ in range(50):
        if len(Path(path).read_text().splitlines()) >= many:
            break
        await asyncio.sleep(0.02)
    os.kill(os.getpid(), signal.SIGKILL)


__all__ = ["default_registry"]
