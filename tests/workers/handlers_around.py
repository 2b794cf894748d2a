"""Handlers of the tests that need a real worker: one of each lane with a resource, a dependency and a part."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from datetime import date

from workers import CallNext, Context, Depends, Outcome, Policy, Registry, Succeeded, lifespan

registry = Registry()


@lifespan
async def settings() -> AsyncIterator[dict[str, int]]:
    yield {"opened_in": os.getpid()}


@lifespan
def model(of: dict[str, int] = Depends(settings)) -> Iterator[dict[str, int]]:
    yield of


def place(opened: dict[str, int] = Depends(model)) -> Iterator[dict[str, int]]:
    yield {**opened, "runs_in": os.getpid()}


noted: list[str] = []
noting = Policy(on_success=lambda ctx, _outcome: noted.append(ctx.name))


@registry.middleware
async def stamped(ctx: Context, call_next: CallNext) -> Outcome:
    outcome = await call_next()
    if ctx.metadata.get("stamp") and isinstance(outcome, Succeeded):
        return Succeeded.of({"stamped_in": os.getpid(), "was": outcome.result, "noted": len(noted)})
    return outcome


@registry.task("part")
async def part(ctx: Context, number: int) -> int:
    return number


@registry.task("split:async", policy=noting)
async def split_async(ctx: Context, day: date, at: dict[str, int] = Depends(place)) -> dict[str, object]:
    handle = await ctx.submit(part, day.day)
    return {**at, "part": handle.id}


@registry.task("split:thread", pool="thread", policy=noting)
def split_thread(ctx: Context, day: date, at: dict[str, int] = Depends(place)) -> dict[str, object]:
    return {**at, "part": ctx.submit_sync(part, day.day).id}


@registry.task("split:process", pool="process", policy=noting)
def split_process(ctx: Context, day: date, at: dict[str, int] = Depends(place)) -> dict[str, object]:
    return {**at, "part": ctx.submit_sync(part, day.day).id}
