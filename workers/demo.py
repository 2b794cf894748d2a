"""
Four handlers to try Taskpost with; `taskpost up` loads them. They need nothing beyond the standard library.
"""

from __future__ import annotations

import asyncio
from typing import Annotated

from msgspec import Meta

from workers import Context, task

Seconds = Annotated[float, Meta(ge=0, le=86_400)]
Count = Annotated[int, Meta(ge=0, le=10_000)]


@task("demo.add")
async def add(a: int, b: int) -> int:
    """Add two whole numbers."""
    return a + b


@task("demo.sleep")
async def sleep(seconds: Seconds) -> None:
    """Do nothing for some seconds: something to cancel, or to run into a time limit."""
    await asyncio.sleep(seconds)


@task("demo.flaky")
async def flaky(fail_times: Count, ctx: Context) -> str:
    """Fail in the first attempts, then succeed: see the retries at work, and what each attempt logs."""
    ctx.log.info("attempt %d; %d are to fail", ctx.attempt, fail_times)
    if ctx.attempt <= fail_times:
        raise RuntimeError(f"attempt {ctx.attempt} fails, as asked: {fail_times} are to fail")
    return f"succeeded in attempt {ctx.attempt}"


@task("demo.progress")
async def progress(steps: Count, ctx: Context) -> dict[str, int]:
    """Work in steps of a fifth of a second, and report each."""
    for step in range(1, steps + 1):
        await asyncio.sleep(0.2)
        await ctx.progress(step, steps, f"step {step} of {steps}")
    return {"steps": steps}
