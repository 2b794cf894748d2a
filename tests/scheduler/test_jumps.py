"""The machine's clock jumps: every duty is done at once, and none waits for an hour that does not come."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta

import pytest
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.interval import IntervalTrigger

from service.scheduler import jumps


class Clock:
    """The wall clock as `jumps` sees it."""

    ahead_seconds = 0.0
    monotonic = staticmethod(time.monotonic)

    def time(self) -> float:
        return time.time() + self.ahead_seconds


@pytest.mark.parametrize("seconds", [3600.0, -3600.0])
async def test_a_jump_has_every_duty_done_at_once(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Forth or back; one that was planned for in an hour runs now."""
    machine = Clock()
    monkeypatch.setattr(jumps, "time", machine)
    monkeypatch.setattr(jumps, "LOOK_SECONDS", 0.02)
    clock, done = AsyncIOScheduler(), asyncio.Event()

    async def duty() -> None:
        done.set()

    later = datetime.now(UTC) + timedelta(hours=1)
    clock.add_job(duty, IntervalTrigger(hours=1), next_run_time=later, misfire_grace_time=None)
    clock.start()
    watching = asyncio.create_task(jumps.watch(clock))
    try:
        await asyncio.sleep(0)
        machine.ahead_seconds = seconds
        async with asyncio.timeout(60):
            await done.wait()
    finally:
        watching.cancel()
        clock.shutdown(wait=False)
