"""Handlers of the page by symptom, with its faults: each while a file of that name lies beside them."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

from workers import task

kept: list[bytes] = []


def is_ill(fault: str) -> bool:
    return (Path.cwd() / fault).exists()


@task("order:pack", retries=0)
async def pack(article: str = "lamp") -> str:
    if is_ill("broken"):
        raise RuntimeError("the database is away")
    return article


@task("order:die")
async def die() -> str:
    """Its process is killed, as the system kills one that has too much memory; once if `deadly` says so."""
    if is_ill("deadly"):
        if (Path.cwd() / "deadly").read_text() == "once":
            (Path.cwd() / "deadly").unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    return "alive"


@task("order:charge")
async def charge() -> str:
    with (Path.cwd() / "charged").open("a") as file:
        file.write("charged\n")
    return await die()


@task("order:slow", queue="slow")
async def slow(many: int) -> None:
    """It ends when *many* of it run at once."""
    with (Path.cwd() / "arrived").open("a") as file:
        file.write("here\n")
    while len((Path.cwd() / "arrived").read_text().splitlines()) < many:
        await asyncio.sleep(0.05)


@task("order:export")
async def export() -> str:
    return "x" * 50_000


@task("order:leak", pool="process", queue="leaks")
def leak() -> int:
    kept.append(os.urandom(1 << 20) * 80)
    return os.getpid()
