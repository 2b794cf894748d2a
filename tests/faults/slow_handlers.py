"""Handlers that take their time, in every lane: some of it they compute, the rest they wait."""

from __future__ import annotations

import asyncio
import time

from workers import task

COMPUTED, WAITED = 0.05, 0.3


def compute() -> None:
    """Until so much processor time is spent."""
    until = time.thread_time() + COMPUTED
    while time.thread_time() < until:
        pass


@task("slow.async", slow_after=0.2)
async def on_the_loop() -> None:
    compute()
    await asyncio.sleep(WAITED)


@task("slow.blocking", slow_after=COMPUTED / 2)
async def blocking() -> None:
    compute()


@task("slow.thread", slow_after=0.2, pool="thread")
def on_a_thread() -> None:
    compute()
    time.sleep(WAITED)


@task("slow.process", slow_after=0.2)
def in_a_process() -> None:
    compute()
    time.sleep(WAITED)


@task("slow.never", slow_after=0)
async def never() -> None:
    await asyncio.sleep(WAITED)


@task("slow.patient", slow_after=3600)
async def patient() -> None:
    await asyncio.sleep(WAITED)


@task("slow.usual", slow_after="3x")
async def usual() -> None:
    """Of usual length."""
