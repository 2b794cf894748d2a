"""Handlers that import rows and note where they are; at each step each of them halts once, to be killed there."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

from workers import Context, Defer, Retry, task

STEPS = ("begin", "write", "keep")


def first_row(ctx: Context) -> int:
    """The row after the last that an earlier attempt has kept."""
    return (ctx.last_checkpoint or {"row": 0})["row"] + 1


def write(path: str, row: int) -> None:
    with Path(path).open("a") as file:
        file.write(f"{row}\n")


def is_new(path: str, step: str, row: int) -> bool:
    """Whether no attempt has been at this step before; says that one is there now."""
    marker = Path(f"{path}.{step}.{row}")
    if marker.exists():
        return False
    marker.touch()
    return True


@task("import.async")
async def on_the_loop(ctx: Context, path: str, rows: int) -> int:
    async def halt(step: str, row: int) -> None:
        if is_new(path, step, row):
            await asyncio.sleep(3600)

    for row in range(first_row(ctx), rows + 1):
        await halt("begin", row)
        write(path, row)
        await halt("write", row)
        await ctx.checkpoint({"row": row})
        await halt("keep", row)
    return rows


def import_rows(ctx: Context, path: str, rows: int) -> int:
    def halt(step: str, row: int) -> None:
        while is_new(path, step, row) or halted:
            halted.append(step)
            if ctx.is_cancelled:
                raise asyncio.CancelledError
            time.sleep(0.01)

    halted: list[str] = []
    for row in range(first_row(ctx), rows + 1):
        halt("begin", row)
        write(path, row)
        halt("write", row)
        ctx.checkpoint({"row": row})
        halt("keep", row)
    return rows


@task("import.thread", pool="thread")
def on_a_thread(ctx: Context, path: str, rows: int) -> int:
    return import_rows(ctx, path, rows)


@task("import.process")
def in_a_process(ctx: Context, path: str, rows: int) -> int:
    return import_rows(ctx, path, rows)


@task("import.ask")
async def ask(ctx: Context, path: str, go: str) -> int:
    """Import two rows; before the second is kept, wait for *go* and say so."""
    for row in range(first_row(ctx), 3):
        write(path, row)
        if row == 2:
            while not Path(go).exists():
                await asyncio.sleep(0.01)
            write(path + ".asks", os.getpid())
        await ctx.checkpoint({"row": row})
    return 2


@task("import.ask_process")
def ask_in_a_process(ctx: Context, path: str, go: str) -> int:
    """As `ask`."""
    for row in range(first_row(ctx), 3):
        write(path, row)
        if row == 2:
            while not Path(go).exists():
                time.sleep(0.01)
            write(path + ".asks", os.getpid())
        ctx.checkpoint({"row": row})
    return 2


@task("import.beside")
async def beside(ctx: Context, path: str, go: str) -> str:
    """Note over and over which process this is, until *go* exists."""
    write(path, os.getpid())
    while not Path(go).exists():
        await ctx.checkpoint({"pid": os.getpid()})
        await asyncio.sleep(0.01)
    return "gone"


@task("import.defer")
def defer(ctx: Context) -> list[int]:
    """Note each attempt, and come to an end of each kind."""
    seen: list[int] = ctx.last_checkpoint or []
    ctx.checkpoint([*seen, ctx.attempt])
    if len(seen) == 0:
        raise Defer(after=0.01)
    if len(seen) == 1:
        raise Retry(after=0.01)
    if len(seen) == 2:
        os._exit(3)
    return [*seen, ctx.attempt]
