"""Moves due tasks to their lists where no worker does."""

from __future__ import annotations

from service.scheduler.duty import Duty
from service.store.upkeep import promote


class Forwarder(Duty):
    """Workers promote in their own queues with every step."""

    every_seconds = 1.0

    async def do(self, shard: int) -> None:
        await promote(self.store.tasks, shard)
