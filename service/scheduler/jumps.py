"""
Sees to it that a jump of the machine's clock stalls no duty.

APScheduler plans by the wall clock: set back by an hour, it would do nothing for that hour. The monotonic clock does
not jump, so the distance between the two tells.
"""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import UTC, datetime

from apscheduler.schedulers.asyncio import AsyncIOScheduler

log = logging.getLogger("taskpost.scheduler")

LOOK_SECONDS = 1.0
MOST_SECONDS = 0.5


async def watch(clock: AsyncIOScheduler) -> None:
    """After each jump, have every job run at once."""
    distance = time.time() - time.monotonic()
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        found = time.time() - time.monotonic()
        if abs(found - distance) > MOST_SECONDS:
            log.warning("the clock of this machine jumped by %.1f s; nothing waits for it", found - distance)
            for job in clock.get_jobs():
                job.modify(next_run_time=datetime.now(UTC))
        distance = found
