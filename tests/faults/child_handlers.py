"""Handlers for tests of child processes: they hang, crash, fork and leave things behind."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from workers import Context, SoftTimeLimitExceeded, task


@task("child.nothing")
def nothing() -> None:
    """Done at once."""


@task("child.note")
def note(path: str, word: str) -> str:
    """Add a line to the file *path*, so that one that runs twice is seen."""
    with Path(path).open("a") as file:
        file.write(f"{word}\n")
    return word


@task("child.pid")
def pid() -> int:
    """The process it runs in."""
    return os.getpid()


@task("child.sleep")
def sleep(seconds: float, started: str = "") -> None:
    """Note its process id in the file *started*, and wait."""
    if started:
        Path(started).write_text(str(os.getpid()))
    time.sleep(seconds)


@task("child.spin")
def spin(started: str = "") -> None:
    """Compute for ever, in Python."""
    if started:
        Path(started).write_text(str(os.getpid()))
    while True:
        pass


@task("child.soft")
def soft() -> str:
    """Compute until the soft limit, and tidy up."""
    try:
        while True:
            pass
    except SoftTimeLimitExceeded:
        return "tidied up"


@task("child.deaf")
def deaf(started: str) -> None:
    """Hang in C, with all signals blocked: only SIGKILL helps."""
    Path(started).write_text(str(os.getpid()))
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    time.sleep(3600)


@task("child.regex")
def regex() -> None:
    """Hang in a regular expression that never ends and never looks at signals."""
    re.match(r"(a+)+$", "a" * 64 + "b")


@task("child.cancelled")
def cancelled(started: str, ended: str, ctx: Context) -> None:
    """Wait to be cancelled, and note what the context says then."""
    Path(started).write_text(str(os.getpid()))
    try:
        time.sleep(3600)
    finally:
        Path(ended).write_text(str(ctx.is_cancelled))


@task("child.stubborn")
def stubborn(started: str) -> None:
    """Refuse to be interrupted."""
    Path(started).write_text(str(os.getpid()))
    while True:
        try:
            time.sleep(3600)
        except BaseException:
            pass


@task("child.signal")
def signalled(number: int) -> None:
    """Die by a signal."""
    os.kill(os.getpid(), number)
    time.sleep(3600)


@task("child.segfault")
def segfault() -> None:
    """Die as faulty C code does."""
    ctypes.string_at(0)


@task("child.exit")
def leave(code: int) -> None:
    """Leave without a word."""
    os._exit(code)


@task("child.sys_exit")
def sys_exit() -> None:
    """What a library may do that thinks it owns the process."""
    sys.exit(5)


@task("child.offspring")
def offspring(many: int, noted: str, seconds: float) -> None:
    """Start processes that outlive this handler, note them, then wait."""
    command = [sys.executable, "-S", "-c", "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(3600)"]
    pids = [subprocess.Popen(command).pid for _ in range(many)]
    Path(noted + ".part").write_text(" ".join(map(str, pids)))
    Path(noted + ".part").rename(noted)
    time.sleep(seconds)


@task("child.multiprocessing")
def with_multiprocessing(numbers: list[int]) -> list[int]:
    """Share work out among processes of its own."""
    with multiprocessing.Pool(2) as pool:
        return pool.map(abs, numbers)


@task("child.progress")
def progress(steps: int, ctx: Context) -> int:
    """Say how far it is."""
    for step in range(1, steps + 1):
        ctx.progress(step, steps, f"step {step}")
    return ctx.attempt


@task("child.memory")
def memory(mib: int) -> int:
    """Take memory and keep it."""
    KEPT.append(bytearray(os.urandom(1024) * 1024 * mib))
    return os.getpid()


KEPT: list[bytearray] = []


@task("child.async")
async def asynchronous() -> str:
    """Runs beside the others, on the loop."""
    return "well"


@task("child.block")
async def block(seconds: float) -> None:
    """Block the event loop, as no `async def` should."""
    time.sleep(seconds)


@task("child.echo")
def echo(text: str) -> str:
    """Return what was given."""
    return text


@task("child.checkpoints")
def checkpoints(rows: int, ctx: Context, threads: int = 3) -> list[Any]:
    """Keep each row, then one in each of some threads, and tell where it started."""
    start = (ctx.last_checkpoint or {"row": 0})["row"]
    for row in range(start + 1, rows + 1):
        ctx.checkpoint({"row": row})
    last = (ctx.last_checkpoint or {"row": 0})["row"]
    with ThreadPoolExecutor(max(threads, 1)) as pool:
        names = [f"t{number}" for number in range(threads)]
        list(pool.map(ctx.checkpoint, names))
    return [start, last, names]


@task("child.checkpoint_or_soft")
def checkpoint_or_soft(ctx: Context) -> str:
    """Keep another checkpoint when the soft limit comes first."""
    try:
        ctx.checkpoint("first")
    except SoftTimeLimitExceeded:
        ctx.checkpoint("second")
    return str(ctx.last_checkpoint)


@task("child.checkpoint_wrong", retries=0)
def checkpoint_wrong(ctx: Context) -> None:
    """Keep what is no JSON."""
    ctx.checkpoint(object())
